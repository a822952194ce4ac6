"""Are these a user's name and password? Checked in a thread, and the slower, the more often an address was wrong.

Used by answers for every explicit proxy. Checking a hash is meant to be slow, so clients who guess must not be able to
keep the proxy busy with it: each address waits before a check once it was wrong, only a few checks are under way for
one address and for all together, and what has just been found wrong is not checked again. Guesses that came together,
before the first of them was found wrong, are no better off: who is in line for a thread is looked at again when its
turn comes. A right guess shortens no wait, or whoever has one account could try all others at full speed. Passwords are
held as keyed digests only and named in no message.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Final

from ferryman.controlplane.endsite import end_site
from ferryman.dataplane.cache import Cache
from ferryman.plan import Connect, Plan
from ferryman.rules.passwords import Passwords

FIRST_DELAY: Final = 0.1
"""Seconds an address waits after its first mistake, doubled with each further one."""
LONGEST_DELAY: Final = 5.0
CALM: Final = 300.0
"""Seconds without a mistake after which all is forgotten."""
WRONG_TTL: Final = 60.0
"""Seconds that wrong credentials stay wrong without being checked."""
ADDRESSES: Final = 16384
"""Addresses whose mistakes are remembered."""
REMEMBERED: Final = 65536
PER_ADDRESS: Final = 16
"""Checks that may wait at the same time for one address that was wrong."""
PER_FRESH_ADDRESS: Final = 256
"""The same for one that was not: many people may be behind it, but there must be room for others in CHECKING."""
WAITING: Final = 4096
"""The same for all together."""
CHECKING: Final = 512
"""Those among them that wait for a thread."""
THREADS: Final = 2


class BusyError(Exception):
    """Too many want to be checked; later it may work."""


@dataclass(slots=True)
class _Users:
    passwords: Passwords
    table: tuple[tuple[str, str], ...]
    ttl: float


class Credentials:
    """Users of all listeners, and what is known of those who say they are."""

    def __init__(self) -> None:
        self._users: dict[str, _Users] = {}  # by listener
        self._secret = os.urandom(32)
        self._known: Cache[bool] = Cache(REMEMBERED)  # by listener and digest: right or wrong
        self._mistakes: Cache[int] = Cache(ADDRESSES)
        self._waiting: Counter[str] = Counter()  # by address
        self._total = self._checking = 0
        self._free = asyncio.Semaphore(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")

    def follow(self, plan: Plan) -> None:
        """These are the users now. Where they changed, everybody is checked again."""
        connects = {one.name: one.connect for one in plan.listeners if one.connect is not None}
        self._users = {name: self._of(name, connect) for name, connect in connects.items()}

    def _of(self, listener: str, connect: Connect) -> _Users:
        users = self._users.get(listener)
        if users is None or users.table != connect.users:
            self._known.drop_where(lambda key: isinstance(key, tuple) and key[0] == listener)
            return _Users(Passwords(connect.users), connect.users, connect.credentials_ttl)
        return _Users(users.passwords, users.table, connect.credentials_ttl)

    def stop(self) -> None:
        """Check nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(self, listener: str, client: str, user: str, password: str) -> bool:
        """Is this a user of the listener with this password? `client`: the address it came from. Raises BusyError."""
        users = self._users.get(listener)
        if users is None:
            return False
        secret = f"{len(user)}:{user}:{password}".encode("utf-8", "surrogatepass")
        key = (listener, hashlib.blake2b(secret, key=self._secret, digest_size=16).digest())
        if self._known.get(key, monotonic()):
            return True
        if self._total >= WAITING:
            raise BusyError("too many logins are being checked")
        address = end_site(client)
        self._total += 1
        self._waiting[address] += 1
        try:
            return await self._check(key, users, address, user, password)
        finally:
            self._total -= 1
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    async def _check(self, key: tuple[str, bytes], users: _Users, address: str, user: str, password: str) -> bool:
        """Wait as the address must, then for a thread. Raises BusyError."""
        delayed = await self._delay(address)
        if self._checking >= CHECKING:
            raise BusyError("too many logins are being checked")
        self._checking += 1
        try:
            async with self._free:
                known = self._known.get(key, monotonic())
                if known is None and (delayed or not self._mistakes_of(address)):
                    loop = asyncio.get_running_loop()
                    known = await loop.run_in_executor(self._threads, users.passwords.verify, user, password)
                    self._remember(key, known, users, address)
        finally:
            self._checking -= 1
        if known is None:  # the first mistake of its address was found out while it stood in line
            return await self._check(key, users, address, user, password)
        return known

    async def _delay(self, address: str) -> bool:
        """Wait if this address was wrong before; True if it was. Raises BusyError."""
        mistakes = self._mistakes_of(address)
        if self._waiting[address] > (PER_ADDRESS if mistakes else PER_FRESH_ADDRESS):
            raise BusyError("too many logins are being checked")
        if mistakes:
            await asyncio.sleep(min(FIRST_DELAY * 2 ** min(mistakes - 1, 20), LONGEST_DELAY))
        return mistakes > 0

    def _mistakes_of(self, address: str) -> int:
        return self._mistakes.get(address, monotonic()) or 0

    def _remember(self, key: tuple[str, bytes], right: bool, users: _Users, address: str) -> None:
        now = monotonic()
        present = self._users.get(key[0])
        if present is not None and present.passwords is users.passwords:  # or they changed in the meantime
            self._known.put(key, right, now + (users.ttl if right else WRONG_TTL))
        if not right:
            self._mistakes.put(address, self._mistakes_of(address) + 1, now + CALM)
