"""HAProxy's runtime socket: one line of commands in, their answers out, and the connection closes.

The supervisor hands every connection of a `stats socket` to `RuntimeServer.serve`. This module is the line: reading it
with bounds, splitting it, levels, `prompt` mode. What commands do is in runtimecommands; it acts through `Operator`.
(HAProxy management guide, section 9.3.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, TypedDict

from ferryman.controlplane import runtimecommands
from ferryman.controlplane.serverstate import Admin
from ferryman.controlplane.snapshot import View

MAX_LINE: Final = 16384
"""Bytes of a line; who sends more without an end of line is cut off."""


class Session(TypedDict):
    """One connection being carried or set up, as `Operator.sessions` tells it."""

    id: int  # over all workers
    worker: int  # pid
    listener: str
    backend: str  # "": none yet
    server: str
    client: str  # "192.0.2.7:40312"
    sni: str | None
    age: float  # seconds
    idle: float
    bytes_in: int
    bytes_out: int
    state: str


class Operator(Protocol):
    """What commands may see and change: the supervisor."""

    def view(self) -> View: ...
    async def sessions(self) -> list[Session]: ...
    async def kill(self, ids: Collection[int]) -> int:
        """End these sessions; how many there were to end."""

    def set_admin(self, server_id: int, admin: Admin) -> None: ...
    def set_weight(self, server_id: int, weight: int) -> None:
        """`weight`: 0 to 256."""

    def clear_maxima(self) -> None: ...
    def clear_counters(self) -> None: ...


class RuntimeServer:
    """Serves every connection of every runtime socket."""

    def __init__(self, operator: Operator, timeout: float = 10.0) -> None:
        """`timeout`: seconds a client may take to send a line or to take an answer."""
        self.operator = operator
        self.timeout = timeout

    def handler(self, level: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        """What asyncio.start_unix_server and start_server call for the connections of a socket of this level."""
        return lambda reader, writer: self.serve(reader, writer, level)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, level: str) -> None:
        """Answer until the client has its answer, goes, or takes too long. `level`: user, operator or admin."""
        try:
            await self._converse(_Lines(reader), writer, runtimecommands.Level[level.upper()])
        except (TimeoutError, ConnectionError):
            pass  # the client's affair: it was slow, or is gone
        finally:
            writer.close()
        try:
            async with asyncio.timeout(self.timeout):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()  # it does not take its answer
        except ConnectionError:
            pass

    async def _converse(self, lines: _Lines, writer: asyncio.StreamWriter, level: runtimecommands.Level) -> None:
        console = runtimecommands.Console(self.operator, level, self.timeout)
        while True:
            async with asyncio.timeout(console.timeout):
                line = await lines.next()
            if line is None:
                return
            for command in split_commands(line):
                answer = await console.run(split_words(command))
                if console.ended:
                    return
                writer.write(f"{answer}\n".encode())
                async with asyncio.timeout(console.timeout):
                    await writer.drain()
            if not console.interactive:
                return
            writer.write(b"> ")


class _Lines:
    """Lines of at most MAX_LINE bytes."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.buffer = b""

    async def next(self) -> str | None:
        """The next line without its end. None: no more, or one that is too long. The last may lack its end."""
        while b"\n" not in self.buffer:
            if len(self.buffer) > MAX_LINE:
                return None
            chunk = await self.reader.read(4096)
            if not chunk:
                rest, self.buffer = self.buffer, b""
                return rest.decode("utf-8", "replace") if rest else None
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r").decode("utf-8", "replace") if len(line) <= MAX_LINE else None


def split_commands(line: str) -> list[str]:
    r"""Split at ";", but not at "\;". An end that is empty is no command; a line that is empty is one."""
    commands, start, escaped = [], 0, False
    for place, character in enumerate(line):
        if character == ";" and not escaped:
            commands.append(line[start:place])
            start = place + 1
        escaped = character == "\\" and not escaped
    if line[start:].strip() or not commands:
        commands.append(line[start:])
    return commands


def split_words(command: str) -> list[str]:
    """Split at blanks; a backslash takes what follows it as it is."""
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(command)
    for character in characters:
        if character in " \t":
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        word.append(next(characters, "") if character == "\\" else character)
    if word is not None:
        words.append("".join(word))
    return words
