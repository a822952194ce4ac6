"""One log target: puts the frame around a line (syslog or none) and writes it, without ever waiting for the reader.

Used by workers for access logs and by controlplane.logs for the supervisor's own messages. The descriptor is opened by
controlplane.logs and belongs to the sink from then on. Nothing here raises for a target that is broken, full or slow: a
log must not stop a proxy. What could not be written is counted (`dropped`), and a line says so once it goes again.

Several workers write to the same pipe or file. Up to PIPE_BUF bytes go into a pipe as a whole (pipe(7)) and every write
to a file with O_APPEND does, so lines of different workers do not mix as long as each write ends with a line.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from typing import Final

from ferryman.plan import LogTarget

LEVELS: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""By their numbers in RFC 5424, 6.2.1."""
LEVEL: Final = {name: number for number, name in enumerate(LEVELS)}
FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news"),
    *("uucp", "cron", "auth2", "ftp", "ntp", "audit", "alert", "cron2"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
"""HAProxy's names, by their numbers in RFC 5424, 6.2.1."""

PIPE_CHUNK: Final = select.PIPE_BUF
FILE_CHUNK: Final = 65536

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WITH_FRACTION: Final = ("rfc5424", "timed", "iso")
_NO_CONTROLS: Final = bytes.maketrans(bytes((*range(32), 127)), b" " * 33)


class Sink:
    """`pid` is what the frame says; `pending` are framed lines that `flush` will write."""

    __slots__ = (
        "_chunk",
        "_datagrams",
        "_descriptor",
        "_facility",
        "_fraction",
        "_headers",
        "_least",
        "_most",
        "_pid",
        "_poll",
        "_rest",
        "_second",
        "_socket",
        "_unsaid",
        "dropped",
        "pending",
        "target",
    )

    def __init__(self, target: LogTarget, descriptor: int, pid: int) -> None:
        self.target = target
        self.pending: list[bytes] = []
        self.dropped = 0  # lines, ever
        self._unsaid = 0  # lines dropped since the last one that was written
        self._rest = b""  # of a line that was written in part
        self._pid = pid
        self._least = LEVEL[target.max_level]
        self._most = LEVEL[target.min_level]
        self._facility = FACILITIES.index(target.facility)
        self._fraction = target.format in _WITH_FRACTION
        self._second = -1
        self._headers: dict[
            str, tuple[bytes, bytes] | None
        ] = {}  # by level, for this second; None: not for this target
        self._use(descriptor)

    def emit(self, level: str, line: str) -> None:
        """Add a line if the target wants messages of this level. Whatever is in it, it stays one line."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._headers.clear()
        try:
            header = self._headers[level]
        except KeyError:
            header = self._headers[level] = self._header(level, second)
        if header is None:
            return
        text = line.encode("utf-8", "backslashreplace").translate(_NO_CONTROLS)
        if self._fraction:
            framed = b"%b%06d%b%b\n" % (header[0], int((now - second) * 1_000_000), header[1], text)
        else:
            framed = b"%b%b\n" % (header[0], text)
        if len(framed) > self.target.length:
            framed = _cut(framed, self.target.length)
        self.pending.append(framed)

    def flush(self) -> None:
        """Write what is pending; what cannot be written now is dropped."""
        lines = self.pending
        if not lines:
            return
        self.pending = []
        if self._descriptor < 0:
            self._lose(len(lines))
        elif self._datagrams:
            for line in lines:
                self._datagram(line)
        else:
            self._stream(lines)

    def replace(self, descriptor: int) -> None:
        """Write to another descriptor from now on (a file was rotated, a socket connected anew)."""
        self.flush()
        self._close()
        self._rest = b""
        self._use(descriptor)

    def close(self) -> None:
        """Give the descriptor back. Lines that come later are dropped."""
        self.flush()
        self._close()

    # frames

    def _header(self, level: str, second: int) -> tuple[bytes, bytes] | None:
        """What stands before a line: up to where microseconds go, and after them. None: the level is not wanted."""
        number = LEVEL[level]
        if number > self._least:
            return None
        number = max(number, self._most)
        t = self.target
        priority = f"<{self._facility * 8 + number}>"
        now = time.localtime(second)
        zone = f"{time.strftime('%z', now)[:3]}:{time.strftime('%z', now)[3:]}"
        iso = f"{time.strftime('%Y-%m-%dT%H:%M:%S', now)}."
        old = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} "
        who = f"{t.tag}[{self._pid}]: "
        head, tail = {
            "local": (f"{priority}{old}{t.hostname}{' ' if t.hostname else ''}{who}", ""),
            "rfc3164": (f"{priority}{old}{t.hostname or os.uname().nodename} {who}", ""),
            "rfc5424": (f"{priority}1 {iso}", f"{zone} {t.hostname or '-'} {t.tag} {self._pid} - - "),
            "priority": (priority, ""),
            "short": (f"<{number}>", ""),
            "timed": (f"<{number}>{iso}", f"{zone} "),
            "iso": (iso, f"{zone} "),
            "raw": ("", ""),
        }[t.format]
        return head.encode(), tail.encode()

    # writing

    def _use(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._socket: socket.socket | None = None
        self._datagrams = False
        self._poll: select.poll | None = None
        self._chunk = FILE_CHUNK
        if descriptor < 0:
            return
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=descriptor)
            self._datagrams = (
                self._socket.type == socket.SOCK_DGRAM
            )  # asked once: the property costs as much as sending
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            self._chunk = PIPE_CHUNK
            if os.get_blocking(descriptor):
                # a description shared with others must stay so: poll tells when there is room for a chunk
                self._poll = select.poll()
                self._poll.register(descriptor, select.POLLOUT)

    def _close(self) -> None:
        if self._descriptor < 0:
            return
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._descriptor)
        self._socket = None
        self._descriptor = -1

    def _datagram(self, line: bytes) -> None:
        """One line; if some were dropped before it, a word about that first."""
        if self._unsaid:
            if not self._send(self._confession()):
                self._lose(1)
                return
            self._unsaid = 0
        if not self._send(line):
            self._lose(1)

    def _send(self, line: bytes) -> bool:
        assert self._socket is not None
        for _ in range(2):
            try:
                self._socket.send(line, socket.MSG_DONTWAIT)
            except ConnectionRefusedError:
                continue  # that was about the datagram before this one: nobody listened then
            except OSError:
                return False
            return True
        return False

    def _stream(self, lines: list[bytes]) -> None:
        """Chunks that end with a line. The rest of a line that was torn comes first, or the next would continue it."""
        if self._rest:
            self._rest = self._rest[self._write(self._rest) :]
        if self._rest or (self._unsaid and not self._take([self._confession()])):
            self._lose(len(lines))
            return
        self._unsaid = 0
        at = 0
        while at < len(lines):
            end, size = at + 1, len(lines[at])
            while end < len(lines) and size + len(lines[end]) <= self._chunk:
                size += len(lines[end])
                end += 1
            at += self._take(lines[at:end])
            if at < end or self._rest:
                self._lose(len(lines) - at)
                return

    def _take(self, lines: list[bytes]) -> int:
        """Write lines in one go; how many are out, with a torn one, whose rest is kept."""
        data = b"".join(lines)
        sent = self._write(data)
        if sent == len(data):
            return len(lines)
        for taken, line in enumerate(lines):
            if sent < len(line):
                self._rest = line[sent:] if sent else b""
                return taken + bool(sent)
            sent -= len(line)
        return len(lines)

    def _write(self, data: bytes) -> int:
        """How many bytes are out; fewer than all: the target is full or broken."""
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT)
            if self._poll is None:
                return os.write(self._descriptor, data)
            sent = 0
            while sent < len(data) and self._poll.poll(0) == [(self._descriptor, select.POLLOUT)]:
                sent += os.write(self._descriptor, data[sent : sent + PIPE_CHUNK])
            return sent
        except OSError:
            return 0

    def _lose(self, count: int) -> None:
        self.dropped += count
        self._unsaid += count

    def _confession(self) -> bytes:
        """A line that tells how many are missing."""
        header = self._header("warning", int(time.time())) or (b"", b"")
        fraction = b"000000" if self._fraction else b""
        text = b"%d log lines before this one were lost, as they could not be written\n" % self._unsaid
        return b"".join((header[0], fraction, header[1], text))


def _cut(framed: bytes, length: int) -> bytes:
    """At most `length` bytes, newline included, and no half characters."""
    return framed[: length - 1].decode("utf-8", "ignore").encode() + b"\n"
