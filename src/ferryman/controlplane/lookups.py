"""Names that clients want to be connected to: looked up once for all who ask, and remembered for a moment.

Used by answers. Clients choose the names, and may choose ones whose servers never answer. getaddrinfo takes as long as
it takes, cannot be interrupted, and has a thread for itself as long (resolver.lookup starts one per call and sets no
bound): AT_ONCE is the number of such threads. One client may only have some of them, whether it still waits or not, so
that others find some free. What it wants beyond is refused and does not wait for its turn: a name that waits for a
client with slow names would wait for all others who ask for the same name. (Names of servers in the configuration are
resolver's, and have a thread each.)
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Final

from ferryman.controlplane.endsite import end_site
from ferryman.controlplane.resolver import lookup
from ferryman.dataplane.cache import Cache

TTL: Final = 5.0
"""Seconds an answer is given again. getaddrinfo does not tell how long it holds."""
FAILURE_TTL: Final = 1.0
REMEMBERED: Final = 4096
AT_ONCE: Final = 256
"""Names that are being looked up at the same time; others wait for their turn."""
PER_CLIENT: Final = 64
"""Names among all that are under way which one client was the first to ask for."""
WAITING: Final = 4096


class NoAddressError(Exception):
    """`error`: "dns_error" or "dns_timeout" (RFC 9209 section 2.3); and why in words."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


class _Look:
    """One name that is being looked up. `client` asked first; `wanted`: how many wait for it."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.wanted = 0
        self.begun = False
        self.task: asyncio.Task[tuple[str, ...] | str]


class Lookups:
    """Needs a running loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._known: Cache[tuple[str, ...] | str] = Cache(REMEMBERED)  # addresses, or why there are none
        self._looks: dict[str, _Look] = {}
        self._clients: Counter[str] = Counter()  # looks by who asked first

    async def resolve(self, client: str, host: str, timeout: float | None) -> tuple[str, ...]:
        """Numeric addresses in the order to try them (RFC 6724, families taking turns). Raises NoAddressError.

        `client`: the address of whoever wants to know. `timeout`: seconds it waits.
        """
        found = self._known.get(host, monotonic())
        if found is None:
            found = await self._wait(end_site(client), host, timeout)
        if isinstance(found, str):
            raise NoAddressError("dns_error", found)
        return found

    async def _wait(self, client: str, host: str, timeout: float | None) -> tuple[str, ...] | str:
        look = self._looks.get(host)
        if look is None:
            if len(self._looks) >= WAITING:
                raise NoAddressError("dns_error", "too many names are being looked up")
            if self._clients[client] >= PER_CLIENT:
                raise NoAddressError("dns_error", "too many names are being looked up for this client")
            look = self._looks[host] = _Look(client)
            self._clients[client] += 1
            look.task = asyncio.create_task(self._look(host, look), name=f"look up {host!r}")
        look.wanted += 1
        try:
            return await asyncio.wait_for(asyncio.shield(look.task), timeout)
        except TimeoutError:
            raise NoAddressError("dns_timeout", f"no answer in {timeout:g} s") from None
        finally:
            look.wanted -= 1
            if not look.wanted and not look.begun:
                look.task.cancel()  # its turn has not come, and nobody wants to know any more
                self._end(host)

    async def _look(self, host: str, look: _Look) -> tuple[str, ...] | str:
        found: tuple[str, ...] | str
        async with self._slots:
            look.begun = True
            try:
                found = by_turns(await lookup(host)) or "the name has no address"
            except (OSError, RuntimeError) as error:  # RuntimeError: there is no thread to be had
                found = getattr(error, "strerror", None) or str(error)
            finally:
                self._end(host)
            self._known.put(host, found, monotonic() + (FAILURE_TTL if isinstance(found, str) else TTL))
        return found

    def _end(self, host: str) -> None:
        client = self._looks.pop(host).client
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]


def by_turns(addresses: Sequence[str]) -> tuple[str, ...]:
    """The families taking turns, the first one's first (RFC 8305 section 4)."""
    of = {
        family: [one for one in addresses if (":" in one) is (family == socket.AF_INET6)]
        for family in (socket.AF_INET6, socket.AF_INET)
    }
    first, second = of.values() if addresses and ":" in addresses[0] else reversed(of.values())
    mixed = [one for pair in zip(first, second, strict=False) for one in pair]
    return tuple(mixed + first[len(second) :] + second[len(first) :])
