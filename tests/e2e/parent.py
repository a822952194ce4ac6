"""An upstream proxy for e2e tests, which tells what reached it, or refuses, as the host of the request says.

status-NNN.…   that status, and a 407 has its challenge     drop.…      closes without an answer
tls.…          a tunnel to the server given as `tls`        garbage.…   what is no HTTP
all others     "NAME USER:PASSWORD", in the tunnel or as the answer to a GET
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from urllib.parse import urlsplit

from ferry import PATIENCE
from servers import Authority


class Parent:
    """Listens on loopback. `authority`: clients have to speak TLS to it, and its name is proxy.test."""

    def __init__(self, name: str, tls: int, authority: Authority | None = None) -> None:
        self.name = name
        self.tls = tls  # a port
        self.context: ssl.SSLContext | None = None
        if authority is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.ca.issue_cert("proxy.test").configure_cert(self.context)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.socket.accept()
                sock.settimeout(PATIENCE)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            if not plain.recv(1, socket.MSG_PEEK):  # a probe; wrap_socket would leak it
                return
            sock = plain
            if self.context is not None:
                sock = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with sock:
                while self._answer(sock):
                    pass

    def _answer(self, sock: socket.socket) -> bool:
        """One request. False: there is no more to come."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # nothing is read of what follows
            byte = sock.recv(1)
            if not byte:
                return False
            head += byte
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
        said = f"{self.name} {_login(lines)}".strip().encode()
        kind, _, number = host.split(".")[0].partition("-")
        match kind:
            case "status":
                challenge = "Proxy-Authenticate: Basic realm=parent\r\n" if number == "407" else ""
                answer = f"HTTP/1.1 {number} Parent\r\n{challenge}Content-Length: 0\r\n\r\n"
                sock.sendall(answer.encode())
                return True
            case "drop":
                return False
            case "garbage":
                sock.sendall(b"220 mail.test ESMTP\r\n\r\n")
                return False
        if method != "CONNECT":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
            return True
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if kind == "tls":
            self._carry(sock)
        else:
            sock.sendall(said + b"\n")
        return False

    def _carry(self, sock: socket.socket) -> None:
        """A tunnel, until either side ends."""
        with socket.create_connection(("127.0.0.1", self.tls), PATIENCE) as server:
            thread = threading.Thread(target=_pump, args=(server, sock), daemon=True)
            thread.start()
            _pump(sock, server)
            thread.join(PATIENCE)

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _login(lines: list[str]) -> str:
    """USER:PASSWORD; "": none."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "proxy-authorization":
            return base64.b64decode(value.split()[1]).decode("latin-1")
    return ""
