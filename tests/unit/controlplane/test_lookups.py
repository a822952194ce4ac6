"""Names of targets: one question for all who ask, a bounded number at a time, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from ferryman.controlplane import lookups as module
from ferryman.controlplane import resolver
from ferryman.controlplane.lookups import Lookups, NoAddressError, by_turns

CLIENT = "192.0.2.7"


class System:
    """Instead of the system's resolver: says what is in `zone`, once `open` is set."""

    def __init__(self) -> None:
        self.zone: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def getaddrinfo(self, host: str, port: object, type: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.asked.append(host)
        assert self.open.wait(60)
        if host not in self.zone:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 0, "", (address, 0)) for address in self.zone[host]]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """Its answers do not age."""
    now = module.monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now)
    made = System()
    monkeypatch.setattr(resolver.socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.open.set()


def tell(story: Callable[[Lookups], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story(Lookups())

    asyncio.run(whole())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.005)


async def failure(lookups: Lookups, host: str, timeout: float | None = 60.0, client: str = CLIENT) -> tuple[str, str]:
    with pytest.raises(NoAddressError) as caught:
        await lookups.resolve(client, host, timeout)
    return caught.value.error, caught.value.text


def test_as_the_system_says() -> None:
    async def story(lookups: Lookups) -> None:
        assert set(await lookups.resolve(CLIENT, "localhost", 60)) <= {"127.0.0.1", "::1"}

    tell(story)


def test_asked_once_and_remembered(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.zone["a.example"] = ["192.0.2.1"]

    async def story(lookups: Lookups) -> None:
        found = await asyncio.gather(*(lookups.resolve(CLIENT, "a.example", 60) for _ in range(5)))
        assert found == [("192.0.2.1",)] * 5
        await lookups.resolve(CLIENT, "a.example", 60)
        assert system.asked == ["a.example"]
        monkeypatch.setattr(module, "monotonic", lambda: float("inf"))
        await lookups.resolve(CLIENT, "a.example", 60)
        assert len(system.asked) == 2

    tell(story)


def test_a_name_without_address_is_remembered_for_less(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(lookups: Lookups) -> None:
        assert await failure(lookups, "no.example") == ("dns_error", "Name or service not known")
        assert await failure(lookups, "no.example") == ("dns_error", "Name or service not known")
        assert len(system.asked) == 1
        later = module.monotonic() + module.FAILURE_TTL
        monkeypatch.setattr(module, "monotonic", lambda: later)
        system.zone["no.example"] = ["192.0.2.1"]
        assert await lookups.resolve(CLIENT, "no.example", 60) == ("192.0.2.1",)

    tell(story)


def test_who_waited_long_enough_goes_and_the_answer_is_kept_all_the_same(system: System) -> None:
    system.zone["slow.example"] = ["192.0.2.1"]
    system.open.clear()

    async def story(lookups: Lookups) -> None:
        assert await failure(lookups, "slow.example", 0.02) == ("dns_timeout", "no answer in 0.02 s")
        system.open.set()
        await until(lambda: not lookups._looks)
        assert await lookups.resolve(CLIENT, "slow.example", 0.02) == ("192.0.2.1",)
        assert system.asked == ["slow.example"]

    tell(story)


def test_so_many_at_a_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    hosts = [f"h{number}.example" for number in range(5)]
    system.zone |= {host: ["192.0.2.1"] for host in hosts}
    system.open.clear()

    async def story(lookups: Lookups) -> None:
        tasks = [asyncio.create_task(lookups.resolve(CLIENT, host, 60)) for host in hosts[:4]]
        await until(lambda: len(system.asked) == 2)
        assert await failure(lookups, hosts[4], 0.02) == ("dns_timeout", "no answer in 0.02 s")
        system.open.set()
        assert await asyncio.gather(*tasks) == [("192.0.2.1",)] * 4
        assert sorted(system.asked) == hosts[:4], "a name nobody waits for any more is not asked for"
        await until(lambda: not lookups._looks and not lookups._clients)

    tell(story)


def test_too_many_names(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 1)
    system.zone["a.example"] = ["192.0.2.1"]
    system.open.clear()

    async def story(lookups: Lookups) -> None:
        tasks = [asyncio.create_task(lookups.resolve(CLIENT, "a.example", 60)) for _ in range(2)]
        await until(lambda: system.asked)
        assert await failure(lookups, "b.example") == ("dns_error", "too many names are being looked up")
        system.open.set()
        assert await asyncio.gather(*tasks) == [("192.0.2.1",)] * 2, "the same name is no further one"

    tell(story)


def test_slow_names_of_one_client_leave_room_for_others(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_CLIENT", 2)
    system.zone |= {host: ["192.0.2.1"] for host in ("slow1", "slow2", "a.example", "b.example")}
    system.open.clear()

    async def story(lookups: Lookups) -> None:
        for host in ("slow1", "slow2"):
            assert (await failure(lookups, host, 0.02, "2001:db8::1"))[0] == "dns_timeout"
        too_many = ("dns_error", "too many names are being looked up for this client")
        assert await failure(lookups, "a.example", 10, "2001:db8::2") == too_many, "the threads are still there"
        shared = asyncio.create_task(lookups.resolve("2001:db8::3", "slow1", 60))
        tasks = [asyncio.create_task(lookups.resolve(CLIENT, host, 60)) for host in ("a.example", "b.example")]
        await until(lambda: len(system.asked) == 4)
        assert await failure(lookups, "c.example") == too_many
        system.open.set()
        assert await asyncio.gather(shared, *tasks) == [("192.0.2.1",)] * 3
        await until(lambda: not lookups._clients)
        assert await lookups.resolve("2001:db8::1", "a.example", 60), "the places are given back"

    tell(story)


@pytest.mark.parametrize("host", ["", "a\0b", "x" * 300, "\udc80.example", "a b", "..", "%", "[::1]"])
def test_what_is_no_name_has_no_address(host: str) -> None:
    async def story(lookups: Lookups) -> None:
        error, text = await failure(lookups, host)
        assert error == "dns_error"
        assert text

    tell(story)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        ("4a 4b", "4a 4b"),
        ("6:a 6:b 4a 4b", "6:a 4a 6:b 4b"),
        ("4a 4b 4c 6:a", "4a 6:a 4b 4c"),
        ("4a 6:a 6:b 6:c", "4a 6:a 6:b 6:c"),
    ],
)
def test_families_take_turns(given: str, expected: str) -> None:
    assert by_turns(given.split()) == tuple(expected.split())
