"""One health check, along the way that traffic takes: proxies, PROXY header, TLS, and then what is said in it.

Called by health. An attempt goes up layer by layer and ends at the first that does not hold, in HAProxy's words: no
connection (L4…), no TLS (L6…), no answer or not the right one (L7…).

A connection in which nothing was said is ended by RST, so that the server's application need not see it; all others in
an orderly way, so that the server does not take what was said for broken off.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final

from ferryman.controlplane import reaching
from ferryman.controlplane.layers import Layer, Plain, Secure
from ferryman.controlplane.outcome import Outcome
from ferryman.controlplane.resolver import lookup, report_crash
from ferryman.controlplane.serverstate import ServerState
from ferryman.dataplane import contexts
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Chain, Check, Expect, ExpectStatus, Send, Server, TlsConnect
from ferryman.wire import proxyprotocol

GOODBYE: Final = 0.5
"""Seconds that a server has to close its side after our end."""

LONGEST: Final = 65536
"""Bytes of an answer that are looked through for what is expected."""

_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: close sends RST (socket(7))
_FAMILIES: Final = {
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
    "abstract": socket.AF_UNIX,
}
_OUR_FAULT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EADDRINUSE)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r\n]")
_RECORDS: Final = (0x15, 0x16)
"""What an answer to a hello begins with: an alert or a handshake record (RFC 8446 section 5.1)."""

Open = Callable[[contextlib.ExitStack], Awaitable[tuple[Plain, Layer]]]
"""Makes a connection whose socket is the stack's: the socket, and what to speak in."""


async def probe(state: ServerState, check: Check) -> Outcome:
    """Check a server once. Of a name's addresses it is enough that one answers, of several ways the first that leads.

    A way has its share of the time, so that a dead one does not hide the next.
    """
    address = check.address or state.server.address
    port = address.port or state.server.address.port
    loop = asyncio.get_running_loop()
    until = loop.time() + check.timeout
    ways: tuple[Chain, ...] = check.via.chains_for(address.host, port) if check.via is not None else ((),)
    outcome = Outcome("L4TOUT")
    for left, hops in zip(range(len(ways), 0, -1), ways, strict=True):
        now = loop.time()
        outcome = await _by_way(state, check, hops, port, now + (until - now) / left)
        if outcome.good or outcome.reached:
            break
    return outcome


async def _by_way(state: ServerState, check: Check, hops: Chain, port: int, until: float) -> Outcome:
    address = check.address or state.server.address
    if hops:
        return await _attempt(
            check, state.server, lambda stack: reaching.through(stack, hops, address.host, port), until
        )
    family = _FAMILIES.get(address.family)
    if family is not None:
        return await _attempt(check, state.server, _directly(state.server, family, address.host, port), until)
    try:
        async with asyncio.timeout_at(until):
            known = state.addresses if address.host == state.server.address.host else ()
            hosts = known or await lookup(address.host)
    except TimeoutError:
        return Outcome("L4TOUT")
    except OSError as error:
        return Outcome("SOCKERR", f"cannot resolve {address.host}: {error.strerror or error}")
    ways = [_directly(state.server, reaching.family_of(host), host, port) for host in hosts]
    return await _any([_attempt(check, state.server, way, until) for way in ways])


def _directly(server: Server, family: int, host: str, port: int) -> Open:
    """`host`: an address, or the path of a Unix socket."""

    async def connect(stack: contextlib.ExitStack) -> tuple[Plain, Layer]:
        target = host if family == socket.AF_UNIX else (host, port)
        plain = await reaching.connect(stack, server.source, family, target)
        return plain, plain

    return connect


async def _any(attempts: Sequence[Coroutine[None, None, Outcome]]) -> Outcome:
    """The first good outcome, or else the last bad one."""
    tasks = [asyncio.ensure_future(attempt) for attempt in attempts]
    outcome = Outcome("SOCKERR", "no address")
    try:
        for next_one in asyncio.as_completed(tasks):
            outcome = await next_one
            if outcome.good:
                break
    finally:
        for task in tasks:
            task.cancel()
    return outcome


async def _attempt(check: Check, server: Server, open_: Open, until: float) -> Outcome:
    """One connection, and all that is to happen in it. `until`: when it has to stand, by the loop's clock."""
    with contextlib.ExitStack() as stack:
        try:
            async with asyncio.timeout_at(until):
                plain, layer = await open_(stack)
                if check.send_proxy:
                    await layer.send(_header(plain.sock, check.send_proxy))
        except TimeoutError:
            return Outcome("L4TOUT")
        except reaching.UnreachableError as error:
            return Outcome("L4CON", str(error))
        except OSError as error:
            return Outcome("SOCKERR" if error.errno in _OUR_FAULT else "L4CON", _words(error))
        if check.answer_timeout is not None:
            until = asyncio.get_running_loop().time() + check.answer_timeout
        outcome, layer = await _secured(check, server, layer, until)
        if check.steps and outcome.good:
            outcome = await _told(check, layer, until)
        if check.send_proxy or check.tls is not None or check.steps or layer is not plain:
            _leave(stack, plain, layer)
        elif plain.sock.family != socket.AF_UNIX:
            plain.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return outcome


def _header(sock: socket.socket, version: int) -> bytes:
    """A PROXY header of our own.

    Of version 1 it tells the connection's own addresses: some servers refuse UNKNOWN (proxy-protocol.txt, section 2.1).
    """
    if version == 2:
        return proxyprotocol.local()
    return proxyprotocol.v1(_endpoint(sock.getsockname()), _endpoint(sock.getpeername()))


def _endpoint(name: object) -> proxyprotocol.Endpoint:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("unix", 0)


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error.strerror or error)


# TLS


async def _secured(check: Check, server: Server, below: Layer, until: float) -> tuple[Outcome, Layer]:
    """TLS, where the check wants it: how it went, and what to speak in."""
    if check.tls is None:
        return Outcome("L4OK"), below
    try:
        async with asyncio.timeout_at(until):
            layer = _tls(check.tls, server, below)
            if check.hello:
                return _answered(await layer.greet()), below
            await layer.handshake()
    except TimeoutError:
        return Outcome("L6TOUT"), below
    except TlsFailure as failure:
        return Outcome("SOCKERR" if failure.kind == "local" else "L6RSP", failure.reason), below
    except OSError as error:
        return Outcome("L6RSP", _words(error)), below
    pins = check.tls.fingerprints
    if pins and layer.fingerprint not in pins:
        return Outcome("L6RSP", f"its certificate is not the pinned one: SHA-256 {layer.fingerprint}"), layer
    return Outcome("L6OK"), layer


def _tls(connect: TlsConnect, server: Server, below: Layer) -> Secure:
    """As dataplane.servertls asks a server, where no client is behind that asked for a name. Raises TlsFailure."""
    host = server.address.hostname
    asked = host if connect.server_name is None else connect.server_name
    terms = contexts.terms_of(connect, connect.verify_name or ("" if asked else host))
    return Secure(below, contexts.for_server(terms), asked)


def _answered(data: bytes) -> Outcome:
    if not data:
        return Outcome("L6RSP", "connection closed after a TLS hello")
    return Outcome("L6OK") if data[0] in _RECORDS else Outcome("L6RSP", "it does not speak TLS")


# what is said


async def _told(check: Check, layer: Layer, until: float) -> Outcome:
    """Go through the steps. What is expected is looked for in all that has come since something was said."""
    answer = bytearray()
    outcome = Outcome("L7OK")
    for number, step in enumerate(check.steps, start=1):
        where = f"at step {number} of {len(check.steps)} ({_named(step)})"
        try:
            async with asyncio.timeout_at(until):
                if isinstance(step, Send):
                    answer.clear()
                    await layer.send(step.data)
                else:
                    outcome = await _answer(layer, answer, step)
        except TimeoutError:
            return Outcome("L7TOUT", where)
        except OSError as error:
            return Outcome("L7RSP", f"{_words(error)} {where}")
        if not outcome.good:
            break
    return outcome


async def _answer(layer: Layer, answer: bytearray, step: Expect | ExpectStatus) -> Outcome:
    """Wait for what is expected. `answer` is what has come already, and grows."""
    while (outcome := _judged(step, bytes(answer))) is None:
        if len(answer) > LONGEST:
            return Outcome("L7RSP", f"not in the first {LONGEST} bytes: {_named(step)}")
        more = await layer.receive()
        if not more:
            return Outcome("L7RSP", f"the answer ended without it: {_named(step)}" if answer else "no answer")
        answer += more
    return outcome


def _judged(step: Expect | ExpectStatus, data: bytes) -> Outcome | None:
    """None: more is needed."""
    if isinstance(step, Expect):
        found = re.search(step.pattern, data) if step.regex else step.pattern in data
        return Outcome("L7OK") if found else None
    line = _STATUS_LINE.match(data)
    if line is None:
        return Outcome("L7RSP", "no answer of HTTP/1") if len(data) > 12 or not _begins(data) else None
    code = int(line[1])
    good = any(low <= code <= high for low, high in step.ranges)
    return Outcome("L7OK" if good else "L7STS", f"HTTP status check returned code {code}", code)


def _begins(data: bytes) -> bool:
    """May it become a status line?"""
    return b"HTTP/1.".startswith(data[:7])


def _named(step: Send | Expect | ExpectStatus) -> str:
    match step:
        case Send():
            return "send"
        case Expect():
            return f"expect {step.pattern.decode('latin-1')!a}"
        case ExpectStatus():
            return "an HTTP status"


# the end


def _leave(stack: contextlib.ExitStack, plain: Plain, layer: Layer) -> None:
    """Leave as a client does, in the background: the outcome is known by now."""
    task = asyncio.create_task(_part(stack.pop_all(), plain, layer), name="end of a check")
    task.add_done_callback(report_crash)
    task.add_done_callback(_LEAVING.discard)
    _LEAVING.add(task)


async def _part(stack: contextlib.ExitStack, plain: Plain, layer: Layer) -> None:
    """Say that nothing more comes, and let the server close first."""
    with stack, contextlib.suppress(OSError, TimeoutError, TlsFailure):
        async with asyncio.timeout(GOODBYE):
            if isinstance(layer, Secure):
                await layer.finish()
            plain.sock.shutdown(socket.SHUT_WR)
            while await plain.receive():
                pass


_LEAVING: Final[set[asyncio.Task[None]]] = set()
"""Held, or the event loop would forget them."""
