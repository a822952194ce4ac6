"""The far end that cooperates: `ferryman doctor serve`.

It takes connections and behaves as the client's first bytes ask: TLS is answered with a certificate made for this run,
and who asks within it (signed with the token's secret) is told which ClientHello arrived; other bytes come back; who
says nothing is greeted; who asks for an upgrade as of an API server is answered as that would. Threads and blocking
sockets: it serves one examination at a time, and no stranger for long. Where there are too many connections the oldest
stranger gives way; one that has shown that it knows the token does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from ferryman.doctor.apiserver import answer as api_answer
from ferryman.doctor.pairing import GREETING, HELLO, LONGEST_ASK, RSYNC, Token, ask, asked, tell
from ferryman.doctor.throughput import swallow
from ferryman.doctor.tlsstream import TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut, Tunnel
from ferryman.errors import StartError
from ferryman.wire.clienthello import MAX_STREAM, ClientHello, Outcome, parse
from ferryman.wire.http1 import BadHead, Request, parse_request

QUIET: Final = 0.25
"""Seconds after which a client that says nothing is greeted."""
END: Final = GREETING + b"end\n"
"""Follows what came back, once the client has ended its direction."""
REPORT: Final = "/ferryman-doctor/"
"""A report is asked for in HTTP, so that it also gets through who opens TLS and takes it for HTTP."""

_PATIENCE: Final = 20.0  # for the first bytes, and for a client to read
_LONGEST: Final = 86500.0  # of silence in an echo: the longest idle probe, and some
_MOST: Final = 128  # connections at once
_PAUSE: Final = 0.1  # seconds, where no connection can be accepted
_ECHO: Final = 1 << 20  # bytes that come back at most
_DAYS: Final = 7
_AGAIN: Final = "asked what was asked before, as somebody who has only overheard it would"

Log = Callable[[str], None]


class FarEnd:
    """Listens as soon as it is made. `public`: host and port where the other end reaches it, if others than here."""

    def __init__(self, host: str, port: int, public: tuple[str, int] | None = None, log: Log | None = None) -> None:
        family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (host, port), family=family, backlog=_MOST, dualstack_ipv6=not host and socket.has_dualstack_ipv6()
            )
        except OSError as error:
            raise StartError(f"cannot listen on {host or '*'}:{port}: {error.strerror}") from None
        self.port: int = self._socket.getsockname()[1]
        place = public or (host if host not in ("", "0.0.0.0", "::") else "", self.port)
        self._context, fingerprint = _certificate(place[0])
        self.token = Token(fingerprint, secrets.token_bytes(16), place[0], place[1], public is not None)
        self._log = log or (lambda text: None)
        self._counts: dict[str, int] = {}  # by nonce: only who knows the token adds to it
        self._ended: set[str] = set()
        self._room = threading.BoundedSemaphore(_MOST)
        self._lock = threading.Lock()
        self._strangers: dict[socket.socket, None] = {}  # the oldest first
        self._closed = False

    def serve(self) -> None:
        """Until `close`."""
        while True:
            try:
                sock, peer = self._socket.accept()
            except OSError as error:  # no descriptor is left, or the client has gone
                if self._closed:
                    return
                self._log(f"cannot accept a connection: {error.strerror}")
                self._give_way()
                time.sleep(_PAUSE)
                continue
            if not self._room.acquire(blocking=False):
                self._give_way()
                self._room.acquire()
            with self._lock:
                self._strangers[sock] = None
            threading.Thread(target=self._one, args=(sock, f"{peer[0]}:{peer[1]}"), daemon=True).start()

    def _give_way(self) -> None:
        """End the oldest connection of which it is not known that it is of the other end."""
        with self._lock:
            oldest = next(iter(self._strangers), None)
            if oldest is not None:
                del self._strangers[oldest]
                with contextlib.suppress(OSError):  # it has gone by itself
                    oldest.shutdown(socket.SHUT_RDWR)

    def _known(self, sock: socket.socket) -> None:
        """It knows the token, or is gone."""
        with self._lock:
            self._strangers.pop(sock, None)

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        with contextlib.suppress(OSError):  # it was never connected
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _one(self, sock: socket.socket, peer: str) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with Tunnel(sock) as tunnel:
                self._log(f"{peer}: {self._talk(tunnel, peer)}")
        except (Cut, TlsFault, OSError) as ended:
            self._log(f"{peer}: the connection ended: {ended}")
        finally:
            self._known(sock)
            self._room.release()

    def _talk(self, tunnel: Tunnel, peer: str) -> str:
        """What the client wanted, in words for the log. Raises Cut, TlsFault."""
        deadline, data = time.monotonic() + _PATIENCE, b""
        try:
            data = tunnel.receive(QUIET)
        except Cut as cut:
            if cut.how != "silent":
                raise
            tunnel.send(HELLO, _PATIENCE)
            data = tunnel.receive(_PATIENCE)  # a client that is only slow goes on as others do
        while data and (hello := parse(data)) is Outcome.NEED_MORE and len(data) < MAX_STREAM:
            more = tunnel.receive(deadline - time.monotonic())
            if not more:
                raise Cut("closed")
            data += more
        if not data:
            return "said nothing"
        if isinstance(hello, ClientHello):
            return self._tls(tunnel, peer, data, hello)
        return self._plain(tunnel, data, deadline)

    def _plain(self, tunnel: Tunnel, data: bytes, deadline: float) -> str:
        while b"\n" not in data and len(data) < LONGEST_ASK:
            more = tunnel.receive(deadline - time.monotonic())
            if not more:
                raise Cut("closed")
            data += more
        wanted = asked(self.token.secret, data)
        if wanted is None:
            return "sent bytes that are no question of the other end's"
        tunnel.ahead = data[wanted[2] :]
        what, nonce, _ = wanted
        if what == "count":
            tunnel.send(f"{self._counted(nonce)}\n".encode(), _PATIENCE)
            return "was told how many bytes arrived"
        if not self._is_first(nonce):
            return _AGAIN
        self._known(tunnel.sock)
        try:
            for count in _echo(tunnel.receive, tunnel.send):
                self._counts[nonce] = count
            tunnel.send(END, _PATIENCE)
            tunnel.end()
        finally:
            self._ended.add(nonce)
        return "had its bytes sent back"

    def _is_first(self, nonce: str) -> bool:
        """Whoever sees a question pass can ask it once more, but nothing is sent back to them."""
        with self._lock:
            first = nonce not in self._counts
            self._counts.setdefault(nonce, 0)
            return first

    def _counted(self, nonce: str) -> int:
        """How many bytes came by another connection until it ended; -1: there was none, or it has not ended."""
        deadline = time.monotonic() + QUIET
        while nonce in self._counts and nonce not in self._ended and time.monotonic() < deadline:
            time.sleep(QUIET / 20)
        return self._counts.get(nonce, -1) if nonce in self._ended else -1

    def _tls(self, tunnel: Tunnel, peer: str, data: bytes, hello: ClientHello) -> str:
        stream = TlsStream(self._context, server=True)
        stream.feed(data)
        stream.handshake(tunnel, _PATIENCE)
        try:
            return self._within(tunnel, stream, peer, hashlib.sha256(data[: hello.length]).hexdigest(), hello)
        finally:
            stream.close()

    def _within(self, tunnel: Tunnel, stream: TlsStream, peer: str, arrived: str, hello: ClientHello) -> str:
        try:
            data = stream.read(QUIET)
        except Cut as cut:
            if cut.how != "silent":
                raise
            stream.write(RSYNC, _PATIENCE)
            data = stream.read(_PATIENCE)
        if data.startswith(b"@RSYNCD: "):
            stream.write(b"@RSYNCD: EXIT\n", _PATIENCE)
            return f"spoke rsync, in {stream.version}"
        if data.startswith(GREETING):
            wanted = asked(self.token.secret, data)
            if wanted is None:
                return "asked in TLS, without knowing the token"
            if not self._is_first(wanted[1]):
                return _AGAIN
            self._known(tunnel.sock)
            if wanted[0] == "sink":
                return f"took {swallow(stream, data[wanted[2] :], _PATIENCE)} bytes"
            for _ in _echo(stream.read, stream.write):
                continue
            return f"had its bytes sent back, in {stream.version}"
        request = _request(stream, data)
        if request is None:
            return f"spoke {stream.version}, and nothing that is known here"
        if not request.target.startswith(REPORT):
            return api_answer(stream, request)
        nonce, _, signed = request.target.removeprefix(REPORT).partition("/")
        if asked(self.token.secret, ask_line(nonce, signed)) is None:
            return "asked for a report without knowing the token"
        kind, value = stream.binding()
        told = {
            "hello": arrived, "name": hello.sni or "", "version": stream.version, "peer": peer,
            "binding": value, "binding kind": kind,
        }  # fmt: skip
        body = tell(self.token.secret, nonce, told)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.write(head.encode() + body, _PATIENCE)
        return f"was told of its ClientHello, in {stream.version}"


def ask_line(nonce: str, signed: str) -> bytes:
    """The question as it is signed, from the parts in a report's address."""
    return GREETING + f"report {nonce} {signed}\n".encode("ascii", "replace")


def report_address(secret: bytes, nonce: str) -> str:
    """Where the report is asked for."""
    signed = ask(secret, "report", nonce).split()[-1].decode()
    return f"{REPORT}{nonce}/{signed}"


def _echo(receive: Callable[[float], bytes], send: Callable[[bytes, float], None]) -> Iterator[int]:
    """What comes goes back, to the end; how many bytes came so far."""
    count = 0
    while count < _ECHO and (data := receive(_LONGEST)):
        count += len(data)
        yield count
        send(data, _PATIENCE)


def _request(stream: TlsStream, data: bytes) -> Request | None:
    """A request of HTTP; None: it is none."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found = parse_request(data)
        except BadHead:
            return None
        if found:
            return found[0]
        more = stream.read(deadline - time.monotonic())
        if not more:
            return None
        data += more


def _certificate(name: str) -> tuple[ssl.SSLContext, bytes]:
    """A key and a certificate for this run alone; no file holds the key. Gives its fingerprint, too."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ferryman doctor")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(named).issuer_name(named).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=_DAYS))
    if name and not name[-1].isdigit() and ":" not in name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = os.memfd_create("ferryman-doctor")
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context, made.fingerprint(hashes.SHA256())
