"""The formats of the runtime socket's answers are those of HAProxy with the same configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plans import NOW, StillView, make_plan, server, session, shop
from runtime_client import ask

from ferryman.controlplane.runtimetexts import SERVERS_STATE_HEADER, duration, information, servers_state, uptime
from ferryman.controlplane.runtimetexts import session as session_line
from ferryman.controlplane.snapshot import take
from ferryman.plan import Address, Check


def state_rows(text: str) -> dict[str, dict[str, str]]:
    lines = text.strip().splitlines()
    header = lines[1].removeprefix("# ").split()
    return {row["srv_name"]: row for row in (dict(zip(header, line.split(), strict=True)) for line in lines[2:])}


def test_fields_of_show_info_are_haproxys(haproxy: Path) -> None:
    theirs = {
        line.split(":")[0]: line.split(":")[1:3]
        for line in ask(haproxy / "admin.sock", "show info typed\n").splitlines()
        if line
    }
    fields = information(take(StillView(shop()), NOW))
    assert {f"{field.position}.{field.name}.1": [field.tags, field.type] for field in fields}.items() <= theirs.items()
    known = {field["field"]["name"]: field for field in json.loads(ask(haproxy / "admin.sock", "show info json\n"))}
    for field in fields:
        mine, other = field.as_json(), known[field.name]
        assert {**mine, "value": ""} == {**other, "value": ""}


def test_values_that_the_configuration_sets_agree(haproxy: Path) -> None:
    theirs = dict(line.split(": ", 1) for line in ask(haproxy / "admin.sock", "show info\n").splitlines() if line)
    mine = {field.name: str(field.value) for field in information(take(StillView(shop()), NOW))}
    for name in ("Maxconn", "Hard_maxconn", "Nbproc", "Process_num", "node", "Stopping"):
        assert mine[name] == theirs[name]


def test_the_state_of_servers_is_haproxys(haproxy: Path) -> None:
    view = StillView(shop())
    view.fail(0)
    text = servers_state(take(view, NOW).backends)
    theirs = ask(haproxy / "admin.sock", "show servers state\n")
    assert text.splitlines()[:2] == theirs.splitlines()[:2] == ["1", SERVERS_STATE_HEADER]
    assert len(SERVERS_STATE_HEADER.split()) == 26  # the sign and 25 columns
    mine, other = state_rows(text), state_rows(theirs)
    assert list(mine) == ["a1", "a2", "a3", "s1"]
    volatile = {"srv_time_since_last_change", "be_id", "srv_port", "srv_check_state"}
    for name, row in mine.items():
        assert {k: v for k, v in row.items() if k not in volatile} == {
            k: v for k, v in other[name].items() if k not in volatile
        }


@pytest.mark.parametrize(
    ("admin", "operation", "mask", "check"),
    [("ready", "2", "0", "6"), ("drain", "2", "8", "6"), ("maint", "0", "1", "14")],
)
def test_admin_states(admin: str, operation: str, mask: str, check: str) -> None:
    view = StillView(shop())
    view.set_admin(0, admin)  # type: ignore[arg-type]
    row = state_rows(servers_state(take(view, NOW).backends))["a1"]
    assert (row["srv_op_state"], row["srv_admin_state"], row["srv_check_state"]) == (operation, mask, check)


def test_admin_states_are_haproxys(haproxy: Path) -> None:
    view = StillView(shop())
    for admin in ("drain", "maint", "ready"):
        ask(haproxy / "admin.sock", f"set server both/s1 state {admin}\n")
        theirs = state_rows(ask(haproxy / "admin.sock", "show servers state both\n"))["s1"]
        view.set_admin(3, admin)
        mine = state_rows(servers_state(take(view, NOW).backends))["s1"]
        assert mine["srv_admin_state"] == theirs["srv_admin_state"]
        assert mine["srv_op_state"] == theirs["srv_op_state"]


def test_addresses_of_every_family() -> None:
    addresses = {
        "six": (Address("inet6", "2001:db8::1", 443), "2001:db8::1", "-"),
        "path": (Address("unix", "/run/s"), "unix@/run/s", "-"),
        "name": (Address("name", "db.example.org", 5432), "192.0.2.9", "db.example.org"),
        "unresolved": (Address("name", "nowhere.example.org", 5432), "-", "nowhere.example.org"),
    }
    servers = [server(name, address=address, check=Check()) for name, (address, _, _) in addresses.items()]
    view = StillView(make_plan([], {"all": servers}))
    view.states[2].addresses = ("192.0.2.9",)
    rows = state_rows(servers_state(take(view, NOW).backends))
    for name, (_, address, fqdn) in addresses.items():
        assert (rows[name]["srv_addr"], rows[name]["srv_fqdn"]) == (address, fqdn)


def test_a_session() -> None:
    assert session_line(session(0x17, client="[2001:db8::7]:40312", backend="", server="", sni=None)) == (
        "0x17: proto=tcpv6 src=[2001:db8::7]:40312 fe=web be=<NONE> srv=<none> age=1m15s idle=3s in=517 out=4096 sni=- "
        "state=tunnel worker=1\n"
    )


def test_times() -> None:
    assert uptime(90061) == "1d 1h01m01s"
    assert [duration(seconds) for seconds in (0, 59.9, 252, 7320, 450000)] == ["0s", "59s", "4m12s", "2h2m", "5d5h"]
