"""What tests of the doctor's parts share: servers of a few lines on real sockets, with and without TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

import trustme

from ferryman.config.proxy_url import ProxyUrl, parse_proxy_url
from ferryman.doctor.tlsstream import TlsStream
from ferryman.doctor.tunnel import Cut, Tunnel

PATIENCE = 20.0
"""Seconds: longer than any of it takes."""
PLACES = {"host": "h", "port": "1", "target": "h:1", "proxy": "p:2"}

Handler = Callable[[Tunnel], None]

_AUTHORITY = trustme.CA()
_LEAF = _AUTHORITY.issue_cert("localhost")


class Server:
    """Does as `handler` does with every connection, which it closes then. What a handler raises fails the test."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._socket.getsockname()[1]
        self._handler = handler
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                thread = threading.Thread(target=self._one, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _one(self, sock: socket.socket) -> None:
        with Tunnel(sock) as tunnel:
            try:
                self._handler(tunnel)
            except BaseException as error:  # noqa: BLE001  it is raised by close
                self._failures.append(error)

    def close(self) -> None:
        """Stop listening, and wait for those who are connected to be done."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a handler is not done"
        for failure in self._failures:
            raise failure


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _LEAF.configure_cert(context)
    return context


def talks_tls(handler: Callable[[TlsStream], None], context: ssl.SSLContext | None = None) -> Handler:
    """The same within TLS."""

    def there(tunnel: Tunnel) -> None:
        stream = TlsStream(context or server_context(), server=True)
        stream.handshake(tunnel, PATIENCE)
        handler(stream)
        stream.close()

    return there


def proxy(port: int, scheme: str = "http", user: str = "") -> ProxyUrl:
    """As it is written by users."""
    return parse_proxy_url(f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{port}")


def head(tunnel: Tunnel) -> bytes:
    """The head of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = tunnel.receive(PATIENCE)
        if not more:
            return data
        data += more
    whole, end, rest = data.partition(b"\r\n\r\n")
    tunnel.ahead = rest
    return whole + end


def to_the_end(tunnel: Tunnel) -> bytes:
    """All that comes."""
    data = b""
    with contextlib.suppress(Cut):
        while more := tunnel.receive(PATIENCE):
            data += more
    return data


def reset(tunnel: Tunnel) -> None:
    """It is to end with RST."""
    tunnel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unused_port() -> int:
    """Where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
