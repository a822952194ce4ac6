"""Who is believed, who waits, and for how long: against real hashes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from plans import listener, make_plan

from ferryman.controlplane import credentials as module
from ferryman.controlplane.credentials import BusyError, Credentials
from ferryman.plan import Connect, Plan
from ferryman.rules.passwords import Passwords, check_hash

SECRET = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="  # of "password"
OTHER = "{SHA}Ys23Ag/5IOWqZCw9QGaVDdHwH00="  # of "bar"
BCRYPT = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"


def plan(users: dict[str, str], **connect: Any) -> Plan:
    made = Connect(users=tuple(users.items()), authenticate=True, **connect)
    return make_plan(
        [listener("out", mode="connect", connect=made), listener("other", mode="connect", connect=made)], {}
    )


class Door:
    """Credentials, with how often a hash was checked and how long was waited, without waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: list[str] = []
        self.waits: list[float] = []
        self.ahead = 0.0  # of a clock that stands still otherwise
        begun = time.monotonic()
        real_verify, real_sleep = Passwords.verify, asyncio.sleep

        def verify(passwords: Passwords, user: str, password: str) -> bool:
            self.checked.append(user)
            return real_verify(passwords, user, password)

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            await real_sleep(0.01)

        monkeypatch.setattr(module.Passwords, "verify", verify)
        monkeypatch.setattr(module.asyncio, "sleep", sleep)
        monkeypatch.setattr(module, "monotonic", lambda: begun + self.ahead)
        self.credentials = Credentials()
        self.credentials.follow(plan({"alice": SECRET}))

    async def login(self, user: str, password: str, client: str = "192.0.2.7", at: str = "out") -> bool:
        return await self.credentials.verify(at, client, user, password)


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Door], Awaitable[None]]], None]:
    def run(story: Callable[[Door], Awaitable[None]]) -> None:
        async def whole() -> None:
            door = Door(monkeypatch)
            try:
                await story(door)
            finally:
                door.credentials.stop()

        asyncio.run(whole())

    return run


Tell = Callable[[Callable[[Door], Awaitable[None]]], None]


def test_right_and_wrong(tell: Tell) -> None:
    async def story(door: Door) -> None:
        assert await door.login("alice", "password")
        assert not await door.login("alice", "Password")
        assert not await door.login("bob", "password")
        assert not await door.login("alice", "")
        assert not await door.login("", "password")
        assert not await door.login("alice", "password", at="no such listener")

    tell(story)


def test_a_slow_hash_in_a_thread(tell: Tell) -> None:
    if check_hash(BCRYPT):
        pytest.skip("this system's libcrypt does not know bcrypt")

    async def story(door: Door) -> None:
        door.credentials.follow(plan({"alice": BCRYPT}))
        assert await door.login("alice", "myPassword")
        assert not await door.login("alice", "mypassword")

    tell(story)


def test_who_was_right_is_believed_for_a_time(tell: Tell) -> None:
    async def story(door: Door) -> None:
        door.credentials.follow(plan({"alice": SECRET}, credentials_ttl=100.0))
        for _ in range(3):
            assert await door.login("alice", "password")
        assert await door.login("alice", "password", client="192.0.2.8")
        assert len(door.checked) == 1
        assert await door.login("alice", "password", at="other")
        assert len(door.checked) == 2, "each listener has users of its own"
        door.ahead = 101
        assert await door.login("alice", "password")
        assert len(door.checked) == 3

    tell(story)


def test_what_is_between_user_and_password_counts(tell: Tell) -> None:
    async def story(door: Door) -> None:
        door.credentials.follow(plan({"alice": SECRET, "alice:": SECRET}))
        assert await door.login("alice", "password")
        assert not await door.login("alice:", ":password")
        assert not await door.login("alic", "epassword")

    tell(story)


def test_mistakes_make_an_address_wait_longer_and_longer(tell: Tell) -> None:
    async def story(door: Door) -> None:
        for number in range(10):
            assert not await door.login("alice", f"guess {number}")
        assert door.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
        await door.login("alice", "password", client="198.51.100.1")
        assert len(door.waits) == 9, "others do not wait"
        assert await door.login("alice", "password")
        assert len(door.waits) == 9, "what is known to be right needs no check"
        assert await door.login("alice", "password", at="other")
        assert not await door.login("alice", "one more")
        assert door.waits[9:] == [5.0, 5.0], "a right one shortens no wait"
        door.ahead = module.CALM
        assert not await door.login("alice", "much later")
        assert len(door.waits) == 11

    tell(story)


def test_the_same_mistake_again_is_no_new_one(tell: Tell) -> None:
    async def story(door: Door) -> None:
        for _ in range(4):
            assert not await door.login("alice", "an old password")
        assert door.checked == ["alice"]
        assert door.waits == [0.1, 0.1, 0.1]
        door.ahead = module.WRONG_TTL
        assert not await door.login("alice", "an old password")
        assert len(door.checked) == 2

    tell(story)


@pytest.mark.parametrize(("other", "same"), [("2001:db8::ffff", True), ("2001:db8:0:1::1", False)])
def test_a_customer_with_many_addresses_is_one(tell: Tell, other: str, same: bool) -> None:
    async def story(door: Door) -> None:
        await door.login("alice", "wrong", client="2001:db8::1")
        await door.login("alice", "wrong, too", client=other)
        assert bool(door.waits) is same

    tell(story)


def test_only_some_guesses_of_one_address_at_a_time(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_ADDRESS", 3)

    async def story(door: Door) -> None:
        await door.login("alice", "wrong")
        outcomes = await asyncio.gather(
            *(door.login("alice", f"guess {number}") for number in range(10)),
            door.login("alice", "password", client="198.51.100.1"),
            return_exceptions=True,
        )
        assert [outcome for outcome in outcomes[:10] if outcome is False] == [False] * 3
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes[:10]) == 7
        assert outcomes[10] is True
        assert not await door.login("alice", "later"), "the places are given back"
        assert not door.credentials._waiting

    tell(story)


def test_guesses_that_came_before_the_first_was_found_wrong_are_no_better_off(tell: Tell) -> None:
    async def story(door: Door) -> None:
        outcomes = await asyncio.gather(
            *(door.login("alice", f"guess {number}") for number in range(40)),
            door.login("alice", "password", client="198.51.100.1"),
            return_exceptions=True,
        )
        at_once = module.THREADS + 1  # the one from elsewhere among them
        assert len(door.checked) <= at_once + module.PER_ADDRESS
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes[:40]) == 41 - len(door.checked)
        assert outcomes[40] is True
        assert len(door.waits) >= len(door.checked) - at_once, "those who stay wait as if they had come later"
        assert not door.credentials._waiting

    tell(story)


def test_one_address_leaves_room_for_others(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_FRESH_ADDRESS", 4)
    monkeypatch.setattr(module, "CHECKING", 5)

    async def story(door: Door) -> None:
        people = [f"u{number}" for number in range(8)]
        door.credentials.follow(plan(dict.fromkeys([*people, "alice"], SECRET)))
        outcomes = await asyncio.gather(
            *(door.login(user, "password") for user in people),
            door.login("alice", "password", client="198.51.100.1"),
            return_exceptions=True,
        )
        assert outcomes[:4] == [True] * 4
        assert all(isinstance(outcome, BusyError) for outcome in outcomes[4:8])
        assert outcomes[8] is True

    tell(story)


def test_many_people_behind_one_address_are_no_guesses(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_ADDRESS", 3)

    async def story(door: Door) -> None:
        people = [f"u{number}" for number in range(20)]
        door.credentials.follow(plan(dict.fromkeys(people, SECRET)))
        assert all(await asyncio.gather(*(door.login(user, "password") for user in people)))

    tell(story)


def test_only_so_many_altogether(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKING", 2)

    async def story(door: Door) -> None:
        outcomes = await asyncio.gather(
            *(door.login("alice", f"{number}", client=f"192.0.2.{number}") for number in range(10)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes) == 8
        assert len(door.checked) == 2
        monkeypatch.setattr(module, "WAITING", 0)
        with pytest.raises(BusyError):
            await door.login("alice", "password")

    tell(story)


def test_the_tables_are_bounded(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(door: Door) -> None:
        door.credentials._known.limit = door.credentials._mistakes.limit = 20
        for number in range(100):
            await door.login("alice", f"{number}", client=f"192.0.2.{number}")
        assert (len(door.credentials._known), len(door.credentials._mistakes)) == (20, 20)

    tell(story)


def test_a_reload_checks_everybody_again_where_users_changed(tell: Tell) -> None:
    async def story(door: Door) -> None:
        assert await door.login("alice", "password")
        door.credentials.follow(plan({"alice": SECRET}, realm="another"))
        assert await door.login("alice", "password")
        assert len(door.checked) == 1
        door.credentials.follow(plan({"alice": OTHER}))
        assert not await door.login("alice", "password")
        assert await door.login("alice", "bar")
        door.credentials.follow(plan({}))
        assert not await door.login("alice", "bar")
        same = plan({"alice": OTHER})
        door.credentials.follow(replace(same, listeners=()))
        assert not await door.login("alice", "bar")

    tell(story)


def test_a_reload_while_a_hash_is_checked(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(door: Door) -> None:
        await door.login("alice", "wrong")
        waiting = asyncio.create_task(door.login("alice", "password"))
        await asyncio.sleep(0)
        door.credentials.follow(plan({"alice": OTHER}))
        assert await waiting, "it was right when it was asked"
        assert not await door.login("alice", "password")

    tell(story)


def test_no_password_is_kept(tell: Tell) -> None:
    async def story(door: Door) -> None:
        await door.login("alice", "sehr-geheim")
        await door.login("alice", "password")
        assert "geheim" not in repr(vars(door.credentials))
        assert "password" not in repr(door.credentials._known._entries)

    tell(story)
