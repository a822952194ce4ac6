"""The examination: all probes in their order. What fails early ends what depends on it, and those rows say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ferryman.doctor import control, handshake, proxy, reach, streams, throughput
from ferryman.doctor.handshake import Shaker
from ferryman.doctor.path import Path
from ferryman.doctor.report import Check, Report, skipped
from ferryman.doctor.tunnel import Dialer

Tell = Callable[[str], None]
"""Is told what is being done, when that takes long."""

_NO_FAR_END = "it takes the far end's help: `ferryman doctor serve` at the target, and its token (--far-end)"
_NO_TLS = "there is no TLS"
_OPENED = "TLS is opened on the way"


def examine(path: Path, tell: Tell = lambda text: None) -> Report:
    """Find out whether the path carries a migration. `tell` may be called by several threads."""
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        api = pool.submit(control.examine, path, path.control) if path.control else None
        checks = _data_path(path, tell)
        checks += api.result() if api else []
    return Report(str(path), tuple(checks), time.monotonic() - begun)


def _data_path(path: Path, tell: Tell) -> list[Check]:
    dialer = Dialer(path.patience, path.proxy_ca)
    places = {"host": path.host, "port": str(path.port), "target": path.target}
    places["proxy"] = str(path.proxy.address) if path.proxy else ""
    checks = reach.examine(path, dialer, places)
    if checks[-1].state != "ok":
        return [*checks, *_rest(["connect"] if path.proxy else [], "the first hop is not reached")]
    form, took = "", 0.0
    if path.proxy:
        known = proxy.examine(path, path.proxy, dialer, places)
        checks += known.checks
        form, took = known.form, known.took
        if not known.opens:
            return [*checks, *_rest([], "the proxy opens no tunnel")]
        checks += proxy.other_ports(path, path.proxy, dialer, form, places)
    shaker = Shaker(path, dialer, form, took)
    with ThreadPoolExecutor(1) as pool:  # it takes the far end a moment to see that somebody is silent
        helped = pool.submit(streams.examine, shaker, path.token, places) if path.token else None
        shaken = handshake.examine(shaker, places)
        rows = helped.result() if helped else [skipped(probe, _NO_FAR_END) for probe in streams.PROBES]
    checks += shaken.checks
    if not shaken.stands:
        return [*checks, *(skipped(probe, _NO_TLS) for probe in (*streams.PROBES, "throughput", "idle"))]
    opened = any(check.verdict and check.verdict.code == "MITM" for check in checks)
    if path.token and opened:
        rows = streams.proof(shaker, path.token, places)
    rows += [skipped("throughput", _OPENED)] if opened else throughput.examine(shaker, path.token, places, tell)
    return [*checks, *rows, *streams.idle(shaker, path.token, places, tell)]


def _rest(probes: list[str], why: str) -> list[Check]:
    return [skipped(probe, why) for probe in (*probes, "tls", "rsync", *streams.PROBES, "throughput", "idle")]
