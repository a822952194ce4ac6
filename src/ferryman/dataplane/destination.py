"""Reaching what a connection names itself: by the name in its hello, or by the address it wanted to go to.

Called by dial for backends that have a destination instead of servers. What the client says is only a wish: the name
has to be one of those allowed, is resolved once, and the guard looks at the addresses that are connected to (target).
One try by each way; there is no other server to turn to.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from ferryman.dataplane import proxyhead, servertls, target
from ferryman.dataplane.admission import Way
from ferryman.dataplane.connect import Failure
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.record import Ask, How
from ferryman.dataplane.refusal import Refusal
from ferryman.dataplane.stream import ClientStream
from ferryman.plan import Address, Backend, Destination
from ferryman.rules.facts import ABSENT
from ferryman.wire import alert
from ferryman.wire.clienthello import ClientHello

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session


async def reach(session: Session, backend: Backend, destination: Destination) -> int | ssl.SSLSocket | None:
    """A connection to it, with TLS if that is to be spoken. None: there is none, and the session has ended."""
    try:
        return await _reach(session, backend, destination)
    except Refusal as refusal:
        code, how, reason = refusal.code, refusal.how, refusal.reason
    except Failure as failure:
        code, how, reason = failure.code, "timeout" if failure.code[0] == "s" else "error", str(failure)
    if how == "policy":
        session.generation.listener_count(session.listener, Cell.DENIED_CONTENT)
    else:
        session.generation.count(session.record, Cell.CONNECT_ERRORS)
    if how == "policy" and isinstance(session.learn().hello, ClientHello) and session.learn().tls is ABSENT:
        await ClientStream(session).farewell(alert.fatal(alert.ACCESS_DENIED))  # it speaks TLS: it is told in TLS
        session.end(code, how, reason)
    else:
        session.end(code, how, reason, reset=True)
    return None


async def _reach(session: Session, backend: Backend, destination: Destination) -> int | ssl.SSLSocket:
    facts, connect = session.learn(), destination.connect
    found = destination.template.evaluate(facts)
    if isinstance(found, str):
        raise _forbidden(found)
    host, port = facts.target_host, facts.target_port = found
    ask = session.record.ask = Ask("tcp", host, port)
    if destination.names is not None and not destination.names.matches(host):
        raise _forbidden(f"{host} is none of the names that backend {backend.name} leads to")
    resolved = target.Resolved(host, port)
    await target.choose(session, connect, resolved)
    target.refuse_own(session, resolved)
    fd = await target.reach(session, connect, ask, Way(resolved, "splice"))
    server = replace(destination.server, address=Address("name", host, port), name=f"{host}:{port}")
    if server.send_proxy is not None:
        proxyhead.announce(session, server, fd)
    return fd if server.tls is None else await servertls.secure(session, backend, server, fd)


def _forbidden(reason: str) -> Refusal:
    how: How = "policy"
    return Refusal("destination_ip_prohibited", reason, code="PR", how=how)
