"""Sessions of a real worker ask; the test is the supervisor at the other end of the channel."""

from __future__ import annotations

import base64
import json
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from rig import Rig, plan, server

from ferryman.dataplane.channel import send_order
from ferryman.dataplane.questions import Minted, Unanswered, Unresolved
from ferryman.dataplane.session import Session
from ferryman.plan import Bump, Connect, Learn, Plan

Story = Callable[[Session], Awaitable[Any]]
BUMP = Bump("ca.pem", "ca.key", cache=200_000, learn=Learn(3, 60.0))
DER = b"\x30\x82 the server's certificate"


class Asking(Session):
    """A session whose journey is one question; `heard` is the answer, or the exception."""

    __slots__ = ("heard", "story")
    heard: Any
    story: Story

    async def journey(self) -> None:
        try:
            self.heard = await self.story(self)
        except Unanswered as failure:
            self.heard = failure.with_traceback(None)
        self.end("--", "fin", "")


class Asked:
    """A worker with sessions that ask, and what the supervisor hears."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.questions = rig.worker.questions
        self.far: list[socket.socket] = []

    def follow(self, **connect: Any) -> Plan:
        made = Connect(**{"authenticate": True, "users": (("alice", "hash"),), "bump": BUMP, **connect})
        new = plan(server(1), listener={"connect": made, "mode": "connect"}, more=["other"])
        self.rig.follow(new)
        return new

    def begin(self, story: Story, listener: int = 0, client: str = "192.0.2.7") -> Asking:
        ours, theirs = socket.socketpair()
        self.far.append(theirs)
        generation = self.rig.worker.generation
        made = Asking(self.rig.worker, generation.plan.listeners[listener], ours.detach(), client, 4711)
        made.story, made.heard = story, None
        assert generation.claim(made.listener)
        self.rig.worker.begin(made)
        return made

    def asked(self, what: str) -> list[dict[str, Any]]:
        return [report for report in self.rig.reports("ask") if report["what"] == what]

    def answer(self, number: int, value: Any, error: str = "", text: str = "") -> None:
        send_order(self.rig.channel, ("answer", number, value, error, text))

    def heard(self, *sessions: Asking) -> list[Any]:
        """Let the worker run until these have an answer."""
        self.rig.run(lambda: all(session.heard is not None for session in sessions))
        return [session.heard for session in sessions]

    def hear(self, story: Story, value: Any, error: str = "", text: str = "") -> Any:
        """One question, answered."""
        session = self.begin(story)
        self.answer(self.rig.reports("ask")[-1]["id"], value, error, text)
        return self.heard(session)[0]


@pytest.fixture
def asked(rig: Rig) -> Any:
    made = Asked(rig)
    made.follow()
    yield made
    for sock in made.far:
        sock.close()


def resolve(host: str) -> Story:
    return lambda session: session.worker.questions.resolve(session, host)


def verify(user: str, password: str) -> Story:
    return lambda session: session.worker.questions.verify(session, user, password)


def mint(certificate: bytes | None, name: str, reason: str = "") -> Story:
    return lambda session: session.worker.questions.mint(session, certificate, name, reason)


# waiting


def test_a_session_waits_for_its_answer_while_others_go_on(asked: Asked) -> None:
    one, two = asked.begin(resolve("one.example")), asked.begin(resolve("two.example"))
    first, second = asked.asked("resolve")
    assert [first["arguments"], second["arguments"]] == [
        [one.record.client_host, "one.example"],
        [two.record.client_host, "two.example"],
    ]
    assert first["listener"] == "web"
    asked.answer(second["id"], ["192.0.2.2"])
    assert asked.heard(two) == [((socket.AF_INET, "192.0.2.2"),)]
    assert one.heard is None
    asked.answer(first["id"], ["2001:db8::1", "192.0.2.1"])
    assert asked.heard(one) == [((socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "192.0.2.1"))]


def test_the_same_question_is_asked_once(asked: Asked) -> None:
    sessions = [asked.begin(resolve("one.example")) for _ in range(3)]
    (report,) = asked.asked("resolve")
    asked.answer(report["id"], ["192.0.2.1"])
    assert asked.heard(*sessions) == [((socket.AF_INET, "192.0.2.1"),)] * 3


def test_another_listener_asks_for_itself(asked: Asked) -> None:
    asked.begin(resolve("one.example"))
    asked.begin(resolve("one.example"), listener=1)
    assert [report["listener"] for report in asked.asked("resolve")] == ["web", "other"]


def test_no_answer_in_time(asked: Asked) -> None:
    asked.follow(resolve_timeout=0.05)
    session = asked.begin(resolve("slow.example"))
    (failure,) = asked.heard(session)
    assert isinstance(failure, Unresolved)
    assert failure.error == "dns_timeout"
    asked.answer(asked.asked("resolve")[0]["id"], ["192.0.2.1"])  # too late: nobody is there any more
    asked.rig.turns(2)
    assert asked.rig.over()


def test_the_session_own_deadline_holds_and_is_given_back(asked: Asked) -> None:
    async def story(session: Session) -> float:
        session.deadline = own = session.worker.loop.now + 0.05
        with pytest.raises(Unresolved):
            await session.worker.questions.resolve(session, "slow.example")
        assert session.expired
        assert session.deadline == own
        session.deadline = own = session.worker.loop.now + 1000
        await session.worker.questions.resolve(session, "quick.example")
        return session.deadline - own

    session = asked.begin(story)
    asked.rig.run(lambda: len(asked.asked("resolve")) == 2)
    asked.answer(asked.asked("resolve")[1]["id"], ["192.0.2.1"])
    assert asked.heard(session) == [0.0]


def test_a_session_that_is_cut_waits_no_more(asked: Asked) -> None:
    session, other = asked.begin(resolve("one.example")), asked.begin(resolve("two.example"))
    session.cut("K-", "killed", "")
    for report in asked.asked("resolve"):
        asked.answer(report["id"], ["192.0.2.1"])
    asked.heard(other)
    assert session.heard is None
    again = asked.begin(resolve("one.example"))
    assert again.heard is None, "an answer nobody waited for was not kept"
    assert len(asked.asked("resolve")) == 3


def test_one_of_several_that_wait_may_be_cut(asked: Asked) -> None:
    session, other = asked.begin(resolve("one.example")), asked.begin(resolve("one.example"))
    session.cut("K-", "killed", "")
    asked.answer(asked.asked("resolve")[0]["id"], ["192.0.2.1"])
    assert asked.heard(other) == [((socket.AF_INET, "192.0.2.1"),)]


def test_answers_to_what_nobody_asked(asked: Asked) -> None:
    asked.answer(99, ["192.0.2.1"])
    asked.rig.turns(2)
    assert not asked.rig.worker.status


# names


def test_names_are_remembered_for_a_moment(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.dataplane.questions.NAME_TTL", 1.0)
    assert asked.hear(resolve("one.example"), ["192.0.2.1"])
    assert asked.heard(asked.begin(resolve("one.example"))) == [((socket.AF_INET, "192.0.2.1"),)]
    assert len(asked.asked("resolve")) == 1
    late = asked.rig.worker.loop.now + 1.0
    asked.rig.run(lambda: asked.rig.worker.loop.now >= late)
    asked.begin(resolve("one.example"))
    assert len(asked.asked("resolve")) == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "::ffff:1.2.3.4"])
def test_addresses_need_nobody(asked: Asked, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    assert asked.heard(asked.begin(resolve(host))) == [((family, host),)]
    assert not asked.asked("resolve")


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "a\0b", "fe80::1%lo", "x" * 253])
def test_what_only_looks_like_an_address_is_asked_for(asked: Asked, host: str) -> None:
    asked.begin(resolve(host))
    assert asked.asked("resolve")[0]["arguments"][1:] == [host]


@pytest.mark.parametrize(
    ("error", "shown"), [("dns_error", "dns_error"), ("dns_timeout", "dns_timeout"), ("busy", "dns_error")]
)
def test_names_that_do_not_resolve(asked: Asked, error: str, shown: str) -> None:
    failure = asked.hear(resolve("no.example"), None, error, "Name or service not known")
    assert isinstance(failure, Unresolved)
    assert (failure.error, failure.text) == (shown, "Name or service not known")
    asked.begin(resolve("no.example"))
    assert len(asked.asked("resolve")) == 2, "a failure is not remembered here"


def test_what_is_too_long_is_not_asked(asked: Asked) -> None:
    (failure,) = asked.heard(asked.begin(resolve("x" * 254)))
    assert isinstance(failure, Unresolved)
    assert failure.text == "the name is too long"
    assert asked.heard(asked.begin(verify("alice", "x" * 1025)), asked.begin(verify("a" * 60_000, "x"))) == [
        False,
        False,
    ]
    (failure,) = asked.heard(asked.begin(mint(b"x" * 65537, "a", "")))
    assert isinstance(failure, Unanswered), "a certificate that resembles nothing would vouch for a name"
    asked.begin(mint(None, "a" * 300, "why" * 1000))
    (report,) = asked.rig.reports("ask")
    assert [len(text) for text in report["arguments"]] == [0, 253, 200]


# passwords


def test_who_was_verified_is_believed_for_a_time(asked: Asked) -> None:
    assert asked.hear(verify("alice", "geheim:1"), True) is True
    assert asked.asked("verify")[0]["arguments"] == ["192.0.2.7", "alice", "geheim:1"]
    assert asked.heard(asked.begin(verify("alice", "geheim:1"), client="192.0.2.9")) == [True]
    assert len(asked.asked("verify")) == 1
    asked.begin(verify("alice", "geheim:2"))
    asked.begin(verify("alice\0geheim:1", ""))
    asked.begin(verify("alice", "geheim:1"), listener=1)
    assert len(asked.asked("verify")) == 4, "only exactly that, and only there"


def test_the_time_is_the_listeners(asked: Asked) -> None:
    asked.follow(credentials_ttl=0.0)
    assert asked.hear(verify("alice", "x"), True) is True
    asked.begin(verify("alice", "x"))
    assert len(asked.asked("verify")) == 2


def test_what_is_wrong_is_asked_each_time(asked: Asked) -> None:
    assert asked.hear(verify("alice", "x"), False) is False
    asked.begin(verify("alice", "x"))
    assert len(asked.asked("verify")) == 2


def test_too_busy_to_verify(asked: Asked) -> None:
    failure = asked.hear(verify("alice", "x"), None, "busy", "too many")
    assert isinstance(failure, Unanswered)
    assert failure.error == "busy"


def test_names_of_users_without_case(asked: Asked) -> None:
    asked.follow(ignore_case=True)
    assert asked.hear(verify("Alice", "X"), True) is True
    assert asked.asked("verify")[0]["arguments"] == ["192.0.2.7", "alice", "X"]
    assert asked.heard(asked.begin(verify("aLICE", "X"))) == [True]


def test_a_reload_forgets_users_that_changed_and_only_those(asked: Asked) -> None:
    assert asked.hear(verify("alice", "x"), True) is True
    asked.follow(realm="another")
    assert asked.heard(asked.begin(verify("alice", "x"))) == [True]
    asked.follow(users=(("alice", "another hash"),))
    asked.begin(verify("alice", "x"))
    assert len(asked.asked("verify")) == 2


def test_strange_characters_in_credentials(asked: Asked) -> None:
    assert asked.hear(verify("al\udce4ice", "\0\n☃"), True) is True
    assert asked.asked("verify")[0]["arguments"] == ["192.0.2.7", "al\udce4ice", "\0\n☃"]


def test_a_password_is_not_kept(asked: Asked) -> None:
    assert asked.hear(verify("alice", "sehr-geheim"), True) is True
    for holder in (asked.questions._open, asked.questions._keys, asked.questions._credentials):
        assert "sehr-geheim" not in repr(holder)


# certificates


def test_minted_certificates_are_remembered(asked: Asked) -> None:
    minted = asked.hear(mint(DER, "a.example"), ["CHAIN", "KEY"])
    assert isinstance(minted, Minted)
    assert (minted.chain_pem, minted.key_pem, minted.context) == ("CHAIN", "KEY", None)
    der, name, reason = asked.asked("mint")[0]["arguments"]
    assert (base64.b64decode(der), name, reason) == (DER, "a.example", "")
    minted.context = "made of it"
    (again,) = asked.heard(asked.begin(mint(DER, "other.example")))
    assert again is minted, "a certificate is the server's, whatever the client called it"


def test_what_makes_another_certificate(asked: Asked) -> None:
    stories = [mint(DER, "a"), mint(DER, "a", "expired"), mint(DER + b"x", "a"), mint(None, "a"), mint(None, "b")]
    for number, story in enumerate(stories):
        assert asked.hear(story, [f"CHAIN {number}", "KEY"]).chain_pem == f"CHAIN {number}"
    assert [asked.heard(asked.begin(story))[0].chain_pem[-1] for story in stories] == list("01234")


def test_sessions_that_wait_for_one_certificate_get_one(asked: Asked) -> None:
    one, two = asked.begin(mint(DER, "a")), asked.begin(mint(DER, "a"))
    asked.answer(asked.asked("mint")[0]["id"], ["CHAIN", "KEY"])
    first, second = asked.heard(one, two)
    assert first is second


def test_certificates_are_kept_within_the_cache(asked: Asked) -> None:
    for number in range(20):
        asked.hear(mint(None, f"n{number}"), ["C" * 1000, "KEY"])
    count = len(asked.asked("mint"))
    asked.heard(asked.begin(mint(None, "n19")))
    assert len(asked.asked("mint")) == count
    asked.begin(mint(None, "n0"))
    assert len(asked.asked("mint")) == count + 1


def test_a_reload_brings_new_certificates(asked: Asked) -> None:
    waiting = asked.begin(mint(None, "b"))
    asked.hear(mint(None, "a"), ["CHAIN", "KEY"])
    asked.follow()
    asked.answer(asked.asked("mint")[0]["id"], ["OLD", "KEY"])
    assert asked.heard(waiting)[0].chain_pem == "OLD"
    asked.begin(mint(None, "a"))
    asked.begin(mint(None, "b"))
    assert len(asked.asked("mint")) == 4


def test_refused_to_mint(asked: Asked) -> None:
    failure = asked.hear(mint(DER, "a"), None, "refused", "no such listener")
    assert isinstance(failure, Unanswered)
    assert (failure.error, str(failure)) == ("refused", "no such listener")


# learning


def test_a_refused_certificate_is_reported_where_that_is_learned(asked: Asked) -> None:
    async def story(session: Session) -> bool:
        asked.questions.bump_failed(session, "a.example")
        return True

    asked.heard(asked.begin(story))
    (report,) = asked.asked("bump_failed")
    assert (report["id"], report["arguments"]) == (0, ["192.0.2.7", "a.example"])
    asked.follow(bump=replace(BUMP, learn=None))
    asked.heard(asked.begin(story))
    assert len(asked.asked("bump_failed")) == 1


def test_what_was_learned_holds_for_client_and_name_for_its_time(asked: Asked) -> None:
    async def story(session: Session) -> list[bool]:
        return [asked.questions.learned(session, name) for name in ("a.example", "b.example")]

    assert asked.heard(asked.begin(story)) == [[False, False]]
    now = asked.rig.worker.loop.now
    learned = {("web", "192.0.2.7", "a.example"): now + 100, ("web", "192.0.2.7", "b.example"): now - 1}
    send_order(asked.rig.channel, ("learned", learned))
    asked.rig.turns(2)
    assert asked.heard(asked.begin(story)) == [[True, False]]
    assert asked.heard(asked.begin(story, client="192.0.2.8")) == [[False, False]]
    assert asked.heard(asked.begin(story, listener=1)) == [[False, False]]


# the channel


def test_many_questions_at_once_never_hold_up_the_worker(asked: Asked) -> None:
    """Both sides say more than the channel takes; a worker that waited for room would wait for ever."""
    certificate = b"c" * 3000
    sessions = [asked.begin(mint(certificate + b"%d" % number, "a")) for number in range(400)]
    answered = 0

    def all_said() -> bool:
        nonlocal answered
        if select.select([asked.rig.channel], [], [], 0)[0]:
            reports = asked.asked("mint")
            for report in reports[answered:]:
                asked.answer(report["id"], ["C", "K"])
            answered = len(reports)
        return answered == 400

    asked.rig.run(all_said)
    assert len({id(minted) for minted in asked.heard(*sessions)}) == 400


def test_a_report_is_one_line_of_json_whatever_is_in_it(asked: Asked) -> None:
    asked.begin(resolve('"\\\n\u2028é'))
    assert json.loads(json.dumps(asked.asked("resolve")[0]))["arguments"][1:] == ['"\\\n\u2028é']


def test_nothing_is_left_of_sessions_that_asked(asked: Asked) -> None:
    session = asked.begin(resolve("one.example"))
    asked.answer(asked.asked("resolve")[0]["id"], ["192.0.2.1"])
    asked.heard(session)
    asked.rig.run(asked.rig.over)
    assert sys.getrefcount(session) == 2
    assert not asked.questions._open
    assert not asked.questions._keys
