"""Refusals are counted per listener, client and name, become a splice for a while, and are forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plans import listener, make_plan

from ferryman.controlplane import learning as module
from ferryman.controlplane.learning import Learning
from ferryman.dataplane.questions import Learned
from ferryman.plan import Bump, Connect, Learn, Plan


def plan(**rules: Learn | None) -> Plan:
    listeners = [
        listener(name, mode="connect", connect=Connect(bump=Bump("ca", "key", learn=rule)))
        for name, rule in rules.items()
    ]
    return make_plan([*listeners, listener("web"), listener("plain", mode="connect", connect=Connect())], {})


class Class:
    """Learning, with what was pushed and told, and a clock that stands still unless it is put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pushed: list[Learned] = []
        self.told: list[str] = []
        self.ahead = 0.0
        self.begun = time.monotonic()
        monkeypatch.setattr(module, "monotonic", lambda: self.begun + self.ahead)
        monkeypatch.setattr(module, "PAUSE", 0.01)
        self.learning = Learning(self.pushed.append, lambda level, text: self.told.append(text))
        self.learning.follow(plan(out=Learn(3, 60.0), other=Learn(1, 600.0), never=None))

    def refuse(self, count: int = 1, name: str = "a.example", client: str = "192.0.2.7", at: str = "out") -> None:
        for _ in range(count):
            self.learning.refused(at, client, name)

    def names(self) -> list[str]:
        return [entry["name"] for entry in self.learning.entries()]

    async def push(self) -> Learned:
        before = len(self.pushed)
        async with asyncio.timeout(60):
            while len(self.pushed) == before:  # noqa: ASYNC110 - a timer sets no event
                await asyncio.sleep(0.005)
        return self.pushed[-1]


Tell = Callable[[Callable[[Class], Awaitable[None]]], None]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Tell:
    def run(story: Callable[[Class], Awaitable[None]]) -> None:
        async def whole() -> None:
            made = Class(monkeypatch)
            await story(made)
            made.learning.stop()

        asyncio.run(whole())

    return run


def test_learned_after_so_many_refusals(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        lesson.refuse(2)
        assert not lesson.names()
        lesson.refuse(1)
        (key, until) = next(iter((await lesson.push()).items()))
        assert key == ("out", "192.0.2.7", "a.example")
        assert until == lesson.begun + 60
        lesson.ahead = 0.5
        (entry,) = lesson.learning.entries()
        assert entry == {"listener": "out", "client": "192.0.2.7", "name": "a.example", "seconds": 59}
        assert lesson.told == ["out: client 192.0.2.7 refused the certificate for a.example 3 times: spliced for 60 s"]

    tell(story)


def test_each_client_name_and_listener_for_itself(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        lesson.refuse(2)
        lesson.refuse(2, name="b.example")
        lesson.refuse(2, client="192.0.2.8")
        assert not lesson.names()
        lesson.refuse(1, at="other")
        lesson.ahead = 0.5
        assert [(e["listener"], e["seconds"]) for e in lesson.learning.entries()] == [("other", 599)]

    tell(story)


@pytest.mark.parametrize("at", ["never", "plain", "web", "no such listener"])
def test_where_nothing_is_learned(tell: Tell, at: str) -> None:
    async def story(lesson: Class) -> None:
        lesson.refuse(10, at=at)
        assert not lesson.names()
        assert not len(lesson.learning._refusals)

    tell(story)


def test_it_ends_by_itself_and_is_counted_anew(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        lesson.refuse(3)
        lesson.ahead = 60
        assert not lesson.names()
        lesson.refuse(2)
        assert not lesson.names()
        lesson.ahead = 120
        lesson.refuse(1)
        assert not lesson.names(), "refusals long ago do not count"

    tell(story)


@pytest.mark.parametrize(("pause", "learned"), [(59.0, True), (61.0, False)])
def test_each_refusal_counts_for_as_long_as_it_is_spliced_then(tell: Tell, pause: float, learned: bool) -> None:
    async def story(lesson: Class) -> None:
        for _ in range(3):
            lesson.refuse()
            lesson.ahead += pause
        lesson.ahead -= pause
        assert bool(lesson.names()) is learned

    tell(story)


def test_forgetting(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        for client in ("192.0.2.7", "192.0.2.8"):
            for name in ("a.example", "b.example"):
                lesson.refuse(3, name, client)
        lesson.refuse(2, "c.example")
        assert len(await lesson.push()) == 4
        assert lesson.learning.forget("", "192.0.2.7", "a.example") == 1
        assert len(await lesson.push()) == 3
        assert lesson.learning.forget("", "", "b.example") == 2
        assert lesson.names() == ["a.example"]
        assert lesson.learning.forget("other", "", "") == 0
        assert lesson.learning.forget("", "", "") == 1
        assert await lesson.push() == {}
        lesson.refuse(1, "c.example")
        assert not lesson.names(), "what was counted so far is forgotten, too"

    tell(story)


def test_changes_are_pushed_together(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        for number in range(50):
            lesson.refuse(3, f"n{number}.example")
        assert len(await lesson.push()) == 50
        assert len(lesson.pushed) == 1

    tell(story)


def test_it_is_bounded(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)

    async def story(lesson: Class) -> None:
        lesson.learning._refusals.limit = 20
        for number in range(100):
            lesson.refuse(1, f"once{number}.example")
        assert len(lesson.learning._refusals) == 20
        for number in range(15):
            lesson.refuse(3, f"n{number}.example")
        assert lesson.names() == [f"n{number}.example" for number in range(14, 4, -1)]

    tell(story)


def test_a_reload_keeps_what_is_still_learned_there(tell: Tell) -> None:
    async def story(lesson: Class) -> None:
        lesson.refuse(3)
        lesson.refuse(1, "b.example", at="other")
        await lesson.push()
        lesson.learning.follow(plan(out=Learn(5, 10.0), other=None))
        assert lesson.names() == ["a.example"]
        pushed: dict[Any, float] = await lesson.push()
        assert [key[0] for key in pushed] == ["out"]
        assert lesson.learning.present() == pushed

    tell(story)
