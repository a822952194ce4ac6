"""What is known of bridges, services and guests, put together."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.opennebula import holder, overview
from ferryman.opennebula.database import Endpoint

COUNTS = {
    "sessions_now": 1, "sessions": 7, "bytes_in": 1024, "bytes_out": 0,
    "denied_connection": 1, "denied_content": 2, "connect_errors": 3,
}  # fmt: skip
LISTENERS = [{"name": "br0:5030", "counts": COUNTS}]
LIVE = [
    {"listener": "br0:5030", "client": "10.0.0.2:40000"},
    {"listener": "br0:5030", "client": "[fe80::2]:40000"},
    {"listener": "br1:5030", "client": "10.0.0.2:40000"},
    {"listener": "page", "client": "127.0.0.1:40000"},
]


def take(monkeypatch: pytest.MonkeyPatch, answer: Any) -> overview.Data:
    def ask(bridge: str, question: dict[str, Any]) -> tuple[Any, None]:
        if isinstance(answer, Exception):
            raise answer
        return answer, None

    monkeypatch.setattr(holder, "ask", ask)
    endpoints = {"br0": [Endpoint(5030, "192.0.2.1", 80), Endpoint(81, "192.0.2.1", 81)]}
    networks = {"br0": ("vnet0", "3"), "br9": ()}
    return overview.take(endpoints, networks, {"one_tproxy": 5, "one_tproxy_br0": 6}, LISTENERS, LIVE)


def test_bridges_services_and_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    found = take(monkeypatch, {"guests": [["10.0.0.2", "02:00:00:00:00:01"], ["10.0.0.3", "02:00:00:00:00:02"]]})
    assert found["daemon"] == 5
    first, second = found["bridges"]
    assert (first["bridge"], first["namespace"], first["daemon"]) == ("br0", "one_tproxy_br0", 6)
    assert first["networks"] == ["vnet0", "3"]
    assert first["services"][0] == {
        "port": 5030, "remote": "192.0.2.1:80", "connections": {"now": 1, "total": 7},
        "bytes": {"from_guests": 1024, "to_guests": 0}, "failed": 6,
    }  # fmt: skip
    assert first["services"][1] == {"port": 81, "remote": "192.0.2.1:81"}, "nobody listens there as yet"
    assert first["guests"] == [
        {"address": "10.0.0.2", "mac": "02:00:00:00:00:01", "connections": 1},
        {"address": "10.0.0.3", "mac": "02:00:00:00:00:02", "connections": 0},
        {"address": "fe80::2", "mac": "", "connections": 1},
    ]
    assert (second["bridge"], second["daemon"], second["services"]) == ("br9", None, [])
    services, guests = overview.tables(found)
    assert services.rows == (("br0", "vnet0, 3", "5030", "192.0.2.1:80", 1, 7, "1.0 KiB", "0 B", 6),)
    assert guests.rows[0] == ("10.0.0.2", "02:00:00:00:00:01", "br0", 1)


@pytest.mark.parametrize(
    "answer",
    [OSError("gone"), ValueError("strange"), {}, {"guests": 3}, {"guests": [1]}, {"guests": [[1]]}, {"guests": None}],
)
def test_a_daemon_that_answers_strangely_is_left_out(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    guests = take(monkeypatch, answer)["bridges"][0]["guests"]
    assert [guest["address"] for guest in guests] == ["10.0.0.2", "fe80::2"], "those with connections"
