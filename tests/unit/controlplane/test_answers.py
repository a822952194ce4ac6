"""Questions as a worker sends them, good and bad, and the orders that answer them."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from authorities import Ca, make_ca, server_certificate
from cryptography import x509
from plans import listener, make_plan

from ferryman.controlplane import answers as module
from ferryman.controlplane.answers import Answers
from ferryman.dataplane.questions import Learned
from ferryman.errors import StartError
from ferryman.plan import Bump, Connect, Learn, Plan

SECRET = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="  # of "password"
CLIENT = "192.0.2.7"


class Worker:
    """A worker as far as answers know one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.heard: list[tuple[Any, ...]] = []

    def order(self, kind: str, *values: object) -> bool:
        assert kind == "answer"
        self.heard.append(values)
        return True


class Desk:
    """Answers by a plan with an explicit proxy that bumps and learns, one that does neither, and a plain listener."""

    def __init__(self, ca: Ca, loop_errors: list[str]) -> None:
        self.told: list[str] = []
        self.pushed: list[Learned] = []
        self.errors = loop_errors
        self.answers = Answers(lambda level, text: self.told.append(text), self.pushed.append)
        self.worker = Worker(4711)
        self.bump = Bump(ca.cert_path, ca.key_path, learn=Learn(1, 60.0))
        self.follow(self.plan())

    def plan(self, **bump: Any) -> Plan:
        connect = Connect(users=(("alice", SECRET),), authenticate=True, bump=replace(self.bump, **bump))
        return make_plan(
            [
                listener("out", mode="connect", connect=connect),
                listener("bare", mode="connect", connect=replace(connect, bump=None)),
                listener("web"),
            ],
            {},
        )

    def follow(self, plan: Plan) -> list[str]:
        prepared = self.answers.prepare(plan)
        self.answers.follow(plan, prepared)
        return prepared.messages

    def send(self, report: Any, worker: Worker | None = None) -> None:
        """As it arrives: through JSON."""
        self.answers.asked(worker or self.worker, json.loads(json.dumps({"kind": "ask", **report})))

    async def answer(self, what: str, *arguments: str, at: str = "out", number: int = 7) -> tuple[Any, str, str]:
        before = len(self.worker.heard)
        self.send({"id": number, "what": what, "listener": at, "arguments": arguments})
        await self.settled()
        ((answered, *rest),) = self.worker.heard[before:]
        assert answered == number
        value, error, text = rest
        return value, error, text

    async def settled(self) -> None:
        async with asyncio.timeout(60):
            while self.answers._tasks:
                await asyncio.gather(*self.answers._tasks)
                await asyncio.sleep(0)


Tell = Callable[[Callable[[Desk], Awaitable[None]]], Desk]


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    return make_ca(tmp_path / "ca")


@pytest.fixture
def tell(ca: Ca) -> Tell:
    def run(story: Callable[[Desk], Awaitable[None]]) -> Desk:
        desks: list[Desk] = []

        async def whole() -> None:
            errors: list[str] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["message"]))
            desks.append(Desk(ca, errors))
            await story(desks[0])
            await desks[0].settled()
            assert not desks[0].answers._open, "every question was answered"
            desks[0].answers.stop()

        asyncio.run(whole())
        return desks[0]

    return run


# what is asked


def test_names(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        for at in ("out", "bare", "web"):
            found, error, text = await desk.answer("resolve", CLIENT, "localhost", at=at)
            assert (error, text) == ("", "")
            assert "127.0.0.1" in found or "::1" in found
        found, error, text = await desk.answer("resolve", CLIENT, "x" * 64 + ".example")
        assert (found, error) == (None, "dns_error")
        assert text

    assert not tell(story).told


def test_passwords(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        assert await desk.answer("verify", CLIENT, "alice", "password") == (True, "", "")
        assert await desk.answer("verify", CLIENT, "alice", "wrong") == (False, "", "")
        assert await desk.answer("verify", CLIENT, "al\udce4ice", "\0") == (False, "", "")
        assert await desk.answer("verify", CLIENT, "alice", "password", at="web") == (False, "", "")

    tell(story)


def test_too_many_guesses(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.credentials.CHECKING", 0)

    async def story(desk: Desk) -> None:
        value, error, text = await desk.answer("verify", CLIENT, "alice", "password")
        assert (value, error, text) == (None, "busy", "too many logins are being checked")

    tell(story)


def test_certificates(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        server = b64encode(server_certificate("a.example", ["a.example"])).decode()
        (chain, key), error, _ = await desk.answer("mint", server, "a.example", "")
        assert not error
        made = x509.load_pem_x509_certificate(chain.encode())
        assert made.subject.rfc4514_string() == "CN=a.example"
        assert made.issuer.rfc4514_string() == "CN=operator's CA"
        assert "PRIVATE KEY" in key
        (shown, same), _, _ = await desk.answer("mint", server, "a.example", "expired")
        assert b"NOT TRUSTED" in x509.load_pem_x509_certificate(shown.encode()).issuer.public_bytes()
        assert same is key
        (alone, _), _, _ = await desk.answer("mint", "", "b.example", "")
        assert x509.load_pem_x509_certificate(alone.encode()).subject.rfc4514_string() == "CN=b.example"

    tell(story)


def test_certificates_that_are_not_made(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        for at, arguments, text in (
            ("bare", ("", "a.example", ""), "this listener opens no TLS"),
            ("web", ("", "a.example", ""), "this listener opens no TLS"),
            ("out", ("!", "a.example", ""), "what should be a certificate is not base64"),
            ("out", ("ü", "a.example", ""), "what should be a certificate is not base64"),
            ("out", ("", "../../etc", ""), "this is no name that a certificate can have"),
            ("gone", ("", "a.example", ""), "the listener is gone"),
        ):
            assert await desk.answer("mint", *arguments, at=at) == (None, "refused", text)

    tell(story)


def test_refused_certificates_are_learned(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        for name, at in (("a.example", "out"), ("a.example", "bare"), ("a\nb", "out"), ("ü", "out"), ("a", "gone")):
            desk.send({"id": 0, "what": "bump_failed", "listener": at, "arguments": [CLIENT, name]})
        assert [entry["name"] for entry in desk.answers.learning.entries()] == ["a.example"]
        assert not desk.worker.heard, "nobody waits for an answer"

    tell(story)


# a worker that is not to be trusted

GOOD = {"id": 1, "what": "resolve", "listener": "out", "arguments": [CLIENT, "localhost"]}


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({**GOOD, "what": "quit"}, "asks for what is not known: 'quit'"),
        ({**GOOD, "what": "__class__"}, "asks for what is not known: '__class__'"),
        ({**GOOD, "what": ["resolve"]}, "asks for what is not known: ['resolve']"),
        ({**GOOD, "what": "x" * 10_000_000}, f"asks for what is not known: '{'x' * 39}"),
        ({}, "asks for what is not known: None"),
        ({**GOOD, "id": "1"}, "malformed question (resolve)"),
        ({**GOOD, "id": None}, "malformed question (resolve)"),
        ({**GOOD, "listener": 3}, "malformed question (resolve)"),
        ({**GOOD, "listener": {}}, "malformed question (resolve)"),
        ({**GOOD, "arguments": "localhost"}, "malformed question (resolve)"),
        ({**GOOD, "arguments": []}, "malformed question (resolve)"),
        ({**GOOD, "arguments": ["a"]}, "malformed question (resolve)"),
        ({**GOOD, "arguments": [CLIENT, None]}, "malformed question (resolve)"),
        ({**GOOD, "arguments": [CLIENT, ["a"]]}, "malformed question (resolve)"),
        ({**GOOD, "arguments": [CLIENT, "a" * 256]}, "a question that is too long (resolve)"),
        ({**GOOD, "what": "verify", "arguments": ["a", "b", "secret" * 1000]}, "a question that is too long (verify)"),
        ({**GOOD, "what": "verify", "arguments": ["a", "secret", 1]}, "malformed question (verify)"),
        ({**GOOD, "what": "bump_failed", "arguments": ["a"]}, "malformed question (bump_failed)"),
    ],
)
def test_nonsense_is_told_once_and_does_nothing(tell: Tell, report: dict[str, Any], told: str) -> None:
    async def story(desk: Desk) -> None:
        desk.send(report)
        desk.send(report)
        await desk.settled()
        answer = (report.get("id"), None, "refused", "malformed question")
        assert desk.worker.heard == ([answer, answer] if isinstance(report.get("id"), int) else [])
        assert desk.told == [f"worker 4711: {told}"]
        found, _, _ = await desk.answer("resolve", CLIENT, "localhost")
        assert found

    tell(story)


def test_ever_new_nonsense_is_not_told_for_ever(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        for number in range(1000):
            desk.send({**GOOD, "what": f"{number}"})
        assert len(desk.told) == len(desk.answers._complained) == 16

    tell(story)


def test_a_listener_that_is_gone(tell: Tell) -> None:
    async def story(desk: Desk) -> None:
        for what, arguments in (("resolve", (CLIENT, "localhost")), ("verify", (CLIENT, "alice", "password"))):
            assert await desk.answer(what, *arguments, at="gone") == (None, "refused", "the listener is gone")

    tell(story)


def test_one_worker_with_too_many_questions_leaves_room_for_others(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 10)

    async def story(desk: Desk) -> None:
        other = Worker(4712)
        for number in range(15):
            desk.send({**GOOD, "id": number})
        desk.send({**GOOD, "id": 1}, other)
        await desk.settled()
        assert [number for number, _, error, _ in desk.worker.heard if error == "busy"] == [10, 11, 12, 13, 14]
        assert sum(not error for _, _, error, _ in desk.worker.heard) == 10
        assert not other.heard[0][2]
        assert (await desk.answer("resolve", CLIENT, "localhost"))[0], "later there is room again"

    tell(story)


def test_a_bug_is_recorded_and_the_session_does_not_wait(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> bool:
        raise ZeroDivisionError

    async def story(desk: Desk) -> None:
        monkeypatch.setattr(desk.answers._credentials, "verify", fail)
        assert await desk.answer("verify", CLIENT, "alice", "pw") == (None, "internal", "internal error")
        assert desk.errors == ["internal error in answering verify"]

    tell(story)


def test_stopping_leaves_questions_open(ca: Ca) -> None:
    async def story() -> None:
        desk = Desk(ca, [])
        desk.send(GOOD)
        desk.answers.stop()
        await asyncio.gather(*desk.answers._tasks, return_exceptions=True)
        assert not desk.worker.heard

    asyncio.run(story())


# plans


def test_what_a_plan_needs_is_read_before_anything_changes(tell: Tell, ca: Ca) -> None:
    async def story(desk: Desk) -> None:
        with pytest.raises(StartError, match="CA certificate /nowhere: No such file"):
            desk.answers.prepare(desk.plan(ca_file="/nowhere"))
        with pytest.raises(StartError, match="listener out: /nowhere is no folder that can be written to"):
            desk.answers.prepare(desk.plan(keep="/nowhere"))
        assert (await desk.answer("mint", "", "a.example", ""))[1] == ""

    tell(story)


def test_a_reload_keeps_certificates_of_the_same_authority(tell: Tell, ca: Ca) -> None:
    async def story(desk: Desk) -> None:
        (chain, _), _, _ = await desk.answer("mint", "", "a.example", "")
        desk.follow(desk.plan(learn=None))
        assert (await desk.answer("mint", "", "a.example", ""))[0][0] is chain
        desk.follow(desk.plan(cache=1 << 20))
        (again, _), _, _ = await desk.answer("mint", "", "a.example", "")
        assert again is not chain
        make_ca(ca.folder, name="the new CA")
        desk.follow(desk.plan(cache=1 << 20))
        (other, _), _, _ = await desk.answer("mint", "", "a.example", "")
        assert x509.load_pem_x509_certificate(other.encode()).issuer.rfc4514_string() == "CN=the new CA"

    tell(story)


def test_minted_certificates_are_kept_where_the_plan_says(tell: Tell, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        desk.follow(desk.plan(keep=str(kept)))
        await desk.answer("mint", "", "a.example", "")
        assert len(list(kept.iterdir())) == 1
        kept.rename(tmp_path / "moved")
        await desk.answer("mint", "", "b.example", "")
        await asyncio.sleep(0)
        assert desk.told == [f"minted certificates cannot be kept in {kept}: No such file or directory"]

    tell(story)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")
def test_a_key_that_only_root_can_read_stays_in_use(ca: Ca) -> None:
    """Read at the start, before the supervisor became another user; a reload cannot read it again."""
    os.chmod(ca.key_path, 0o400)

    async def story() -> None:
        desk = Desk(ca, [])
        os.seteuid(65534)
        try:
            (message,) = desk.follow(desk.plan())
            assert message.endswith("Permission denied; what was read at the start stays in use"), message
            assert (await desk.answer("mint", "", "a.example", ""))[1] == ""
            with pytest.raises(StartError, match="Permission denied"):
                desk.answers.prepare(desk.plan(ca_file=ca.key_path))
        finally:
            os.seteuid(0)
            desk.answers.stop()

    asyncio.run(story())
