"""A client whose TLS ends here: the handshake with it, and the tunnel to a server that gets what was within.

Called by session once the hello was read, which is still in the kernel, and the backend is chosen; or, by an explicit
proxy that speaks TLS itself, to have what is within as the connection that the journey goes on with. Where the server
speaks TLS as well and the client names protocols (ALPN), the server comes first: it is offered what the client offered,
and the client is answered what the server chose. So both sides agree before either handshake ends.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from ferryman.dataplane import dial, tls, tlsrelay
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.stream import ClientStream
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Backend, TlsAccept, TlsCase
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts
from ferryman.wire import alert
from ferryman.wire.clienthello import ClientHello

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


def accepted(cases: Sequence[TlsCase], facts: Facts) -> TlsAccept | None:
    """How this client's TLS is terminated; None: it stays untouched."""
    for case in cases:
        if case.condition is None or case.condition.state(facts) is True:
            return case.accept
    return None


def undecided(cases: Sequence[TlsCase], facts: Facts) -> bool:
    """Does it depend on the hello, or is it certain, that TLS ends here? If neither, nobody need wait for a hello."""
    return any(case.condition is None or case.condition.state(facts) is not False for case in cases)


def patience(cases: Sequence[TlsCase]) -> float:
    """Seconds that a client may take for its hello, whichever of these will hold."""
    return max((case.accept.timeout or inf for case in cases if case.accept is not None), default=inf)


async def begin(session: Session) -> bool:
    """The handshake before the rules that ask what came of it. False: it failed, and the session ended."""
    facts = session.learn()
    accept = accepted(session.listener.tls, facts)
    if accept is None:
        facts.tls = ABSENT
        return True
    session.secured = await greet(session, accept, accept.alpn)
    facts.final = True  # what comes now is no hello
    return session.secured is not None


async def journey(session: Session, accept: TlsAccept, backend: Backend) -> None:
    """From the hello to the tunnel, or to the end."""
    if session.secured is None and _server_first(session, accept, backend):
        server = await dial.reach(session, backend)
        if server is None:
            return
        chosen = server.selected_alpn_protocol() if isinstance(server, ssl.SSLSocket) else None
        try:
            client = await greet(session, accept, (chosen,) if chosen else ())
        except BaseException:
            _drop(session, server)
            raise
        if client is None:
            _drop(session, server)
            return
    else:
        client = session.secured or await greet(session, accept, accept.alpn)
        if client is None:
            return
        server = await dial.reach(session, backend)
        if server is None:
            return
    tlsrelay.carry(session, client, server, session.silence(backend.tunnel_timeout, backend.server_timeout))


async def unwrap(session: Session) -> bool:
    """Let the rest of the journey see what is within the client's TLS, as a connection of its own. False: it ended."""
    await session.sniff()
    if session.fd < 0:
        return False
    facts = session.learn()
    accept = accepted(session.listener.tls, facts)
    if accept is None:
        facts.tls = ABSENT
        return True
    client = await greet(session, accept, accept.alpn or ("http/1.1",))
    if client is None:
        return False
    session.fd = tlsrelay.carry_layer(session, client)
    session.client_mask = 0  # of what it was within, and so are hello and data
    facts.hello, facts.data, facts.final = UNKNOWN, b"", False
    session.worker.loop.table[session.fd] = session
    return True


async def greet(session: Session, accept: TlsAccept, alpn: tuple[str, ...]) -> ssl.SSLSocket | None:
    """The handshake with the client, of which facts and record get to know. None: it failed, and the session ended."""
    facts = session.learn()
    hello = facts.hello
    if hello is UNKNOWN:
        session.generation.listener_count(session.listener, Cell.HANDSHAKE_ERRORS)
        session.end("cR", "timeout", "client: no TLS hello in time", reset=True)
        return None
    name = hello.sni or "" if isinstance(hello, ClientHello) else ""
    session.deadline = session.worker.loop.now + (accept.timeout or inf)
    try:
        context = session.generation.acceptor(accept, session.worker.ticket_keys).context(name, alpn)
        if context is None:
            await ClientStream(session).farewell(alert.fatal(alert.UNRECOGNIZED_NAME))
            session.generation.listener_count(session.listener, Cell.DENIED_CONTENT)
            session.end("PR", "policy", f"no certificate for {name}" if name else "a client that names no server")
            return None
        sock = await tls.server(session, session.fd, context)
        if not isinstance(hello, ClientHello):  # rules were asked without it, and it may have named what they refuse
            raise TlsFailure("protocol", "TLS handshake: a hello that only OpenSSL can read")
        agreed = tls.established(sock)
    except TlsFailure as failure:
        session.generation.listener_count(session.listener, Cell.HANDSHAKE_ERRORS)
        if failure.kind == "local":
            session.end("RC", "error", failure.reason, reset=True)
        elif failure.kind == "timeout":
            session.end("cR", "timeout", f"client: {failure.reason}", reset=True)
        else:
            session.end("CR", "error", f"client: {failure.reason}", reset=failure.kind == "closed")
        return None
    finally:
        session.deadline = inf
    facts.tls = session.record.tls = agreed
    session.generation.listener_count(session.listener, Cell.HANDSHAKES)
    if agreed.resumed:
        session.generation.listener_count(session.listener, Cell.RESUMED)
    return sock


def _server_first(session: Session, accept: TlsAccept, backend: Backend) -> bool:
    """Is what the client is answered the server's to choose?"""
    facts = session.learn()
    wishes = isinstance(facts.hello, ClientHello) and bool(facts.hello.alpn)
    return wishes and not accept.alpn and any(one.tls is not None and one.tls.alpn is None for one in backend.servers)


def _drop(session: Session, server: int | ssl.SSLSocket) -> None:
    if isinstance(server, ssl.SSLSocket):
        tls.abandon(session, server)
    else:
        session.worker.loop.close(server)
