"""Out through other proxies: CONNECT or SOCKS5 with one after the other, over TLS where the URL says https.

Used by target (explicit proxy) and dial (backends with `via`). Gives a plain connected descriptor that the loop
watches, whatever lies below it; what the first bytes in the tunnel are is nobody's business here.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from ferryman.dataplane import tls, tlsrelay
from ferryman.dataplane.connect import Failure, connect_to
from ferryman.dataplane.contexts import ServerTerms
from ferryman.dataplane.questions import Unresolved
from ferryman.dataplane.refusal import Refusal, refused, unsecured
from ferryman.dataplane.stream import LONGEST, Gone, Stream, TimeUp
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Chain, Hop
from ferryman.wire import basic, http1, http1forward, socks5
from ferryman.wire.authority import format_authority
from ferryman.wire.http1 import BadHead

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


class Client(Protocol):
    """What the client sent that other proxies get: `via` all of them, its credentials those that are to."""

    @property
    def authorization(self) -> str: ...

    @property
    def via(self) -> str: ...


async def reach(
    session: Session,
    hops: Chain,
    host: str,
    port: int,
    timeout: float | None,
    client: Client | None = None,
    patience: float | None = None,
) -> int:
    """A connection to a target through proxies in a row. Raises Refusal.

    `timeout`: seconds for each step; `patience`: for those that come after the first connection, if that is another
    number. A proxy's own refusal has `Refusal.received`.
    """
    fd = await nearest(session, hops, timeout, client, patience)
    goal, credentials = (host, port), authorization(hops[-1], client)
    return await _guarded(session, hops[-1], fd, goal, patience or timeout, credentials, client)


async def nearest(
    session: Session, hops: Chain, timeout: float | None, client: Client | None = None, patience: float | None = None
) -> int:
    """A connection to the last of these proxies itself, through the others, for requests to be sent to it."""
    first = hops[0]
    fd = await _dial(session, first, timeout)
    timeout = patience or timeout
    fd = await _secured(session, first, fd, timeout)
    for hop, further in pairwise(hops):
        goal = further.address.host, further.address.port
        fd = await _guarded(session, hop, fd, goal, timeout, authorization(hop, None), client)
        fd = await _secured(session, further, fd, timeout)
    return fd


async def _guarded(
    session: Session,
    hop: Hop,
    fd: int,
    goal: tuple[str, int],
    timeout: float | None,
    credentials: str,
    client: Client | None,
) -> int:
    """Negotiate with one proxy; whatever goes wrong closes `fd` and is a Refusal."""
    session.deadline = session.worker.loop.now + (timeout or inf)
    stream = Stream(session, fd, session.server_mask, f"proxy {hop.address}")
    try:
        via = (client.via if client is not None else "") or f"1.1 {session.worker.name}"
        await _negotiate(stream, hop, goal, via, credentials)
    except BaseException as problem:
        session.worker.loop.close(fd)
        match problem:
            case Gone():
                code = "SC" if problem.stream is stream else "CC"
                raise Refusal("connection_terminated", problem.reason, code=code, how=problem.how) from None
            case TimeUp():
                text = f"proxy {hop.address}: no answer within {timeout:g} s"
                raise Refusal("http_response_timeout", text, code="sC", how="timeout") from None
            case BadHead():
                raise Refusal("http_protocol_error", f"proxy {hop.address}: {problem.reason}") from None
        raise
    finally:
        session.deadline = inf
    session.server_mask = stream.mask
    return fd


async def _dial(session: Session, hop: Hop, timeout: float | None) -> int:
    """A connection to a proxy."""
    name = f"proxy {hop.address}"
    try:
        found = await session.worker.questions.resolve(session, hop.address.host)
        port, own = hop.address.port, session.generation.own_proxies
        addresses = [each for each in found if not own.hold(*each, port)]
        if not addresses:
            raise Refusal("proxy_loop_detected", f"{name}: this is ferryman itself, it listens there")
        return await connect_to(session, name, addresses, port, timeout, keepalive=True)
    except Unresolved as failure:
        raise Refusal(failure.error, f"{name}: {failure.text}") from None
    except Failure as failure:
        raise refused(failure) from None


async def _secured(session: Session, hop: Hop, fd: int, timeout: float | None) -> int:
    """Where the proxy wants TLS: a plain descriptor to what is said within it. Closes `fd` if that fails."""
    if hop.scheme != "https":
        return fd
    name = hop.server_name or hop.address.host
    session.deadline = session.worker.loop.now + (timeout or inf)
    try:
        secured = await tls.client(session, fd, ServerTerms(hop.ca, hop.verify, (), hop.verify), name)
    except TlsFailure as failure:
        raise unsecured(f"proxy {hop.address}", failure) from None
    finally:
        session.deadline = inf
    session.server_mask = 0
    try:
        return tlsrelay.carry_layer(session, secured)
    except OSError:
        tls.abandon(session, secured)
        raise


def authorization(hop: Hop, client: Client | None) -> str:
    """The Proxy-Authorization for a proxy; "": none."""
    if client is not None and hop.pass_credentials and client.authorization:
        return client.authorization
    return basic.basic_authorization(hop.user, hop.password) if hop.user else ""


async def _negotiate(stream: Stream, hop: Hop, goal: tuple[str, int], via: str, credentials: str) -> None:
    """Have one proxy connect to `goal`. `credentials`: the Proxy-Authorization it gets, if it speaks HTTP."""
    if hop.scheme == "socks5":
        await _socks(stream, hop, goal)
        return
    await stream.send(http1forward.connect_request(*goal, via, credentials))
    for _ in range(http1.MAX_INTERIM):
        answer = await stream.head(lambda data: http1.parse_response(data, "CONNECT", LONGEST), LONGEST)
        if answer.status >= 200:
            break
    else:
        raise BadHead(502, "interim answers without an end")
    if answer.status < 300:
        return
    status, headers = answer.status, []
    if status == 407:
        if hop.pass_credentials:
            headers = [("Proxy-Authenticate", value) for value in answer.get_all("proxy-authenticate")]
        else:
            status = 502  # our credentials, not the client's
    text = f"proxy {hop.address} answered {answer.status} {answer.reason} to CONNECT {format_authority(*goal)}"
    again = status == 407
    raise Refusal("http_request_denied", text, status=status, headers=headers, received=answer.status, again=again)


async def _socks(stream: Stream, hop: Hop, goal: tuple[str, int]) -> None:
    """RFC 1928 from the client's side."""
    try:
        await stream.send(socks5.greeting(bool(hop.user)))
        method = await stream.head(socks5.parse_method, 2)
        if method == socks5.USER_PASSWORD and hop.user:
            await stream.send(socks5.userpass(hop.user, hop.password))
            if not await stream.head(socks5.parse_userpass_reply, 2):
                raise Refusal("http_request_denied", f"proxy {hop.address}: wrong user or password", status=502)
        elif method != socks5.NO_AUTHENTICATION:
            raise Refusal("http_request_denied", f"proxy {hop.address}: it wants other credentials", status=502)
        await stream.send(socks5.request(*goal))
        answer = await stream.head(socks5.parse_reply, 262)
    except socks5.BadSocks as bad:
        raise Refusal("http_protocol_error", f"proxy {hop.address}: {bad.reason}") from None
    if answer != socks5.SUCCEEDED:
        error, text = _REPLIES.get(answer, ("destination_unavailable", f"SOCKS reply {answer}"))
        raise Refusal(error, f"proxy {hop.address}: {text}")


_REPLIES: Final = {
    1: ("destination_unavailable", "general failure"),
    2: ("http_request_denied", "its rules do not allow the connection"),
    3: ("destination_ip_unroutable", "the network is unreachable"),
    4: ("destination_ip_unroutable", "the host is unreachable"),
    5: ("connection_refused", "the target refused the connection"),
    6: ("connection_timeout", "the target did not answer"),
}
"""RFC 1928 section 6: error of RFC 9209, and words."""
