"""PROXY headers, in and out: who the client of a proxy in front of us is, and telling a server behind us.

`due` and `take` are called by session at the start of a journey, `announce` by dial once a connection to a server
stands. A header is taken to the exact byte, what follows it stays in the kernel. Whoever may send one can claim to be
anybody, so it is the configuration that says who must, never the bytes (proxy-protocol.txt, section 5).
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import fdio
from ferryman.dataplane.connect import Failure
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import IN
from ferryman.dataplane.stream import ClientStream, Gone, TimeUp
from ferryman.plan import ReceiveProxy, SendProxy, Server
from ferryman.rules.facts import ABSENT, Facts, Missing
from ferryman.wire import proxyprotocol
from ferryman.wire.proxyprotocol import BadHeader, Header, Ssl

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

_LONGEST_NAME: Final = 255  # bytes; no host name is longer
_UNVERIFIED: Final = 1  # OpenSSL's X509_V_ERR_UNSPECIFIED; 0 says that a certificate was shown and verified
_KINDS: Final = {
    "alpn": proxyprotocol.ALPN,
    "authority": proxyprotocol.AUTHORITY,
    "unique-id": proxyprotocol.UNIQUE_ID,
    "ssl": proxyprotocol.SSL,
    "ssl-version": proxyprotocol.SSL,  # always part of it
    "ssl-cipher": proxyprotocol.SSL,
    "cert-cn": proxyprotocol.SSL,
    "netns": proxyprotocol.NETNS,
}


def due(session: Session) -> bool:
    """Has this client to send a header? Until it is there, addresses are UNKNOWN to rules."""
    receive = session.listener.receive_proxy
    if receive is None or not (receive.networks is None or receive.networks.hold(session.record.client_host)):
        return False
    session.learn().header_due = True
    return True


async def take(session: Session, receive: ReceiveProxy) -> bool:
    """Wait for the header and believe it. False: there was none in time, and the session has ended."""
    session.deadline = session.worker.loop.now + receive.timeout
    try:
        found = await ClientStream(session).head(proxyprotocol.parse, proxyprotocol.LONGEST)
    except BadHeader as bad:
        session.generation.listener_count(session.listener, Cell.DENIED_CONNECTION)
        session.end("PR", "policy", f"client: PROXY protocol: {bad.reason}", reset=True)
        return False
    except Gone as gone:
        session.end("CR", gone.how, f"{gone.reason} (PROXY header expected)")
        return False
    except TimeUp:
        session.end("cR", "timeout", f"client: no PROXY header within {receive.timeout:g} s", reset=True)
        return False
    session.deadline = inf
    _believe(session, found)
    return True


def _believe(session: Session, found: Header) -> None:
    record, facts = session.record, session.learn()
    facts.header_due = False
    facts.proxy_tlvs = dict(reversed(found.tlvs))  # the first of each type
    identity = facts.proxy_tlvs.get(proxyprotocol.UNIQUE_ID)
    record.unique_id = identity.decode("utf-8", "replace") if identity else ""
    if found.source is None or found.destination is None:
        return
    record.peer = facts.peer_address, facts.peer_port = record.client_host, record.client_port
    record.client_host, record.client_port = facts.client_address, facts.client_port = found.source
    record.local_host, record.local_port = facts.local_address, facts.local_port = found.destination


def announce(session: Session, server: Server, fd: int) -> None:
    """Send a server its header, the first bytes of a connection that the loop watches. Raises Failure and closes it.

    It fits into any fresh socket's buffer: what does not go out at once never will. Where the client's first bytes, or
    our own hello, follow at once, both go in one segment, which spares both sides one.
    """
    assert server.send_proxy is not None
    data = header(session, server.send_proxy)
    try:
        send = fdio.send_more if server.tls is not None or _has_spoken(session) else fdio.send
        if send(fd, memoryview(data)) == len(data):
            return
        failure = Failure("SC", f"{server.name}: it takes no PROXY header")
    except OSError as error:
        text = f"{server.name}: {error.strerror} while the PROXY header was sent"
        failure = Failure("SC", text, error.errno or 0)
    session.worker.loop.close(fd)
    raise failure


def _has_spoken(session: Session) -> bool:
    """Are there bytes of the client's that will be handed on as they are, once the server is told of it?"""
    if not session.client_mask & IN or session.listener.tls:
        return False
    try:
        return bool(fdio.peek(session.fd, 1))
    except OSError:  # it is gone, which the tunnel will see and say
        return False


def header(session: Session, send: SendProxy) -> bytes:
    """What a server is told of this client. TLVs that nothing is known for are left out."""
    facts, record = session.learn(), session.record
    source, destination = (record.client_host, record.client_port), (record.local_host, record.local_port)
    if send.version == 1:
        return proxyprotocol.v1(source, destination)
    received = {} if isinstance(facts.proxy_tlvs, Missing) else facts.proxy_tlvs
    tlvs = []
    for kind in sorted({_KINDS[name] for name in send.tlvs if name in _KINDS}):
        value = received.get(kind, b"")
        match kind:
            case proxyprotocol.ALPN:
                value = _alpn(facts) or value
            case proxyprotocol.AUTHORITY:
                value = _authority(facts) or value
            case proxyprotocol.UNIQUE_ID if not value:
                record.unique_id = record.unique_id or os.urandom(16).hex()  # the same for every server that is tried
                value = record.unique_id.encode()
            case proxyprotocol.SSL if facts.tls is not ABSENT or not value:
                value = proxyprotocol.ssl_value(_ssl(facts, send.tlvs))
        if value:
            tlvs.append((kind, value))
    return proxyprotocol.v2(source, destination, tlvs, checksum="crc32c" in send.tlvs)


def _authority(facts: Facts) -> bytes:
    """The name that a TLS client asks for."""
    name = None if isinstance(facts.hello, Missing) else facts.hello.sni
    value = (name or "").encode()
    return value if len(value) <= _LONGEST_NAME else b""


def _alpn(facts: Facts) -> bytes:
    """The protocol of the client's stream: what was agreed on, or the only one offered where TLS passes untouched."""
    if not isinstance(facts.tls, Missing):
        return facts.tls.alpn.encode()
    if isinstance(facts.hello, Missing) or len(facts.hello.alpn) != 1:
        return b""
    return facts.hello.alpn[0].encode()


def _ssl(facts: Facts, parts: tuple[str, ...]) -> Ssl:
    """Of the client's TLS, where it is terminated; else that there is none, as far as we know."""
    tls = facts.tls
    if isinstance(tls, Missing):
        return Ssl(0, _UNVERIFIED)
    flags = proxyprotocol.CLIENT_SSL
    if tls.certificate:
        flags |= proxyprotocol.CLIENT_CERT_SESS | (0 if tls.resumed else proxyprotocol.CLIENT_CERT_CONN)
    values = [(proxyprotocol.SSL_VERSION, tls.version)]
    if "cert-cn" in parts:
        values.append((proxyprotocol.SSL_CN, dict(reversed(tls.subject)).get("CN", "")))  # the first
    if "ssl-cipher" in parts:
        values.append((proxyprotocol.SSL_CIPHER, tls.cipher))
    tlvs = tuple((kind, value.encode()) for kind, value in values if value)
    return Ssl(flags, 0 if tls.certificate else _UNVERIFIED, tlvs)
