"""The journey of a client that names its target itself: CONNECT, SOCKS5, plain HTTP requests, all at one door.

`journey` is the story: a head is read, the client identified, its target judged, resolved and reached; the answer says
so, and from there on it is a tunnel like any other (or, where a `tls` rule wants to look inside, bump's). A refusal is
raised wherever it is met and answered here, in the client's protocol. Plain HTTP requests go on in forward.

The only bytes that this takes from the client are the head's; whatever follows stays in the kernel for the tunnel.
Credentials are never logged, and are dropped once they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import time
from typing import TYPE_CHECKING

from ferryman.dataplane import bump, forward, target
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.questions import Unanswered
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal, denied
from ferryman.dataplane.stream import LONGEST, ClientStream, Gone, Stream, TimeUp
from ferryman.plan import Connect
from ferryman.rules import access
from ferryman.rules.access import Kind
from ferryman.rules.facts import UNKNOWN
from ferryman.wire import basic, http1, http1forward, httpreply, socks5
from ferryman.wire.http1 import BadHead, Request
from ferryman.wire.socks5 import BadSocks

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


async def journey(session: Session, connect: Connect) -> None:
    """From the first byte to the tunnel, or to the refusal."""
    client = ClientStream(session)
    try:
        while True:  # a client that was asked for credentials sends its request once more
            session.deadline = session.worker.loop.now + (connect.head_timeout or inf)
            request = await client.head(lambda data: _socks_or_http(data, connect), longest(connect))
            session.deadline = inf
            if request is None:
                await _socks(session, connect, client)
                return
            if request.form == "absolute":
                request = await forward.serve(session, connect, client, request)
            if request is None or not await _connect(session, connect, client, request):
                return
    except BadHead as bad:
        allowed = [("Allow", _allowed(connect))] if bad.status == 405 else []
        refusal = Refusal("http_request_error", bad.reason, status=bad.status, code="PR", headers=allowed)
        await dismiss(session, client, refusal)
    except Gone as gone:
        if gone.stream.side == "client":
            session.end("CR" if gone.how == "fin" else "CD", gone.how, gone.reason)
        else:
            session.end("SD", gone.how, gone.reason, reset=True)
    except TimeUp:
        text = f"no complete request within {connect.head_timeout:g} s"
        refusal = Refusal("http_request_error", text, status=408, code="cR", how="timeout")
        await dismiss(session, client, refusal)


def longest(connect: Connect) -> int:
    """Bytes that a head may have."""
    return min(connect.max_head, LONGEST)


def _socks_or_http(data: bytes, connect: Connect) -> tuple[Request | None, int] | None:
    """A request's head; (None, 0): the client speaks SOCKS5. Raises BadHead."""
    if data[0] == socks5.VERSION and "socks5" in connect.protocols:
        return None, 0
    return parse(data, connect)


def parse(data: bytes, connect: Connect) -> tuple[Request, int] | None:
    """A request's head, for a proxy. Raises BadHead."""
    found = http1.parse_request(data, longest(connect))
    if found is not None:
        request = found[0]
        if request.form == "authority":
            if "connect" not in connect.protocols:
                raise BadHead(405, "CONNECT is not taken here")
        elif "http" not in connect.protocols:
            raise BadHead(405, "only CONNECT is taken here")
        elif request.form != "absolute":
            raise BadHead(400, "this is a proxy: the target must be a whole URI, or an authority after CONNECT")
    return found


def _allowed(connect: Connect) -> str:
    """The methods for a 405 (RFC 9110 section 15.5.6 wants them)."""
    methods = ["CONNECT"] if "connect" in connect.protocols else []
    if "http" in connect.protocols:
        methods += ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return ", ".join(methods)


async def _connect(session: Session, connect: Connect, client: ClientStream, request: Request) -> bool:
    """CONNECT. True: refused for want of credentials, and the client may try again."""
    ask = Ask("connect", request.host, request.port)
    try:
        way = await admit(session, connect, ask, "CONNECT", request.get("proxy-authorization"))
        fd = await target.reach(session, connect, ask, way)
    except Refusal as refusal:
        return await answer(session, client, refusal, request)
    await _through(session, connect, client, fd, way, httpreply.ESTABLISHED)
    return False


async def _socks(session: Session, connect: Connect, client: ClientStream) -> None:
    """SOCKS5 (RFC 1928), with user and password where there are users (RFC 1929)."""
    session.deadline = session.worker.loop.now + (connect.head_timeout or inf)
    try:
        methods = await client.head(socks5.parse_greeting, 257)
        wanted = socks5.USER_PASSWORD if connect.authenticate else socks5.NO_AUTHENTICATION
        if wanted not in methods:
            await client.farewell(socks5.method_reply(socks5.NO_ACCEPTABLE))
            session.end("PR", "policy", "SOCKS5: no method of authentication in common")
            return
        await client.send(socks5.method_reply(wanted))
        ask = Ask("socks5", "", 0)
        credentials = None
        if connect.authenticate:
            credentials = await client.head(socks5.parse_userpass, 513)
            try:
                await identify(session, connect, ask, credentials)
            except Refusal as refusal:
                await _farewell(session, client, refusal, socks5.userpass_reply(False))
                return
            if session.learn().user is UNKNOWN:
                await _farewell(session, client, denied("wrong user or password"), socks5.userpass_reply(False))
                return
            await client.send(socks5.userpass_reply(True))
        request = await client.head(socks5.parse_request, 262)
    except BadSocks as bad:
        await _farewell(session, client, denied(bad.reason), bad.answer)
        return
    except TimeUp:  # SOCKS has no words for it
        session.end("cR", "timeout", f"client: no complete SOCKS5 request within {connect.head_timeout:g} s")
        return
    session.deadline = inf
    ask.host, ask.port = request.host, request.port
    try:
        way = await admit(session, connect, ask, None, None)
        fd = await target.reach(session, connect, ask, way)
    except Refusal as refusal:
        await _farewell(session, client, refusal, socks5.reply(refusal.socks))
        return
    await _through(session, connect, client, fd, way, socks5.reply(socks5.SUCCEEDED))


# judging


@dataclass(slots=True)
class Way:
    """What was found to be allowed: where to, and what becomes of TLS on the way."""

    resolved: target.Resolved
    tls: access.TlsAction
    authorization: str = ""  # the client's own, for upstream proxies that want it


async def admit(session: Session, connect: Connect, ask: Ask, method: str | None, authorization: str | None) -> Way:
    """Who is it, may it go there, and by which way? Raises Refusal, with `again` where credentials would help."""
    facts = session.learn()
    session.record.ask = ask
    facts.protocol, facts.target_host, facts.target_port = ask.protocol, ask.host, ask.port
    facts.target_addresses = UNKNOWN
    facts.server_names = UNKNOWN
    facts.time = time()  # of this request, which may be a late one of its connection
    if method is not None:
        facts.method = method
        if connect.authenticate:
            facts.user = UNKNOWN
            credentials = basic.basic_credentials(authorization) if authorization else None
            if credentials is not None:
                await identify(session, connect, ask, credentials)
    resolved = target.Resolved(ask.host, ask.port)
    verdict = access.access(connect.access, facts)
    if verdict.kind is Kind.RESOLVE:
        await target.resolve(session, connect, resolved)
        verdict = target.judge(connect, facts, resolved)
    session.record.route = verdict.where or "default"
    if verdict.kind is Kind.CHALLENGE:
        reason = "wrong user or password" if authorization and facts.user is UNKNOWN else _outspoken(verdict)
        raise Refusal(
            "http_request_denied",
            reason,
            status=407,
            code="PR",
            how="policy",
            headers=[basic.challenge(connect.realm)],
            again=True,
        )
    if verdict.kind is not Kind.ALLOW:
        raise denied(_outspoken(verdict))
    await target.choose(session, connect, resolved)
    action: access.TlsAction = "splice"
    if connect.tls and ask.protocol != "http":
        step = access.tls(connect.tls, facts, 1)
        if step.action == "terminate":
            raise denied(_outspoken(step))
        action = step.action
    return Way(resolved, action, authorization or "")


def _outspoken(verdict: access.Verdict | access.TlsVerdict) -> str:
    """The reason as a client may know it: the rule's file and line, but not in which folder."""
    return verdict.reason.replace(verdict.where, verdict.where.rpartition("/")[2])


async def identify(session: Session, connect: Connect, ask: Ask, credentials: tuple[str, str]) -> None:
    """Let `user` be a fact if the password is right; else it stays unknown. Raises Refusal if nobody can tell."""
    facts = session.learn()
    facts.user = UNKNOWN
    user, password = credentials
    try:
        if await session.worker.questions.verify(session, user, password):
            facts.user = ask.user = user.lower() if connect.ignore_case else user
    except Unanswered as unanswered:
        status = 429 if unanswered.error == "busy" else 503
        raise Refusal(
            "connection_limit_reached",
            f"credentials cannot be checked now: {unanswered.text}",
            status=status,
            code="PR",
            headers=[("Retry-After", "5")],
        ) from None


# answering


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


async def answer(session: Session, client: ClientStream, refusal: Refusal, request: Request) -> bool:
    """Refuse a request. True: for want of credentials; many clients give them on the same connection, so it stays."""
    refusal.again = refusal.again and not request.body and not http1forward.wants_close(request)
    head_only = request.method == "HEAD"
    if not refusal.again:
        await dismiss(session, client, refusal, head_only)
        return False
    message = refusal.reply(head_only)
    session.record.bytes_out += len(message)
    session.generation.listener_count(session.listener, Cell.DENIED_CONTENT)
    if session.record.ask is not None:
        session.record.ask.error = refusal.error
    await client.send(message)
    return True


async def dismiss(session: Session, client: ClientStream, refusal: Refusal, head_only: bool = False) -> None:
    """Refuse in HTTP and close."""
    await _farewell(session, client, refusal, refusal.reply(head_only))


async def _farewell(session: Session, client: ClientStream, refusal: Refusal, answer: bytes) -> None:
    record = session.record
    if refusal.code == "PR":
        session.generation.listener_count(session.listener, Cell.DENIED_CONTENT)
    else:
        session.generation.listener_count(session.listener, Cell.CONNECT_ERRORS)
    if record.ask is not None:
        record.ask.error = refusal.error
    record.bytes_out += len(answer)
    await client.farewell(answer)
    session.end(refusal.code, refusal.how, refusal.reason)
