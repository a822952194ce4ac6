"""ferryman within a migration: both ends in one process, its log, following another plan, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ferryman.migrate import MigrationError, certificates, ends
from ferryman.migrate.ends import Peer
from ferryman.migrate.engine import Engine

PATIENCE = 60.0


class Both:
    """Two ends that meet at a Unix socket; behind the server end are echoes that say their name."""

    def __init__(self, folder: str, *volumes: str) -> None:
        self.volumes, self.folder = volumes, folder
        self.lines: list[dict[str, Any]] = []
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in volumes]
        for sock in self.sockets:
            sock.setblocking(False)
        self.doors = {name: sock.getsockname()[:2] for name, sock in zip(volumes, self.sockets, strict=True)}
        self.engine = Engine(self.sockets, self.lines.append)
        self._client, self._server = certificates.make("client"), certificates.make("server")
        self._echoes: list[asyncio.Server] = []

    def parts(self, *served: str, stranger: bool = False) -> list[ends.End]:
        place = ends.Address("unix", f"{self.folder}/served")
        shown = ends.shown(certificates.make("client") if stranger else self._client)
        peer = Peer((str(place),), self._server.fingerprint, certificate=shown)
        paths = {name: f"{self.folder}/{name}" for name in served}
        serving = ends.server_end(place, ends.shown(self._server), self._client.certificate, paths, {})
        return [ends.client_end(peer, None, self.doors, {}), serving]

    async def echo(self, name: str) -> None:
        async def there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name.encode() + b": " + await reader.readline())
            writer.close()

        self._echoes.append(await asyncio.start_unix_server(there, f"{self.folder}/{name}"))

    async def ask(self, name: str) -> bytes:
        """What comes back by a volume's door; b"": nothing."""
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(*self.doors[name])
            writer.write(b"hello\n")
            came = await reader.read()
            writer.close()
            return came
        return b""

    async def close(self) -> None:
        await self.engine.stop()
        for each in self._echoes:
            each.close()
        for sock in self.sockets:
            sock.close()


def run(what: Callable[[str], Awaitable[None]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="f") as folder:  # short: there are Unix sockets in it
            async with asyncio.timeout(PATIENCE):
                await what(folder)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  of any kind
        await asyncio.sleep(0.01)


def test_each_door_leads_to_its_volume_and_is_heard_of() -> None:
    async def test(folder: str) -> None:
        both = Both(folder, "a", "b")
        try:
            for name in both.volumes:
                await both.echo(name)
            await both.engine.start(*both.parts("a", "b"), workers=1)
            assert [await both.ask(name) for name in both.volumes] == [b"a: hello\n", b"b: hello\n"]
            await until(lambda: {"to.a", "to.b"} <= {str(line.get("listener")) for line in both.lines})
            assert both.engine.fault == ""
        finally:
            await both.close()

    run(test)


def test_another_plan_is_followed() -> None:
    async def test(folder: str) -> None:
        both = Both(folder, "a", "b")
        try:
            for name in both.volumes:
                await both.echo(name)
            await both.engine.start(*both.parts("a"), workers=1)
            assert [await both.ask(name) for name in both.volumes] == [b"a: hello\n", b""]
            await both.engine.reload(*both.parts("a", "b"), workers=1)
            assert [await both.ask(name) for name in both.volumes] == [b"a: hello\n", b"b: hello\n"]
        finally:
            await both.close()

    run(test)


def test_a_client_that_is_not_expected_gets_nowhere() -> None:
    async def test(folder: str) -> None:
        both = Both(folder, "a")
        try:
            await both.echo("a")
            await both.engine.start(*both.parts("a", stranger=True), workers=1)
            assert await both.ask("a") == b""
            await until(lambda: both.lines)
        finally:
            await both.close()

    run(test)


def test_it_says_why_it_cannot_start() -> None:
    async def test(folder: str) -> None:
        both = Both(folder, "a")
        try:
            os.mkdir(f"{folder}/served")  # in the place of its socket
            with pytest.raises(MigrationError, match="did not start: "):
                await both.engine.start(*both.parts("a"), workers=1)
        finally:
            for sock in both.sockets:
                sock.close()

    run(test)


def test_one_that_never_began_has_nothing_to_say() -> None:
    async def test(folder: str) -> None:
        engine = Engine([], lambda line: None)
        assert (engine.fault, engine.messages_since(0)) == ("", [])
        await engine.stop()
        await engine.gone()

    run(test)
