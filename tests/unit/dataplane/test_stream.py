"""Words exchanged on one socket before bytes flow: read to the exact byte, written whole, with a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rig import Rig, plan, reset, server

from ferryman.dataplane import stream
from ferryman.dataplane.session import Session
from ferryman.dataplane.stream import ClientStream, Gone, TimeUp

pytestmark = pytest.mark.twin

Story = Callable[[ClientStream], Awaitable[Any]]


class Telling(Session):
    """A session whose journey is a story about its client's socket; `result` is its end."""

    __slots__ = ("result", "story")
    result: Any
    story: Story

    async def journey(self) -> None:
        try:
            self.result = await self.story(ClientStream(self))
        except (Gone, TimeUp) as problem:
            self.result = problem.with_traceback(None)
        self.end("--", "fin", "")


def begin(rig: Rig, story: Story, seconds: float = 5.0) -> tuple[Telling, socket.socket]:
    rig.follow(plan(server(1)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    rig.peers.append(client)
    listener = rig.worker.generation.plan.listeners[0]
    session = Telling(rig.worker, listener, ours.detach(), "127.0.0.1", 4711)
    session.story, session.result = story, None
    session.deadline = rig.worker.loop.now + seconds
    assert rig.worker.generation.claim(listener)
    rig.worker.begin(session)
    return session, client


def done(rig: Rig, session: Telling) -> Any:
    rig.run(lambda: session.result is not None)
    return session.result


def a_line(data: bytes) -> tuple[bytes, int] | None:
    end = data.find(b"\n") + 1
    return (data[:end], end) if end else None


def test_a_head_is_taken_to_the_exact_byte(rig: Rig) -> None:
    async def story(client: ClientStream) -> list[bytes]:
        heads = [await client.head(a_line, 100) for _ in range(2)]
        return [*heads, await client.first(100)]

    session, client = begin(rig, story)
    client.sendall(b"one\ntwo\nrest")
    assert done(rig, session) == [b"one\n", b"two\n", b"rest"]


def test_a_head_comes_in_as_many_pieces_as_it_likes(rig: Rig) -> None:
    session, client = begin(rig, lambda client: client.head(a_line, 1000))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(stream.PIECES + 10):
        client.sendall(b"x")
        rig.turns(0)
    client.sendall(b"\nx")
    assert done(rig, session) == b"x" * (stream.PIECES + 10) + b"\n"


def test_what_was_sent_ahead_does_not_keep_the_rest_of_a_head_out(rig: Rig) -> None:
    """The kernel opens the window again once its buffer has much room: half a head must not be what takes it."""
    line = b"x" * 60 + b"\n"
    count = 5000

    async def story(client: ClientStream) -> int:
        for number in range(count):
            assert await client.head(a_line, 65535) == line, number
        return count

    session, client = begin(rig, story, 8.0)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.sendall, line * count)
        assert done(rig, session) == count
        sent.result(5)


def test_what_is_looked_at_stays(rig: Rig) -> None:
    async def story(client: ClientStream) -> list[bytes | None]:
        seen = await client.look(a_line, 100)
        client.expect(1)
        return [seen, client.peek(100)]

    session, client = begin(rig, story)
    for piece in (b"on", b"e\n", b"rest"):
        client.sendall(piece)
        if piece != b"e\n":
            rig.turns(1)
    assert done(rig, session)[0] == b"one\n"
    assert session.result[1] is not None
    assert session.result[1].startswith(b"one\n")


def test_many_pieces_are_looked_at_less_often(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PIECES", 3)
    looks: list[int] = []

    def counting(data: bytes) -> tuple[bytes, int] | None:
        looks.append(len(data))
        return a_line(data)

    session, client = begin(rig, lambda client: client.head(counting, 1000))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    since = time.monotonic()
    for _ in range(200):
        client.sendall(b"x")
        rig.turns(0)
    client.sendall(b"\n")
    assert done(rig, session) == b"x" * 200 + b"\n"
    assert len(looks) <= 5 + (time.monotonic() - since) / stream.PAUSE


def test_one_who_leaves_is_told_from_one_who_is_reset(rig: Rig) -> None:
    session, client = begin(rig, lambda client: client.head(a_line, 100))
    client.close()
    assert (done(rig, session).how, session.result.reason) == ("fin", "client: closed without a word")
    session, client = begin(rig, lambda client: client.head(a_line, 100))
    client.sendall(b"half")
    client.shutdown(socket.SHUT_WR)
    assert done(rig, session).reason == "client: closed in the middle of a head"
    session, client = begin(rig, lambda client: client.head(a_line, 100))
    rig.turns(1)
    reset(client)
    assert done(rig, session).how == "rst"


def test_it_takes_no_longer_than_the_deadline(rig: Rig) -> None:
    for story in (lambda client: client.head(a_line, 100), lambda client: client.send(bytes(20_000_000))):
        session, client = begin(rig, story, 0.1)
        client.sendall(b"half")
        assert isinstance(done(rig, session), TimeUp)


def test_all_of_it_is_written_as_the_other_side_reads(rig: Rig) -> None:
    async def story(client: ClientStream) -> str:
        await client.send(b"0123456789" * 1_000_000)
        return "sent"

    session, client = begin(rig, story)
    assert len(rig.read(client, 10_000_000)) == 10_000_000
    assert done(rig, session) == "sent"


def test_a_last_word_arrives_though_more_was_sent_than_read(rig: Rig) -> None:
    async def story(client: ClientStream) -> str:
        await client.first()
        await client.farewell(b"no\n")
        return "over"

    session, client = begin(rig, story)
    client.sendall(bytes(200_000))
    assert rig.read(client, 100) == b"no\n"
    for _ in range(3):
        client.sendall(bytes(1000))
        rig.turns(1)
    assert session.result is None, "it is listened to, so that no RST overtakes the answer"
    client.close()
    assert done(rig, session) == "over"


def test_a_last_word_waits_for_nobody_for_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GOODBYE", 0.1)

    async def story(client: ClientStream) -> str:
        await client.farewell(b"no\n")
        return "over"

    session, client = begin(rig, story)
    assert done(rig, session) == "over"
    assert client.recv(10) == b"no\n"
