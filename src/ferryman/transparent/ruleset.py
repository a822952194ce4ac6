"""A setup as text: the rules for nft(8), the routing rules and routes for ip(8). Pure.

Called by kernel and by cli.transparent. The order of the rules is the explanation:

    what is for this machine itself is left alone
    packets of connections that ferryman has already, and servers' answers to its clients' addresses, are delivered here
    what is not to be intercepted goes its way
    the first packets of new connections go to the listener (TPROXY: kernel documentation, networking/tproxy.rst)

Each rule's comment ends in a digest of its text, by which `kernel` recognises it again: what nft prints differs from
what it was given, and from version to version. Routing rules and routes are recognised by a protocol number of our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.transparent.setup import Catch, Ports, Setup

TABLE: Final = "inet ferryman"
PROTOCOL: Final = 102
"""Of routing rules and routes (rt_protos): says that they are ours."""

_HOOKS: Final = {
    "deliver": "type filter hook prerouting priority mangle; policy accept;",
    "rewrite": "type nat hook prerouting priority dstnat; policy accept;",
}
_OURS: Final = "fib daddr type { local, broadcast, anycast, multicast }"
_FAMILIES: Final = {"ipv4": "ip", "ipv6": "ip6"}


@dataclass(frozen=True, slots=True)
class Rule:
    """`text` without its comment."""

    chain: str
    text: str
    what: str

    @property
    def comment(self) -> str:
        return f"{self.what} #{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        return f'{self.text} comment "{self.comment}"'


@dataclass(frozen=True, slots=True)
class Routing:
    """What leads marked packets to this machine, in one family: a rule and the route in its table."""

    family: str  # "4" or "6"
    rule: str
    route: str


def rules(setup: Setup) -> list[Rule]:
    """In their order, chain by chain."""
    found: list[Rule] = []
    tproxy = [catch for catch in setup.catches if catch.method == "tproxy"]
    if setup.local_delivery:
        found.append(_leave("deliver"))
        known = f"meta l4proto tcp socket wildcard 0 socket transparent 1 counter meta mark set {setup.mark:#x} accept"
        found.append(Rule("deliver", known, "connections that ferryman has"))
        found += _chain("deliver", tproxy, setup)
    if redirect := [catch for catch in setup.catches if catch.method == "redirect"]:
        found += [_leave("rewrite"), *_chain("rewrite", redirect, setup)]
    return found


def routings(setup: Setup) -> list[Routing]:
    """For the families in which something is delivered here; answers to clients may come in either."""
    tproxy = [catch for catch in setup.catches if catch.method == "tproxy"]
    four = setup.answers or any(catch.ipv4 for catch in tproxy)
    six = setup.answers or any(catch.ipv6 for catch in tproxy)
    rule = f"priority {setup.priority} fwmark {setup.mark:#x} lookup {setup.table} protocol {PROTOCOL}"
    route = f"local default dev lo table {setup.table} protocol {PROTOCOL}"
    return [Routing(family, rule, route) for family, wanted in (("4", four), ("6", six)) if wanted]


def script(setup: Setup) -> str:
    """For `nft -f`, which takes it as one transaction: our table, whatever was in it before, as it should be."""
    lines = [f"table {TABLE} {{", "}", f"delete table {TABLE}", f"table {TABLE} {{"]
    wanted = rules(setup)
    for chain in dict.fromkeys(rule.chain for rule in wanted):
        lines += [f"\tchain {chain} {{", f"\t\t{_HOOKS[chain]}"]
        lines += [f"\t\t{rule}" for rule in wanted if rule.chain == chain]
        lines.append("\t}")
    return "\n".join([*lines, "}", ""])


def commands(setup: Setup) -> str:
    """All of it for a shell, to be read or to be run."""
    added = [f"ip -{each.family} {kind} add {text}" for each in routings(setup)
             for kind, text in (("rule", each.rule), ("route", each.route))]  # fmt: skip
    return "\n".join([*added, "nft -f - <<'END'", script(setup) + "END", ""])


def _leave(chain: str) -> Rule:
    return Rule(chain, f"{_OURS} return", "for this machine itself")


def _chain(chain: str, catches: list[Catch], setup: Setup) -> Iterator[Rule]:
    if not catches:
        return
    if setup.interfaces:
        names = ", ".join(f'"{name}"' for name in setup.interfaces)
        yield Rule(chain, f"iifname != {{ {names} }} return", "from elsewhere")
    else:
        yield Rule(chain, 'iifname "lo" return', "from this machine")
    for family, keyword in _FAMILIES.items():
        if spared := _networks(setup.spared, family):
            yield Rule(chain, f"{keyword} daddr {spared} return", f"spared, {family}")
    for catch in catches:
        for family in _FAMILIES:
            if (rule := _caught(chain, catch, family, setup)) is not None:
                yield rule


def _caught(chain: str, catch: Catch, family: str, setup: Setup) -> Rule | None:
    place = catch.ipv4 if family == "ipv4" else catch.ipv6
    if place is None:
        return None
    keyword = _FAMILIES[family]
    parts = [f"meta nfproto {family}"]
    for side, networks in (("saddr", setup.clients), ("daddr", setup.servers)):
        if networks:
            if not (own := _networks(networks, family)):
                return None
            parts.append(f"{keyword} {side} {own}")
    parts.append(f"tcp dport {{ {ports(catch.ports)} }} counter")
    host, port = place
    if catch.method == "tproxy":
        shown = f"[{host}]" if ":" in host else host
        parts.append(f"tproxy {keyword} to {shown}:{port} meta mark set {setup.mark:#x} accept")
    else:
        parts.append(f"redirect to :{port}")
    return Rule(chain, " ".join(parts), f"{catch.method} {family} to {catch.name}")


def ports(found: Ports) -> str:
    """ "80, 443, 8000-8010"."""
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in found)


def _networks(networks: tuple[str, ...], family: str) -> str:
    own = [network for network in networks if (":" in network) == (family == "ipv6")]
    return f"{{ {', '.join(own)} }}" if own else ""
