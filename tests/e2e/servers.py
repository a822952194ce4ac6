"""Real servers for e2e tests: TCP echo and HTTPS, each in threads of the test's own process, on loopback."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import trustme
from ferry import PATIENCE


class Authority:
    """A certificate authority and the file clients trust."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


class EchoServer:
    """Sends back what it gets, half-close included. `greeting` is sent first; `connections` counts."""

    def __init__(self, host: str = "127.0.0.1", greeting: bytes = b"", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(1024)
        self.host = host
        self.port: int = self.socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.greeting = greeting
        self.connections = 0
        self._asked = 0
        self.open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.greeting:
                connection.sendall(self.greeting)
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
        finally:
            self.open.discard(connection)
            connection.close()

    def heard(self) -> int:
        """How many connections have been made to it, those among them that it had not accepted yet."""
        with socket.create_connection((self.host, self.port), PATIENCE) as last:
            last.sendall(b"?")
            assert last.recv(1)
        self._asked += 1
        return self.connections - self._asked

    def close(self) -> None:
        """Stop listening and end what is open."""
        with contextlib.suppress(OSError):  # it was closed before
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class TlsServer:
    """HTTPS: answers every request with its name, then ends the connection."""

    def __init__(self, name: str, authority: Authority, hosts: Sequence[str], host: str = "::1", port: int = 0) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.ca.issue_cert(*(hosts or (f"{name}.example.org",))).configure_cert(self._context)
        self.name = name
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256
        )
        self.port: int = self._socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        body = f"{self.name}\n".encode()
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        with contextlib.suppress(OSError), connection:
            if not connection.recv(1, socket.MSG_PEEK):  # a health check: wrap_socket leaks what is reset already
                return
            self._answer(connection, head + body)

    def _answer(self, connection: socket.socket, answer: bytes) -> None:
        with self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            tls.do_handshake()
            request = b""
            while b"\r\n\r\n" not in request:
                data = tls.recv(4096)
                if not data:
                    return
                request += data
            tls.sendall(answer)
            tls.unwrap()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
