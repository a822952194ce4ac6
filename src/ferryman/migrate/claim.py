"""How the client of a token becomes the client of a migration, and how it says that all is there.

A line of JSON each way, over a connection of its own through the whole way (proxy, TLS): the client end's engine has a
Unix socket for it, the server end's engine connects to one of migrate.service. A *claim* comes from somebody who has
nothing but the secret; a *control* message from the one whose certificate is known by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

LONGEST: Final = 65536
PATIENCE: Final = 60.0
"""Seconds for an answer: folders are made and ferryman follows meanwhile."""
_READ: Final = 30.0

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

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(_READ):
                    message = parse(await reader.readline())
                reply = await answer(message)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_unix_server(one, path, limit=LONGEST)
