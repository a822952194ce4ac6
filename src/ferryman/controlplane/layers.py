"""Streams of bytes in the supervisor: a plain socket, and TLS within another stream.

Used by reaching and probe for health checks; traffic never comes here. TLS works on memory, so that it can lie on top
of whatever leads to a server, TLS to a proxy on the way included. Decides nothing about whom to trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeVar

from ferryman.dataplane.tlsfailure import TlsFailure, is_cut, told_by

T = TypeVar("T")

CHUNK: Final = 16384
"""Bytes read at once."""


class Layer(ABC):
    """A stream of bytes, both ways. `receive` and `send` raise OSError."""

    ahead = b""
    """Bytes that were received, but belong to what is spoken next."""

    async def receive(self) -> bytes:
        """Some bytes; b"": the other side has ended."""
        if ahead := self.ahead:
            self.ahead = b""
            return ahead
        return await self._receive()

    @abstractmethod
    async def _receive(self) -> bytes: ...

    @abstractmethod
    async def send(self, data: bytes) -> None: ...


class Plain(Layer):
    """A connected socket, which stays the caller's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, CHUNK)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


class Secure(Layer):
    """TLS, as a client, on top of another layer. `name` as for dataplane.tls.client. Raises TlsFailure."""

    def __init__(self, below: Layer, context: ssl.SSLContext, name: str) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name or None)
        except (ValueError, TypeError):  # TypeError: a NUL in it
            raise TlsFailure("local", f"{name!a} is no server name") from None

    async def handshake(self) -> None:
        """Raises TlsFailure."""
        try:
            await self._turn(self._tls.do_handshake)
        except TimeoutError:
            raise
        except OSError as error:
            raise told_by(error) from None

    async def greet(self) -> bytes:
        """Instead of a handshake: say hello, and what is answered first. Raises OSError."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        await self._flush()
        return await self._below.receive()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the other side's certificate, hex."""
        return hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").hexdigest()

    async def _receive(self) -> bytes:
        try:
            return await self._turn(lambda: self._tls.read(CHUNK))
        except OSError as error:
            if is_cut(error) or isinstance(error, ssl.SSLZeroReturnError):
                return b""
            raise

    async def send(self, data: bytes) -> None:
        await self._turn(lambda: self._tls.write(data))

    async def finish(self) -> None:
        """Say that nothing more comes (close_notify)."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def _turn(self, step: Callable[[], T]) -> T:
        """Do a step of OpenSSL's, feeding it whatever it waits for."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                if data := await self._below.receive():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert that says what is wrong
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.send(self._outgoing.read())
