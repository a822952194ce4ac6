"""The lines that users see: JSON, tcplog, connect, and templates through the same door."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from records import COUNTS, record

from ferryman.dataplane.accesslog import check, compile_format
from ferryman.dataplane.logformat import TCP

HOSTILE = 'a"b\\c]d{|}#e\x01\x1b\x7fé f\nX\u2028'


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_tcp_is_haproxys_tcplog() -> None:
    line = compile_format("tcp")(record(), COUNTS)
    assert line == "192.0.2.7:51234 [21/Nov/2026:15:15:37.502] front app/web1 0/3/300 6000 -- 7/5/3/2/0 0/0"


def test_tls_that_ends_here_is_marked_as_haproxy_does() -> None:
    assert " front~ app/web1 " in compile_format("tcp")(record(tls=object()), COUNTS)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"redispatched": True, "retries": 3, "code": "SC", "connect_ms": -1},
        {"backend": None, "server": None, "code": "PR", "connect_ms": -1, "queue_ms": -1},
        {"server": None, "queue_ms": 12, "server_queue": 4, "backend_queue": 5, "code": "sQ"},
        {"client_host": "2001:db8::7"},
        {"total_ms": -1, "start": time.monotonic() + 1000.0},
        {"tls": object()},
    ],
)
def test_tcp_by_hand_and_as_a_template_are_the_same(fields: dict[str, object]) -> None:
    by_hand, template = compile_format("tcp"), compile_format(TCP + " ")
    assert by_hand.needs_counts
    assert template.needs_counts
    assert by_hand(record(**fields), COUNTS) + " " == template(record(**fields), COUNTS)


def test_a_line_before_the_end_marks_what_will_grow() -> None:
    line = compile_format("tcp")(record(total_ms=-1, start=time.monotonic() + 1000, bytes_out=0), COUNTS)
    assert line.endswith(" front app/web1 0/3/+0 +0 -- 6/4/3/2/0 0/0")


def test_connect_is_what_haproxy_says_without_a_format() -> None:
    form = compile_format("connect")
    assert form(record()) == "Connect from 192.0.2.7:51234 to 198.51.100.1:6443 (front/TCP)"
    assert form.needs_local
    assert not form.needs_counts


def test_json_tells_everything() -> None:
    form = compile_format("json", "edge-1")
    line = form(record(captures=["one", None], retries=1, redispatched=True))
    assert json.loads(line) == {
        "time": "2026-11-21T09:45:37.502Z",
        "node": "edge-1",
        "id": 7,
        "client": "192.0.2.7:51234",
        "listener": "front",
        "local": "198.51.100.1:6443",
        "sni": "www.example.org",
        "alpn": "h2,http/1.1",
        "rule": "haproxy.cfg:44",
        "backend": "app",
        "server": "web1",
        "times": {"queue": 0, "connect": 3, "total": 300},
        "bytes": {"in": 517, "out": 6000},
        "over": True,
        "ended_by": None,
        "how": "fin",
        "reason": None,
        "code": "--",
        "path": "copy",
        "retries": 1,
        "redispatched": True,
        "captures": ["one", None],
    }
    assert form.needs_local
    assert not form.needs_counts


def test_json_of_a_connection_that_came_nowhere() -> None:
    fields = dict.fromkeys(("sni", "alpn", "captures", "backend", "server"))
    line = compile_format("json")(
        record(**fields, local_host="", client_host="2001:db8::7", code="PR", how="policy", reason="no", connect_ms=-1)
    )
    told = json.loads(line)
    assert told["client"] == "[2001:db8::7]:51234"
    assert told["backend"] is told["server"] is told["sni"] is told["alpn"] is told["local"] is None
    assert "captures" not in told
    assert "node" not in told
    assert (told["ended_by"], told["times"]["queue"]) == ("proxy", -1)


def test_json_tells_where_an_intercepted_client_was_on_its_way_to() -> None:
    form = compile_format("json")
    assert json.loads(form(record(original=("2001:db8::1", 443))))["original"] == "[2001:db8::1]:443"
    assert "original" not in json.loads(form(record()))


@pytest.mark.parametrize(
    ("code", "who"),
    [("CD", "client"), ("cD", "client"), ("SD", "server"), ("sC", "server"), ("K-", "proxy"), ("--", None)],
)
def test_json_says_who_ended_it(code: str, who: str | None) -> None:
    assert json.loads(compile_format("json")(record(code=code)))["ended_by"] == who


def test_nothing_hostile_leaves_its_place_in_json() -> None:
    line = compile_format("json")(record(sni=HOSTILE, captures=[HOSTILE], reason=HOSTILE))
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert told["sni"] == told["reason"] == told["captures"][0] == HOSTILE


def test_a_template_tells_what_it_needs() -> None:
    assert not compile_format("%ci").needs_counts
    assert not compile_format("%ci").needs_local
    assert compile_format("%bc").needs_counts
    assert compile_format("%{+X}fp").needs_local
    assert compile_format("%[dst,upper]").needs_local


def test_a_bad_template_is_refused_with_its_first_mistake() -> None:
    assert check("json") == check("tcp") == check("connect") == []
    assert [offset for offset, _ in check("%ci %nope %[x]")] == [4, 12]
    with pytest.raises(ValueError, match="there is no %nope"):
        compile_format("%ci %nope %[x]")


def test_the_time_is_right_over_many_seconds() -> None:
    """Seconds are kept once they are written: they must neither be mixed up nor pile up."""
    form = compile_format("%t|%T|%Tl|%Ts|%ms")
    for second in range(1_795_254_000, 1_795_254_000 + 2500):
        wall = second + 0.0071
        at = time.localtime(second)
        local = time.strftime("%d/%b/%Y:%H:%M:%S", at)
        utc = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(second))
        assert form(record(wall=wall)) == f"{local}.007|{utc} +0000|{local} +0530|{second}|007"
