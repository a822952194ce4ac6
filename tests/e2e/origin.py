"""An HTTP/1.1 server for e2e tests that keeps what it was sent, byte for byte, and can be told to misbehave.

What it answers is decided by the path:

    /say/TEXT      200 with that text            /big/N         200 with N bytes, length known
    /echo          200 with the request's body   /chunks/N      200 with N bytes in chunks, with a trailer
    /close/TEXT    as /say, then it closes       /until-close/N 200 with N bytes up to the end of the connection
    /status/N      that status, no body          /switch        101, then an echo of whatever comes
    /continue      100 when asked to, then echo  /uninvited     101 though nobody asked
    /refuse        413 at once, then it closes, the body unread
    /hang          nothing                       /drop          closes without an answer
    /cut/N         says N+1 bytes, sends N, closes   /cut-chunks/N  N bytes in chunks, closes before the last one
    /garbage       what is no answer             /bad-chunks    a chunk whose size is none
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

from ferry import PATIENCE


@dataclass(frozen=True)
class Received:
    """A request as it came: `head` ends with its empty line, `body` has chunks as they were."""

    head: str
    body: bytes
    connection: int  # which one it came on, counted from 1

    def all(self, name: str) -> list[str]:
        """All values of a field; `name` in lower case."""
        fields = [line.partition(":") for line in self.head.split("\r\n")[1:] if line]
        return [value.strip() for key, _, value in fields if key.lower() == name]


class Origin:
    """Listens on loopback, a thread per connection."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.received: list[Received] = []
        self.ended: list[bytes] = []
        """What had come of the bodies of requests that broke off."""
        self.connections = 0
        self._asked = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        connection = _Connection(self, sock, number)
        with sock:
            try:
                while connection.exchange():
                    pass
            except (OSError, EOFError):
                return

    def heard(self) -> int:
        """How many connections have been made to it, those among them that it had not accepted yet."""
        with socket.create_connection((self.host, self.port), PATIENCE) as last:
            last.sendall(b"GET /refuse HTTP/1.1\r\n\r\n")
            assert last.recv(1)
        self._asked += 1
        return self.connections - self._asked

    def close(self) -> None:
        """Stop listening."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        finally:
            self._socket.close()


class _Connection:
    def __init__(self, origin: Origin, sock: socket.socket, number: int) -> None:
        self.origin, self.sock, self.number = origin, sock, number
        self.data = b""

    def more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.data += data

    def take(self, size: int) -> bytes:
        while len(self.data) < size:
            self.more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def up_to(self, mark: bytes) -> bytes:
        while mark not in self.data:
            self.more()
        return self.take(self.data.index(mark) + len(mark))

    def body(self, head: str) -> bytes:
        fields = Received(head, b"", 0)
        try:
            if fields.all("transfer-encoding"):
                body = b""
                while not body.endswith(b"0\r\n\r\n"):
                    line = self.up_to(b"\r\n")
                    body += line + self.take(int(line.split(b";")[0], 16) + 2)
                return body
            return self.take(int((fields.all("content-length") or ["0"])[0]))
        except (EOFError, OSError):
            self.origin.ended.append(self.data)
            raise

    def say(self, content: bytes, *fields: str, status: str = "200 OK") -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(content)}", "", ""])
        self.sock.sendall(head.encode() + content)

    def exchange(self) -> bool:
        """One request and its answer. False: the connection is to be closed."""
        head = self.up_to(b"\r\n\r\n").decode("latin-1")
        _, kind, rest = f"{head.split(' ')[1]}/".split("/", 2)
        rest = rest.rstrip("/")
        if kind == "refuse":
            self.say(b"too large", "Connection: close", status="413 Content Too Large")
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.recv(1)
            return False
        if kind == "continue" and "100-continue" in head:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.body(head)
        self.origin.received.append(Received(head, body, self.number))
        wants_close = "close" in self.origin.received[-1].all("connection")
        return self.answer(kind, rest, body, head.startswith("HEAD ")) and not wants_close

    def answer(self, kind: str, rest: str, body: bytes, head_only: bool) -> bool:
        send = self.sock.sendall
        match kind:
            case "say" | "":
                self.say(b"" if head_only else rest.encode(), *(["X-Length: 5"] if head_only else []))
            case "echo" | "continue":
                self.say(body)
            case "close":
                self.say(rest.encode(), "Connection: close")
                return False
            case "status":
                send(f"HTTP/1.1 {rest} Whatever\r\nProxy-Authenticate: Basic realm=x\r\n\r\n".encode())
            case "big":
                self.say(_filling(int(rest)))
            case "chunks" | "cut-chunks":
                send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
                filling = _filling(int(rest))
                for at in range(0, len(filling), 7000):
                    piece = filling[at : at + 7000]
                    send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
                if kind == "cut-chunks":
                    return False
                send(b"0\r\nX-Sum: 1\r\n\r\n")
            case "until-close":
                send(b"HTTP/1.1 200 OK\r\n\r\n" + _filling(int(rest)))
                return False
            case "cut":
                send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (int(rest) + 1, _filling(int(rest))))
                return False
            case "switch" | "uninvited":
                self.switch(kind)
                return False
            case "garbage":
                send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            case "bad-chunks":
                send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            case "hang":
                self.sock.recv(1)
                return False
            case _:
                return False
        return True

    def switch(self, kind: str) -> None:
        """Another protocol: an echo that speaks first."""
        protocol = self.origin.received[-1].all("upgrade") or ["nothing"]
        head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol[0]}\r\n\r\n"
        self.sock.sendall(head.encode() + b"\x80\x03\x00\x04 first frame")
        self.sock.sendall(self.data)
        while data := self.sock.recv(65536):
            self.sock.sendall(data)


def _filling(size: int) -> bytes:
    """So many bytes that are not all the same."""
    return (b"0123456789abcdef\n" * (size // 17 + 1))[:size]
