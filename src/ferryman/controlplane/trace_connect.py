"""What an explicit proxy would make of a client's wish: dataplane.explicit, target and bump without sockets.

Used by trace. Nothing is resolved and no server is asked: what they would say has to be given.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from ferryman.plan import Connect, Through
from ferryman.rules import access, egress, explain
from ferryman.rules.access import Kind
from ferryman.rules.explain import Step
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts, Hello


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for. `method`: "" in SOCKS5."""

    host: str
    port: int
    user: str = ""  # whose credentials it gives, and they are right
    method: str = "CONNECT"
    addresses: tuple[str, ...] = ()  # what its host resolves to; empty: not known
    certificate: tuple[str, ...] = ()  # names in the server's certificate; empty: not known

    @property
    def protocol(self) -> str:
        return "socks5" if not self.method else "connect" if self.method == "CONNECT" else "http"


@dataclass(slots=True)
class Explicit:
    """What becomes of it, as far as it gets. `refused`: why it goes no further, "" if it does not fail."""

    access: tuple[Step, ...] = ()
    via: tuple[Step, ...] = ()
    depends: str = ""  # on what was not given; the rest is as if no rule were about it
    ways: Through | None = None
    guard: str = ""  # what the egress guard has against it, or for it
    tls: list[tuple[Step, ...]] = field(default_factory=list)  # for each step that is come to
    action: str = ""  # what becomes of TLS in the end; "": there are no rules about it
    status: int = 200
    refused: str = ""


def follow(connect: Connect, wish: Wish, facts: Facts, hello: Hello | None) -> Explicit:
    """The decisions in the order of explicit.admit and bump."""
    told = Explicit()
    if wish.protocol not in connect.protocols:
        told.status, told.refused = 405, f"{wish.protocol} is not taken here; it takes {', '.join(connect.protocols)}"
        return told
    _fill(facts, connect, wish)
    verdict = access.access(connect.access, facts)
    if verdict.kind is Kind.RESOLVE:
        _suppose(told, wish, facts, f"the rule at {verdict.where}")
        verdict = access.access(connect.access, facts)
    told.access = explain.access(connect.access, facts)
    if verdict.kind is not Kind.ALLOW:
        told.status = 407 if verdict.kind is Kind.CHALLENGE else 403
        told.refused = verdict.reason
        return told
    _choose(told, connect, wish, facts)
    if not told.refused and connect.tls and wish.protocol != "http":
        _look(told, connect, wish, facts, hello)
    return told


def _fill(facts: Facts, connect: Connect, wish: Wish) -> None:
    facts.protocol, facts.target_host, facts.target_port = wish.protocol, wish.host, wish.port
    if wish.method:
        facts.method = wish.method
    if connect.authenticate:
        user = wish.user.lower() if connect.ignore_case else wish.user
        facts.user = user if user in dict(connect.users) else UNKNOWN
    facts.target_addresses = wish.addresses or UNKNOWN
    facts.server_names = UNKNOWN
    try:
        facts.target_addresses = (str(ipaddress.ip_address(wish.host)),)
    except ValueError:
        return


def _suppose(told: Explicit, wish: Wish, facts: Facts, who: str) -> None:
    """That the target's name has no address that a rule is about."""
    told.depends = f"on the addresses of {wish.host}, which {who} looks at"
    facts.target_addresses = ABSENT


def _choose(told: Explicit, connect: Connect, wish: Wish, facts: Facts) -> None:
    """The ways out, and what the guard says of the direct one."""
    through = access.via(connect.via, facts)
    if through is UNKNOWN:
        _suppose(told, wish, facts, "a rule of `via`")
        through = access.via(connect.via, facts)
    told.via = explain.via(connect.via, facts)
    if isinstance(through, Through):
        told.ways = Through(through.chains_for(wish.host, wish.port))
    else:
        told.ways = Through(((),))
    if not connect.egress_guard:
        return
    if connect.egress_names is not None and connect.egress_names.matches(wish.host):
        told.guard = f"{wish.host} is let through by its name"
    elif () not in told.ways.chains:
        against, address = egress.prohibited_name(wish.host)
        told.guard = "" if connect.egress_networks.hold(address) else against
        told.refused = f"{wish.host} is {told.guard} (egress guard)" if told.guard else ""
    elif facts.target_addresses in (UNKNOWN, ABSENT):
        told.guard = f"depends on the addresses of {wish.host}"
    elif isinstance(facts.target_addresses, tuple):
        _guard(told, connect, wish, facts.target_addresses)
    if told.refused:
        told.status = 403


def _guard(told: Explicit, connect: Connect, wish: Wish, addresses: tuple[str, ...]) -> None:
    against = {
        address: found
        for address in addresses
        if (found := egress.prohibited(address)) and not connect.egress_networks.hold(address)
    }
    told.guard = ", ".join(f"{address} is {found}" for address, found in against.items())
    if len(against) == len(addresses):
        told.refused = f"{told.guard} (egress guard)"


def _look(told: Explicit, connect: Connect, wish: Wish, facts: Facts, hello: Hello | None) -> None:
    """The `tls` rules, step by step."""
    reason = ""
    for step in (1, 2, 3):
        before = told.action
        if step == 2 and hello is not None:
            facts.hello = hello
        elif step == 3:
            facts.server_names = wish.certificate or ABSENT
        facts.step = step
        told.tls.append(explain.tls(connect.tls, facts, step, before))
        told.action, _, reason = access.tls(connect.tls, facts, step, before)
        if hello is None or told.action not in ("peek", "stare"):
            break
    if told.action == "terminate":
        told.status, told.refused = 403 if len(told.tls) == 1 else 200, reason
    elif hello is None and told.action != "splice":
        told.action = connect.on_unknown_protocol
        told.refused = "" if told.action == "tunnel" else "it does not speak TLS"
