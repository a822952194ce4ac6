"""The serving end for a client on another machine: `ferryman migrate serve`.

Until somebody claims the migration there is nothing behind its port but the claim. From then on there are the volumes'
daemons, for the certificate of that client only. What was agreed is remembered, so that after a crash the same client,
and only it, finds them again.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ferryman.migrate import MigrationError, certificates, claim, ends, rsync, volumes
from ferryman.migrate.certificates import Identity
from ferryman.migrate.claim import Message
from ferryman.migrate.ends import End
from ferryman.migrate.engine import Engine, Line
from ferryman.migrate.memory import Memory
from ferryman.migrate.rsyncd import Daemon
from ferryman.migrate.token import SECRET, Token
from ferryman.migrate.volumes import Volume

Say = Callable[[str], None]
_MOST: Final = 1000  # volumes


def first_data(targets: Sequence[Volume], bind: str, port: int, addresses: Sequence[str], name: str) -> dict[str, Any]:
    """What a service begins with, for migrate.memory."""
    identity = certificates.make("server")
    return {
        "about": "for " + ", ".join(volumes.shown(one.path) for one in targets),
        "targets": [[one.name, one.path, one.single] for one in targets],
        "bind": bind,
        "port": port,
        "addresses": list(addresses),
        "name": name,
        "certificate": identity.certificate,
        "key": identity.key,
        "secret": secrets.token_hex(SECRET),
        "password": secrets.token_urlsafe(24),
        "expected": "",
        "claimed": 0.0,
        "volumes": [],
    }


class Service:
    """One migration's serving end, until it is complete or told to stop."""

    def __init__(self, memory: Memory, say: Say) -> None:
        self._memory = memory
        self._data = memory.data
        self._say = say
        self._program = rsync.find()
        self._runtime = ""
        self._daemons: list[Daemon] = []
        self._servers: list[asyncio.Server] = []
        self._engine: Engine | None = None
        self._ended = asyncio.Event()
        self._changing = asyncio.Lock()
        self._taken_up = bool(self._data["expected"])  # what the client did before is not known
        self.finished: Message | None = None

    @property
    def token(self) -> str:
        """ "" once it was used."""
        data = self._data
        if data["expected"]:
            return ""
        addresses = tuple(data["addresses"])
        print_ = certificates.fingerprint(data["certificate"])
        return Token(addresses, print_, bytes.fromhex(data["secret"]), data["name"]).text()

    async def start(self) -> None:
        """Raises MigrationError."""
        self._runtime = self._memory.make_runtime()
        self._servers = [
            await claim.serve(self._path(ends.CLAIM), self._claimed),
            await claim.serve(self._path(ends.CONTROL), self._told),
        ]
        if self._data["expected"]:
            await self._start_daemons([Volume(*one) for one in self._data["volumes"]])
        listening = listen(self._data["bind"], self._data["port"])
        self._data["port"] = listening.getsockname()[1]
        self._memory.save()
        self._engine = Engine([listening], self._heard)
        await self._engine.start(self._end(listening), workers=self._workers)
        self._listening = listening
        if not self._data["addresses"]:
            port = self._data["port"]
            hosts = [self._data["bind"]] if self._data["bind"] else own_addresses()
            self._data["addresses"] = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
            self._memory.save()

    def stop(self) -> None:
        self._ended.set()

    async def run(self) -> None:
        """Until it is complete, or stopped. Raises MigrationError if it cannot go on."""
        assert self._engine is not None
        ending = asyncio.create_task(self._ended.wait())
        gone = asyncio.create_task(self._engine.gone())
        await asyncio.wait({ending, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, gone):
            task.cancel()
        if not self._ended.is_set():
            raise MigrationError(self._engine.fault)

    async def close(self) -> None:
        """End everything; if the migration is complete, forget it."""
        for server in self._servers:
            server.close()
        if self._engine is not None:
            await self._engine.stop()
            self._listening.close()
        for daemon in self._daemons:
            await daemon.stop()
        if self.finished is not None:
            for daemon in self._daemons:
                daemon.tidy()
            self._memory.forget()
        else:
            self._memory.remove_runtime()
            self._memory.close()

    # what is asked of it

    async def _claimed(self, message: Message) -> Message:
        """Somebody has a token, or says so."""
        secret, certificate, names = message.get("secret"), message.get("certificate"), message.get("volumes")
        if not (isinstance(secret, str) and isinstance(certificate, str) and isinstance(names, list)):
            return {"error": "this is a ferryman of another version"}
        if not hmac.compare_digest(self._data["secret"].encode(), secret.encode()):
            self._say("refused a client: it has a token of another migration")
            return {"error": "the token is of another migration"}
        async with self._changing:
            if self._data["expected"]:
                return self._again(certificate)
            if not certificates.is_single(certificate):
                return {"error": "the certificate is not one that ferryman makes"}
            try:
                wanted = self._targets(names)
                await self._start_daemons(wanted)
            except (ValueError, MigrationError) as error:
                return {"error": str(error)}
            self._data["expected"], self._data["claimed"] = certificate, time.time()
            self._data["volumes"] = [[one.name, one.path, one.single] for one in wanted]
            self._memory.save()
            assert self._engine is not None
            await self._engine.reload(self._end(self._listening), workers=self._workers)
        self._say(f"a client has begun: {', '.join(one.name for one in wanted)}; the token is used up")
        return {"password": self._data["password"], "migration": self._memory.name}

    def _again(self, certificate: str) -> Message:
        """The token was used: by this client, which has not heard the answer, or by another."""
        if hmac.compare_digest(certificate.encode(), self._data["expected"].encode()):
            return {"password": self._data["password"], "migration": self._memory.name}
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._data["claimed"]))
        self._say("refused a client: the token was used already, by another one")
        return {"error": f"the token was used already, by another client at {when}; a token is good for one migration"}

    def _targets(self, names: list[Any]) -> list[Volume]:
        """Where the volumes of a client go. Raises ValueError, MigrationError."""
        mine = [Volume(*one) for one in self._data["targets"]]
        if not 1 <= len(names) <= _MOST:
            raise ValueError(f"a migration has 1 to {_MOST} volumes")
        found: list[Volume] = []
        for name in names:
            if not isinstance(name, str) or name in [one.name for one in found]:
                raise ValueError("names of volumes are texts, each another one")
            volumes.check_name(name)
            by_name = next((one for one in mine if one.name == name and not one.single), None)
            if by_name is not None:
                found.append(by_name)
            elif len(mine) == 1 and mine[0].single:
                single = len(names) == 1 and name == volumes.SINGLE
                path = mine[0].path if single else os.path.join(mine[0].path, name)
                found.append(Volume(name, path, single))
            elif len(mine) == len(names) == 1 and name == volumes.SINGLE:
                found.append(Volume(name, mine[0].path, single=True))
            else:
                have = ", ".join(one.name for one in mine)
                raise ValueError(f"the serving end has no volume {name}; it has {have}")
        return found

    async def _told(self, message: Message) -> Message:
        """The client of this migration says something."""
        if message.get("do") == "finish":
            self.finished = message
            asyncio.get_running_loop().call_later(0.5, self._ended.set)  # the answer first
            return {"ok": True}
        if message.get("do") == "release":
            async with self._changing:
                return await self._release()
        return {"error": "this is a ferryman of another version"}

    async def _release(self) -> Message:
        """The client only wanted to see what would be moved: its token is worth what it was before.

        But not if it may have written: else a thief could do so, and leave the token as if nobody had been there.
        """
        if self._taken_up or any(daemon.written for daemon in self._daemons):
            return {"error": "what is there may have been changed: the token stays used up"}
        for daemon in self._daemons:
            await daemon.stop()
            daemon.tidy()
        self._daemons = []
        self._data.update(expected="", claimed=0.0, volumes=[])
        self._memory.save()
        assert self._engine is not None
        await self._engine.reload(self._end(self._listening), workers=self._workers)
        self._say("the client made a dry run; the token can be used again")
        return {"ok": True}

    # its parts

    async def _start_daemons(self, wanted: Sequence[Volume]) -> None:
        """All of them, or none. Raises MigrationError."""
        daemons: list[Daemon] = []
        try:
            for volume in wanted:
                volumes.prepare_target(volume.path)
                daemons.append(Daemon(self._program, volume, self._runtime, self._data["password"]))
                daemons[-1].start()
        except MigrationError:
            for daemon in daemons:
                await daemon.stop()
            raise
        self._daemons = daemons

    def _end(self, listening: socket.socket) -> End:
        return ends.server_end(
            ends.address(*listening.getsockname()[:2]),
            ends.shown(Identity(self._data["certificate"], self._data["key"])),
            self._data["expected"],
            {one.volume.name: one.path for one in self._daemons},
            {name: self._path(name) for name in (ends.CLAIM, ends.CONTROL)},
        )

    @property
    def _workers(self) -> int:
        return ends.workers(max(1, len(self._daemons)))

    def _heard(self, line: Line) -> None:
        if line.get("reason") and line.get("how") != "fin":
            self._say(f"{line.get('client')}: {line['reason']}")

    def _path(self, name: str) -> str:
        return os.path.join(self._runtime, name)


def listen(bind: str, port: int) -> socket.socket:
    """`bind`: an address, "": all there are; `port`: 0: any. Raises MigrationError."""
    from ferryman.controlplane import sockets
    from ferryman.plan import Address

    try:
        host = bind or "::"
        sock = sockets.bind(Address("inet6" if ":" in host else "inet", host, port), 0)
    except OSError as error:
        raise MigrationError(f"cannot listen on {bind or '*'}:{port}: {error.strerror or error}") from None
    return sock


def own_addresses() -> list[str]:
    """Those from which this machine would connect to others; loopback if there are none."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))  # sends nothing
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found or ["127.0.0.1"]
