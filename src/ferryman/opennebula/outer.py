"""The outer daemon, `one_tproxy`: an ordinary supervisor whose configuration is what nftables holds.

It follows nftables by itself: what OpenNebula's drivers, or people, change there counts a moment later. A ruleset that
was flushed is written again as it was. A reading that fails changes nothing. Started by opennebula.daemons, which makes
the settings known in a file of its own, as those of OpenNebula may be out of reach once root is given up; of root's
powers it keeps what nftables asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from ferryman.config.source import Diagnostics, Source
from ferryman.controlplane import supervisor
from ferryman.controlplane.snapshot import Table
from ferryman.controlplane.supervisor import LoadResult, Supervisor
from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.opennebula import database, flush, holder, names, native, overview, settings, state
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.settings import Settings

REST: Final = 0.3
"""Seconds without another change of nftables, until it counts."""
_NETLINK_NETFILTER: Final = 12
_NFNLGRP_NFTABLES: Final = 7  # linux/netfilter/nfnetlink.h


def run(ready: Callable[[], None]) -> int:
    """Be the daemon, until it is stopped. Raises StartError."""
    os.chdir("/")
    holder.key()
    reader = Reader()
    found = reader.load(False)
    if found.plan is None:
        raise StartError("\n".join(found.messages))
    options = supervisor.Options(
        control=names.CONTROL,
        foreground=False,
        ready=ready,
        elsewhere=reader.holders,
        keep=(privileges.NET_ADMIN,),
        beside=reader.follow,
        tables=reader.tables,
    )
    return supervisor.run(found.plan, reader.load, options)


class Reader:
    """Makes plans, and knows what the last one was made of."""

    def __init__(self) -> None:
        self.holders = holder.Holders()
        self._endpoints: dict[str, list[Endpoint]] = {}
        self._strangers: dict[str, list[Endpoint]] = {}
        self._networks: dict[str, tuple[str, ...]] = {}

    def load(self, renew: bool) -> LoadResult:
        """The plan that is due now (supervisor.Loader); nftables and the settings are always read anew."""
        messages: list[str] = []
        try:
            now = database.read()
            present = flush.mend(self._strangers) if now.flushed else dict(now.endpoints)
            if now.flushed and present:
                messages.append(f"the table {names.TABLE} was gone from nftables: written again")
            known = state.read().bridges
            said, diagnostics = _settings()
        except (StartError, OSError, UnicodeDecodeError) as error:  # nft could not even be started, say
            return LoadResult(None, str(error).splitlines())
        self._endpoints = present
        self._strangers = {bridge: each for bridge, each in present.items() if bridge not in known}
        reachable = {}
        for bridge, wanted in present.items():
            if not wanted:
                continue
            if os.path.exists(holder.path(bridge)):
                reachable[bridge] = wanted
            else:
                message = f"bridge {bridge}: {names.inner(bridge)} is not running; `ferryman tproxy heal` starts it"
                messages.append(message)
        self._networks = {name: bridge.networks for name, bridge in known.items()}
        plan, found = native.plan(reachable, said, self._networks)
        messages += [str(one) for one in [*diagnostics.found, *found.found]]
        if plan is not None:
            plan, missing = self.holders.fetch(plan)
            messages += missing
        return LoadResult(plan, messages)

    async def follow(self, owner: Supervisor) -> None:
        """Reload when nftables changes to something else (supervisor.Options.beside)."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER) as events:
            events.bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
            while True:
                await _calm(events)
                try:
                    changed = (await asyncio.to_thread(database.read)).endpoints != self._endpoints
                except (StartError, OSError):
                    changed = True  # said by the reload
                if changed:
                    await owner.reload()

    async def tables(self, owner: Supervisor) -> list[Table]:
        """For the page (supervisor.Options.tables)."""
        listeners = [asdict(row) for row in owner.snapshot().listeners]
        live = [dict(session) for session in await owner.sessions()]
        found = await asyncio.to_thread(
            overview.take, self._endpoints, self._networks, {names.OUTER: owner.pid}, listeners, live
        )
        return overview.tables(found)


async def _calm(events: socket.socket) -> None:
    """Wait until something has changed, and then nothing for a while."""
    with contextlib.suppress(OSError):  # ENOBUFS: there was more than the kernel keeps, so there was something
        await asyncio.get_running_loop().sock_recv(events, 65536)
    end = time.monotonic() + 10 * REST  # somebody may change something all the time
    while time.monotonic() < end:
        await asyncio.sleep(REST)
        if not _drain(events):
            return


def _drain(events: socket.socket) -> bool:
    """Was there anything? Without a turn of the loop for each: a change may be thousands of events."""
    some = False
    while True:
        try:
            events.recv(65536)
        except BlockingIOError:
            return some
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        some = True


def _settings() -> tuple[Settings, Diagnostics]:
    diagnostics = Diagnostics()
    try:
        with open(names.PUBLISHED, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return Settings(), diagnostics
    return settings.parse(Source(names.SETTINGS, text), diagnostics), diagnostics
