"""The loop by itself: turns, coarse time, descriptors that close late, handlers that fail."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from ferryman.dataplane.loop import EDGE, IN, OUT, URGENT, Loop


class Ear:
    """A handler that does what it is told and remembers what it heard."""

    def __init__(self, act: Callable[[int], object] = lambda mask: None) -> None:
        self.act = act
        self.heard: list[int] = []
        self.aborted = 0

    def event(self, mask: int) -> None:
        self.heard.append(mask)
        self.act(mask)

    def resume(self) -> None:
        self.act(0)

    def abort(self) -> None:
        self.aborted += 1

    def sweep(self, now: float) -> None:
        return


class Clock:
    """Stops the loop after some ticks, or turns."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.turns = 0
        self.most_ticks = 3
        self.most_turns = 1000
        self.act: Callable[[], object] = lambda: None
        self.loop = Loop(self.tick, self.turn_end)
        self.loop.interval = 0.01

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        if len(self.ticks) >= self.most_ticks:
            self.loop.stopped = True
        self.act()

    def turn_end(self) -> None:
        self.turns += 1
        if self.turns >= self.most_turns:
            self.loop.stopped = True


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.loop.epoll.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_it_ticks_no_sooner_than_the_interval(clock: Clock) -> None:
    clock.loop.interval = 0.02
    clock.loop.run()
    gaps = [later - sooner for sooner, later in zip(clock.ticks, clock.ticks[1:], strict=False)]
    assert min(gaps) >= 0.02


def test_handlers_are_told_what_happened(clock: Clock, pair: tuple[socket.socket, socket.socket]) -> None:
    ear = Ear()
    clock.loop.watch(pair[0].fileno(), ear, EDGE | OUT)
    pair[1].send(b"x")
    clock.loop.run()
    assert ear.heard == [IN | OUT], "once: watching is edge-triggered"


def test_urgent_data_is_told_as_such(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    with far, near:
        ear = Ear()
        clock.loop.watch(near.fileno(), ear, EDGE)
        far.send(b"!", socket.MSG_OOB)
        clock.loop.run()
    assert ear.heard[0] & URGENT


def test_a_descriptor_keeps_its_number_until_the_turn_is_over(clock: Clock) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    numbers: list[int] = []

    def end_both(mask: int) -> None:
        for near, _ in pairs:
            clock.loop.close(near.detach() if near.fileno() >= 0 else -1)
        numbers.append(os.dup(0))

    ears = [Ear(end_both), Ear(end_both)]
    watched = [near.fileno() for near, _ in pairs]
    for (near, far), ear in zip(pairs, ears, strict=True):
        clock.loop.watch(near.fileno(), ear, EDGE)
        far.send(b"x")
    clock.loop.run()
    assert [len(ear.heard) for ear in ears] in ([1, 0], [0, 1]), "an event of the same turn reaches nobody"
    assert numbers[0] not in watched
    for number in watched:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    for _, far in pairs:
        far.close()
    os.close(numbers[0])


def test_a_handler_that_fails_is_aborted_and_the_others_go_on(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(mask: int) -> None:
        raise RuntimeError("a bug")

    pairs = [socket.socketpair() for _ in range(3)]
    ears = [Ear(), Ear(fail), Ear()]
    for (near, far), ear in zip(pairs, ears, strict=True):
        clock.loop.watch(near.fileno(), ear, EDGE)
        far.send(b"x")
    clock.loop.run()
    assert [len(ear.heard) for ear in ears] == [1, 1, 1]
    assert [ear.aborted for ear in ears] == [0, 1, 0]
    assert "internal error in Ear" in capfd.readouterr().err
    for sock in (sock for pair in pairs for sock in pair):
        sock.close()


def test_even_an_abort_or_a_tick_that_fails_does_not_end_the_loop(
    clock: Clock, pair: tuple[socket.socket, socket.socket], capfd: pytest.CaptureFixture[str]
) -> None:
    class Hopeless(Ear):
        def abort(self) -> None:
            raise RuntimeError("still a bug")

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    clock.act = fail
    clock.loop.watch(pair[0].fileno(), Hopeless(fail), EDGE)
    pair[1].send(b"x")
    clock.loop.run()
    assert len(clock.ticks) == 3
    assert "still a bug" in capfd.readouterr().err


def test_who_has_more_to_do_is_resumed_once_each_turn(clock: Clock) -> None:
    clock.loop.interval = None
    clock.most_turns = 5
    resumed: list[int] = []

    def go_on(mask: int) -> None:
        resumed.append(clock.turns)
        clock.loop.ready.append(ear)

    ear = Ear(go_on)
    clock.loop.ready.append(ear)
    clock.loop.run()
    assert resumed == [0, 1, 2, 3, 4]


def test_a_shorter_interval_counts_from_the_turn_it_is_wished_in(
    clock: Clock, pair: tuple[socket.socket, socket.socket]
) -> None:
    clock.most_ticks = 2
    begin = monotonic()
    clock.loop.interval = 60.0

    def hurry(mask: int) -> None:
        clock.loop.interval = 0.01

    clock.loop.watch(pair[0].fileno(), Ear(hurry), EDGE)
    pair[1].send(b"x")
    clock.loop.run()
    assert monotonic() - begin < 10


def test_a_descriptor_that_cannot_be_watched_leaves_no_trace(clock: Clock, tmp_path: object) -> None:
    with open(f"{tmp_path}/file", "w") as file:
        with pytest.raises(PermissionError):  # EPERM: files are always ready
            clock.loop.watch(file.fileno(), Ear(), EDGE)
        assert clock.loop.table[file.fileno()] is None


def test_the_table_grows_with_the_numbers(clock: Clock, pair: tuple[socket.socket, socket.socket]) -> None:
    high = 5000
    os.dup2(pair[0].fileno(), high)
    ear = Ear()
    clock.loop.watch(high, ear, EDGE)
    pair[1].send(b"x")
    clock.loop.run()
    assert ear.heard == [IN]
    os.close(high)
