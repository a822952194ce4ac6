"""How the client of a token becomes the client of a migration, and how it says that all is there.

A line of JSON each way, over a connection of its own through the whole way (proxy, TLS): the client end's engine has a
Unix socket for it, the server end's engine connects to one of migrate.service. A *claim* comes from somebody who has
nothing but the secret; a *control* message from the one whose certificate is known by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ferryman.config.render import printable

LONGEST: Final = 65536
PATIENCE: Final = 60.0
"""Seconds for an answer: folders are made and ferryman follows meanwhile."""
_READ: Final = 30.0
_MOST: Final = 16
"""Connections at once; the oldest gives way: anybody may make one, and who has something to say says it at once."""
_SHOWN: Final = 300
_PASSWORD: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")

Message = dict[str, Any]


class Silence(Exception):  # noqa: N818 - the log knows why
    """There was no answer."""


def parse(raw: bytes) -> Message:
    """A message. Raises ValueError."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("not a message") from None
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def refusal(answer: Message) -> str:
    """Why the other end refused, fit for one line of a terminal; "": it did not."""
    return printable(str(answer["error"]))[:_SHOWN] if "error" in answer else ""


def password(answer: Message) -> str:
    """The daemons'. Raises ValueError."""
    found = answer.get("password")
    if not isinstance(found, str) or not _PASSWORD.fullmatch(found):
        raise ValueError("the serving end answers with no password")
    return found


async def ask(path: str, message: Mapping[str, Any]) -> Message:
    """Ask through the engine's Unix socket. Raises Silence."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
            try:
                writer.write(json.dumps(message).encode() + b"\n")
                await writer.drain()
                return parse(await reader.readline())
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        raise Silence from None


async def serve(path: str, answer: Callable[[Message], Awaitable[Message]]) -> asyncio.Server:
    """Answer at a Unix socket. What is no message is not answered."""
    there: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there[writer] = None
        if len(there) > _MOST:
            oldest = next(iter(there))
            del there[oldest]
            oldest.transport.abort()
        try:
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(_READ):
                    message = parse(await reader.readline())
                reply = await answer(message)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        finally:
            there.pop(writer, None)
            writer.close()

    return await asyncio.start_unix_server(one, path, limit=LONGEST)
