"""What a bridge is to have. What becomes of it: tests/e2e/test_tproxy_bridges.py."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ferryman.config.source import Mark
from ferryman.errors import StartError
from ferryman.opennebula import driver
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.settings import Service, Settings
from ferryman.opennebula.state import Bridge, State

MARK = Mark("OpenNebulaNetwork.conf", 3, 1)
SETTINGS = Settings(
    (
        Service(MARK, 5030, "one.test", 5031),
        Service(MARK, 80, "10.0.0.1", 8080, ("vnet0",)),
        Service(MARK, 80, "10.0.0.2", 80),
    )
)


def test_endpoints() -> None:
    messages: list[str] = []
    found = {"one.test": ["10.9.9.9"]}
    assert driver._endpoints("br0", Bridge(("vnet0",)), SETTINGS, {"one.test": "10.9.9.9"}, found, messages) == (
        Endpoint(80, "10.0.0.1", 8080),
        Endpoint(5030, "10.9.9.9", 5031),
    )
    assert (
        driver._endpoints("br0", Bridge(), SETTINGS, {"one.test": "10.9.9.9"}, found, messages)[0].address == "10.0.0.2"
    )
    assert messages == []


def test_a_name_without_an_address_keeps_the_last_one() -> None:
    messages: list[str] = []
    found: dict[str, list[str]] = {"one.test": []}
    kept = driver._endpoints("br0", Bridge(), SETTINGS, {"one.test": "10.9.9.9"}, found, messages)
    assert kept[1] == Endpoint(5030, "10.9.9.9", 5031)
    left = driver._endpoints("br0", Bridge(), SETTINGS, {}, found, messages)
    assert [each.port for each in left] == [80]
    assert messages == [
        "OpenNebulaNetwork.conf:3:1: one.test has no IPv4 address now: 10.9.9.9 stays",
        "OpenNebulaNetwork.conf:3:1: one.test has no IPv4 address: port 5030 is left out",
    ]


def test_an_address_stays_while_it_is_right() -> None:
    known = {"a": "10.0.0.2", "b": "10.0.0.3", "c": "10.0.0.4"}
    found = {"a": ["10.0.0.1", "10.0.0.2"], "b": ["10.0.0.9"], "c": [], "d": ["10.0.0.5"]}
    assert driver._names(known, found) == {"a": "10.0.0.2", "b": "10.0.0.9", "c": "10.0.0.4", "d": "10.0.0.5"}


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that gives no answer for one name."""
    gate = threading.Event()

    def getaddrinfo(name: str, *rest: object) -> list[tuple[object, ...]]:
        if name == "slow.test":
            gate.wait()
        if name == "none.test":
            raise socket.gaierror(socket.EAI_NONAME, "none")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.1.1", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(driver, "RESOLVING", 0.2)
    yield
    gate.set()


@pytest.mark.usefixtures("blocked")
def test_a_resolver_that_does_not_answer_holds_nothing_up() -> None:
    names = ("slow.test", "fast.test", "none.test", "10.0.0.1")
    assert driver._resolve(Service(MARK, 1, name, 1) for name in names) == {
        "slow.test": [],
        "fast.test": ["10.1.1.1"],
        "none.test": [],
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", 'a"', "a;b", "sixteen-letters-", "é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(StartError, match="is no name of a device"):
        driver._check(name)


def test_names_that_are_some() -> None:
    for name in ("br0", "onebr.100", "fifteen-letters", "_", "..."):
        driver._check(name)


def test_who_has_another_name() -> None:
    from ferryman.opennebula.links import Device

    devices = {
        "br9": Device("br9", "bridge", "", 1500, 1, 0, True),
        "br0b": Device("br0b", "veth", "br9", 1500, 2, 3, True),
    }
    before = State({"br0": Bridge(), "br1": Bridge(), "br9": Bridge()})
    assert driver._renamed(before, "br9", devices) == ["br0"]
    assert driver._missing("br0", devices).startswith("br0 is called br9 now")
    assert driver._missing("br1", devices).startswith("br1 is gone")
