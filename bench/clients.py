"""Clients that do what wrk and iperf3 cannot; called by loads, on the load's CPU.

They ask a proxy for a tunnel first, send it a PROXY header, or look at what TLS agreed on. `crowd` keeps many
connections going in one thread. A connection is a generator (`Talk`) that gives its descriptor whenever it has to wait
for bytes. The same clients, with nothing to ask for, go through a plain forwarder. They are slower than wrk, so their
rates say little: what counts is what the proxy spends meanwhile.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeVar

from bench.peers import CIPHER, TLS_VERSION, Job
from bench.process import BenchError

T = TypeVar("T")
Talk = Generator[int, None, None]

PATIENCE = 10.0
BULK_REQUEST = b"GET /bulk HTTP/1.1\r\nHost: bench\r\n\r\n"
BULK_REQUESTS = 1024  # sent ahead, so that the server never waits
PROXY_HEADER = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c c0000201 c6336407 d903 01bb")
"""Version 2, TCP over IPv4: from 192.0.2.1:55555 to 198.51.100.7:443."""
_PIECE = 1 << 20


class UnexpectedAnswerError(Exception):
    """The proxy or the server behind it said something else than it should."""


def crowd(talks: Iterator[Talk], at_once: int, seconds: float) -> tuple[int, float, int]:
    """Run talks, `at_once` at a time, for so many seconds and until the last has ended.

    Returns how many went well, in how many seconds, and how many failed. Raises BenchError when none did well.
    """
    done = failed = 0
    reason: Exception | None = None
    under_way: dict[int, Talk] = {}
    start = time.monotonic()
    with select.epoll() as poll:

        def proceed(talk: Talk) -> int | None:
            """The descriptor it waits for; None: it has ended."""
            nonlocal done, failed, reason
            try:
                return next(talk)
            except StopIteration:
                done += 1
            except (OSError, UnexpectedAnswerError) as error:
                failed, reason = failed + 1, error
            return None

        def fill() -> None:
            while len(under_way) < at_once and time.monotonic() < start + seconds:
                talk = next(talks, None)
                if talk is None:
                    return
                fd = proceed(talk)
                if fd is not None:  # it may be over already
                    under_way[fd] = talk
                    poll.register(fd, select.EPOLLIN)

        fill()
        while under_way:
            ready = poll.poll(PATIENCE)
            if not ready:
                raise BenchError(f"{len(under_way)} connections do not get on")
            for fd, _ in ready:
                if proceed(under_way[fd]) is None:
                    del under_way[fd]  # closed, and so out of the epoll as well
            fill()
    if not done:
        raise BenchError(f"no connection went well: {reason}")
    return done, time.monotonic() - start, failed


def request(job: Job, context: ssl.SSLContext | None = None, name: str = "") -> Talk:
    """A connection with one request, in TLS for the server `name` where there is a context.

    Raises OSError, UnexpectedAnswerError.
    """
    with socket.create_connection(("127.0.0.1", job.listen)) as plain:
        plain.setblocking(False)
        fd = plain.fileno()
        yield from _asked(plain, job)
        if context is None:
            yield from _answered(plain, f"127.0.0.1:{job.target}")
            return
        with context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False) as secured:
            yield from _patiently(fd, secured.do_handshake)
            yield from _answered(secured, f"{name}:{job.target}")


def terminated(job: Job, context: ssl.SSLContext, name: str, kept: list[ssl.SSLSession] | None = None) -> Talk:
    """A TLS connection with one request; to be resumed from the session that is `kept`, or else not.

    Raises OSError, UnexpectedAnswerError, that also when TLS is not what all proxies were told.
    """
    with socket.create_connection(("127.0.0.1", job.listen)) as plain:
        plain.setblocking(False)
        fd = plain.fileno()
        earlier = kept[0] if kept else None
        with context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False, session=earlier) as inner:
            yield from _patiently(fd, inner.do_handshake)
            check_agreed(inner, resumed=earlier is not None)
            yield from _answered(inner, f"{name}:{job.target}")
            if kept is not None and inner.session is not None:
                kept[:] = [inner.session]  # its tickets came with the answer


def check_agreed(inner: ssl.SSLSocket, resumed: bool) -> None:
    """Raises UnexpectedAnswerError when a proxy agreed on other TLS than it was told."""
    cipher = inner.cipher()
    found = (inner.version(), cipher and cipher[0], inner.session_reused)
    if found != (TLS_VERSION, CIPHER, resumed):
        raise UnexpectedAnswerError(f"version, cipher and whether it was resumed are {found}")


@contextlib.contextmanager
def opened(job: Job) -> Iterator[socket.socket]:
    """A connection all the way to the target, nothing sent on it. Raises BenchError, also for an OSError within."""
    try:
        with socket.create_connection(("127.0.0.1", job.listen), timeout=PATIENCE) as client:
            for _ in _asked(client, job):
                raise AssertionError("a blocking socket never has to be waited for")
            yield client
    except (OSError, UnexpectedAnswerError) as error:
        raise BenchError(f"connection through the proxy: {error}") from error


def download(job: Job, seconds: float) -> tuple[int, float]:
    """Take /bulk again and again for so long; returns bytes and seconds. Raises BenchError."""
    with opened(job) as client:
        # MSG_TRUNC: the kernel throws the bytes away without copying them (tcp(7))
        return _taken(client, seconds, lambda room: client.recv_into(room, _PIECE, socket.MSG_TRUNC))


def download_secured(job: Job, seconds: float, context: ssl.SSLContext, name: str) -> tuple[int, float]:
    """As download, with TLS, by a client that takes only so much as it decrypts."""
    with opened(job) as plain, context.wrap_socket(plain, server_hostname=name) as client:
        check_agreed(client, resumed=False)
        return _taken(client, seconds, client.recv_into)


def _taken(client: socket.socket, seconds: float, take: Callable[[bytearray], int]) -> tuple[int, float]:
    start = time.monotonic()
    client.sendall(BULK_REQUEST * BULK_REQUESTS)
    if (head := client.recv(12)) != b"HTTP/1.1 200":
        raise BenchError(f"no bulk but {head!r}")
    taken, room = len(head), bytearray(_PIECE)
    while time.monotonic() < start + seconds:
        if not (size := take(room)):
            raise BenchError(f"the end after {taken} bytes")
        taken += size
    return taken, time.monotonic() - start


def _patiently(fd: int, step: Callable[[], T]) -> Generator[int, None, T]:
    """What `step` returns once its socket has the bytes for it."""
    while True:
        try:
            return step()
        except (BlockingIOError, ssl.SSLWantReadError):
            yield fd


def _asked(client: socket.socket, job: Job) -> Talk:
    """Ask for the target, where the proxy does not know it by itself, and wait for the tunnel; or send a header."""
    if job.kind == "proxy_in":
        client.sendall(PROXY_HEADER)
    if not job.explicit:
        return
    target = f"127.0.0.1:{job.target}"
    client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = yield from _patiently(client.fileno(), partial(client.recv, 4096))
        head += more
        if not more:
            break
    if head[9:12] != b"200":
        raise UnexpectedAnswerError(f"no tunnel but {head[:200]!r}")


def _answered(client: socket.socket, host: str) -> Talk:
    """Send a request, take the answer to its end."""
    client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while more := (yield from _patiently(client.fileno(), partial(client.recv, 4096))):
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        raise UnexpectedAnswerError(f"no answer but {answer[:200]!r}")
