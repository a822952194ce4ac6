"""The journey of a client that names its target itself: CONNECT, SOCKS5, plain HTTP requests, all at one door.

`journey` is the story: a head is read, the client identified, its target judged, resolved and reached; the answer says
so, and from there on it is a tunnel like any other (or, where a `tls` rule wants to look inside, bump's). A refusal is
raised wherever it is met and answered here or by admission, in the client's protocol. Plain HTTP requests go on in
forward.

The only bytes that this takes from the client are the head's; whatever follows stays in the kernel for the tunnel.
Credentials are never logged, and are dropped once they are checked.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ferryman.dataplane import admission, bump, forward, target
from ferryman.dataplane.admission import Way
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal, denied
from ferryman.dataplane.stream import ClientStream, Gone, Stream, TimeUp
from ferryman.plan import Connect
from ferryman.rules.facts import UNKNOWN
from ferryman.wire import httpreply, socks5
from ferryman.wire.http1 import BadHead, Request
from ferryman.wire.socks5 import BadSocks

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


async def journey(session: Session, connect: Connect) -> None:
    """From the first byte to the tunnel, or to the refusal."""
    client = ClientStream(session)
    session.deadline = session.worker.loop.now + (connect.head_timeout or inf)
    try:
        request = await client.head(lambda data: _socks_or_http(data, connect), admission.longest(connect))
        session.deadline = inf
        if request is None:
            await _socks(session, connect, client)
        while request is not None:
            if request.form == "absolute":
                request = await forward.serve(session, connect, client, request)
            elif await _connect(session, connect, client, request):
                request = await admission.following(session, connect, client, connect.head_timeout or inf)
            else:
                request = None
    except BadHead as bad:
        allowed = [("Allow", admission.allowed_methods(connect))] if bad.status == 405 else []
        refusal = Refusal("http_request_error", bad.reason, status=bad.status, code="PR", headers=allowed)
        await admission.dismiss(session, client, refusal)
    except Gone as gone:
        if gone.stream.side == "client":
            session.end("CR" if gone.how == "fin" else "CD", gone.how, gone.reason)
        else:
            session.end("SD", gone.how, gone.reason, reset=True)
    except TimeUp:
        text = f"no complete request within {connect.head_timeout:g} s"
        refusal = Refusal("http_request_error", text, status=408, code="cR", how="timeout")
        await admission.dismiss(session, client, refusal)


def _socks_or_http(data: bytes, connect: Connect) -> tuple[Request | None, int] | None:
    """A request's head; (None, 0): the client speaks SOCKS5. Raises BadHead."""
    if data[0] == socks5.VERSION and "socks5" in connect.protocols:
        return None, 0
    return admission.parse(data, connect)


async def _connect(session: Session, connect: Connect, client: ClientStream, request: Request) -> bool:
    """CONNECT. True: refused for want of credentials, and the client may try again."""
    ask = Ask("connect", request.host, request.port)
    try:
        way = await admission.admit(session, connect, ask, request)
        fd = await target.reach(session, connect, ask, way)
    except Refusal as refusal:
        return await admission.answer(session, client, refusal, request)
    ask.status = 200
    await _through(session, connect, client, fd, way, httpreply.ESTABLISHED)
    return False


async def _socks(session: Session, connect: Connect, client: ClientStream) -> None:
    """SOCKS5 (RFC 1928), with user and password where there are users (RFC 1929)."""
    session.deadline = session.worker.loop.now + (connect.head_timeout or inf)
    try:
        ask = session.record.ask = Ask("socks5")
        methods = await client.head(socks5.parse_greeting, 257)
        wanted = socks5.USER_PASSWORD if connect.authenticate else socks5.NO_AUTHENTICATION
        if wanted not in methods:
            reason = "it offers no user and password" if connect.authenticate else "it insists on logging in"
            answer = socks5.method_reply(socks5.NO_ACCEPTABLE)
            await admission.farewell(session, client, denied(f"SOCKS5: {reason}"), answer)
            return
        await client.send(socks5.method_reply(wanted))
        credentials = None
        if connect.authenticate:
            credentials = await client.head(socks5.parse_userpass, 513)
            try:
                await admission.identify(session, connect, ask, credentials)
            except Refusal as refusal:
                await admission.farewell(session, client, refusal, socks5.userpass_reply(False))
                return
            if session.learn().user is UNKNOWN:
                await admission.farewell(session, client, denied(admission.WRONG), socks5.userpass_reply(False))
                return
            await client.send(socks5.userpass_reply(True))
        request = await client.head(socks5.parse_request, 262)
    except BadSocks as bad:
        await admission.farewell(session, client, denied(bad.reason), bad.answer)
        return
    except TimeUp:  # SOCKS has no words for it
        session.end("cR", "timeout", f"client: no complete SOCKS5 request within {connect.head_timeout:g} s")
        return
    session.deadline = inf
    ask.host, ask.port = request.host, request.port
    try:
        way = await admission.admit(session, connect, ask, None)
        fd = await target.reach(session, connect, ask, way)
    except Refusal as refusal:
        await admission.farewell(session, client, refusal, socks5.reply(refusal.socks))
        return
    await _through(session, connect, client, fd, way, socks5.reply(socks5.SUCCEEDED))


async def _through(session: Session, connect: Connect, client: ClientStream, fd: int, way: Way, answer: bytes) -> None:
    """The target is connected: say so, and carry."""
    session.deadline = session.worker.loop.now + (connect.connect_timeout or inf)
    server = Stream(session, fd, session.server_mask, "server")
    try:
        await client.send(answer)
    except BaseException:
        session.worker.loop.close(fd)
        raise
    session.deadline = inf
    session.server_mask = server.mask
    if way.tls != "splice" or connect.match_sni:
        await bump.look(session, connect, client, fd, way)  # which closes it
    else:
        session.carry(fd, session.silence(connect.tunnel_timeout, connect.server_timeout))
