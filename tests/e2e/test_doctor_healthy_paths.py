"""`ferryman doctor` finds nothing on paths that are sound, and is quick about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import programs
import pytest
import squid
import trustme
from doctoring import Diagnosis, diagnose, far_end, haproxy, odd, rsync_target, tunnels
from ferry import Ferry, free_port
from pki import Pki
from programs import Peer

FERRY = """
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{port}
    connect: {{egress_allow: [127.0.0.1, "::1"]}}
"""
BUMPING = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={folder}/operator.pem"
SQUIDS = {
    "squid": ("", []),
    "squid that splices all": (BUMPING, ["ssl_bump splice all"]),
    "squid that splices the route and bumps the rest": (
        BUMPING,
        ["acl route dstdomain localhost", "ssl_bump splice route", "ssl_bump bump all"],
    ),
}
PROXIES = [*SQUIDS, "tinyproxy", "ferryman", "a plain one"]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with squid.folder() as folder:
        operator = trustme.CA()
        (folder / "operator.pem").write_bytes(operator.cert_pem.bytes() + operator.private_key_pem.bytes())
        (folder / "operator.pem").chmod(0o644)
        yield folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    folder = tmp_path_factory.mktemp("target")
    peer = rsync_target(folder, Pki(folder), "localhost")
    at_the_end.callback(peer.daemon.stop)  # type: ignore[attr-defined]
    at_the_end.callback(peer.stop)
    return peer


@pytest.fixture(scope="module")
def proxies(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
    run_shared_ferry: Callable[..., Ferry],
) -> Callable[[str, int], int]:
    """The port of a proxy of this kind, started once. `target`: for the plain one."""
    running: dict[tuple[str, int], int] = {}

    def start(kind: str, target: int) -> int:
        port = free_port()
        if kind in SQUIDS:
            options, lines = SQUIDS[kind]
            listen = f"http_port 127.0.0.1:{port} {options.format(folder=place)}".rstrip()
            here = squid.Squid(place, "\n".join([listen, "http_access allow all", *lines]), port)
            at_the_end.callback(here.close)
        elif kind == "tinyproxy":
            peer = programs.tinyproxy(tmp_path_factory.mktemp("tinyproxy"))
            at_the_end.callback(peer.stop)
            return peer.port
        elif kind == "ferryman":
            run_shared_ferry(FERRY.format(port=port))
        else:
            return at_the_end.enter_context(odd(tunnels(target)))
        return port

    def once(kind: str, target: int) -> int:
        key = (kind, target if kind == "a plain one" else 0)
        if key not in running:
            running[key] = start(kind, target)
        return running[key]

    return once


def sound(found: Diagnosis) -> None:
    assert found.codes == set(), found.output
    assert found.exit_code == 0
    assert found.data["carries"] == "yes"


@pytest.mark.parametrize("kind", ["", *PROXIES])
def test_nothing_is_found_on_the_way_to_rsync(
    kind: str, target: Peer, proxies: Callable[[str, int], int], tmp_path: Path
) -> None:
    via = ["--via", f"http://127.0.0.1:{proxies(kind, target.port)}"] if kind else []
    for expect in ([], ["--expect-cert", target.certificate], ["--no-direct"]):  # type: ignore[attr-defined]
        found = diagnose(f"localhost:{target.port}", *via, *expect)
        if kind == "squid that splices the route and bumps the rest" and expect == ["--no-direct"]:
            assert found.codes == {"EARLY_200"}  # that it leaves this one alone is not proven
            continue
        sound(found)
        assert found.row("rsync")["state"] == "ok"
        if expect != ["--no-direct"] and (kind or expect):
            assert found.row("tls")["state"] == "ok"


@pytest.mark.parametrize("kind", ["", *PROXIES])
def test_nothing_is_found_with_the_far_ends_help(kind: str, proxies: Callable[[str, int], int]) -> None:
    with far_end() as end:
        via = ["--via", f"http://127.0.0.1:{proxies(kind, end.port)}"] if kind else []
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *via)
    sound(found)
    probes = ["far end", "server name", "bytes", "server first", "half-close", "rsync", "tls"]
    assert [probe for probe in probes if found.row(probe)["state"] != "ok"] == [], found.output
    assert "tls-unique is the same at both ends" in found.row("far end")["said"]


@pytest.mark.parametrize("kind", ["", "squid", "ferryman"])
@pytest.mark.parametrize("declared", [True, False])
def test_nothing_is_found_behind_a_router(
    kind: str, declared: bool, proxies: Callable[[str, int], int], tmp_path: Path
) -> None:
    port = free_port()
    with far_end(("localhost", port) if declared else None) as end:
        router = haproxy(
            tmp_path,
            port,
            f"""
listen router
  mode tcp
  bind 127.0.0.1:{port}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  tcp-request content reject
  use_backend far if {{ req.ssl_sni -i localhost }}
backend far
  mode tcp
  server far 127.0.0.1:{end.port}
""",
        )
        try:
            via = ["--via", f"http://127.0.0.1:{proxies(kind, port)}"] if kind else []
            found = diagnose(f"localhost:{port}", "--far-end", end.token.text(), *via)
        finally:
            router.stop()
    sound(found)
    assert found.row("far end")["state"] == "ok"
    assert found.row("bytes")["state"] != "ok"


def test_a_whole_table_takes_less_than_two_seconds(proxies: Callable[[str, int], int]) -> None:
    with far_end() as end:
        via = f"http://127.0.0.1:{proxies('squid', end.port)}"
        api = ["--control", f"https://127.0.0.1:{end.port}"]
        command = [f"localhost:{end.port}", "--far-end", end.token.text(), "--via", via, *api]
        found = diagnose(*command)
        sound(found)
        others = [found, *(diagnose(*command) for _ in range(4) if found.data["seconds"] >= 2)]  # a busy machine
    assert [row["probe"] for row in found.data["checks"] if row["state"] == "skipped"] == ["ports", "idle"]
    assert min(each.data["seconds"] for each in others) < 2


def test_silence_is_survived() -> None:
    with far_end() as end:
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), "--idle", "0.5,1")
    sound(found)
    assert [row["state"] for row in found.data["checks"] if row["probe"] == "idle"] == ["ok", "ok"]
