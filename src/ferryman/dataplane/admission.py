"""What every request to the explicit proxy goes through: read its head, find out who asks and whether it may, refuse.

Used by explicit (CONNECT, SOCKS5), forward (plain HTTP) and bump (TLS inside a tunnel). Nothing is connected here. A
refusal is given in HTTP and recorded once, with its reason; credentials are dropped once they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import target
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.questions import Unanswered
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal, denied
from ferryman.dataplane.stream import LONGEST, ClientStream, Gone, TimeUp
from ferryman.plan import Connect
from ferryman.rules import access
from ferryman.rules.access import Kind
from ferryman.rules.facts import UNKNOWN
from ferryman.wire import basic, http1, http1forward
from ferryman.wire.http1 import BadHead, Request

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


WRONG: Final = "wrong user or password"
_LONGEST_USER: Final = 255  # characters of a name that nobody vouches for, in the log

# heads


def longest(connect: Connect) -> int:
    """Bytes that a head may have."""
    return min(connect.max_head, LONGEST)


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


async def following(session: Session, connect: Connect, client: ClientStream, patience: float) -> Request | None:
    """The next request on a connection; None: there is none, and the connection is closed.

    The client may be silent for `patience` seconds, but once it has begun only as long as with its first request.
    A worker that drains sets the deadline to now. Raises Gone, TimeUp and BadHead.
    """
    session.deadline = session.worker.loop.now + (0.0 if session.worker.draining else patience)
    try:
        await client.first()
    except Gone as gone:
        session.end("--", gone.how, "" if gone.how == "fin" else gone.reason)
        return None
    except TimeUp:
        await client.farewell(b"")  # a request that crosses this is not answered by RST
        session.end("--", "timeout", "client: no further request")
        return None
    session.asked()
    session.deadline = session.worker.loop.now + (connect.head_timeout or inf)
    request = await client.head(lambda data: parse(data, connect), longest(connect))
    session.deadline = inf
    return request


def allowed_methods(connect: Connect) -> str:
    """The methods for a 405 (RFC 9110 section 15.5.6 wants them)."""
    methods = ["CONNECT"] if "connect" in connect.protocols else []
    if "http" in connect.protocols:
        methods += ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return ", ".join(methods)


# judging


@dataclass(slots=True)
class Way:
    """What was found to be allowed: where to, and what becomes of TLS on the way."""

    resolved: target.Resolved
    tls: access.TlsAction
    authorization: str = ""  # the client's own, for upstream proxies that want it
    via: str = ""  # the hops so far, for upstream proxies


async def admit(session: Session, connect: Connect, ask: Ask, request: Request | None) -> Way:
    """Who is it, may it go there, and by which way? `request`: None in SOCKS5, where all that is known is known.

    Raises Refusal, with `again` where credentials would help.
    """
    method = authorization = None
    wrong = WRONG
    via = f"1.1 {session.worker.name}"
    if request is not None:
        method, authorization = request.method, request.get("proxy-authorization")
        via = http1forward.via(request, session.worker.name)
    facts = session.learn()
    session.record.ask = ask
    ask.method = method or ""
    if session.worker.draining:
        raise Refusal(
            "proxy_internal_response",
            "this proxy is about to stop: nothing new is begun",
            code="K-",
            how="shutdown",
            headers=[("Retry-After", "5")],
        )
    facts.protocol, facts.target_host, facts.target_port = ask.protocol, ask.host, ask.port
    facts.target_addresses = UNKNOWN
    facts.server_names = UNKNOWN
    facts.time = time()  # of this request, which may be a late one of its connection
    if request is not None and http1forward.has_passed(request, session.worker.name):
        reason = "this request has been here before: its way through other proxies leads back"
        raise Refusal("proxy_loop_detected", reason, code="PR")
    if method is not None:
        facts.method = method
        if connect.authenticate:
            facts.user = UNKNOWN
            credentials = basic.basic_credentials(authorization) if authorization else None
            if credentials is not None:
                await identify(session, connect, ask, credentials)
            elif authorization:
                wrong = basic.fault(authorization)
    resolved = target.Resolved(ask.host, ask.port)
    verdict = access.access(connect.access, facts)
    if verdict.kind is Kind.RESOLVE:
        await target.resolve(session, connect, resolved)
        verdict = target.judge(connect, facts, resolved)
    session.record.route = verdict.where or "default"
    if verdict.kind is Kind.CHALLENGE:
        reason = wrong if authorization and facts.user is UNKNOWN else _outspoken(verdict)
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
    return Way(resolved, action, authorization or "", via)


def _outspoken(verdict: access.Verdict | access.TlsVerdict) -> str:
    """The reason as a client may know it: the rule's file and line, but not in which folder."""
    return verdict.reason.replace(verdict.where, verdict.where.rpartition("/")[2])


async def identify(session: Session, connect: Connect, ask: Ask, credentials: tuple[str, str]) -> None:
    """Let `user` be a fact if the password is right; else it stays unknown. Raises Refusal if nobody can tell."""
    facts = session.learn()
    facts.user = UNKNOWN
    user, password = credentials
    ask.user_claimed = user[:_LONGEST_USER]
    try:
        if await session.worker.questions.verify(session, user, password):
            facts.user = ask.user = user.lower() if connect.ignore_case else user
            ask.user_claimed = ""
    except Unanswered as unanswered:
        status = 429 if unanswered.error == "busy" else 503
        raise Refusal(
            "connection_limit_reached",
            f"credentials cannot be checked now: {unanswered.text}",
            status=status,
            code="PR",
            headers=[("Retry-After", "5")],
        ) from None


# refusing


async def answer(session: Session, client: ClientStream, refusal: Refusal, request: Request) -> bool:
    """Refuse a request. True: for want of credentials; many clients give them on the same connection, so it stays.

    Then the refused request has its line, and what follows is another one.
    """
    refusal.again = refusal.again and not request.body and not http1forward.wants_close(request)
    head_only = request.method == "HEAD"
    if not refusal.again:
        await dismiss(session, client, refusal, head_only)
        return False
    message = refusal.reply(head_only)
    session.record.bytes_out += len(message)
    session.generation.listener_count(session.listener, Cell.DENIED_CONTENT)
    _note(session, refusal)
    try:
        await client.send(message)
    except Gone as gone:  # it stays true why it was refused
        session.end(refusal.code, gone.how, refusal.reason)
        return False
    session.answered(refusal.code, refusal.how, refusal.reason)
    return True


async def dismiss(session: Session, client: ClientStream, refusal: Refusal, head_only: bool = False) -> None:
    """Refuse in HTTP and close."""
    _note(session, refusal)
    await farewell(session, client, refusal, refusal.reply(head_only))


async def farewell(session: Session, client: ClientStream, refusal: Refusal, answer: bytes) -> None:
    """Say the last word, in whatever protocol, and close."""
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


def _note(session: Session, refusal: Refusal) -> None:
    """What the client was told, for the log."""
    ask = session.record.ask
    if ask is not None:
        ask.error, ask.status = refusal.error, refusal.status
