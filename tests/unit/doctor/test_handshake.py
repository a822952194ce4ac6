"""TLS over a path: whose it is, what ends it, and what is said of a 200 that comes too early."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, PLACES, Handler, Server, head, proxy, reset, talks_tls, to_the_end

from ferryman.doctor.certificate import fingerprint
from ferryman.doctor.handshake import Shaker, examine
from ferryman.doctor.path import Path
from ferryman.doctor.report import Check
from ferryman.doctor.tlsstream import TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut, Dialer, Tunnel

Start = Callable[..., Server]
OK = b"HTTP/1.1 200 OK\r\n\r\n"


def daemon(stream: TlsStream) -> None:
    """As far as a greeting shows."""
    with contextlib.suppress(Cut, TlsFault):
        stream.write(b"@RSYNCD: 31.0\n", PATIENCE)
        while stream.read(PATIENCE):
            stream.write(b"@RSYNCD: EXIT\nbye\n", PATIENCE)


def tunnels(handler: Handler, nowhere: bytes = b"HTTP/1.1 502 No\r\n\r\n", opened: bytes = OK) -> Handler:
    """A proxy that is the target as well."""

    def there(tunnel: Tunnel) -> None:
        lost = b".invalid:" in head(tunnel).partition(b"\r\n")[0]
        tunnel.send(nowhere if lost else opened, PATIENCE)
        if not lost:
            handler(tunnel)
        elif nowhere == OK:
            to_the_end(tunnel)

    return there


def handshakes(port: int, **more: object) -> Shaker:
    path = Path("localhost", port, **more)  # type: ignore[arg-type]
    return Shaker(path, Dialer(path.patience), "")


def found(shaker: Shaker) -> dict[str, Check]:
    return {row.probe: row for row in examine(shaker, PLACES).checks}


def code(row: Check) -> str:
    return row.verdict.code if row.verdict else row.state


def quietly(handler: Handler) -> Handler:
    """For handshakes that clients break off."""

    def there(tunnel: Tunnel) -> None:
        with contextlib.suppress(TlsFault, Cut):
            handler(tunnel)

    return there


def test_a_target_that_is_right(server: Start) -> None:
    there = server(quietly(talks_tls(daemon)))
    shake = handshakes(there.port).shake()
    assert shake.stream
    assert shake.why == ""
    shake.stream.close()
    rows = found(handshakes(there.port, expected=frozenset({fingerprint(shake.leaf)})))
    assert {probe: code(row) for probe, row in rows.items()} == {"tls": "ok", "rsync": "ok"}
    rows = found(handshakes(there.port, expected=frozenset({bytes(32)})))
    assert code(rows["tls"]) == "CERTIFICATE_UNEXPECTED"
    assert code(found(handshakes(there.port))["tls"]) == "unknown"


def speaks(data: bytes) -> Handler:
    def handler(tunnel: Tunnel) -> None:
        tunnel.receive(PATIENCE)
        if data:
            tunnel.send(data, PATIENCE)
            to_the_end(tunnel)

    return handler


def resets(tunnel: Tunnel) -> None:
    tunnel.receive(PATIENCE)
    reset(tunnel)


def hangs(tunnel: Tunnel) -> None:
    assert to_the_end(tunnel)


@pytest.mark.parametrize(
    ("handler", "verdict"),
    [
        (speaks(b"SSH-2.0-x\r\n"), "NOT_TLS"),
        (speaks(b"\x15\x03\x03\0\x02\x02\x28"), "TLS_REFUSED"),
        (speaks(b"\x15\x03\x03\0\x02\x02\x70"), "ROUTE_NOT_FOUND"),
        (speaks(b""), "ROUTE_NOT_FOUND"),
        (resets, "ROUTE_NOT_FOUND"),
        (hangs, "TLS_SILENT"),
    ],
)
def test_what_ends_a_handshake(handler: Handler, verdict: str, server: Start) -> None:
    patience = 0.3 if verdict == "TLS_SILENT" else PATIENCE
    rows = found(handshakes(server(handler).port, patience=patience))
    assert {probe: code(row) for probe, row in rows.items()} == {"tls": verdict, "rsync": "skipped"}


def through(target: Server, way: Server, **more: object) -> dict[str, Check]:
    return found(handshakes(target.port, proxy=proxy(way.port), **more))


def test_the_same_through_a_proxy_and_without(server: Start) -> None:
    target = server(quietly(talks_tls(daemon)))
    rows = through(target, server(tunnels(quietly(talks_tls(daemon)))))
    assert {probe: code(row) for probe, row in rows.items()} == {
        "early 200": "ok", "tls": "ok", "rsync": "ok", "coalesced": "ok",
    }  # fmt: skip
    assert "through the proxy and without it" in rows["tls"].said


@pytest.mark.parametrize(("direct", "verdict"), [(True, "TLS_CUT_BY_PROXY"), (False, "TLS_CUT")])
def test_a_proxy_that_cuts_tls(direct: bool, verdict: str, server: Start) -> None:
    rows = through(server(quietly(talks_tls(daemon))), server(tunnels(speaks(b""))), direct=direct)
    assert code(rows["tls"]) == verdict


def test_a_proxy_with_a_banner(server: Start) -> None:
    way = server(tunnels(hangs, opened=OK + b"welcome\r\n"))
    assert code(through(server(quietly(talks_tls(daemon))), way)["tls"]) == "BYTES_AFTER_200"


@pytest.mark.parametrize(("direct", "state"), [(True, "ok"), (False, "unknown")])
def test_an_early_200_where_rsync_greets_is_no_finding(direct: bool, state: str, server: Start) -> None:
    way = server(tunnels(quietly(talks_tls(daemon)), nowhere=OK))
    rows = through(server(quietly(talks_tls(daemon))), way, direct=direct)
    assert code(rows["early 200"]) == state
    assert code(rows["rsync"]) == "ok"


def test_an_early_200_where_nothing_is_carried(server: Start) -> None:
    way = server(tunnels(speaks(b""), nowhere=OK))
    assert code(through(server(speaks(b"")), way)["early 200"]) == "EARLY_200"


def test_a_server_that_is_no_daemon(server: Start) -> None:
    def web(stream: TlsStream) -> None:
        stream.read(PATIENCE)
        stream.write(b"HTTP/1.1 400 Bad Request\r\nServer: web\r\nContent-Length: 0\r\n\r\n", PATIENCE)

    assert code(found(handshakes(server(talks_tls(web)).port))["rsync"]) == "NOT_RSYNC"


def test_a_server_name_can_be_left_out(server: Start) -> None:
    names: list[bytes] = []

    def handler(tunnel: Tunnel) -> None:
        names.append(tunnel.receive(PATIENCE))

    there = server(handler)
    for name in ("", "other.test", None):
        assert handshakes(there.port).shake(name=name).fault
    there.close()
    assert [b"localhost" in names[0], b"other.test" in names[1]] == [True, True]
    assert not any(name in names[2] for name in (b"localhost", b"other.test"))
