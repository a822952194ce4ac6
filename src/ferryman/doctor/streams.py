"""Probes that need the far end's help: did the ClientHello arrive untouched, and what else does a tunnel carry?

Behind a router that goes by server names nothing but TLS reaches the far end; where a probe fails without the proxy as
well, it is not the proxy's doing. Both are said, and are no findings.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final

from ferryman.doctor.answer import Head, body_length, parse_head, shown
from ferryman.doctor.certificate import fingerprint
from ferryman.doctor.farend import END, report_address
from ferryman.doctor.handshake import Shake, Shaker
from ferryman.doctor.pairing import HELLO, RSYNC, Token, ask, told
from ferryman.doctor.report import Check, finding, fine, skipped, unknown
from ferryman.doctor.tlsstream import VERSIONS, TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut, Reply, Tunnel, Unreached

PROBES: Final = ("far end", "server name", "bytes", "server first", "half-close")

_WITHIN: Final = 5.0
"""Seconds for what is only for comparison, or comes after silence."""
PROGRESS: Final = 30.0
"""Seconds between two lines about a long silence."""
_SOUND: Final = {
    "bytes": "bytes that are not TLS arrive, and come back",
    "server first": "the far end may speak first",
}
_LONGEST: Final = 65536
"""Bytes of a report, with its head; the far end's are far shorter."""
_SENT: Final = 20_000
"""Bytes that are sent before an end."""
_ROUTED: Final = "the far end is behind a router, which carries TLS only: no matter for a migration"


def proof(shaker: Shaker, token: Token, places: dict[str, str]) -> list[Check]:
    """Row "far end", and the others left out: for a path on which TLS is known to be opened."""
    rows = _reports([_report(shaker, token, "")], places)
    if rows[0].verdict and rows[0].verdict.code == "FAR_END_MISSING":
        rows = [unknown("far end", "whoever opens TLS does not carry a question to it")]
    return [*rows, *(skipped(probe, "TLS is opened on the way") for probe in PROBES[1:])]


def examine(shaker: Shaker, token: Token, places: dict[str, str]) -> list[Check]:
    """All rows of PROBES."""
    with ThreadPoolExecutor(7) as pool:
        reports = [pool.submit(_report, shaker, token, version) for version in VERSIONS]
        strays = [pool.submit(_stray, shaker, name) for name in (f"doctor-{secrets.token_hex(4)}.invalid", None)]
        rows = [
            pool.submit(_plain, shaker, token, places, "bytes", "TLS_ONLY", _echoes),
            pool.submit(_plain, shaker, token, places, "server first", "WAITS_FOR_CLIENT", _greets),
        ]
        ending = pool.submit(_half_close, shaker, token, places)
        bytes_row, first_row = (row.result() for row in rows)
        half = ending.result()
        if bytes_row.state != "ok":
            half = skipped("half-close", bytes_row.said if token.routed else "other bytes than TLS do not get through")
        return [
            *_reports([report.result() for report in reports], places),
            _name_policy(shaker, token, [stray.result() for stray in strays], places),
            bytes_row,
            first_row,
            half,
        ]


# the ClientHello


def _report(shaker: Shaker, token: Token, version: str) -> tuple[str, Shake, dict[str, str] | None]:
    """The far end's report of a handshake of one version, and what is known of it here."""
    shake = shaker.shake(version=version)
    if shake.stream is None:
        return version, shake, None
    shake.stream.skip = RSYNC
    nonce = secrets.token_hex(16)
    address = report_address(token.secret, nonce)
    request = f"GET {address} HTTP/1.1\r\nHost: {shaker.path.target}\r\n\r\n"
    try:
        shake.stream.write(request.encode(), shaker.path.patience)
        answer = told(token.secret, nonce, _body(shake.stream, shaker.path.patience))
    except (Cut, TlsFault):
        answer = None
    finally:
        shake.stream.close()
    return version, shake, answer


def _body(stream: TlsStream, seconds: float) -> bytes:
    """Of an answer, whose length is said; b"": it is none of the far end's. Raises Cut, TlsFault."""
    deadline, data = time.monotonic() + seconds, b""
    while len(data) < _LONGEST:
        head = parse_head(data)
        if isinstance(head, Head):
            size = body_length(head)
            if size is None or len(data) >= head.length + size:
                return data[head.length :]
        elif head is not None:
            return b""
        more = stream.read(deadline - time.monotonic())
        if not more:
            return b""
        data += more
    return b""


def _reports(reports: list[tuple[str, Shake, dict[str, str] | None]], places: dict[str, str]) -> list[Check]:
    good = [version for version, _, answer in reports if answer]
    failed = [(version, shake.why) for version, shake, _ in reports if shake.why]
    rows = []
    for _, shake, answer in reports:
        if answer and shake.stream and answer["hello"] != shake.stream.hello_hash:
            evidence = {
                "sent": shake.stream.hello_hash, "arrived": answer["hello"], "came from": answer["peer"],
                "channel binding": _bound(shake.stream, answer),
            }  # fmt: skip
            said = f"{shake.stream.version}: the ClientHello that arrived is not the one that was sent"
            return [finding("far end", "HELLO_CHANGED", said, places, **evidence)]
    if not good:
        said = failed[0][1] if failed else "nobody gives a report that is signed with the token"
        return [finding("far end", "FAR_END_MISSING", said, places)]
    first = next((shake, answer) for _, shake, answer in reports if answer)
    assert first[0].stream
    bindings = [_bound(shake.stream, answer) for _, shake, answer in reports if answer and shake.stream]
    said = f"the ClientHello arrived untouched (TLS {' and '.join(good)}); {', '.join(filter(None, bindings))}"
    rows.append(fine("far end", said.removesuffix("; "), sha256=first[0].stream.hello_hash))
    for version, why in failed:
        said = f"TLS {good[0]} stands, TLS {version} does not: {why}"
        rows.append(finding("far end", "TLS_VERSION_BLOCKED", said, places))
    return rows


def _bound(stream: TlsStream, answer: dict[str, str]) -> str:
    kind, value = stream.binding()
    if not kind or kind != answer["binding kind"]:
        return ""
    return f"{kind} {'is the same at both ends' if value == answer['binding'] else 'differs'}"


# server names


def _stray(shaker: Shaker, name: str | None) -> tuple[Shake, str | None]:
    """A handshake with a name that nobody has, or with none."""
    shake = shaker.shake(name=name)
    if shake.stream:
        shake.stream.close()
    return shake, name


def _name_policy(shaker: Shaker, token: Token, strays: list[tuple[Shake, str | None]], places: dict[str, str]) -> Check:
    known = {token.fingerprint, *shaker.path.expected}
    lost = [(shake, name) for shake, name in strays if not (shake.leaf and fingerprint(shake.leaf) in known)]
    if not lost:
        return fine("server name", "another server name gets through as well, and none")
    if token.routed or shaker.path.proxy is None:
        return skipped("server name", _ROUTED)
    aside = _without_proxy(shaker)
    if aside and all(_stray(aside, name)[0].leaf == shake.leaf for shake, name in lost):  # b"" where both fail
        return skipped("server name", _ROUTED)
    came = {name: shake.why or "another certificate is shown" for shake, name in lost}
    said = "; ".join(
        f"with {f'the server name {name}' if name else 'no server name'}: {why}" for name, why in came.items()
    )
    return finding("server name", "SNI_POLICY", said, places)


# other bytes


def _plain(
    shaker: Shaker, token: Token, places: dict[str, str], probe: str, code: str,
    does: Callable[[Tunnel, Token, float], str],
) -> Check:  # fmt: skip
    """A row: `does` gives "" when it works, or what happened."""
    if token.routed:
        return skipped(probe, _ROUTED)
    came = _attempt(shaker, token, does)
    if not came:
        return fine(probe, _SOUND[probe])
    if shaker.path.proxy is None:
        return unknown(probe, f"{came}; without a proxy: perhaps the far end is behind a router (serve --public)")
    aside = _without_proxy(shaker)
    if aside and _attempt(aside, token, does):
        return skipped(probe, f"it fails without the proxy as well: {_ROUTED}")
    return finding(probe, code, came, places)


def _without_proxy(shaker: Shaker) -> Shaker | None:
    if not shaker.path.direct:
        return None
    aside = Shaker(replace(shaker.path, proxy=None), shaker.dialer, "")
    try:
        tunnel = shaker.dialer.connect(shaker.path.host, shaker.path.port, _WITHIN)
    except Unreached:
        return None
    tunnel.close()
    return aside


def _attempt(shaker: Shaker, token: Token, does: Callable[[Tunnel, Token, float], str]) -> str:
    try:
        opened = shaker.open()
        if isinstance(opened, Reply):
            return f"no tunnel: {opened.head.line if opened.head else opened.how}"
        with opened:
            return does(opened, token, shaker.path.patience)
    except Unreached as fault:
        return fault.text
    except Cut as cut:
        return {"closed": "the connection is closed", "reset": "the connection is reset", "silent": "nothing comes"}[
            cut.how
        ]


def _echoes(tunnel: Tunnel, token: Token, seconds: float) -> str:
    sent = secrets.token_bytes(64)
    tunnel.send(ask(token.secret, "echo", secrets.token_hex(16)) + sent, seconds)
    came = tunnel.exactly(len(sent), seconds)
    return "" if came == sent else "other bytes come back than were sent"


def _greets(tunnel: Tunnel, token: Token, seconds: float) -> str:
    tunnel.skip = b""
    came = tunnel.exactly(len(HELLO), seconds)
    return "" if came == HELLO else "other bytes come than the far end sends first"


def _half_close(shaker: Shaker, token: Token, places: dict[str, str]) -> Check:
    """Many proxies, Squid among them, end both directions when one ends. What was sent before has to arrive."""
    if shaker.path.proxy is not None and shaker.path.proxy.scheme == "https":
        return skipped("half-close", "TLS to the proxy ends both directions at once")
    nonce = secrets.token_hex(16)

    def ends(tunnel: Tunnel, token: Token, seconds: float) -> str:
        tunnel.send(ask(token.secret, "echo", nonce) + bytes(_SENT), seconds)
        tunnel.end()
        came = tunnel.exactly(_SENT + len(END), seconds)
        whole = came == bytes(_SENT) + END and tunnel.receive(seconds) == b""
        return "" if whole else "other bytes come than were sent"

    def counts(tunnel: Tunnel, token: Token, seconds: float) -> str:
        tunnel.send(ask(token.secret, "count", nonce), seconds)
        came = tunnel.receive(seconds).strip()
        return "" if came == str(_SENT).encode() else f"of {_SENT} bytes sent before the end, {shown(came, 40)} arrived"

    came = _attempt(shaker, token, ends)
    if not came:
        return fine("half-close", "one direction can end before the other")
    lost = _attempt(shaker, token, counts)
    deadline = time.monotonic() + shaker.path.patience
    while lost.endswith(" -1 arrived") and time.monotonic() < deadline:  # the far end is still reading
        time.sleep(0.1)
        lost = _attempt(shaker, token, counts)
    if lost:
        return finding("half-close", "HALF_CLOSE_LOST", lost, places)
    return fine("half-close", "when one direction ends, both do, and nothing is lost: no matter for rsync within TLS")


# silence


def idle(
    shaker: Shaker, token: Token | None, places: dict[str, str], tell: Callable[[str], None], every: float = PROGRESS
) -> list[Check]:
    """A row per time, all at once; as long as the longest of them. Every so many seconds it tells how far it is."""
    times = sorted(set(shaker.path.idle))
    if not times:
        return [skipped("idle", "it takes its time: ask for it with --idle 20,70")]
    tell(f"silent for {', '.join(f'{each:g}' for each in times)} s: this takes {times[-1]:g} s")
    with ThreadPoolExecutor(len(times)) as pool:
        begun = time.monotonic()
        rows = [pool.submit(_idle, shaker, token, each, places, tell) for each in times]
        while silent := wait(rows, every).not_done:
            past = min(time.monotonic() - begun, times[-1])
            tell(f"{past:.0f} of {times[-1]:g} s: {len(silent)} of {len(rows)} connections are still silent")
        return [row.result() for row in rows]


def _idle(
    shaker: Shaker, token: Token | None, seconds: float, places: dict[str, str], tell: Callable[[str], None]
) -> Check:
    shake = shaker.shake()
    if shake.stream is None:
        return unknown("idle", f"{seconds:g} s: there is no TLS: {shake.why}")
    begun = time.monotonic()
    came = "the connection is closed"
    try:
        if token:
            shake.stream.write(ask(token.secret, "echo", secrets.token_hex(16)), _WITHIN)
        came = _silence(shake.stream, seconds) or (_still_there(shake.stream) if token else "")
    except Cut as cut:
        came = "the connection is reset" if cut.how == "reset" else f"the connection is {cut.how}"
    except TlsFault as fault:
        came = f"TLS ends: {fault}"
    finally:
        with contextlib.suppress(Cut):
            shake.stream.close()
    lasted = time.monotonic() - begun
    tell(f"after {seconds:g} s of silence: {came or 'still connected'}")
    if not came:
        sure = "and bytes come back" if token else "it is still connected"
        return fine("idle", f"{seconds:g} s of silence: {sure}")
    return finding("idle", "IDLE_CUT", f"{came} after {lasted:.0f} s of silence ({seconds:g} s asked for)", places)


def _silence(stream: TlsStream, seconds: float) -> str:
    """Say nothing for so long, and hear whether the connection ends. Greetings do not count."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            if not stream.read(left):
                return "the connection is closed"
        except Cut as cut:
            if cut.how != "silent":
                raise
    return ""


def _still_there(stream: TlsStream) -> str:
    """Raises Cut, TlsFault."""
    sent, came = secrets.token_bytes(32), b""
    stream.write(sent, _WITHIN)
    while len(came) < len(sent):
        more = stream.read(_WITHIN)
        if not more:
            return "the connection is closed"
        came += more
    return "" if came == sent else "other bytes come back than were sent"
