"""From the name of a target to a connection: resolved once, judged by address, reached directly or through others.

Used by explicit and forward. The addresses that the rules saw and the guard let pass are those that are connected to;
nothing is looked up twice, so a name cannot be one thing when it is judged and another when it is used. Where the way
leads through an upstream proxy, the name goes there as it is and is resolved there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ferryman.dataplane import chain
from ferryman.dataplane.connect import Failure, connect_to
from ferryman.dataplane.generation import Target
from ferryman.dataplane.questions import Unresolved
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal, refused
from ferryman.plan import Chain, Connect
from ferryman.rules import access, egress
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts
from ferryman.wire.authority import format_authority

if TYPE_CHECKING:
    from ferryman.dataplane.admission import Way
    from ferryman.dataplane.session import Session

T = TypeVar("T")


class Resolved:
    """A target on its way from name to connection."""

    __slots__ = ("addresses", "chains", "failure", "host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.addresses: tuple[Target, ...] | None = None  # None: not looked up, or there are none
        self.failure = ("", "", "")  # why there are none: error, reason and code of a Refusal
        self.chains: Sequence[Chain] = ((),)


async def resolve(session: Session, connect: Connect, resolved: Resolved) -> None:
    """Look the name up, unless that was done.

    What does not resolve has no address that a rule could be about, as in Squid: a proxy that only reaches out through
    another one may know no names at all. It is a failure where a connection is to be made from here.
    """
    if resolved.addresses is not None or resolved.failure[0]:
        return
    try:
        resolved.addresses = tuple(await session.worker.questions.resolve(session, resolved.host))
    except Unresolved as failure:
        code = "sC" if failure.error == "dns_timeout" else "SC"
        resolved.failure = failure.error, f"{resolved.host}: {failure.text}", code
        session.learn().target_addresses = ABSENT
    else:
        session.learn().target_addresses = tuple(host for _, host in resolved.addresses)


def judge(connect: Connect, facts: Facts, resolved: Resolved) -> access.Verdict:
    """What the access rules say once the addresses are known. Those they would not allow alone are left out."""
    verdict = access.access(connect.access, facts)
    found = resolved.addresses
    if verdict.kind is not access.Kind.ALLOW or found is None or len(found) < 2:
        return verdict
    allowed = []
    for entry in found:
        facts.target_addresses = (entry[1],)
        alone = access.access(connect.access, facts)
        if alone.kind is access.Kind.ALLOW:
            allowed.append(entry)
        else:
            verdict = alone if not allowed else verdict
    resolved.addresses = tuple(allowed) or None
    facts.target_addresses = tuple(host for _, host in allowed)
    return access.access(connect.access, facts) if allowed else verdict


async def choose(session: Session, connect: Connect, resolved: Resolved) -> None:
    """Which ways there are, and, where one is direct, whether the guard lets it be. Raises Refusal."""
    through = access.via(connect.via, session.learn())
    if through is UNKNOWN:
        await resolve(session, connect, resolved)
        through = access.via(connect.via, session.learn())
    if through is not None and through is not UNKNOWN:
        resolved.chains = through.chains_for(resolved.host, resolved.port)
    if () in resolved.chains:
        await resolve(session, connect, resolved)
        error, reason, code = resolved.failure
        if error:
            resolved.chains = tuple(hops for hops in resolved.chains if hops)
            if not resolved.chains:
                raise Refusal(error, reason, code=code)
    if connect.egress_guard:
        _guard(session, connect, resolved)


def _guard(session: Session, connect: Connect, resolved: Resolved) -> None:
    """Leave out the addresses that nobody should be carried to. Raises Refusal if none is left."""
    host, port = resolved.host, resolved.port
    if connect.egress_names is not None and connect.egress_names.matches(host):
        return
    if resolved.addresses is None:
        # an upstream proxy will resolve it: only what is written out can be judged
        reason, address = egress.prohibited_name(host)
        if connect.egress_networks.hold(address):
            reason = ""
    else:
        reason = ""
        kept = []
        for entry in resolved.addresses:
            if found := _against(session, connect, entry, port):
                reason = reason or found
            else:
                kept.append(entry)
        if kept:
            resolved.addresses = tuple(kept)
            return
    if reason:
        text = f"{format_authority(host, port)} is not reached from here: {reason} (egress guard; see egress_allow)"
        raise Refusal("destination_ip_prohibited", text, code="PR", how="policy")


def refuse_own(session: Session, resolved: Resolved) -> None:
    """What leads straight back to one of this program's listeners would come in there again, and again.

    Raises Refusal if nothing else is left. For destinations that need no request of the client's own.
    """
    if resolved.addresses is None:
        return
    port = resolved.port
    kept = [entry for entry in resolved.addresses if not session.generation.own.hold(*entry, port)]
    if not kept:
        text = f"{format_authority(resolved.host, port)} is one of this proxy's own listeners"
        raise Refusal("destination_ip_prohibited", text, code="PR", how="policy")
    resolved.addresses = tuple(kept)


def _against(session: Session, connect: Connect, entry: Target, port: int) -> str:
    """What the guard has against this address; a network that is let through does not mean the listeners in it."""
    allowed, host = connect.egress_networks, entry[1]
    if session.generation.own.hold(*entry, port) and not allowed.lists(host):
        return "a listener of this proxy"
    reason = egress.prohibited(host)
    return "" if reason and allowed.hold(host) else reason


async def reach(session: Session, connect: Connect, ask: Ask, way: Way) -> int:
    """A connection to the target, by the first way that works; the loop watches it. Raises Refusal."""
    return await by_first_way(session, way.resolved.chains, partial(reach_by, session, connect, ask, way))


async def by_first_way(session: Session, chains: Sequence[Chain], attempt: Callable[[Chain], Awaitable[T]]) -> T:
    """What `attempt` gives for the first of these ways that works. Raises Refusal, the last one's.

    Where an upstream proxy has judged the client or its request, the others are not asked for another opinion.
    """
    *others, last = chains
    for hops in others:
        try:
            return await attempt(hops)
        except Refusal as failed:
            if 400 <= failed.received < 500:
                raise
        session.record.retries += 1
    return await attempt(last)


async def reach_by(session: Session, connect: Connect, ask: Ask, way: Way, hops: Chain) -> int:
    """A connection to the target by this way. Raises Refusal."""
    resolved = way.resolved
    ask.via = " ".join(map(str, hops))
    if hops:
        return await chain.reach(session, hops, resolved.host, resolved.port, connect.connect_timeout, way)
    return await _directly(session, connect, resolved)


async def _directly(session: Session, connect: Connect, resolved: Resolved) -> int:
    assert resolved.addresses is not None
    name = format_authority(resolved.host, resolved.port)
    try:
        return await connect_to(
            session,
            name,
            resolved.addresses,
            resolved.port,
            connect.connect_timeout,
            session.listener.keepalive,
            connect.source,
        )
    except Failure as failure:
        raise refused(failure) from None
