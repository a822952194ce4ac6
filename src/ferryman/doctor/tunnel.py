"""Connections for probes: straight to an address, or through a proxy with CONNECT, as stunnel asks for it.

Every wait has a deadline. What a peer does is a value (`Reply`) or one narrow exception (`Unreached`, `Cut`), never a
surprise. Nothing here judges.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal

from ferryman.config.proxy_url import ProxyUrl
from ferryman.doctor.answer import Foreign, Head, parse_head
from ferryman.wire.authority import format_authority

Why = Literal["name", "refused", "timeout", "unreachable", "reset", "tls"]
_INTERIM: Final = 8


class Unreached(Exception):  # noqa: N818  it says what came of it
    """No connection: `why`, and the system's words."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why: Why = why
        self.text = text


class Cut(Exception):  # noqa: N818  it says what happened
    """A connection ended while something was to be sent or read. `how`: closed, reset, or silent (the deadline)."""

    def __init__(self, how: Literal["closed", "reset", "silent"]) -> None:
        super().__init__(how)
        self.how = how


class Tunnel:
    """A connected stream. `ahead`: what was read beyond what was asked for; `skip`: passed over at its start."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ahead = b""
        self.skip = b""

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes, seconds: float) -> None:
        """Raises Cut."""
        try:
            self.sock.settimeout(max(seconds, 0.001))
            self.sock.sendall(data)
        except TimeoutError:
            raise Cut("silent") from None
        except OSError:
            raise Cut("reset") from None

    def receive(self, seconds: float) -> bytes:
        """Some bytes; b"" at the end. Raises Cut (reset, silent)."""
        if not self.skip:
            return self._some(seconds)
        deadline = time.monotonic() + seconds
        data, skip = self._some(seconds), self.skip
        while data and len(data) < len(skip) and skip.startswith(data):
            more = self._some(deadline - time.monotonic())
            if not more:
                break
            data += more
        self.skip = b""
        return data if not data.startswith(skip) else data[len(skip) :] or self.receive(deadline - time.monotonic())

    def _some(self, seconds: float) -> bytes:
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        try:
            self.sock.settimeout(max(seconds, 0.001))
            return self.sock.recv(65536)
        except TimeoutError:
            raise Cut("silent") from None
        except ssl.SSLEOFError:
            return b""
        except OSError:
            raise Cut("reset") from None

    def exactly(self, count: int, seconds: float) -> bytes:
        """Raises Cut."""
        deadline, data = time.monotonic() + seconds, b""
        while len(data) < count:
            more = self.receive(deadline - time.monotonic())
            if not more:
                raise Cut("closed")
            data += more
        self.ahead = data[count:] + self.ahead
        return data[:count]

    def end(self) -> bool:
        """Say that nothing more comes. False: TLS to the proxy cannot say that without ending both ways."""
        if isinstance(self.sock, ssl.SSLSocket):
            return False
        with contextlib.suppress(OSError):  # the peer was faster: what it did is seen by reading
            self.sock.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        self.sock.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a CONNECT. `how`: answer, closed, reset, silent, foreign."""

    how: Literal["answer", "closed", "reset", "silent", "foreign"]
    head: Head | None = None
    foreign: Foreign | None = None
    data: bytes = b""  # what came in place of an answer
    interim: tuple[str, ...] = ()  # status lines before the final one
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """0: no answer."""
        return self.head.status if self.head else 0

    @property
    def opened(self) -> bool:
        return self.status // 100 == 2


class Dialer:
    """Makes connections; remembers what names stand for, so that each is asked for once."""

    def __init__(self, patience: float, proxy_ca: str = "") -> None:
        self.patience = patience
        self._proxy_ca = proxy_ca
        self._known: dict[tuple[str, int], list[tuple[Any, ...]]] = {}

    def addresses(self, host: str, port: int) -> list[str]:
        """Raises Unreached (name)."""
        return list(dict.fromkeys(str(place[4][0]) for place in self._resolve(host, port)))

    def _resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        found = self._known.get((host, port))
        if found is None:
            found = self._known[host, port] = _look_up(host, port, self.patience)
        return found

    def connect(self, host: str, port: int, seconds: float = 0.0) -> Tunnel:
        """To the first address that answers. Raises Unreached."""
        fault = Unreached("name", "there is no address")
        for family, kind, protocol, _, place in self._resolve(host, port):
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(seconds or self.patience)
            try:
                sock.connect(place)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return Tunnel(sock)
            except OSError as error:
                sock.close()
                fault = _unreached(error)
        raise fault

    def to_proxy(self, proxy: ProxyUrl) -> Tunnel:
        """A connection to a proxy, with TLS if its URL says so. Raises Unreached."""
        tunnel = self.connect(proxy.address.host, proxy.address.port)
        if proxy.scheme != "https":
            return tunnel
        try:
            context = ssl.create_default_context(cafile=self._proxy_ca or None)
            return Tunnel(context.wrap_socket(tunnel.sock, server_hostname=proxy.address.host))
        except OSError as error:
            tunnel.close()
            text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            raise Unreached("tls", text) from None

    def ask(
        self, proxy: ProxyUrl, host: str, port: int, form: str, early: bytes = b"", seconds: float = 0.0
    ) -> tuple[Reply, Tunnel]:
        """CONNECT on a connection of its own. `form` is the word before the credentials; "": without them.

        `early` goes in the same segment. The tunnel is the caller's to close. Raises Unreached.
        """
        tunnel = self.to_proxy(proxy)
        begun = time.monotonic()
        deadline = begun + (seconds or self.patience)
        try:
            tunnel.send(_request(proxy, host, port, form) + early, deadline - begun)
            return _read(tunnel, begun, deadline), tunnel
        except Cut as cut:
            return Reply(cut.how, data=tunnel.ahead, seconds=time.monotonic() - begun), tunnel
        except BaseException:
            tunnel.close()
            raise


def _request(proxy: ProxyUrl, host: str, port: int, form: str) -> bytes:
    """The lines that stunnel sends, and no others."""
    target = format_authority(host, port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if form:
        credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: {form} {credentials}")
    return "\r\n".join([*lines, "", ""]).encode()


def _read(tunnel: Tunnel, begun: float, deadline: float) -> Reply:
    """The final answer; what follows it stays in the tunnel."""
    data, interim = b"", list[str]()
    while True:
        found = parse_head(data)
        if isinstance(found, Head):
            data = data[found.length :]
            if found.status // 100 == 1 and found.status != 101 and len(interim) < _INTERIM:
                interim.append(found.line)
                continue
            tunnel.ahead = data
            return Reply("answer", found, None, b"", tuple(interim), time.monotonic() - begun)
        if found is not None:
            return Reply("foreign", None, found, data, tuple(interim), time.monotonic() - begun)
        try:
            more = tunnel.receive(deadline - time.monotonic())
        except Cut as cut:
            return Reply(cut.how, None, None, data, tuple(interim), time.monotonic() - begun)
        if not more:
            how: Literal["foreign", "closed"] = "foreign" if data else "closed"
            return Reply(how, None, Foreign.OTHER if data else None, data, tuple(interim), time.monotonic() - begun)
        data += more


def _look_up(host: str, port: int, seconds: float) -> list[tuple[Any, ...]]:
    """getaddrinfo with a deadline, which it has none of itself. Raises Unreached."""
    found: list[Any] = []

    def there() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=there, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise Unreached("name", f"no answer from the name service within {seconds:g} s")
    if isinstance(found[0], Exception):
        raise Unreached("name", getattr(found[0], "strerror", "") or str(found[0]))
    return list(found[0])


def _unreached(error: OSError) -> Unreached:
    text = error.strerror or str(error)
    if isinstance(error, ConnectionRefusedError):
        return Unreached("refused", text)
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return Unreached("timeout", "no answer")
    return Unreached("reset" if isinstance(error, ConnectionResetError) else "unreachable", text)
