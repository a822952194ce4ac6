"""What takes the far end's help: the hello that arrived, other bytes, ends, silence and how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.doctor.ends import PATIENCE, PLACES, Handler, Server, head, proxy, talks_tls, to_the_end

from ferryman.doctor.farend import FarEnd
from ferryman.doctor.handshake import Shaker
from ferryman.doctor.pairing import Token
from ferryman.doctor.path import Path
from ferryman.doctor.report import Check
from ferryman.doctor.streams import PROBES, examine, idle, proof
from ferryman.doctor.tlsstream import TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut, Dialer, Tunnel

Start = Callable[..., Server]
OK = b"HTTP/1.1 200 OK\r\n\r\n"


def shaker(path: Path) -> Shaker:
    return Shaker(path, Dialer(path.patience), "")


def to(end: FarEnd, **more: object) -> Path:
    return Path("localhost", end.port, token=end.token, **more)  # type: ignore[arg-type]


def codes(rows: list[Check]) -> dict[str, str]:
    return {row.probe: row.verdict.code if row.verdict else row.state for row in rows}


def tunnels(port: int, carry: Callable[[Tunnel, Tunnel], None]) -> Handler:
    """A proxy for which every name is this port."""

    def there(tunnel: Tunnel) -> None:
        assert head(tunnel)
        tunnel.send(OK, PATIENCE)
        with contextlib.suppress(Cut), Dialer(PATIENCE).connect("127.0.0.1", port) as server:
            carry(tunnel, server)

    return there


def waits_for_client(client: Tunnel, server: Tunnel) -> None:
    """One question, one answer, and so on: whoever speaks first is the client."""
    with contextlib.suppress(Cut):
        while data := client.receive(PATIENCE):
            server.send(data, PATIENCE)
            with contextlib.suppress(Cut):  # it is silent: the client's turn
                while came := server.receive(0.3):
                    client.send(came, PATIENCE)
                return


def test_a_path_that_carries_everything(far_end: FarEnd) -> None:
    rows = examine(shaker(to(far_end)), far_end.token, PLACES)
    assert [row.probe for row in rows] == list(PROBES)
    assert codes(rows) == dict.fromkeys(PROBES, "ok")
    assert rows[1].said == "another server name gets through as well, and none"
    assert "tls-unique is the same at both ends" in rows[0].said


def test_a_router_in_front_is_not_held_against_anybody(far_end: FarEnd) -> None:
    token = replace(far_end.token, routed=True)
    rows = codes(examine(shaker(to(far_end)), token, PLACES))
    assert rows == {
        "far end": "ok", "server name": "ok", "bytes": "skipped", "server first": "skipped", "half-close": "skipped",
    }  # fmt: skip


def test_a_proxy_that_waits_for_the_client(far_end: FarEnd, server: Start) -> None:
    way = server(tunnels(far_end.port, waits_for_client))
    path = to(far_end, proxy=proxy(way.port), patience=2.0)
    assert codes(examine(shaker(path), far_end.token, PLACES))["server first"] == "WAITS_FOR_CLIENT"


def test_somebody_else_at_the_target(far_end: FarEnd, server: Start) -> None:
    def other(stream: TlsStream) -> None:
        with contextlib.suppress(Cut, TlsFault):
            stream.read(PATIENCE)

    def there(tunnel: Tunnel) -> None:
        with contextlib.suppress(Cut, TlsFault):
            talks_tls(other)(tunnel)

    path = Path("localhost", server(there).port, token=far_end.token, patience=2.0)
    rows = proof(shaker(path), far_end.token, PLACES)
    assert codes(rows) == {"far end": "unknown", **dict.fromkeys(PROBES[1:], "skipped")}


# silence


@pytest.mark.parametrize("helped", [True, False])
def test_silence_is_survived_and_told_of(helped: bool, far_end: FarEnd) -> None:
    told: list[str] = []
    token: Token | None = far_end.token if helped else None
    path = replace(to(far_end, idle=(0.6, 0.2)), token=token)
    rows = idle(shaker(path), token, PLACES, told.append, 0.15)
    assert [row.state for row in rows] == ["ok", "ok"]
    assert rows[0].said.startswith("0.2 s of silence: ")
    assert told[0] == "silent for 0.2, 0.6 s: this takes 0.6 s"
    assert any("connections are still silent" in text for text in told)
    assert sum("still connected" in text for text in told) == 2


def test_silence_that_is_not_asked_for() -> None:
    told: list[str] = []
    (row,) = idle(shaker(Path("localhost", 1)), None, PLACES, told.append)
    assert (row.state, told) == ("skipped", [])


def test_silence_that_is_cut(server: Start) -> None:
    def cuts(stream: TlsStream) -> None:
        with pytest.raises(Cut):
            stream.read(0.1)

    path = Path("localhost", server(talks_tls(cuts)).port, idle=(PATIENCE,))
    (row,) = idle(shaker(path), None, PLACES, lambda text: None)
    assert codes([row]) == {"idle": "IDLE_CUT"}
    assert "(20 s asked for)" in row.said


def test_there_is_no_tls_to_be_silent_in(server: Start) -> None:
    def other(tunnel: Tunnel) -> None:
        tunnel.send(b"SSH-2.0-x\r\n", PATIENCE)
        to_the_end(tunnel)

    (row,) = idle(shaker(Path("localhost", server(other).port, idle=(1.0,))), None, PLACES, lambda text: None)
    assert row.state == "unknown"
