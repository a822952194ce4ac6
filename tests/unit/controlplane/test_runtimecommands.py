"""Commands of the runtime socket do what they say, and say what HAProxy says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from plans import StillView, session, shop
from runtime_client import ask

from ferryman.controlplane.runtime import split_words
from ferryman.controlplane.runtimecommands import COMMANDS, Console, Level
from ferryman.controlplane.statscsv import HEADER
from ferryman.dataplane.counters import Cell


def run(view: StillView, line: str, level: Level = Level.ADMIN) -> str:
    return asyncio.run(Console(view, level, 10.0).run(split_words(line)))


@pytest.fixture
def view() -> StillView:
    return StillView(shop())


@pytest.mark.parametrize(
    "line",
    [
        *("disable server nope/a1", "disable server app/nope", "disable server app", "disable server"),
        *("set server", "set server nope/x state ready", "set server app/a1 state", "set server app/a1 state bogus"),
        *("set server app/a1 weight", "set server app/a1 weight 300", "set weight app/a2", "set weight app/a2 -3"),
        *("set weight app/a2 x", "set weight app/a2 -3%", "set weight app/a2 257", "set weight app"),
        *("get weight", "get weight app", "get weight app/none", "get weight both/s1"),
        *(
            "shutdown session",
            "shutdown session 0x123",
            "shutdown sessions server app",
            "shutdown sessions server app/a1",
        ),
        *("show servers state nope", "show stat nope 7 -1", "show stat 99 1 1", "show cli level", "clear counters"),
        *("show sess 0x12", "enable server both/s1", "set server both/s1 weight 7", "set weight both/s1 100%"),
    ],
)
def test_answers_are_haproxys(haproxy: Path, view: StillView, line: str) -> None:
    theirs = ask(haproxy / "admin.sock", line + "\n").replace(
        ask(haproxy / "admin.sock", "show stat 99 1 1\n"), f"{HEADER}\n\n"
    )
    assert run(view, line).rstrip("\n") == theirs.rstrip("\n")


def test_maintenance_and_back(view: StillView) -> None:
    for command, admin in (("disable", "maint"), ("enable", "ready")):
        assert run(view, f"{command} server app/a1") == ""
        assert view.states[0].admin == admin


def test_enabling_does_not_end_a_drain(view: StillView) -> None:
    run(view, "set server app/a1 state drain")
    run(view, "enable server app/a1")
    assert view.states[0].admin == "drain"


@pytest.mark.parametrize("state", ["ready", "drain", "maint"])
def test_set_server_state(view: StillView, state: str) -> None:
    assert run(view, f"set server both/s1 state {state}") == ""
    assert view.states[3].admin == state


@pytest.mark.parametrize(
    ("given", "weight"), [("0", 0), ("256", 256), ("50%", 1), ("200%", 6), ("99999%", 256), ("0%", 0)]
)
def test_weights(view: StillView, given: str, weight: int) -> None:
    assert run(view, f"set weight app/a2 {given}") == ""
    assert view.states[1].weight == weight
    assert run(view, "get weight app/a2") == f"{weight} (initial 3)\n"


def test_weights_that_are_nothing_change_nothing(view: StillView) -> None:
    for given in ("٣", "1" * 5000, "1e3", "", "-", "%"):
        run(view, f"set weight app/a2 {given}")
        assert view.states[1].weight == 3


def test_show_stat_filters(view: StillView) -> None:
    def names(line: str) -> list[str]:
        return [",".join(row.split(",")[:2]) for row in run(view, line).splitlines()[1:]]

    assert names("show stat app 4 -1") == ["app,a1", "app,a2", "app,a3"]
    assert names("show stat 5 4 2") == ["app,a2"]
    assert names("show stat -1 1 -1") == ["web,FRONTEND", "both,FRONTEND", "stats,FRONTEND"]
    assert names("show stat 3 3 -1") == ["both,FRONTEND", "both,BACKEND"]
    assert "app,a3" not in names("show stat no-maint")
    assert "app,a3" not in names("show stat up")
    assert names("show stat up") == names("show stat -1 -1 -1 up")
    assert len(json.loads(run(view, "show stat json"))) == 9
    assert run(view, "show stat typed").startswith("F.2.0.0.pxname.1:KNS:str:web\n")


def test_show_info_in_three_forms(view: StillView) -> None:
    assert "Pid: 4711\n" in run(view, "show info")
    assert "6.Pid.1:SGP:u32:4711\n" in run(view, "show info typed")
    assert {field["field"]["name"]: field["value"]["value"] for field in json.loads(run(view, "show info json"))}[
        "Pid"
    ] == 4711


def test_sessions_are_listed_and_ended(view: StillView) -> None:
    view.live = [session(1), session(0x101, server="a2"), session(0x102, backend="both", server="s1")]
    assert len(run(view, "show sess").splitlines()) == 3
    assert run(view, "show sess 0x102").startswith(
        "0x102: proto=tcpv4 src=192.0.2.7:40312 fe=web be=both srv=s1 age=1m15s"
    )
    assert run(view, "shutdown session 0x102") == ""
    assert run(view, "shutdown session 0x102") == "No such session (use 'show sess').\n"
    assert run(view, "shutdown sessions server app/a1") == ""
    assert [one["id"] for one in view.live] == [0x101]


def test_clearing_counters(view: StillView) -> None:
    view.count(0, ("server", "app", "a1"), sessions=5, sessions_max=4, sessions_now=1)
    view.sample(1.0)

    def cells() -> tuple[str, str]:
        row = run(view, "show stat app 4 1").splitlines()[1].split(",")
        return row[7], row[5]

    assert cells() == ("5", "4")
    run(view, "clear counters")
    assert cells() == ("5", "1")
    run(view, "clear counters all")
    assert cells() == ("0", "1")
    assert view.regions[0][Cell.SESSIONS] == 0


def test_an_unknown_command_is_answered_with_what_there_is(view: StillView) -> None:
    answer = run(view, "bogus")
    assert answer.startswith("Unknown command. Please enter one of the following commands only:\n  clear counters")
    assert all(command.usage in answer for command in COMMANDS)


@pytest.mark.parametrize(
    ("line", "shown"),
    [("show", "show backend"), ("set", "set weight"), ("shwo stat", "show stat"), ("SHOW VERSION", "show version")],
)
def test_a_near_miss_is_answered_with_what_is_near(view: StillView, line: str, shown: str) -> None:
    answer = run(view, line)
    assert answer.startswith("Unknown command, but maybe one of the following ones is a better match:\n")
    assert shown in answer
    assert answer.splitlines()[-1].startswith("  quit  ")


def test_what_haproxy_has_and_ferryman_has_not_is_said_so(view: StillView) -> None:
    for line in ("show table", "add server app/x", "show env", "set maxconn frontend web 3"):
        assert "is a command of HAProxy that ferryman does not have" in run(view, line)


def test_help_lists_what_the_level_allows(view: StillView) -> None:
    everything, little = run(view, "help"), run(view, "help", Level.USER)
    assert everything.startswith("The following commands are valid at this level:\n")
    assert "disable server" in everything
    assert "disable server" not in little
    assert "show sess" not in little
    assert "show stat" in little
    assert "show backend" not in run(view, "help disable")


def test_the_layout_of_help_is_haproxys(view: StillView, haproxy: Path) -> None:
    def columns(text: str) -> set[int]:
        return {line.index(": ") for line in text.splitlines()[1:] if line.startswith("  quit")}

    assert columns(run(view, "help")) == columns(ask(haproxy / "admin.sock", "help\n"))
