"""What a machine lacks: found by looking, named with its place and with how to go on."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest
from plans import listener, make_plan, server

from ferryman.controlplane.machine import denied, lacks
from ferryman.plan import Address, Plan, RuntimeSocket, Settings, Source

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
NOBODY = "no-such-name"


def plan(**settings: object) -> Plan:
    return make_plan([], {}, Settings(**settings))  # type: ignore[arg-type]


def test_what_is_there_is_not_lacking(tmp_path: Path) -> None:
    there = str(tmp_path / "file")
    sockets = (RuntimeSocket(Address("unix", there), user=ME, group=MY_GROUP),)
    found = plan(user=ME, group=MY_GROUP, chroot="/", pidfile=there, control=there, runtime_sockets=sockets)
    assert lacks(found) == []
    assert lacks(plan(user="12345", group="12345")) == []


@pytest.mark.parametrize(
    ("settings", "path", "says", "hint"),
    [
        ({"user": NOBODY}, ("global", "user"), "no user no-such-name", "--set global.user=NAME"),
        ({"group": NOBODY}, ("global", "group"), "no group no-such-name", "--set global.group=NAME"),
        ({"chroot": "/no/such"}, ("global", "chroot"), "no folder /no/such ", "--set global.chroot="),
        ({"pidfile": "/no/such/pid"}, ("global", "pidfile"), "no folder /no/such ", "--set global.pidfile="),
        ({"control": "/no/such/c"}, ("global", "control"), "no folder /no/such ", "--set global.control=PATH"),
    ],
)
def test_settings(settings: dict[str, str], path: tuple[str, ...], says: str, hint: str) -> None:
    (lack,) = lacks(plan(**settings))
    assert lack.path == path
    assert says in lack.message
    assert hint in lack.hint
    assert str(lack) == f"{lack.message}; {lack.hint}"


def test_runtime_sockets() -> None:
    socket = RuntimeSocket(Address("unix", "/no/such/s"), user=NOBODY, group=NOBODY)
    found = lacks(plan(runtime_sockets=(RuntimeSocket(Address("abstract", "/no/such/s")), socket)))
    assert [lack.path[2:] for lack in found] == [(1, "user"), (1, "group"), (1, "address")]
    assert "--set global.runtime_sockets.1.user=" in found[0].hint


def test_listeners() -> None:
    doors = (Address("inet", "127.0.0.1", 80), Address("unix", "/no/such/door"))
    (lack,) = lacks(make_plan([listener("web", bind=doors)], {}))
    assert lack.path == ("listeners", "web", "bind", 1)
    assert "no folder /no/such for the socket /no/such/door" in lack.message


def test_addresses_of_other_machines_need_a_capability() -> None:
    inwards = listener("web", transparent="tproxy")
    outwards = replace(server("s1"), source=Source(client="address"))
    found = make_plan([inwards, listener("b", transparent="redirect")], {"app": [outwards], "x": [server("s2")]})
    if os.geteuid() == 0:
        assert denied(found) == []
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        lacking = denied(found)
        right = [lack.path for lack in lacking] == [("listeners", "web", "transparent"), ("backends", "app")]
        os._exit(0 if right and all("CAP_NET_RAW or CAP_NET_ADMIN" in str(lack) for lack in lacking) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_listening_in_another_namespace_needs_it_and_root() -> None:
    elsewhere = Address("inet", "127.0.0.1", 80, namespace="none-such")
    found = make_plan([listener("web", bind=(Address("inet", "127.0.0.1", 80), elsewhere))], {})
    (lack,) = lacks(found)
    assert (lack.path, lack.message) == (("listeners", "web", "bind", 1), "there is no network namespace none-such")
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        (needed,) = denied(found)
        os._exit(0 if needed.path == lack.path and "needs root (CAP_SYS_ADMIN)" in needed.message else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_rights() -> None:
    """As root nothing is denied; anybody else may be what they are, and nothing more."""
    asked = plan(user="12345", group="12345", chroot="/")
    assert denied(plan(user=ME, group=MY_GROUP)) == []
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            found = [lack.path for lack in denied(asked)]
            os._exit(0 if found == [("global", "user"), ("global", "group"), ("global", "chroot")] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert denied(asked) == []
    else:
        assert [lack.path[1] for lack in denied(asked)] == ["user", "group", "chroot"]
        assert all("run it as root" in lack.hint for lack in denied(asked))
