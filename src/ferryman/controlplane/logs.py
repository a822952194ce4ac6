"""Opens what lines are written to, and writes the supervisor's own messages there.

Used by the supervisor. Workers get duplicates of what `LogFiles` holds; what stands before a line, and how it is
written without waiting, is in dataplane.syslog. A target that cannot be opened is no reason not to start: it is said
once, lines to it are lost, and it is tried again.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferryman.controlplane.outcome import STATUSES, known, passed
from ferryman.controlplane.serverstate import Admin, ServerState
from ferryman.controlplane.totals import Key, Totals
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.syslog import Sink
from ferryman.plan import LogTarget, Server

RETRY: Final = 5.0
"""Seconds between looks at files and sockets that may have come, gone or been rotated."""
RETRY_MAX: Final = 300.0
"""The same, at most, for hosts that cannot be reached."""

Tell = Callable[[str, str], None]
"""Gets what operators should know: a level and a text."""


# opening


def open_target(target: LogTarget) -> int:
    """A descriptor that writes to the target without blocking (or a duplicate that dataplane.syslog polls first).

    Raises OSError. Looks a host's name up, which takes as long as it takes.
    """
    if target.kind in ("stdout", "stderr", "fd"):
        return _own(int(target.address) if target.kind == "fd" else 1 if target.kind == "stdout" else 2)
    if target.kind == "file":
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(target.address, flags, 0o640)
    if target.kind == "unix":
        return _connected(socket.AF_UNIX, target.address)
    try:
        found = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_DGRAM)
    except UnicodeError:
        raise OSError(f"{target.address} cannot be the name of a host") from None
    failure: OSError | None = None
    for family, _, _, _, address in found:
        try:
            return _connected(family, address)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{target.address} has no address")


def _own(number: int) -> int:
    """A description of our own: making it non-blocking changes nothing for whoever gave it to us, such as a shell."""
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{number}", flags)
        except OSError:
            pass  # not ours to open (root was dropped, no /proc): a duplicate does, if with more care
    return os.dup(number)


def _connected(family: int, address: Any) -> int:
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(address)
        return sock.detach()


def _describe(target: LogTarget) -> str:
    if target.kind in ("stdout", "stderr"):
        return target.kind
    if target.kind == "udp":
        return f"udp:{target.address}:{target.port}"
    return f"fd@{target.address}" if target.kind == "fd" else f"{target.kind}:{target.address}"


_Identity = tuple[int, int, int]


def _identity(target: LogTarget) -> _Identity | None:
    """What is at the target's path now: device, inode and, for a socket, when it was made. None: nothing is."""
    if target.kind not in ("file", "unix"):
        return None
    try:
        status = os.stat(target.address)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns if stat.S_ISSOCK(status.st_mode) else 0


@dataclass(slots=True)
class _Opened:
    target: LogTarget
    descriptor: int  # /dev/null while the target is missing
    identity: _Identity | None
    delay: float  # seconds between looks
    missing: bool = False
    again: float = 0.0  # monotonic: not to be looked at before


class LogFiles:
    """The open targets of a plan, in order of their ids. `descriptors` are always valid."""

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell or (lambda level, text: None)
        self._opened: list[_Opened] = []

    @property
    def descriptors(self) -> Sequence[int]:
        return [one.descriptor for one in self._opened]

    def follow(self, targets: Sequence[LogTarget]) -> None:
        """Have these open. Files and Unix sockets are opened anew, as they may have been rotated; others are kept."""
        earlier: defaultdict[tuple[str, str, int], list[_Opened]] = defaultdict(list)
        for one in self._opened:
            earlier[one.target.kind, one.target.address, one.target.port].append(one)
        self._opened = []
        for target in targets:
            if known := earlier[target.kind, target.address, target.port]:
                one = known.pop()
                one.target = target
                stale = one.missing or target.kind in ("file", "unix")
            else:
                one = _Opened(target, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), None, RETRY)
                stale = True
            if stale:
                self._open(one)
            self._opened.append(one)
        for rest in earlier.values():
            for one in rest:
                os.close(one.descriptor)

    def refresh(self) -> bool:
        """Look whether something missing has come, or a file or socket was replaced. True: use the new descriptors.

        To be called every second or so; does next to nothing most of the time.
        """
        now = time.monotonic()
        changed = False
        for one in self._opened:
            if now < one.again or not (one.missing or one.target.kind in ("file", "unix")):
                continue
            one.again = now + one.delay
            # a socket whose server is gone stays as it is until there is a new one; a file is made again
            present = _identity(one.target)
            if one.missing or (present != one.identity and (present is not None or one.target.kind == "file")):
                changed = self._open(one) or changed
        return changed

    def close(self) -> None:
        for one in self._opened:
            os.close(one.descriptor)
        self._opened = []

    def _open(self, one: _Opened) -> bool:
        """Open the target; on failure what was open stays."""
        now = time.monotonic()
        try:
            descriptor = open_target(one.target)
        except OSError as error:
            if not one.missing:
                reason = error.strerror or str(error)
                name = _describe(one.target)
                self._tell("warning", f"log target {name}: {reason}; lines to it are lost, it is tried again")
            one.missing = True
            if one.target.kind == "udp":
                one.delay = min(one.delay * 2, RETRY_MAX)
            one.again = now + one.delay
            return False
        if one.missing:
            self._tell("notice", f"log target {_describe(one.target)} is there now")
        os.close(one.descriptor)
        one.descriptor, one.identity, one.missing = descriptor, _identity(one.target), False
        one.delay, one.again = RETRY, now + RETRY
        return True


# the supervisor's own messages


class Journal:
    """Notices and alarms of the process itself: to the targets of settings.log, in the foreground to stderr as well.

    A raw target on stdout is for access lines, often JSON for a tool, so in the foreground it is left to them. Texts
    about servers are HAProxy's, word for word, as operators have alarms that look for them.
    """

    def __init__(self, targets: Sequence[LogTarget], foreground: bool = True) -> None:
        self._foreground = foreground
        self._files = LogFiles(lambda level, text: self._later.append((level, text)))
        self._later: list[tuple[str, str]] = []  # what opening the targets has to tell
        self._sinks: list[Sink] = []
        self._human: Sink | None = None
        self._known: dict[tuple[str, str], tuple[Admin, bool]] = {}  # what was last said of each server
        self.follow(targets)

    def notice(self, text: str) -> None:
        """Something went as it should."""
        self._say("notice", text)

    def warning(self, text: str) -> None:
        """Something is worth a look."""
        self._say("warning", text)

    def alert(self, text: str) -> None:
        """Something is wrong."""
        self._say("alert", text)

    def emerg(self, text: str) -> None:
        """Something does not work at all."""
        self._say("emerg", text)

    def follow(self, targets: Sequence[LogTarget]) -> None:
        """Write to these from now on."""
        on_terminal = [target for target in targets if target.kind in ("stdout", "stderr", "fd")]
        if self._foreground:
            targets = [one for one in targets if not (one.kind == "stdout" and one.format == "raw")]
            if not any(one.kind == "stderr" or (one.kind, one.address) == ("fd", "2") for one in on_terminal):
                self._human = self._human or Sink(LogTarget(-1, "stderr", "", format="raw", length=65535), _own(2), 0)
        self._files.follow(targets)
        self._close_sinks()
        pid = os.getpid()
        for target, descriptor in zip(targets, self._files.descriptors, strict=True):
            self._sinks.append(Sink(target, os.dup(descriptor), pid))
        self._tell_later()

    def close(self) -> None:
        """Write nothing more."""
        self._close_sinks()
        self._files.close()
        if self._human is not None:
            self._human.close()
            self._human = None

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            sink.close()
        self._sinks = []

    def _say(self, level: str, text: str) -> None:
        if self._files.refresh():
            for sink, descriptor in zip(self._sinks, self._files.descriptors, strict=True):
                sink.replace(os.dup(descriptor))
        self._write(level, text)
        self._tell_later()

    def _tell_later(self) -> None:
        later, self._later = self._later, []
        for level, text in later:
            self._write(level, text)

    def _write(self, level: str, text: str) -> None:
        if self._human is not None:
            self._human.emit(level, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level}: {text}")
            self._human.flush()
        for sink in self._sinks:
            sink.emit(level, text)
            sink.flush()

    # servers

    def check_result(self, state: ServerState) -> None:
        """A check told something new of a server without making it go up or down (HAProxy's log-health-checks)."""
        server, check = state.server, state.server.check
        if check is None or self._was(server)[1] != state.up or not state.checks_failed:
            return
        backup = "backup " if server.backup else ""
        result = "succeeded" if passed(state.check_status) else "failed"
        if state.up:
            health = f"{state.health - check.rise + 1}/{check.fall} {'UP' if state.weight else 'DRAIN'}"
        else:
            health = f"{state.health}/{check.rise} DOWN"
        self.notice(
            f"Health check for {backup}server {server.backend}/{server.name} {result}{_cause(state)}, status: {health}."
        )

    def server_changed(
        self, state: ServerState, members: Sequence[ServerState], sessions: Totals | None = None
    ) -> None:
        """A server went up or down or was ordered to be something else. `members`: all servers of its backend."""
        server = state.server
        was, was_up = self._was(server)
        admin, up = state.admin, state.up
        if (was, was_up) == (admin, up):
            return
        self._known[server.backend, server.name] = (admin, up)
        name = f"{'Backup ' if server.backup else ''}Server {server.backend}/{server.name}"
        word = "UP" if up else "DOWN"
        if admin == "maint" and was != "maint":
            if was_up:
                self.alert(f"{name} is going DOWN for maintenance.{_left(state, members, sessions)}")
            else:
                self.notice(f"{name} was DOWN and now enters maintenance.")
        elif was == "maint" and admin != "maint":
            self.notice(f"{name} is {word}/{'DRAIN' if admin == 'drain' else 'READY'} (leaving forced maintenance).")
        elif admin == "drain" and was == "ready":
            self.notice(f"{name} enters drain state.{_online(state, members, sessions)}")
        elif was == "drain" and admin == "ready":
            self.notice(f"{name} is {word} (leaving forced drain).")
        elif up:
            self.notice(f"{name} is UP{_cause(state)}.{_online(state, members, sessions)}")
        else:
            self.alert(f"{name} is DOWN{_cause(state)}.{_left(state, members, sessions)}")

    def _was(self, server: Server) -> tuple[Admin, bool]:
        return self._known.get((server.backend, server.name), ("maint" if server.disabled else "ready", True))


def _cause(state: ServerState) -> str:
    if not known(state.check_status):
        return ""
    status = STATUSES[state.check_status]
    info = f', info: "{state.check_description}"' if state.check_description else ""
    code = f", code: {state.check_code}" if status.with_code else ""
    return f", reason: {status.text}{code}{info}, check duration: {max(state.check_ms, 0)}ms"


def _usable(members: Sequence[ServerState]) -> tuple[int, int, str]:
    """Active and backup servers that take traffic, and a remark."""
    usable = [one.server.backup for one in members if one.effective_weight]
    active, backup = usable.count(False), usable.count(True)
    return active, backup, " Running on backup." if backup and not active else ""


def _left(state: ServerState, members: Sequence[ServerState], sessions: Totals | None) -> str:
    active, backup, remark = _usable(members)
    text = f" {active} active and {backup} backup servers left.{remark}"
    if sessions is None:
        return text
    now = _cell(sessions, state.server, Cell.SESSIONS_NOW)
    return (
        f"{text} {now} sessions active, 0 requeued, {_cell(sessions, state.server, Cell.QUEUE_NOW)} remaining in queue."
    )


def _online(state: ServerState, members: Sequence[ServerState], sessions: Totals | None) -> str:
    active, backup, remark = _usable(members)
    text = f" {active} active and {backup} backup servers online.{remark}"
    if sessions is None:
        return text
    return f"{text} 0 sessions requeued, {_cell(sessions, state.server, Cell.QUEUE_NOW)} total in queue."


def _cell(sessions: Totals, server: Server, cell: Cell) -> int:
    """A server's number; of what waits, its backend's, since the queue is common to all its servers."""
    key: Key = ("server", server.backend, server.name)
    if cell is Cell.QUEUE_NOW:
        key = ("backend", server.backend, "")
    return sessions.get(key, [0] * len(Cell))[cell]
