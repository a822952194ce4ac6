"""Frames between supervisor and worker: whole, in pieces, with descriptors, and from somebody not to be trusted."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator

import pytest

from ferryman.dataplane.channel import Frames, frame, send_order


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    with ours, theirs:
        yield ours, theirs


def drain(frames: Frames, sock: socket.socket) -> None:
    """Receive until nothing is left."""
    sock.setblocking(False)
    while True:
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        frames.receive()


def test_orders_arrive_as_they_were_with_their_descriptors(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    read, write = os.pipe()
    send_order(ours, ("plan", {"a": (1, None)}), [read, write])
    send_order(ours, ("quit",))
    os.close(read)
    os.close(write)
    frames = Frames(theirs, trusted=True)
    drain(frames, theirs)
    (plan, (their_read, their_write)), (end, none) = list(frames.orders())
    assert (plan, end, none) == (("plan", {"a": (1, None)}), ("quit",), [])
    os.write(their_write, b"x")
    assert os.read(their_read, 1) == b"x"
    os.close(their_read)
    os.close(their_write)


def test_more_descriptors_than_one_message_takes(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    sent = [os.dup(0) for _ in range(450)]
    inodes = [os.fstat(number).st_ino for number in sent]
    send_order(ours, ("plan", "x" * 100_000), sent)
    frames = Frames(theirs, trusted=True)
    drain(frames, theirs)
    ((order, received),) = list(frames.orders())
    assert order == ("plan", "x" * 100_000)
    assert [os.fstat(number).st_ino for number in received] == inodes
    for number in sent + received:
        os.close(number)


def test_a_frame_may_come_in_any_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    frames = Frames(theirs, trusted=False)
    got = []
    for byte in frame({"kind": "ready", "generation": 3}):
        ours.sendall(bytes([byte]))
        frames.receive()
        got += list(frames.reports())
    assert got == [{"kind": "ready", "generation": 3}]


def test_the_end_of_the_other_side(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()
    with pytest.raises(EOFError):
        Frames(theirs, trusted=True).receive()


def test_its_end_with_something_unread_is_the_end_too(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(frame({"kind": "event"}))
    ours.close()  # a Unix socket tells this by ECONNRESET
    with pytest.raises(EOFError):
        Frames(theirs, trusted=True).receive()


def test_nothing_there_is_no_news(ends: tuple[socket.socket, socket.socket]) -> None:
    theirs = ends[1]
    theirs.setblocking(False)
    frames = Frames(theirs, trusted=True)
    frames.receive()
    assert not list(frames.frames())


def test_descriptors_that_found_no_room_are_noticed(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    send_order(ours, ("plan",), [0, 1, 2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))
    try:
        with pytest.raises(EOFError, match="descriptors were lost"):
            Frames(theirs, trusted=True).receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.dup(0) == probe, "those that came are closed"
    os.close(probe)


# what a worker that was taken over might send


def test_descriptors_from_below_are_not_taken(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(theirs, [b"x"], [0, 1])
    with pytest.raises(EOFError):
        Frames(ours, trusted=False).receive()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (struct.pack("!IH", 1 << 31, 0), EOFError),
        (struct.pack("!IH", 2, 5) + b"{}", EOFError),
        (struct.pack("!IH", 2, 0) + b"[]", ValueError),
        (struct.pack("!IH", 3, 0) + b"nul", ValueError),
        (struct.pack("!IH", 2, 0) + b"\xff\xfe", ValueError),
        (struct.pack("!IH", 200_000, 0) + b"[" * 200_000, ValueError),
    ],
    ids=["huge", "descriptors that never came", "no object", "no JSON", "no text", "too deep"],
)
def test_nonsense_from_below_raises_nothing_else(
    ends: tuple[socket.socket, socket.socket], frame: bytes, error: type[Exception]
) -> None:
    ours, theirs = ends
    theirs.sendall(frame)
    frames = Frames(ours, trusted=False)
    drain(frames, ours)
    with pytest.raises(error):
        list(frames.reports())
