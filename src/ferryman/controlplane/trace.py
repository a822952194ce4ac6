"""What would become of a connection: the story of dataplane.session and dial, told from a plan without any socket.

Used by `ferryman explain`. Asks the same lists in the same order, and the same balancer; servers count as up unless
said otherwise, and as having no connections.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from ferryman.controlplane.trace_connect import Explicit, Wish, follow
from ferryman.dataplane.balance import Balancer
from ferryman.plan import Address, Backend, Connect, Destination, Listener, Plan, Server
from ferryman.rules import decision, explain
from ferryman.rules.condition import describe
from ferryman.rules.decision import Kind, Verdict
from ferryman.rules.explain import Step
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts
from ferryman.wire import clienthello
from ferryman.wire.authority import format_authority
from ferryman.wire.clienthello import ClientHello, Outcome

_ANY = ("0.0.0.0", "::")
_STEADY = ("source", "first")
"""Algorithms whose choice depends on nothing but the client and which servers are up."""


class AmbiguousError(ValueError):
    """Several listeners would do, depending on the address that the client connects to."""


class MisplacedError(ValueError):
    """A target for a listener that takes none, or none for one that needs it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection someone might make. `address` "": any; the path of a Unix socket goes there, too."""

    client_host: str
    client_port: int
    port: int
    address: str = ""
    first_bytes: bytes | None = None  # what the client sends first; None: something that is not TLS
    wish: Wish | None = None  # what it asks an explicit proxy for; it sends its first bytes after that


@dataclass(slots=True)
class Trace:
    """What becomes of it, as far as it gets. `refused`: why it goes no further, "" if it does not fail."""

    attempt: Attempt
    listener: Listener | None = None
    local: Address | None = None  # what the listener is bound to
    hello: ClientHello | None = None
    connection: tuple[Step, ...] = ()
    inspect: tuple[Step, ...] = ()
    waited: float | None = None  # seconds it would wait for more of the client's first bytes before it decides
    routes: tuple[Step, ...] = ()
    backend: Backend | None = None
    server_rules: list[Step] = field(default_factory=list)
    server: Server | None = None
    candidates: tuple[Server, ...] = ()  # servers of the backend that take connections
    destination: str = ""  # HOST:PORT that the connection itself names, for a backend that has no servers
    takes_turns: bool = False  # the next connection may get another of `candidates`
    explicit: Explicit | None = None  # what an explicit proxy makes of it
    refused: str = ""

    @property
    def pages(self) -> bool:
        """ferryman itself answers, with its stats page."""
        return self.listener is not None and self.listener.mode == "pages"

    def target_of(self, server: Server) -> str:
        """Where the connection to a server goes."""
        address = server.address
        if not address.from_client:
            return str(address)
        return str(Address(address.family, address.host, self.attempt.port + address.port))


def trace(plan: Plan, attempt: Attempt, down: Collection[tuple[str, str]] = ()) -> Trace:
    """Follow a connection through a plan. `down`: (backend, server) of those that are not up.

    Raises AmbiguousError and MisplacedError.
    """
    told = Trace(attempt)
    found = _listener_at(plan, attempt)
    if found is None:
        told.refused = f"nothing listens on {_place(attempt)}"
        return told
    told.listener, told.local = listener, local = found
    if told.pages:
        return told
    if (attempt.wish is None) is not (listener.connect is None):
        raise MisplacedError(
            f"the clients of listener {listener.name} say where they want to go"
            if attempt.wish is None
            else f"the clients of listener {listener.name} do not say where they want to go"
        )
    balancers = {backend.name: _balancer(backend, down) for backend in plan.backends}
    facts = Facts(
        client_address=attempt.client_host,
        client_port=attempt.client_port,
        local_address=attempt.address or local.host,
        local_port=attempt.port,
        listener=listener.name,
        time=time.time(),
        captures=[None] * listener.capture_slots,
        usable_servers={name: balancer.usable for name, balancer in balancers.items()},
    )
    if listener.connect is not None and attempt.wish is not None:
        _explicitly(told, listener, listener.connect, attempt.wish, facts)
        return told
    backend = _backend_for(told, listener, facts, {backend.name: backend for backend in plan.backends})
    if backend is not None and backend.destination is not None:
        _name(told, backend, backend.destination, facts)
    elif backend is not None:
        _choose(told, backend, balancers[backend.name], facts)
    return told


def _backend_for(told: Trace, listener: Listener, facts: Facts, backends: dict[str, Backend]) -> Backend | None:
    """The rules of the listener, in the order of session.journey."""
    told.connection = explain.rules(listener.connection, facts)
    verdict = decision.connection(listener.connection, facts)
    if verdict.kind is Kind.ACCEPT:
        _look(told, listener, facts)
        verdict = _judge(told, listener, facts, backends)
        if verdict.kind is Kind.WAIT:
            told.waited = listener.inspect_timeout
            facts.final = True
            verdict = _judge(told, listener, facts, backends)
    if verdict.kind is Kind.ROUTE and verdict.backend in backends:
        told.backend = backends[verdict.backend]
        return told.backend
    told.refused = verdict.reason or f"there is no backend {verdict.backend}"
    return None


def _explicitly(told: Trace, listener: Listener, connect: Connect, wish: Wish, facts: Facts) -> None:
    """An explicit proxy's decisions, after the rules at the door."""
    told.connection = explain.rules(listener.connection, facts)
    verdict = decision.connection(listener.connection, facts)
    if verdict.kind is not Kind.ACCEPT:
        told.refused = verdict.reason
        return
    answer = clienthello.parse(told.attempt.first_bytes or b"")
    told.hello = answer if isinstance(answer, ClientHello) else None
    told.explicit = follow(connect, wish, facts, told.hello)
    told.refused = told.explicit.refused


def _look(told: Trace, listener: Listener, facts: Facts) -> None:
    """What the rules get to see of the client's first bytes."""
    if not listener.needs_hello or listener.inspect_timeout is None:
        facts.final = True
        return
    if told.attempt.first_bytes is None:
        facts.hello = ABSENT
        return
    facts.data = told.attempt.first_bytes
    answer = clienthello.parse(facts.data)
    if isinstance(answer, ClientHello):
        facts.hello = told.hello = answer
    else:
        facts.hello = UNKNOWN if answer is Outcome.NEED_MORE else ABSENT


def _judge(told: Trace, listener: Listener, facts: Facts, backends: dict[str, Backend]) -> Verdict:
    told.inspect = explain.rules(listener.inspect, facts)
    told.routes = ()
    verdict = decision.inspect(listener.inspect, facts)
    if verdict.kind is Kind.ACCEPT:
        told.routes = explain.routes(listener.routes, listener.default_backend, facts, backends)
        verdict = decision.route(listener.routes, listener.default_backend, facts, backends)
    return verdict


def _choose(told: Trace, backend: Backend, balancer: Balancer, facts: Facts) -> None:
    """The server, in the way of dial.reach at its first try."""
    told.candidates = tuple(server for server in backend.servers if balancer.takes(server.id))
    for rule in backend.server_rules:
        holds = rule.condition is None or rule.condition.state(facts) is True
        text = f"use server {rule.backend}" + (f" if {describe(rule.condition)}" if rule.condition else "")
        why = explain.why(rule.condition, facts) if rule.condition else "it has no condition"
        server = next((server for server in told.candidates if server.name == rule.backend), None)
        if holds and server is None:
            why += f"; but {rule.backend} takes no connections"
        told.server_rules.append(Step(rule.where, text, "held" if holds else "did not hold", why))
        if holds and server is not None:
            told.server = server
            return
    told.server = balancer.pick(facts.client_address, lambda server_id: 0)
    told.takes_turns = len(told.candidates) > 1 and backend.algorithm not in _STEADY
    if told.server is None:
        told.refused = f"backend {backend.name} has no server available"


def _name(told: Trace, backend: Backend, destination: Destination, facts: Facts) -> None:
    """Where the connection itself leads, in the way of destination.reach up to where a name would be resolved."""
    found = destination.template.evaluate(facts)
    if isinstance(found, str):
        told.refused = found
    elif destination.names is not None and not destination.names.matches(found[0]):
        told.refused = f"{found[0]} is none of the names that backend {backend.name} leads to"
    else:
        told.destination = format_authority(*found)


def _balancer(backend: Backend, down: Collection[tuple[str, str]]) -> Balancer:
    balancer = Balancer(backend)
    balancer.update(
        {
            server.id: server.weight
            for server in backend.servers
            if not server.disabled and (backend.name, server.name) not in down
        }
    )
    return balancer


def _listener_at(plan: Plan, attempt: Attempt) -> tuple[Listener, Address] | None:
    """The listener that gets it. The kernel prefers an exact address to "any"."""
    found = [
        (listener, address)
        for listener in plan.listeners
        for address in listener.bind
        if _takes(address, attempt)
    ]  # fmt: skip
    exact = [(listener, address) for listener, address in found if address.host not in _ANY]
    best = exact if exact and attempt.address else found
    if len({listener.name for listener, _ in best}) > 1:
        places = ", ".join(f"{address} ({listener.name})" for listener, address in best)
        raise AmbiguousError(f"several listeners are at port {attempt.port}: {places}")
    return best[0] if best else None


def _takes(address: Address, attempt: Attempt) -> bool:
    if address.family in ("unix", "abstract"):
        return attempt.address == address.host
    if not address.port <= attempt.port <= max(address.port, address.last_port):
        return False
    client, wanted = _parsed(attempt.client_host), _parsed(attempt.address)
    bound = ipaddress.ip_address(address.host)
    if wanted is not None:
        if bound == wanted:
            return True
        same = bound.version == wanted.version or (bound.version == 6 and not address.v6only)
        return bound.is_unspecified and same
    if client is None or bound.version == client.version:
        return True
    return bound.is_unspecified and bound.version == 6 and not address.v6only


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _place(attempt: Attempt) -> str:
    if not attempt.address:
        return f"port {attempt.port}"
    return str(Address("inet6" if ":" in attempt.address else "inet", attempt.address, attempt.port))
