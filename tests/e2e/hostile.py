"""Two servers that end TLS alike, ferryman and a bare one of Python's ssl, and a client that breaks the rules.

Used by the tests of hostile handshakes: each case is played to both, and what the client sees must be the same.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

from ferry import PATIENCE

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # asyncore, which it would use if it were asked to
    from tlslite.api import HandshakeSettings, TLSConnection
    from tlslite.errors import TLSAbruptCloseError, TLSClosedConnectionError, TLSLocalAlert, TLSRemoteAlert
    from tlslite.messages import Message

RESET = struct.pack("ii", 1, 0)  # SO_LINGER
TYPES = {20: "change", 21: "alert", 22: "handshake", 23: "data"}


class Bare:
    """An echo over TLS: what OpenSSL does when nothing but Python's ssl module is around it."""

    def __init__(self, certificate: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(PATIENCE)
        with contextlib.suppress(OSError), plain:
            # not by wrap_socket, which would not give back the descriptor of a client that is gone already
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
            try:
                _drive(plain, incoming, outgoing, tls.do_handshake)
                while data := _drive(plain, incoming, outgoing, lambda: tls.read(65536)):
                    tls.write(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    plain.sendall(outgoing.read())  # the alert

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def _drive(plain: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, act: Callable[[], Any]) -> Any:
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            if data := plain.recv(65536):
                incoming.write(data)
            else:
                incoming.write_eof()
        finally:
            if outgoing.pending:
                plain.sendall(outgoing.read())


# records by hand


def said(port: int, *pieces: bytes) -> list[str]:
    """What a server answers to these bytes, after which nothing more comes: records, alerts with their numbers."""
    with connect(port) as sock:
        for piece in pieces:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        return _records(b"".join(_all(sock)))


class Stubborn(socket.socket):
    """Talks on whether anybody listens or not: what was said to it before it can still be read."""

    def send(self, data: Any, flags: int = 0) -> int:
        with contextlib.suppress(ConnectionError):
            return super().send(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        with contextlib.suppress(ConnectionError):
            super().sendall(data, flags)

    def shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            super().shutdown(how)


def connect(port: int) -> Stubborn:
    sock = Stubborn()
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _all(sock: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            yield data


def _records(data: bytes) -> list[str]:
    found: list[str] = []
    while data:
        kind, size = data[0], int.from_bytes(data[3:5], "big")
        body, data = data[5 : 5 + size], data[5 + size :]
        assert len(body) == size, "a record is whole"
        text = f"alert {body[0]} {body[1]}" if kind == 21 and size == 2 else TYPES.get(kind, str(kind))
        if found[-1:] != [text]:
            found.append(text)
    return found


# handshakes with one thing wrong

Meddling = Callable[["Meddler", Any], Generator[int, None, None]]


class Meddler(TLSConnection):  # type: ignore[misc, unused-ignore]
    """A client that keeps the rules but when it sends its message number `step` (of the handshake, from 0)."""

    def __init__(self, sock: socket.socket, step: int, meddle: Meddling) -> None:
        super().__init__(sock)
        self.plain = sock
        self.step = step
        self.meddle = meddle
        self.sent = 0

    def _sendMsg(  # noqa: N802
        self,
        msg: Any,
        randomizeFirstBlock: bool = True,  # noqa: N803
        update_hashes: bool = True,
    ) -> Generator[int, None, None]:
        number, self.sent = self.sent, self.sent + 1
        if number == self.step:
            yield from self.meddle(self, msg)
        else:
            yield from self.send(msg, update_hashes)

    def send(self, msg: Any, update_hashes: bool = True) -> Generator[int, None, None]:
        """As it should be."""
        yield from super()._sendMsg(msg, True, update_hashes)

    def post(self, kind: int, body: bytes) -> None:
        """A record of this type, protected if the time has come; it is no part of what was agreed on."""
        for _ in self.send(Message(kind, bytearray(body)), update_hashes=False):
            pass


def settings(version: tuple[int, int]) -> Any:
    chosen = HandshakeSettings()
    chosen.minVersion = chosen.maxVersion = version
    chosen.keyShares = ["x25519"]
    chosen.eccCurves = ["x25519", "secp256r1"]
    return chosen


def played(
    port: int,
    version: tuple[int, int],
    step: int = -1,
    meddle: Meddling | None = None,
    later: Callable[[Meddler], None] | None = None,
    name: str = "front.example",
) -> str:
    """How it ends for a client that then says ping, does `later`, and says ping again."""

    def never(_: Meddler, __: Any) -> Generator[int, None, None]:
        yield from ()

    with connect(port) as sock:
        client = Meddler(sock, step, meddle or never)
        try:
            client.handshakeClientCert(serverName=name, settings=settings(version))
            _ping(client)
            if later is not None:
                later(client)
                _ping(client)
        except TLSRemoteAlert as alert:
            return f"alert {alert.level} {alert.description}"
        except (TLSAbruptCloseError, TLSClosedConnectionError, ConnectionError):
            return "closed"
        except TLSLocalAlert as alert:
            return f"the client objects: {alert}"
        except OSError as error:
            return f"the client cannot: {error}"
        return "served"


def _ping(client: Meddler) -> None:
    client.write(b"ping")
    answer = client.read(min=4, max=4)
    if not answer:
        raise TLSAbruptCloseError
    assert answer == b"ping"
