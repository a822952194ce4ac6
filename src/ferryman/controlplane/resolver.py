"""Names of servers to addresses: looked up at start, again every half minute, sooner after a failure.

Used by the supervisor (which tells the workers) and, for `lookup`, by health. A name that does not resolve is no reason
not to start: its server has no addresses until it does, which is said once. Addresses that were known stay in use while
the name cannot be resolved. Asks only the system (getaddrinfo), so /etc/hosts and nsswitch.conf hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

from ferryman.controlplane.serverstate import ServerState

REFRESH: Final = 30.0
"""Seconds between look-ups of a name that resolves."""
FIRST_RETRY: Final = 1.0
"""Seconds until the next try after the first failure; doubled each time, up to REFRESH."""

Tell = Callable[[str, str], None]
"""Gets what operators should know: a level and a text."""


async def lookup(host: str) -> tuple[str, ...]:
    """Numeric addresses of both families in the system's order (RFC 6724). Raises OSError (socket.gaierror).

    In a thread of its own, which nobody waits for: getaddrinfo takes as long as it takes and cannot be interrupted.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...], error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def ask() -> None:
        addresses: tuple[str, ...] = ()
        failure = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError(f"{host} cannot be a name of a host")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=ask, name=f"lookup {host}", daemon=True).start()
    return await answer


def report_crash(task: asyncio.Task[None]) -> None:
    """A task that goes on for ever has ended: a bug, which must not stay silent (done callback)."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} has ended", "exception": error, "task": task}
        )


class Resolver:
    """Keeps `ServerState.addresses` of named servers; `on_change` is called after each change."""

    def __init__(self, on_change: Callable[[ServerState], None], tell: Tell | None = None) -> None:
        self._on_change = on_change
        self._tell = tell or (lambda level, text: None)
        self._states: dict[str, list[ServerState]] = {}  # by name
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answered: dict[str, asyncio.Event] = {}  # by name: it was looked up once, with whatever result
        self._running = False

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._running = True
        self._begin()

    async def settled(self, timeout: float) -> None:
        """Wait until every name was looked up once, so that the first connections find addresses, or for `timeout`."""
        events = [self._answered[host].wait() for host in self._tasks]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*events)

    def stop(self) -> None:
        """Ask no more."""
        self._running = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def update(self, states: Sequence[ServerState]) -> None:
        """These are the servers now. Names that stay keep their addresses and their rhythm."""
        known = {host: members[0].addresses for host, members in self._states.items()}
        self._states = {}
        for state in states:
            address = state.server.address
            if address.family == "name":
                self._states.setdefault(address.host, []).append(state)
                self._give(state, known.get(address.host, state.addresses))
        for host in [host for host in self._tasks if host not in self._states]:
            self._tasks.pop(host).cancel()
            del self._answered[host]
        if self._running:
            self._begin()

    def _begin(self) -> None:
        for host in self._states:
            if host not in self._tasks:
                self._answered[host] = asyncio.Event()
                task = asyncio.create_task(self._follow(host), name=f"resolve {host}")
                task.add_done_callback(report_crash)
                self._tasks[host] = task

    async def _follow(self, host: str) -> None:
        """Look one name up again and again."""
        retry = 0.0
        while True:
            try:
                addresses = await lookup(host)
            except OSError as error:
                if not retry:
                    known = self._states[host][0].addresses
                    then = f"its servers stay at {', '.join(known)}" if known else "its servers cannot be reached"
                    self._tell("warning", f"cannot resolve {host}: {error.strerror or error}; {then}")
                retry = min(retry * 2 or FIRST_RETRY, REFRESH)
            else:
                if retry:
                    self._tell("notice", f"{host} resolves to {', '.join(addresses)}")
                retry = 0.0
                for state in self._states[host]:
                    self._give(state, addresses)
            self._answered[host].set()
            await asyncio.sleep(retry or REFRESH)

    def _give(self, state: ServerState, addresses: tuple[str, ...]) -> None:
        # name servers turn the list with every answer: another order is no change
        if set(addresses) != set(state.addresses):
            state.addresses = addresses
            self._on_change(state)
