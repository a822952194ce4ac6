"""The statistics table, against what HAProxy prints for the same configuration."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from plans import NOW, StillView, listener, make_plan, server, shop
from runtime_client import ask

from ferryman.controlplane import statscsv
from ferryman.controlplane.snapshot import take
from ferryman.plan import Connect

# ferryman has no backend for a page, does not know fullconn, and keeps no statistics of what it does not speak
UNFILLED = {
    *("check_code", "connect", "reuse", "wrew", "eint", "slim", "cache_lookups", "cache_hits", "srv_icur", "rtime_max"),
    *("qtime_max", "ctime_max", "ttime_max", "idle_conn_cur", "safe_conn_cur", "used_conn_cur", "need_conn_est"),
    *(
        "agg_server_status",
        "agg_server_check_status",
        "agg_check_status",
        "comp_in",
        "comp_out",
        "comp_byp",
        "comp_rsp",
    ),
    *("req_rate", "req_rate_max", "req_tot", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"),
    *("intercepted",),
}
# moments and durations
VOLATILE = {"lastchg", "downtime", "chkfail", "chkdown", "check_duration", "check_status", "status", "rate", "rate_max"}


VARIED = {"S.33.rate.1", "B.33.rate.1", "B.35.rate_max.1", "B.19.act.1", "B.20.bck.1"}


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.removeprefix("# ").rstrip("\n").splitlines()))


def ours(view: StillView) -> list[dict[str, str]]:
    return parsed(statscsv.to_csv(statscsv.rows(take(view, NOW), addresses=True)))


def row(table: list[dict[str, str]], proxy: str, name: str) -> dict[str, str]:
    return next(row for row in table if (row["pxname"], row["svname"]) == (proxy, name))


def test_the_header_is_haproxys(haproxy: Path) -> None:
    header = ask(haproxy / "admin.sock", "show stat\n").splitlines()[0]
    assert header.startswith(statscsv.HEADER)
    assert statscsv.COLUMNS[103] == "-"


@pytest.mark.parametrize(
    ("proxy", "name"),
    [("web", "FRONTEND"), ("app", "a1"), ("app", "a2"), ("app", "a3"), ("app", "BACKEND"), ("both", "s1")],
)
def test_a_row_says_what_haproxys_says(haproxy: Path, proxy: str, name: str) -> None:
    view = StillView(shop())
    view.fail(0)
    theirs = row(parsed(ask(haproxy / "admin.sock", "show stat\n")), proxy, name)
    mine = row(ours(view), proxy, name)
    compared = [column for column in statscsv.COLUMNS if column not in UNFILLED | VOLATILE | {"addr", "iid"}]
    assert {column: mine[column] for column in compared} == {column: theirs[column] for column in compared}


def test_an_explicit_proxy_is_http_to_tools_and_connect_to_us() -> None:
    view = StillView(make_plan([listener("out", mode="connect", connect=Connect())], {}))
    assert row(ours(view), "out", "FRONTEND")["mode"] == "http"
    assert take(view, NOW).listeners[0].mode == "connect"


def test_proxies_come_by_number_and_servers_between_frontend_and_backend() -> None:
    table = ours(StillView(shop()))
    assert [(row["pxname"], row["svname"], row["iid"], row["sid"], row["type"]) for row in table] == [
        ("web", "FRONTEND", "2", "0", "0"),
        ("both", "FRONTEND", "3", "0", "0"),
        ("both", "s1", "3", "1", "2"),
        ("both", "BACKEND", "3", "0", "1"),
        ("stats", "FRONTEND", "4", "0", "0"),
        ("app", "a1", "5", "1", "2"),
        ("app", "a2", "5", "2", "2"),
        ("app", "a3", "5", "3", "2"),
        ("app", "BACKEND", "5", "0", "1"),
    ]


def test_numbers_are_where_they_belong() -> None:
    view = StillView(shop())
    cells = {"sessions": 40, "sessions_now": 3, "sessions_max": 5, "bytes_in": 1, "bytes_out": 2, "connect_ms": 80}
    cells |= {"connect_errors": 6, "retries": 7, "redispatches": 8, "client_aborts": 9, "server_aborts": 10}
    view.count(1, ("server", "app", "a1"), **cells, last_session=int(NOW) - 4)
    view.count(0, ("listener", "web", ""), sessions=40, denied_connection=11, denied_content=12)
    view.states[0].check_running = True
    a1, web = row(ours(view), "app", "a1"), row(ours(view), "web", "FRONTEND")
    names = "stot scur smax bin bout ctime econ wretr wredis cli_abrt srv_abrt lastsess status check_status"
    assert [a1[name] for name in names.split()] == [
        *("40", "3", "5", "1", "2", "2", "6", "7", "8", "9", "10", "4", "UP 1/3", "* INI"),
    ]
    assert (web["dcon"], web["dreq"], web["conn_tot"]) == ("11", "12", "51")


def test_addresses_are_for_those_who_may_see_them() -> None:
    hidden = statscsv.to_csv(statscsv.rows(take(StillView(shop()), NOW), addresses=False))
    assert "127.0.0.1" not in hidden
    assert row(ours(StillView(shop())), "app", "a1")["addr"] == "127.0.0.1:8001"


def test_names_that_need_quotes_get_them() -> None:
    view = StillView(make_plan([listener("a,b")], {'say "x"': [server("s")]}))
    assert [row["pxname"] for row in ours(view)] == ["a,b", 'say "x"', 'say "x"']


def test_json_and_typed_lines_are_haproxys(haproxy: Path) -> None:
    def typed(text: str) -> dict[str, tuple[str, str]]:
        """Kind, place and name of a field: its tags and type."""
        lines = [line.split(":") for line in text.splitlines() if line]
        return {f"{key[0]}.{key.split('.', 3)[3]}": (tags, kind) for key, tags, kind, *_ in lines}

    table = statscsv.rows(take(StillView(shop()), NOW), addresses=True)
    mine, theirs = typed(statscsv.to_typed(table)), typed(ask(haproxy / "admin.sock", "show stat typed\n"))
    different = {name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]}
    # where HAProxy has other tags for a backend or server than for the other kinds
    assert different <= VARIED
    assert len(mine.keys() & theirs.keys()) > 80

    known = json.loads(ask(haproxy / "admin.sock", "show stat json\n"))
    shapes = {field["field"]["name"]: field for row in known for field in row}
    for field in (field for row in json.loads(statscsv.to_json(table)) for field in row):
        name = field["field"]["name"]
        assert field.keys() == shapes[name].keys()
        assert field["field"] == shapes[name]["field"]
        assert name in ("rate", "rate_max", "act", "bck") or field["tags"] == shapes[name]["tags"]
        assert field["value"]["type"] == shapes[name]["value"]["type"]
