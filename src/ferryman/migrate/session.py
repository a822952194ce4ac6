"""One migration, from the side that has the sources.

Three kinds of destination: a folder here (both ends run in one engine, over loopback, with TLS all the same), the token
of a `migrate serve`, or a daemon behind a TLS server as MTC's DVM makes them. Called by cli.migrate.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from ferryman.config.proxy_url import parse_proxy_url, written
from ferryman.migrate import MigrationError, RefusedError, certificates, claim, diagnosis, ends, report, rsync, volumes
from ferryman.migrate.attempts import Carrier, Interrupted, Journal, Way
from ferryman.migrate.certificates import Identity
from ferryman.migrate.display import Display
from ferryman.migrate.ends import End, Peer, Via
from ferryman.migrate.engine import Engine
from ferryman.migrate.memory import Memory, restored
from ferryman.migrate.report import Standing
from ferryman.migrate.rsyncd import Daemon
from ferryman.migrate.token import Token
from ferryman.migrate.volumes import Volume
from ferryman.plan import Address

_FINISH: Final = 5
"""Attempts to tell the serving end that all is there."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A daemon behind a TLS server that is not ours. Files are named by absolute paths."""

    address: str
    module: str
    user: str = rsync.USER
    password: str = field(default="", repr=False)
    certificate: str = ""
    key: str = ""
    ca: str = ""
    fingerprint: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done; all of it is remembered. One of `folder`, `token` and `foreign` says where to.

    `parallel`: volumes at once; `limit`: failures in a row without anything moved; `verify`: compare checksums.
    """

    sources: tuple[Volume, ...]
    flags: rsync.Flags
    folder: str = ""
    token: Token | None = field(default=None, repr=False)
    foreign: Foreign | None = None
    via: Via | None = None
    parallel: int = 2
    limit: int = 20
    verify: bool = False

    @property
    def kind(self) -> Literal["folder", "token", "foreign"]:
        return "token" if self.token is not None else "foreign" if self.foreign is not None else "folder"

    @property
    def about(self) -> str:
        """For people."""
        to = volumes.shown(self.folder)
        if self.token is not None:
            to = " or ".join(self.token.addresses)
        elif self.foreign is not None:
            to = self.foreign.address
        return f"{', '.join(volumes.shown(one.path) for one in self.sources)} to {to}"

    def kept(self) -> dict[str, Any]:
        """For migrate.memory."""
        data = asdict(self)
        if self.token is not None:
            data["token"] = self.token.text()
        return data


def recalled(data: Any) -> Order:
    """What `kept` gave. Raises MigrationError if it is of another version."""
    from ferryman.migrate.token import parse

    try:
        return restored(
            Order,
            {
                **data,
                "sources": [restored(Volume, one) for one in data["sources"]],
                "flags": restored(rsync.Flags, data["flags"]),
                "token": parse(data["token"]) if data["token"] else None,
                "foreign": restored(Foreign, data["foreign"]) if data["foreign"] else None,
                "via": restored(Via, data["via"]) if data["via"] else None,
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MigrationError("what is remembered of it is of another version of ferryman") from None


def _standings(order: Order, data: Any) -> list[Standing]:
    """How its volumes stand. Raises MigrationError as `recalled`."""
    try:
        kept = {standing.name: standing for standing in map(report.recalled, data)}
    except TypeError:
        raise MigrationError("what is remembered of it is of another version of ferryman") from None
    return [kept.get(one.name) or Standing(one.name) for one in order.sources]


class Session:
    """Runs an order. `standings` has how it stands, before, while and after."""

    def __init__(self, memory: Memory, display: Display) -> None:
        self._memory = memory
        self.order = order = recalled(memory.data.get("order"))
        self.standings = _standings(order, memory.data.get("standings", []))
        self._display = display
        self._program = rsync.find()
        self._journal = Journal()
        self._way: Way | None = None
        self._daemons: list[Daemon] = []
        self._made: list[str] = []
        self._runtime = ""
        self._doors: dict[str, tuple[str, int]] = {}
        self._stopped = asyncio.Event()
        self.seconds = 0.0

    @property
    def complete(self) -> bool:
        """Is there nothing left to go on with?"""
        return all(one.state == "done" for one in self.standings)

    @property
    def begun(self) -> bool:
        """Is there anything to go on with, that the same command would not find as well?"""
        mine = self.order.kind == "token" and any(one.attempts for one in self.standings)
        return mine or any(one.moved or one.state == "done" for one in self.standings)

    def stop(self) -> None:
        """Ctrl-C; the second one does not wait for anybody."""
        self._stopped.set()
        if self._way is not None:
            self._way.stop()

    async def run(self) -> None:
        """Until all volumes are there. Raises MigrationError if they cannot be, RefusedError, Interrupted."""
        begun = time.monotonic()
        for volume in self.order.sources:
            volumes.check_source(volume)
        self._runtime = self._memory.make_runtime()
        sockets = [_loopback() for _ in self.order.sources]
        try:
            self._doors = {
                one.name: sock.getsockname()[:2] for one, sock in zip(self.order.sources, sockets, strict=True)
            }
            parts, password = self._prepare(sockets)
            engine = Engine(sockets, self._journal.hear)
            self._way = way = Way(
                self._program, engine, self._journal, self.order.flags, password, limit=self.order.limit
            )
            if self.order.foreign is not None:
                way.user, way.ours = self.order.foreign.user, False
            way.hop = self._hop()
            if self._stopped.is_set():
                raise Interrupted
            try:
                workers = ends.workers(min(self.order.parallel, len(self.order.sources)))
                await engine.start(*parts, workers=workers)
                if self.order.kind == "token":
                    await self._claim(way)
                await self._carry(way)
                if self.order.kind == "token":
                    await self._finish(way)
            finally:
                await engine.stop()
        finally:
            self.seconds = time.monotonic() - begun
            for daemon in self._daemons:
                await daemon.stop()
            for sock in sockets:
                sock.close()
            if self.order.flags.dry_run:
                self._tidy()
                volumes.remove_empty(self._made)
        self._tidy()

    def _tidy(self) -> None:
        for daemon in self._daemons:
            daemon.tidy()
        self._daemons = []

    # the way

    def _hop(self) -> str:
        """Whom our end connects to."""
        order = self.order
        if order.via is not None:
            return f"proxy {written(parse_proxy_url(order.via.url))}, or what is behind it"
        if order.token is not None:
            return f"serving end {' or '.join(order.token.addresses)}"
        return f"server {order.foreign.address}" if order.foreign is not None else "the other end, in this process"

    def _prepare(self, sockets: list[socket.socket]) -> tuple[list[End], str]:
        """What the engine carries out, and the password for rsync. Raises MigrationError."""
        order = self.order
        via = order.via
        proxy = ends.hop(via, certificates.read_authorities(via.ca) if via.ca else "") if via is not None else None
        if order.foreign is not None:
            foreign = order.foreign
            shown = certificates.read(foreign.certificate, foreign.key) if foreign.certificate else None
            ca = certificates.read_authorities(foreign.ca) if foreign.ca else ""
            peer = Peer((foreign.address,), foreign.fingerprint, ca, shown, foreign.name, ours=False)
            return [ends.client_end(peer, proxy, self._doors, {})], foreign.password
        if order.token is not None:
            own = self._memory.data.get("identity")
            if own is None:
                made = certificates.make("client")
                own = self._memory.data["identity"] = {"certificate": made.certificate, "key": made.key}
                self._memory.save()
            token, shown = order.token, ends.shown(Identity(**own))
            peer = Peer(token.addresses, token.fingerprint, certificate=shown, name=token.name)
            services = {name: self._path(name) for name in (ends.CLAIM, ends.CONTROL)}
            return [ends.client_end(peer, proxy, self._doors, services)], ""
        targets = [Volume(one.name, volumes.destination(one, order.folder), one.single) for one in order.sources]
        for volume, target in zip(order.sources, targets, strict=True):
            volumes.check_apart(volume.path, target.path)
        password = secrets.token_urlsafe(24)
        serving, peer = self._serve(targets, sockets, password)
        return [ends.client_end(peer, proxy, self._doors, {}), serving], password

    def _serve(self, targets: list[Volume], sockets: list[socket.socket], password: str) -> tuple[End, Peer]:
        """Source and destination are here: the other end, and how to reach it."""
        for target in targets:
            self._made += volumes.prepare_target(target.path)
            daemon = Daemon(self._program, target, self._runtime, password)
            daemon.start()
            self._daemons.append(daemon)
        client, server = certificates.make("client"), certificates.make("server")
        if self.order.via is not None:  # which cannot be asked for a Unix socket
            sockets.append(_loopback())
            place = ends.address(*sockets[-1].getsockname()[:2])
        else:
            place = Address("unix", self._path("served"))
        daemons = {daemon.volume.name: daemon.path for daemon in self._daemons}
        serving = ends.server_end(place, ends.shown(server), client.certificate, daemons, {})
        return serving, Peer((str(place),), server.fingerprint, certificate=ends.shown(client))

    async def _claim(self, way: Way) -> None:
        """Become the client of the token. Raises RefusedError, MigrationError, Interrupted."""
        assert self.order.token is not None
        message = {
            "secret": self.order.token.secret.hex(),
            "certificate": self._memory.data["identity"]["certificate"],
            "volumes": [one.name for one in self.order.sources],
        }
        answer = await self._ask(way, ends.CLAIM, message, self.order.limit)
        if refusal := claim.refusal(answer):
            raise RefusedError(f"the serving end refused: {refusal}")
        try:
            way.password = claim.password(answer)
        except ValueError as error:
            raise MigrationError(str(error)) from None

    async def _finish(self, way: Way) -> None:
        """Tell the serving end. All is there in any case; after a dry run the token is to be good for another one."""
        do = "release" if self.order.flags.dry_run else "finish"
        try:
            await self._ask(way, ends.CONTROL, {"do": do, "volumes": len(self.standings)}, _FINISH)
        except MigrationError as error:
            self._display.note(f"all is done, but the serving end could not be told, so it still waits: {error}")

    async def _ask(self, way: Way, service: str, message: dict[str, Any], limit: int) -> claim.Message:
        failures = 0
        while True:
            way.check()
            self._journal.clear(service)
            try:
                return await claim.ask(self._path(service), message)
            except claim.Silence:
                failures += 1
            cause = diagnosis.of(10, [], await self._journal.of(service), way.hop)
            if cause.outlook == "refused":
                raise RefusedError(cause.text)
            if failures > limit:
                raise MigrationError(f"the serving end cannot be reached: {cause.text}")
            pause = min(30.0, 2.0 ** (failures - 1))
            self._display.note(f"the serving end cannot be reached: {cause.text}; again in {pause:g} s")
            await way.pause(pause)

    # the volumes

    async def _carry(self, way: Way) -> None:
        """All of them, some at once. One that fails does not keep the others from being moved."""
        at_once = asyncio.Semaphore(self.order.parallel)
        drawing = asyncio.create_task(self._draw())

        async def one(volume: Volume, standing: Standing) -> MigrationError | None:
            async with at_once:
                return await self._one(way, volume, standing)

        try:
            pairs = zip(self.order.sources, self.standings, strict=True)
            todo = [one(volume, standing) for volume, standing in pairs if standing.state != "done"]
            failed = [error for error in await asyncio.gather(*todo) if error is not None]
        finally:
            drawing.cancel()
            self._display.end()
            self._remember()
        if way.stopping.is_set():
            raise Interrupted
        refused = next((error for error in failed if isinstance(error, RefusedError)), None)
        if refused is not None:
            raise refused
        if failed:
            raise failed[0]

    async def _one(self, way: Way, volume: Volume, standing: Standing) -> MigrationError | None:
        module = self.order.foreign.module if self.order.foreign is not None and volume.single else volume.name
        carrier = Carrier(way, volume, module, self._doors[volume.name], standing, self)
        try:
            await carrier.copy()
            if self.order.verify and not self.order.flags.dry_run:
                await carrier.compare()
        except Interrupted:
            standing.state = "waiting"
            return None
        except MigrationError as error:
            standing.state = "failed"
            self._remember()
            return error
        standing.state = "done"
        self.changed(standing)
        return None

    def attempt_failed(self, standing: Standing, cause: diagnosis.Cause, pause: float | None) -> None:
        self._remember()
        self._display.attempt_failed(standing, cause, pause)

    def changed(self, standing: Standing) -> None:
        self._remember()
        self._display.changed(standing)

    def _remember(self) -> None:
        self._memory.data["standings"] = [one.kept() for one in self.standings]
        self._memory.save()

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(min(self._display.every, 3600))
            self._display.draw(self.standings)

    def _path(self, name: str) -> str:
        return os.path.join(self._runtime, name)


def _loopback() -> socket.socket:
    """A listening socket of which the kernel chose the port."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def problems(standings: Sequence[Standing]) -> list[str]:
    """What a migration that has come to its end should still be blamed for."""
    different = [f"{one.name}: {one.different} differences" for one in standings if one.different]
    changed = [
        f"{one.name}: {one.changed} files changed while they were read; stop what writes to them, and begin once more"
        for one in standings
        if one.changed
    ]
    return different + changed
