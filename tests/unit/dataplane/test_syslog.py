"""Frames as HAProxy makes them; and targets that are slow, broken or gone, where nothing waits and nothing raises."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from haproxy_logs import logged, udp

from ferryman.dataplane.syslog import PIPE_CHUNK, Sink
from ferryman.plan import LogTarget

FORMATS = ("local", "rfc3164", "rfc5424", "priority", "short", "timed", "iso", "raw")


def target(kind: str = "udp", **fields: object) -> LogTarget:
    return LogTarget(0, kind, "", **fields)  # type: ignore[arg-type]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of the smallest size, non-blocking to write."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)


def told(kind: str, level: str, text: str, **fields: object) -> bytes:
    """What one line looks like."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink = Sink(target(kind, **fields), left.detach(), 4711)
    sink.emit(level, text)
    sink.flush()
    sink.close()
    with right:
        right.setblocking(False)
        try:
            return right.recv(65536)
        except BlockingIOError:
            return b""


# frames


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("local", r"<133>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d tag\[4711\]: hello\n"),
        ("rfc3164", r"<133>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d " + os.uname().nodename + r" tag\[4711\]: hello\n"),
        ("rfc5424", r"<133>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+05:30 - tag 4711 - - hello\n"),
        ("priority", r"<133>hello\n"),
        ("short", r"<5>hello\n"),
        ("timed", r"<5>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+05:30 hello\n"),
        ("iso", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+05:30 hello\n"),
        ("raw", r"hello\n"),
    ],
)
@pytest.mark.usefixtures("zone")
def test_frames(form: str, pattern: str) -> None:
    assert re.fullmatch(pattern, told("udp", "notice", "hello", format=form, tag="tag").decode())


def test_the_host_name_is_sent_where_there_is_one() -> None:
    assert b" box ferryman[4711]: x" in told("udp", "info", "x", format="local", hostname="box")
    assert b" box ferryman[4711]: x" in told("udp", "info", "x", format="rfc3164", hostname="box")
    assert b" box ferryman 4711 - - x" in told("udp", "info", "x", format="rfc5424", hostname="box")


def test_facilities_and_levels_have_their_numbers() -> None:
    assert told("udp", "emerg", "x", format="priority", facility="kern") == b"<0>x\n"
    assert told("udp", "debug", "x", format="priority", facility="local7") == b"<191>x\n"
    assert told("udp", "info", "x", format="priority", facility="local0") == b"<134>x\n"


def test_levels_less_urgent_than_the_maximum_are_left_out() -> None:
    assert told("udp", "info", "x", format="short", max_level="notice") == b""
    assert told("udp", "notice", "x", format="short", max_level="notice") == b"<5>x\n"
    assert told("udp", "emerg", "x", format="short", max_level="notice") == b"<0>x\n"


def test_levels_more_urgent_than_the_minimum_are_softened() -> None:
    assert told("udp", "emerg", "x", format="short", min_level="err") == b"<3>x\n"
    assert told("udp", "notice", "x", format="short", min_level="err") == b"<5>x\n"


def test_the_header_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink = Sink(target(format="iso"), left.detach(), 1)
    for now in (1_795_254_337.25, 1_795_254_337.75, 1_795_254_338.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        sink.emit("info", "x")
    monkeypatch.undo()
    sink.flush()
    sink.close()
    with right:
        times = [right.recv(100).split(b"T")[1][6:15] for _ in range(3)]
    assert times == [b"37.250000", b"37.750000", b"38.000000"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_line_is_never_longer_than_allowed(form: str) -> None:
    line = told("udp", "info", "0123456789" * 30, format=form, length=80)
    assert len(line) == 80
    assert line.endswith(b"\n")
    assert len(told("udp", "info", "x" * 79, format="raw", length=80)) == 80


def test_characters_are_not_cut_in_half() -> None:
    assert told("udp", "info", "x" + "é" * 60, format="raw", length=81) == "x{}\n".format("é" * 39).encode()


def test_a_line_stays_one_line() -> None:
    assert told("udp", "info", "one\ntwo\r\0three", format="raw") == b"one two  three\n"
    assert told("udp", "info", "odd \udc80", format="raw") == b"odd \\udc80\n"


def test_frames_are_haproxys_own(tmp_path: Path) -> None:
    sinks = [udp() for _ in FORMATS]
    targets = [
        f"log 127.0.0.1:{sink.getsockname()[1]} len 80 format {form} local2 info notice"
        for sink, form in zip(sinks, FORMATS, strict=True)
    ]
    # the host name must be the same on both sides, and HAProxy's option for it is global
    lines = logged(tmp_path, ["\n  ".join([*targets, "log-tag the-tag", "log-format x"])], sinks, b"hello")
    for sink in sinks:
        sink.close()
    for form, line in zip(FORMATS, lines, strict=True):
        ours = told("udp", "info", "x", format=form, facility="local2", tag="the-tag", hostname="localhost")
        if form in ("local", "rfc5424"):
            ours = told("udp", "info", "x", format=form, facility="local2", tag="the-tag")
        assert _timeless(ours) == _timeless(line), form


def _timeless(line: bytes) -> bytes:
    line = re.sub(rb"[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d", b"TIME", line)
    line = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}([+-]\d\d:\d\d)", rb"ISO\1", line)
    return re.sub(rb"\[\d+\]|(?<=tag )\d+", b"PID", line)


# writing


def test_each_line_is_a_datagram() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink = Sink(target(format="raw"), left.detach(), 1)
    for text in ("one", "two"):
        sink.emit("info", text)
    assert len(sink.pending) == 2
    sink.flush()
    assert not sink.pending
    with right:
        assert [right.recv(100), right.recv(100)] == [b"one\n", b"two\n"]
    sink.close()


def test_a_udp_port_where_nobody_listens_comes_back_to_life() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:  # so that nobody else gets the port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.connect(("127.0.0.1", 9))  # it hears nobody but that one
        _lost_and_here(taken.getsockname())


def _lost_and_here(address: tuple[str, int]) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(address)
    sink = Sink(target(format="raw"), sender.detach(), 1)
    for _ in range(10):
        sink.emit("info", "lost")
        sink.flush()  # the kernel tells of the refusal at the next send, which it then does not do
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind(address)
        receiver.settimeout(60)
        sink.emit("info", "here")
        sink.flush()
        assert receiver.recv(100) == b"here\n"
    sink.close()


def test_lines_after_the_end_are_counted() -> None:
    sink = Sink(target(format="raw"), os.open(os.devnull, os.O_WRONLY), 1)
    sink.close()
    sink.emit("info", "after the end")
    sink.flush()
    assert sink.dropped == 1


def test_a_full_datagram_socket_drops_and_confesses() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink = Sink(target(format="short"), left.detach(), 1)
    while not sink.dropped:
        sink.emit("info", "x" * 500)
        sink.flush()
    sink.emit("info", "lost too")
    sink.flush()
    assert sink.dropped == 2
    with right:
        right.setblocking(False)
        while select.select([right], [], [], 0)[0]:
            right.recv(1000)
        sink.emit("info", "again")
        sink.emit("info", "and again")
        sink.flush()
        assert right.recv(1000) == b"<4>2 log lines before this one were lost, as they could not be written\n"
        assert right.recv(1000) == b"<6>again\n"
        assert right.recv(1000) == b"<6>and again\n"
    assert sink.dropped == 2
    sink.close()


def test_a_pipe_gets_whole_lines_in_pieces_it_takes_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 65536)
    sink = Sink(target("stdout", format="raw"), writer, 1)
    lines = [f"{number} {'x' * (number % 700)}" for number in range(100)]
    for line in lines:
        sink.emit("info", line)
    assert all(len(one) <= PIPE_CHUNK for one in sink.pending)
    sink.flush()
    assert os.read(reader, 1 << 20).decode().splitlines() == lines
    assert sink.dropped == 0
    sink.close()


def test_a_slow_reader_of_a_pipe_loses_lines_but_no_line_is_broken(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(target("stdout", format="raw", length=65535), writer, 1)
    received = b""
    for number in range(300):
        for part in range(5):
            sink.emit("info", f"{number}.{part} " + "x" * (number * 37 % 6000))
        sink.flush()
        if number % 3 == 0:
            received += os.read(reader, 5000) if select.select([reader], [], [], 0)[0] else b""
    while select.select([reader], [], [], 0)[0]:
        received += os.read(reader, 1 << 20)
        sink.emit("info", "end")
        sink.flush()
        if received.endswith(b"end\n"):
            break
    lines = received.decode().splitlines()
    whole = {f"{number}.{part} " + "x" * (number * 37 % 6000) for number in range(300) for part in range(5)}
    lost = [int(line.split()[0]) for line in lines if "were lost" in line]
    assert set(lines) - {line for line in lines if "were lost" in line} - {"end"} <= whole
    assert 0 < sum(lost) == sink.dropped
    sink.close()


def test_a_pipe_whose_reader_is_gone_is_counted() -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.close(reader)
    sink = Sink(target("stdout", format="raw"), writer, 1)
    for number in range(3):
        sink.emit("info", str(number))
        sink.flush()
    assert sink.dropped == 3
    sink.close()


def test_a_blocking_pipe_of_somebody_else_never_blocks() -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    sink = Sink(target("stdout", format="raw", length=65535), writer, 1)
    for _ in range(5):
        sink.emit("info", "x" * 6000)
        sink.flush()
    assert sink.dropped
    assert os.get_blocking(writer), "the description is not ours to change"
    os.close(reader)
    sink.close()


def test_a_stream_socket_takes_lines_too() -> None:
    """Standard output of a systemd service is one."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sink = Sink(target("stdout", format="raw"), left.detach(), 1)
    sink.emit("info", "one")
    sink.emit("info", "two")
    sink.flush()
    with right:
        assert right.recv(100) == b"one\ntwo\n"
    sink.emit("info", "three")
    sink.flush()
    assert sink.dropped == 1
    sink.close()


def test_a_file_is_appended_to_and_replaced(tmp_path: Path) -> None:
    def opened(name: str) -> int:
        return os.open(tmp_path / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    sink = Sink(target("file", format="raw"), opened("a"), 1)
    sink.emit("info", "one")
    sink.replace(opened("b"))
    sink.emit("info", "two")
    sink.close()
    assert (tmp_path / "a").read_text() == "one\n"
    assert (tmp_path / "b").read_text() == "two\n"


def test_a_full_disk_does_not_hurt() -> None:
    sink = Sink(target("file", format="raw"), os.open("/dev/full", os.O_WRONLY), 1)
    sink.emit("info", "one")
    sink.flush()
    assert sink.dropped == 1
    sink.close()
