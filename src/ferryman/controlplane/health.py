"""Health checks: a TCP connect to each server now and then, in one place for all workers.

Used by the supervisor. The counting is HAProxy's (manual: server parameters check, rise, fall, fastinter, downinter): a
server has health 0 … rise+fall-1 and is up from `rise` on. It starts at `rise`, so that its first check decides; a
failed check takes one away, or all once it falls below `rise`; a good one adds one, or fills up from `rise` on. The
connection is ended by RST, so that the server's application need not see it; where a PROXY header is sent, in an
orderly way, so that the server does not take the header for a broken one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, NamedTuple

from ferryman.controlplane.resolver import lookup, report_crash
from ferryman.controlplane.serverstate import ServerState
from ferryman.dataplane import fdio
from ferryman.plan import Check, Source
from ferryman.wire import proxyprotocol

SPREAD: Final = 1.0
"""Seconds: the shortest interval of at least this is what the first checks of all servers are spread over."""

GOODBYE: Final = 0.5
"""Seconds that a server has to close its side after a PROXY header and our end."""

_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: close sends RST (socket(7))
_FAMILIES: Final = {
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
    "abstract": socket.AF_UNIX,
}
_OUR_FAULT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EADDRINUSE)

Changed = Callable[[ServerState], None]


class Outcome(NamedTuple):
    """What a check found, in HAProxy's words: L4OK, L4TOUT, L4CON or SOCKERR; the system's reason."""

    status: str
    description: str = ""


class Health:
    """Checks servers that have a check and are not in maintenance.

    `on_result` is called when a check told something new (another status or health), `on_change` when a server went up
    or down by it; both after the state has been updated.
    """

    def __init__(self, on_change: Changed, on_result: Changed) -> None:
        self._on_change = on_change
        self._on_result = on_result
        self._states: Sequence[ServerState] = ()
        self._tasks: dict[int, tuple[ServerState, asyncio.Task[None]]] = {}  # by id() of the state, which is held
        self._resting: dict[int, ServerState] = {}  # in maintenance
        self._running = False

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._running = True
        self.update(self._states)

    def stop(self) -> None:
        """Check no more."""
        self._running = False
        for _, task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def update(self, states: Sequence[ServerState]) -> None:
        """These are the servers now, or one went into maintenance or left it. States that stay keep their rhythm."""
        self._states = states
        wanted = {id(state): state for state in states if state.server.check and state.admin != "maint"}
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key)[1].cancel()
        for key in [key for key in self._resting if key in wanted]:
            state = self._resting[key]
            if state.server.check is not None:
                # after maintenance nothing is known: up, and the next check decides
                state.health = state.server.check.rise
        self._resting = {id(state): state for state in states if state.admin == "maint"}
        if not self._running:
            return
        fresh = [state for key, state in wanted.items() if key not in self._tasks]
        for state, delay in zip(fresh, first_delays([interval(state) for state in fresh]), strict=True):
            task = asyncio.create_task(
                self._watch(state, delay), name=f"check {state.server.backend}/{state.server.name}"
            )
            task.add_done_callback(report_crash)
            self._tasks[id(state)] = (state, task)

    async def _watch(self, state: ServerState, delay: float) -> None:
        """Check one server again and again; the interval counts from the end of a check."""
        while True:
            await asyncio.sleep(delay)
            check = state.server.check
            if check is None:
                return
            began = time.monotonic()
            state.check_running = True
            try:
                outcome = await probe(state, check)
            finally:
                state.check_running = False
            self._settle(state, check, outcome, int((time.monotonic() - began) * 1000))
            delay = interval(state)

    def _settle(self, state: ServerState, check: Check, outcome: Outcome, ms: int) -> None:
        was_up, health = state.up, state.health
        full = check.rise + check.fall - 1
        if outcome.status == "L4OK":
            state.health = health + 1 if health + 1 < check.rise else full
        elif health:
            state.checks_failed += 1
            state.health = health - 1 if health - 1 >= check.rise else 0
        news = (outcome.status, state.health) != (state.check_status, health)
        state.check_status, state.check_description, state.check_ms = *outcome, ms
        now = time.time()
        if was_up and not state.up:
            state.downs += 1
            state.changed_at = now
        elif state.up and not was_up:
            state.down_seconds += max(now - state.changed_at, 0.0)
            state.changed_at = now
        if news:
            self._on_result(state)
        if state.up != was_up:
            self._on_change(state)


def interval(state: ServerState) -> float:
    """Seconds until the next check."""
    check = state.server.check
    assert check is not None
    if state.health >= check.rise + check.fall - 1:
        return check.interval
    if not state.health:
        return check.down_interval or check.interval
    return check.fast_interval or check.interval


def first_delays(intervals: Sequence[float]) -> list[float]:
    """When the first checks begin, in seconds from now: one at once, the others evenly spread."""
    common = min((one for one in intervals if one >= SPREAD), default=0.0)
    return [max(common, own) * place / len(intervals) for place, own in enumerate(intervals)]


# one check


async def probe(state: ServerState, check: Check) -> Outcome:
    """Connect, at most for the check's timeout. Of a name's addresses it is enough that one answers."""
    address = check.address or state.server.address
    port = address.port or state.server.address.port
    family = _FAMILIES.get(address.family, socket.AF_UNSPEC)
    source = state.server.source
    try:
        async with asyncio.timeout(check.timeout):
            if family == socket.AF_UNSPEC:
                known = state.addresses if address.host == state.server.address.host else ()
                try:
                    hosts = known or await lookup(address.host)
                except OSError as error:
                    return Outcome("SOCKERR", f"cannot resolve {address.host}: {error.strerror or error}")
                return await _any([_connect(check, source, _family(host), (host, port)) for host in hosts])
            if family == socket.AF_UNIX:
                path = f"\0{address.host}" if address.family == "abstract" else address.host
                return await _connect(check, source, family, path)
            return await _connect(check, source, family, (address.host, port))
    except TimeoutError:
        return Outcome("L4TOUT")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _any(attempts: Sequence[Coroutine[None, None, Outcome]]) -> Outcome:
    """The first good outcome, or else the last bad one."""
    tasks = [asyncio.ensure_future(attempt) for attempt in attempts]
    outcome = Outcome("SOCKERR", "no address")
    try:
        for next_one in asyncio.as_completed(tasks):
            outcome = await next_one
            if outcome.status == "L4OK":
                break
    finally:
        for task in tasks:
            task.cancel()
    return outcome


async def _connect(check: Check, source: Source | None, family: int, address: tuple[str, int] | str) -> Outcome:
    try:
        with _begin(source, family, address) as sock:
            if family != socket.AF_UNIX and not check.send_proxy:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            await asyncio.get_running_loop().sock_connect(sock, address)
            if check.send_proxy:
                await _announce(sock, check.send_proxy)
    except OSError as error:
        number = error.errno or 0
        return Outcome("SOCKERR" if number in _OUR_FAULT else "L4CON", os.strerror(number) if number else str(error))
    return Outcome("L4OK")


def _begin(source: Source | None, family: int, address: tuple[str, int] | str) -> socket.socket:
    """A socket that comes from where traffic does, but for its port: connecting, where that is said. Raises OSError.

    To connect it once more is to wait for it.
    """
    if source is None or isinstance(address, str):
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    fits = (":" in source.address) == (family == socket.AF_INET6)
    fd, _ = fdio.connect_from(family, *address, source.address if fits else "", 0, source.foreign, source.interface)
    return socket.socket(fileno=fd)


async def _announce(sock: socket.socket, version: int) -> None:
    """Send a PROXY header of our own, then leave as a client does. Raises OSError where it cannot be sent.

    Of version 1 it tells the connection's own addresses: some servers refuse UNKNOWN (proxy-protocol.txt, section 2.1).
    """
    own, server = _endpoint(sock.getsockname()), _endpoint(sock.getpeername())
    header = proxyprotocol.local() if version == 2 else proxyprotocol.v1(own, server)
    await asyncio.get_running_loop().sock_sendall(sock, header)
    task = asyncio.create_task(_leave(sock.dup()), name="end of a check")  # whose outcome is known by now
    task.add_done_callback(report_crash)
    task.add_done_callback(_LEAVING.discard)
    _LEAVING.add(task)


async def _leave(sock: socket.socket) -> None:
    """Say that nothing more comes, and let the server close first."""
    with sock, contextlib.suppress(OSError, TimeoutError):
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(GOODBYE):
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass


_LEAVING: Final[set[asyncio.Task[None]]] = set()
"""Held, or the event loop would forget them."""


def _endpoint(name: object) -> proxyprotocol.Endpoint:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("unix", 0)
