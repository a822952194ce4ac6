"""A body on its way: as much as can be moved now, to its very end, and what breaks off."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import pytest
from rig import Rig, reset

from ferryman.dataplane.body import BadBody, Body
from ferryman.dataplane.loop import EDGE
from ferryman.dataplane.session import Session
from ferryman.dataplane.stream import Gone, Stream
from ferryman.wire.http1 import Framing

pytestmark = pytest.mark.twin


class Ends:
    """A source and a sink, and their far ends."""

    def __init__(self, rig: Rig) -> None:
        self.writer, source = _pair()
        self.reader, sink = _pair()
        self.own = source, sink
        session = cast(Session, SimpleNamespace(worker=rig.worker))
        for sock in self.own:
            sock.setblocking(False)
            rig.worker.loop.epoll.register(sock, EDGE)
        self.source = Stream(session, source.fileno(), 0, "source")
        self.sink = Stream(session, sink.fileno(), 0, "sink")

    def body(self, framing: int | Framing, bare: bool = False) -> Body:
        return Body(self.source, self.sink, framing, bare)


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        return far, listening.accept()[0]


@pytest.fixture
def ends(rig: Rig) -> Iterator[Ends]:
    ends = Ends(rig)
    yield ends
    for stream in (ends.source, ends.sink):
        rig.worker.loop.table[stream.fd] = None
    for sock in (ends.writer, ends.reader, *ends.own):
        sock.close()


def test_a_body_of_known_length_ends_where_it_ends(ends: Ends) -> None:
    ends.writer.sendall(b"hellonext")
    body = ends.body(5)
    assert body.starved
    assert body.step()
    assert (body.finished, body.moved, ends.reader.recv(9)) == (True, 5, b"hello")
    assert not body.step()
    assert ends.source.peek(9) == b"next"


def test_chunks_pass_as_they_are_or_bare(ends: Ends) -> None:
    data = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    for bare, expected in ((False, data), (True, b"abcde")):
        ends.writer.sendall(data)
        body = ends.body(Framing.CHUNKED, bare)
        while not body.finished:
            body.step()
        assert ends.reader.recv(99) == expected


def test_up_to_the_end_of_the_connection(ends: Ends) -> None:
    body = ends.body(Framing.UNTIL_CLOSE)
    ends.writer.sendall(b"all")
    assert body.step()
    assert not body.finished
    ends.writer.shutdown(socket.SHUT_WR)
    assert body.step()
    assert body.finished


def test_a_full_sink_is_waited_for(ends: Ends) -> None:
    body = ends.body(Framing.UNTIL_CLOSE)
    ends.writer.setblocking(False)
    while not body.rest or body.step():
        with suppress(BlockingIOError):
            ends.writer.send(bytes(1 << 20))
        body.step()
    assert not body.starved
    before = body.moved
    assert ends.reader.recv(1 << 20)
    while not body.step():
        assert ends.reader.recv(1 << 20)
    assert body.moved > before


@pytest.mark.parametrize("framing", [5, Framing.CHUNKED])
def test_what_breaks_off_never_finishes(ends: Ends, framing: int | Framing) -> None:
    ends.writer.sendall(b"4\r\n")
    ends.writer.shutdown(socket.SHUT_WR)
    body = ends.body(framing)
    assert body.step()
    with pytest.raises(Gone) as gone:
        body.step()
    assert (gone.value.stream, gone.value.reason) == (ends.source, "source: closed in the middle of a body")
    assert not body.finished


def test_chunks_that_are_none(ends: Ends) -> None:
    ends.writer.sendall(b"zz\r\n")
    with pytest.raises(BadBody) as bad:
        ends.body(Framing.CHUNKED).step()
    assert bad.value.stream is ends.source


def test_a_sink_that_is_gone_is_to_blame(ends: Ends) -> None:
    body = ends.body(5)
    reset(ends.reader)
    ends.writer.sendall(b"hello")
    with pytest.raises(Gone) as gone:
        body.step()
    assert gone.value.stream is ends.sink
    body.stuck = True
    assert (body.step(), body.finished, body.starved) == (False, False, False)
