"""A client of an explicit proxy that writes exactly what a test says and reads the answers to the byte.

Used by the e2e tests of the explicit proxy, where what matters is what is on the wire.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ferry import PATIENCE


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `raw` is its head as it came."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def all(self, name: str) -> list[str]:
        """All values of a field; `name` in lower case."""
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name: str) -> str:
        """The value of a field that comes once or not at all ("")."""
        values = self.all(name)
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else ""

    @property
    def error(self) -> str:
        """The type of error in Proxy-Status (RFC 9209)."""
        parts = [part.strip() for part in self.get("proxy-status").split(";")]
        assert parts[0] == "ferryman", parts
        return next(part.removeprefix("error=") for part in parts if part.startswith("error="))


class Talk:
    """One connection."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "") -> None:
        self.sock = socket.create_connection((host, port), PATIENCE, (source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ahead = b""

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def end(self) -> None:
        """Say that nothing more comes."""
        self.sock.shutdown(socket.SHUT_WR)

    def some(self) -> bytes:
        """What is there, waiting for at least a byte; b"": the end."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return self.sock.recv(65536)

    def exactly(self, count: int) -> bytes:
        pieces: list[bytes] = []
        missing = count
        while missing > 0:
            piece = self.some()
            assert piece, f"the connection ended {missing} bytes before the end"
            pieces.append(piece[:missing])
            self._ahead = piece[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def line(self) -> bytes:
        """Up to and with LF."""
        return self._until(lambda data: data.find(b"\n") + 1 or -1, "a line")

    def _until(self, complete: Callable[[bytes], int], what: str) -> bytes:
        data = b""
        while (end := complete(data)) < 0:
            more = self.some()
            assert more, f"the connection ended before {what}, with {data!r}"
            data += more
        self._ahead = data[end:] + self._ahead
        return data[:end]

    def rest(self) -> bytes:
        """All until the end. Raises ConnectionResetError."""
        return b"".join(iter(self.some, b""))

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, with its body."""
        head = self.answer_head()
        return Answer(head.status, head.reason, head.fields, self._body(head, method), head.raw)

    def answer_head(self) -> Answer:
        """The next answer, its body left to be read."""
        raw = self._until(lambda data: data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else -1, "an empty line")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, line
            fields.append((name, value.strip()))
        return Answer(int(status), reason, tuple(fields), b"", raw)

    def _body(self, answer: Answer, method: str) -> bytes:
        tunnel = method == "CONNECT" and answer.status < 300
        if tunnel or method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            return b""
        if answer.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.line().split(b";")[0], 16):
                body += self.exactly(size)
                assert self.line() == b"\r\n"
            while self.line() != b"\r\n":
                pass
            return body
        if answer.get("content-length"):
            return self.exactly(int(answer.get("content-length")))
        return self.rest()

    def connect(self, target: str, *fields: str, version: str = "HTTP/1.1") -> Answer:
        """Ask for a tunnel as most clients do."""
        self.send("\r\n".join([f"CONNECT {target} {version}", f"Host: {target}", *fields, "", ""]))
        return self.answer("CONNECT")


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    """The line that carries credentials."""
    return f"Proxy-Authorization: {scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
