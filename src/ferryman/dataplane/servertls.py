"""TLS with a server of a backend, on a connection that stands.

Called by dial; the socket goes to tlsrelay. What is asked and trusted is the plan's; a server that is not what it
should be is a failure like any other, after which dial may try elsewhere. TLS sessions are kept, to be resumed, with
the server and the name they were made for: nothing else may resume them, since names are not verified again then.
"""

from __future__ import annotations

import hashlib
import ssl
from math import inf

from ferryman.dataplane import contexts, tls
from ferryman.dataplane.connect import Failure, Requester
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Backend, Server, TlsConnect
from ferryman.rules.facts import ABSENT, Missing
from ferryman.wire.clienthello import ClientHello


async def secure(session: Requester, backend: Backend, server: Server, fd: int) -> ssl.SSLSocket:
    """The handshake. Raises Failure, having closed `fd`."""
    connect = server.tls
    assert connect is not None
    host = server.address.hostname
    asked = asked_name(session, connect, host)
    loop, kept = session.worker.loop, session.generation.tls_sessions
    key = (server.id, asked, server.address.host)
    since = loop.now
    session.deadline = since + (backend.negotiation_timeout or backend.connect_timeout or inf)
    try:
        terms = contexts.terms_of(connect, connect.verify_name or ("" if asked else host))
        terms = terms._replace(alpn=offered(session, connect))
        try:
            sock = await tls.client(session, fd, terms, asked, earlier=kept.get(key, since))
        except TlsFailure as failure:
            kept.drop(key)
            session.generation.server_count(session.record, Cell.HANDSHAKE_ERRORS)
            code = "sC" if failure.kind == "timeout" else "CC" if failure.reason.startswith("client:") else "SC"
            raise Failure(code, f"{server.name}: {failure.reason}") from None
    finally:
        session.deadline = inf
    session.generation.server_count(session.record, Cell.HANDSHAKES)
    if sock.session_reused:
        session.generation.server_count(session.record, Cell.RESUMED)
    if connect.fingerprints:
        shown = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        if shown not in connect.fingerprints:
            tls.abandon(session, sock)
            raise Failure("SC", f"{server.name}: its certificate is not the pinned one: SHA-256 {shown}")
    if connect.resume and isinstance(sock, contexts.Borrowing):
        sock.keep = lambda ticket: kept.put(key, ticket, loop.now + ticket.timeout)
    session.record.connect_ms += int((loop.now - since) * 1000)
    return sock


def asked_name(session: Requester, connect: TlsConnect, host: str) -> str:
    """What the server is asked for (SNI); an address is never sent; "": nothing."""
    if connect.server_name is not None:
        return connect.server_name
    hello = session.facts.hello if session.facts is not None else None
    if isinstance(hello, ClientHello) and hello.sni:
        return hello.sni
    return host


def offered(session: Requester, connect: TlsConnect) -> tuple[str, ...]:
    """The protocols the server is offered: never one that a client has not got whose handshake came first."""
    if connect.alpn is not None:
        return connect.alpn
    facts = session.facts
    if facts is None or facts.tls is ABSENT or not isinstance(facts.hello, ClientHello):
        return ()  # the client's own TLS, if it speaks any, goes on within
    if not isinstance(facts.tls, Missing):
        return (facts.tls.alpn,) if facts.tls.alpn else ()
    return facts.hello.alpn
