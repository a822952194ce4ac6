"""All probes in their order; what fails early ends what depends on it, and those rows say so."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.doctor.ends import PATIENCE, Server, head, proxy, to_the_end, unused_port

from ferryman.doctor.examine import examine
from ferryman.doctor.farend import FarEnd
from ferryman.doctor.path import Control, Path
from ferryman.doctor.report import Report
from ferryman.doctor.tunnel import Tunnel

ORDER = ["name", "reach", "tls", "rsync", "far end", "server name", "bytes", "server first", "half-close",
         "throughput", "idle"]  # fmt: skip


def states(report: Report) -> dict[str, str]:
    return {row.probe: row.verdict.code if row.verdict else row.state for row in report.checks}


def test_a_whole_examination(far_end: FarEnd) -> None:
    told: list[str] = []
    control = Control("127.0.0.1", far_end.port)
    path = Path(
        "127.0.0.1", far_end.port, token=far_end.token, expected=frozenset({far_end.token.fingerprint}),
        idle=(0.05,), throughput=0.2, control=control,
    )  # fmt: skip
    report = examine(path, told.append)
    assert list(states(report)) == [*ORDER, "api tls", "upgrade"]
    assert set(states(report).values()) == {"ok"}, states(report)
    assert report.exit_code == 0
    assert report.seconds > 0
    assert any("this takes" in text for text in told)


def test_without_the_far_ends_help(far_end: FarEnd) -> None:
    report = examine(Path("127.0.0.1", far_end.port))
    skipped = [row.probe for row in report.checks if row.state == "skipped"]
    assert skipped == [*ORDER[4:]]
    assert states(report)["tls"] == "unknown"


def test_the_first_hop_is_not_there() -> None:
    report = examine(Path("dvm.test", 443, proxy(unused_port())))
    assert states(report) == {
        "name": "ok", "reach": "NO_PROXY_LISTENER", "connect": "skipped", **dict.fromkeys(ORDER[2:], "skipped"),
    }  # fmt: skip
    assert {row.said for row in report.checks[2:]} == {"the first hop is not reached"}


def test_the_proxy_opens_no_tunnel(server: Callable[..., Server]) -> None:
    def refuses(tunnel: Tunnel) -> None:
        if head(tunnel):  # it is connected to before it is asked
            tunnel.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", PATIENCE)

    report = examine(Path("dvm.test", 443, proxy(server(refuses).port)))
    assert states(report) == {
        "name": "ok", "reach": "ok", "connect": "DEST_BLOCKED", **dict.fromkeys(ORDER[2:], "skipped"),
    }  # fmt: skip


def test_there_is_no_tls(server: Callable[..., Server]) -> None:
    def other(tunnel: Tunnel) -> None:
        tunnel.send(b"220 mail.test ESMTP\r\n", PATIENCE)
        to_the_end(tunnel)

    report = examine(Path("127.0.0.1", server(other).port))
    assert states(report) == {
        "name": "ok", "reach": "ok", "tls": "NOT_TLS", **dict.fromkeys(ORDER[3:], "skipped"),
    }  # fmt: skip
    assert report.exit_code == 1


def test_an_api_server_that_is_not_there_spoils_no_other_row(far_end: FarEnd) -> None:
    report = examine(Path("127.0.0.1", far_end.port, control=Control("127.0.0.1", unused_port())))
    assert states(report)["api tls"] == "API_UNREACHED"
    assert states(report)["rsync"] == "ok"
