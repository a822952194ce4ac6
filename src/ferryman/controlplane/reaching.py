"""Connections of the supervisor's own: from where traffic comes from, and through other proxies as traffic goes.

Used by probe. What dataplane.chain does in a worker's loop is done here with asyncio: CONNECT or SOCKS5 with one proxy
after the other, over TLS where its URL says https. Every socket goes to the caller's stack, who closes it.
"""

from __future__ import annotations

import contextlib
import socket
from asyncio import get_running_loop
from collections.abc import Callable
from typing import Final, TypeVar

from ferryman.controlplane.layers import Layer, Plain, Secure
from ferryman.controlplane.resolver import lookup
from ferryman.dataplane import contexts, fdio
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Chain, Hop, Source
from ferryman.wire import basic, http1, http1forward, socks5

T = TypeVar("T")

SOCKS_REPLIES: Final = {
    2: "its rules do not allow the connection",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "the target refused the connection",
    6: "the target did not answer",
}
"""RFC 1928 section 6, in words."""


class UnreachableError(Exception):
    """A proxy on the way does not lead there: which and why."""


async def connect(
    stack: contextlib.ExitStack, source: Source | None, family: int, address: tuple[str, int] | str
) -> Plain:
    """A connection by no proxy. It comes from where traffic does, but for its port. Raises OSError."""
    if source is None or isinstance(address, str):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    else:  # it is connecting then, and to connect it once more is to wait for it
        fits = (":" in source.address) == (family == socket.AF_INET6)
        own = source.address if fits else ""
        sock = socket.socket(fileno=fdio.connect_from(family, *address, own, 0, source.foreign, source.interface)[0])
    stack.enter_context(sock)
    await get_running_loop().sock_connect(sock, address)
    return Plain(sock)


def family_of(host: str) -> socket.AddressFamily:
    """Of a numeric address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def through(stack: contextlib.ExitStack, hops: Chain, host: str, port: int) -> tuple[Plain, Layer]:
    """A connection to a target through proxies in a row: its socket, and what to speak in. Raises UnreachableError."""
    bottom = await _first(stack, hops[0])
    layer: Layer = bottom
    goals = [(hop.address.host, hop.address.port) for hop in hops[1:]] + [(host, port)]
    for hop, goal in zip(hops, goals, strict=True):
        try:
            layer = await _secured(hop, layer)
            await _negotiate(layer, hop, goal)
        except (socks5.BadSocks, http1.BadHead, TlsFailure) as bad:
            raise UnreachableError(f"proxy {hop.address}: {bad.reason}") from None
        except TimeoutError:
            raise
        except OSError as error:
            raise UnreachableError(f"proxy {hop.address}: {error.strerror or error}") from None
    return bottom, layer


async def _first(stack: contextlib.ExitStack, hop: Hop) -> Plain:
    """A connection to the nearest proxy, by the first of its addresses that answers."""
    host, port = hop.address.host, hop.address.port
    try:
        found = await lookup(host) if hop.address.family == "name" else (host,)
    except OSError as error:
        raise UnreachableError(f"proxy {hop.address}: its name has no address: {error.strerror or error}") from None
    reason = "its name has no address"
    for each in found:
        with contextlib.ExitStack() as attempt:
            try:
                plain = await connect(attempt, None, family_of(each), (each, port))
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            stack.enter_context(attempt.pop_all())
            return plain
    raise UnreachableError(f"proxy {hop.address}: {reason}")


async def _secured(hop: Hop, below: Layer) -> Layer:
    if hop.scheme != "https":
        return below
    context = contexts.for_server(contexts.ServerTerms(hop.ca, hop.verify, (), hop.verify))
    layer = Secure(below, context, hop.server_name or hop.address.host)
    await layer.handshake()
    return layer


async def _negotiate(layer: Layer, hop: Hop, goal: tuple[str, int]) -> None:
    """Have a proxy connect to `goal`. It is asked with its own credentials: no client is behind this."""
    if hop.scheme == "socks5":
        await _socks(layer, hop, goal)
        return
    credentials = basic.basic_authorization(hop.user, hop.password) if hop.user else ""
    await layer.send(http1forward.connect_request(*goal, f"1.1 {http1forward.PSEUDONYM}", credentials))
    data = bytearray()
    for _ in range(http1.MAX_INTERIM):
        answer = await _read(layer, data, lambda data: http1.parse_response(data, "CONNECT"))
        if answer.status >= 300:
            raise UnreachableError(f"proxy {hop.address} answered {answer.status} {answer.reason}".rstrip())
        if answer.status >= 200:
            break
    else:
        raise http1.BadHead(502, "interim answers without an end")
    layer.ahead = bytes(data)


async def _socks(layer: Layer, hop: Hop, goal: tuple[str, int]) -> None:
    data = bytearray()
    await layer.send(socks5.greeting(bool(hop.user)))
    method = await _read(layer, data, socks5.parse_method)
    if method == socks5.USER_PASSWORD and hop.user:
        await layer.send(socks5.userpass(hop.user, hop.password))
        if not await _read(layer, data, socks5.parse_userpass_reply):
            raise UnreachableError(f"proxy {hop.address}: wrong user or password")
    elif method != socks5.NO_AUTHENTICATION:
        raise UnreachableError(f"proxy {hop.address}: it wants other credentials")
    await layer.send(socks5.request(*goal))
    answer = await _read(layer, data, socks5.parse_reply)
    if answer != socks5.SUCCEEDED:
        raise UnreachableError(f"proxy {hop.address}: {SOCKS_REPLIES.get(answer, 'general failure')}")
    layer.ahead = bytes(data)


async def _read(layer: Layer, data: bytearray, parse: Callable[[bytes], tuple[T, int] | None]) -> T:
    """The next message; `data` is what has come beyond the last one. Parsers bound how long it may be."""
    while (found := parse(bytes(data))) is None:
        more = await layer.receive()
        if not more:
            raise ConnectionResetError(0, "it closed the connection")
        data += more
    value, length = found
    del data[:length]
    return value
