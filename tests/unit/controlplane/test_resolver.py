"""Names become addresses, change, and fail without harm; the system is only asked for what it surely knows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ferryman.controlplane import resolver as module
from ferryman.controlplane.resolver import Resolver, lookup
from ferryman.controlplane.serverstate import ServerState
from ferryman.plan import Address, Server


def named(host: str, name: str = "s") -> ServerState:
    return ServerState.new(Server(0, name, "be", Address("name", host, 443)))


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.005)
    assert condition(), what


class Zone(dict[str, list[str]]):
    """Addresses by name."""

    asked = 0


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    """Answers for names in it; a name without addresses does not resolve. Rhythm: quick."""
    entries = Zone()

    def getaddrinfo(host: str, port: object, type: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        entries.asked += 1
        if not entries.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 0, "", (address, 0)) for address in entries[host]]

    monkeypatch.setattr(module.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(module, "REFRESH", 0.02)
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    return entries


class Watch:
    def __init__(self, *states: ServerState) -> None:
        self.changes: list[tuple[str, tuple[str, ...]]] = []
        self.told: list[str] = []
        self.resolver = Resolver(
            lambda state: self.changes.append((state.server.name, state.addresses)),
            lambda level, text: self.told.append(f"{level}: {text}"),
        )
        self.resolver.update(states)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.resolver.start()
        try:
            yield
        finally:
            self.resolver.stop()


def test_the_system_knows_localhost() -> None:
    addresses = asyncio.run(lookup("localhost"))
    assert set(addresses) & {"127.0.0.1", "::1"}
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "\udc80"])
def test_what_is_no_name_is_an_expected_failure(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        asyncio.run(lookup(host))


def test_addresses_of_both_families_reach_every_server_of_the_name(zone: Zone) -> None:
    async def story() -> None:
        zone["db.example"] = ["2001:db8::1", "192.0.2.1"]
        first, second = named("db.example", "a"), named("db.example", "b")
        watch = Watch(first, second)
        with watch.running():
            await until(lambda: len(watch.changes) == 2, "both are told")
        assert first.addresses == second.addresses == ("2001:db8::1", "192.0.2.1")

    asyncio.run(story())


def test_another_order_is_no_change_but_another_address_is(zone: Zone) -> None:
    async def story() -> None:
        zone["db.example"] = ["192.0.2.1", "192.0.2.2"]
        state = named("db.example")
        watch = Watch(state)
        with watch.running():
            await until(lambda: watch.changes, "resolved")
            zone["db.example"].reverse()
            asked = zone.asked
            await until(lambda: zone.asked > asked + 3, "asked again a few times")
            assert len(watch.changes) == 1
            zone["db.example"] = ["192.0.2.3"]
            await until(lambda: state.addresses == ("192.0.2.3",), "the new address is used")

    asyncio.run(story())


def test_a_failure_is_said_once_and_known_addresses_stay(zone: Zone) -> None:
    async def story() -> None:
        state = named("db.example")
        watch = Watch(state)
        with watch.running():
            await until(lambda: watch.told, "the failure is told")
            assert watch.told == [
                "warning: cannot resolve db.example: Name or service not known; its servers cannot be reached"
            ]
            zone["db.example"] = ["192.0.2.1"]
            await until(lambda: len(watch.told) == 2, "the success is told")
            assert state.addresses == ("192.0.2.1",)
            del zone["db.example"]
            await until(lambda: len(watch.told) == 3, "failing again is told again")
            assert watch.told[2].endswith("its servers stay at 192.0.2.1")
            assert state.addresses == ("192.0.2.1",)

    asyncio.run(story())


def test_a_reload_keeps_what_is_known(zone: Zone) -> None:
    async def story() -> None:
        zone["db.example"], zone["old.example"] = ["192.0.2.1"], ["192.0.2.9"]
        watch = Watch(named("db.example"), named("old.example"))
        with watch.running():
            await until(lambda: len(watch.changes) == 2, "resolved")
            fresh = named("db.example", "fresh")
            watch.resolver.update([fresh, ServerState.new(Server(0, "ip", "be", Address("inet", "192.0.2.7", 1)))])
            assert fresh.addresses == ("192.0.2.1",), "a new server has a known name's addresses at once"
            assert list(watch.resolver._tasks) == ["db.example"]

    asyncio.run(story())


def test_the_first_answers_can_be_waited_for(zone: Zone) -> None:
    async def story() -> None:
        zone["db.example"] = ["192.0.2.1"]
        state, lost = named("db.example"), named("lost.example")
        watch = Watch(state, lost)
        with watch.running():
            await watch.resolver.settled(60.0)
            assert state.addresses == ("192.0.2.1",)
            assert len(watch.told) == 1, "a failure is an answer too"

    asyncio.run(story())


def test_the_first_answers_are_not_waited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: asked.wait(60) and [])

    async def story() -> None:
        watch = Watch(named("slow.example"))
        with watch.running():
            await watch.resolver.settled(0.05)
            assert not asked.is_set()

    asyncio.run(story())
    asked.set()
