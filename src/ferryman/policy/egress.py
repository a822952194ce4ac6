"""EgressNetworkPolicy (OpenShift SDN) and EgressFirewall (OVN-Kubernetes): may a namespace's pods leave the cluster?

Rules in order, the first that matches counts, what none matches may pass. Only what leaves the cluster is looked at.

Sources: OpenShift's documentation of both, and what the two implementations do: more than one EgressNetworkPolicy in a
namespace drops everything; of EgressFirewalls only the one named `default` counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferryman.policy.answer import Answer, Doubt, every, some
from ferryman.policy.networking import Connection, Outside, port_matches
from ferryman.policy.objects import Address, Cause, Cni, Firewall, FirewallRule, World
from ferryman.policy.selectors import selects

Addresses = Mapping[str, frozenset[Address]]
"""What is known of names: small letters, no dot at the end."""


@dataclass(frozen=True, slots=True)
class Passing:
    """What the egress firewall says. `at` is the rule that decides, `among` all that are asked."""

    answer: Answer
    reason: str
    causes: tuple[Cause, ...] = ()
    among: Firewall | None = None


def judge(world: World, namespace: str, connection: Connection, known: Addresses) -> Passing:
    """Whether the egress firewall of a namespace lets a connection leave the cluster."""
    if not isinstance(connection.destination, Outside):
        return Passing(True, "an egress firewall does not look at what stays in the cluster")
    sdn, ovn = in_force(world, namespace)
    if len(sdn) > 1:
        causes = tuple(Cause(each.manifest) for each in sdn)
        return Passing(
            False, "more than one EgressNetworkPolicy: everything that leaves the cluster is dropped", causes
        )
    passed = [first_match(world, each, connection, known) for each in (*sdn, *ovn)]
    if not passed:
        return Passing(True, "there is no egress firewall")
    if len(passed) > 1 and passed[0].answer != passed[1].answer:
        causes = tuple(cause for each in passed for cause in each.causes)
        doubt = Doubt("both kinds of egress firewall are there and do not agree: say which network plugin it is")
        return Passing(doubt, doubt.reason, causes)
    return passed[0]


def in_force(world: World, namespace: str) -> tuple[Sequence[Firewall], Sequence[Firewall]]:
    """The EgressNetworkPolicies and the EgressFirewalls that the network plugin obeys in a namespace."""
    sdn = world.egress_network_policies.get(namespace, ()) if world.cni in (None, Cni.SDN) else ()
    ovn = world.egress_firewalls.get(namespace, ()) if world.cni in (None, Cni.OVN) else ()
    return sdn, [each for each in ovn if each.manifest.name == "default"]


def first_match(world: World, firewall: Firewall, connection: Connection, known: Addresses) -> Passing:
    """What the rules say. Rules that may match count as much as they would change."""
    doubts: list[tuple[bool, Doubt, Cause]] = []
    final, reason = True, "no rule matches, so it may pass"
    causes: tuple[Cause, ...] = ()
    for rule in firewall.rules:
        answer = matches(world, rule, connection, known)
        cause = Cause(firewall.manifest, rule.path)
        if answer is True:
            final, reason, causes = rule.allows, f"the first rule that matches says {word(rule)}", (cause,)
            break
        if isinstance(answer, Doubt):
            doubts.append((rule.allows, answer, cause))
    for allows, doubt, cause in doubts:
        if allows != final:
            return Passing(doubt, doubt.reason, (cause,), firewall)
    return Passing(final, reason, causes, firewall)


def word(rule: FirewallRule) -> str:
    return "Allow" if rule.allows else "Deny"


def matches(world: World, rule: FirewallRule, connection: Connection, known: Addresses) -> Answer:
    """Whether a rule means this connection."""
    ports: Answer = some(port_matches(port, connection) for port in rule.ports) if rule.ports else True
    return False if ports is False else every((_to(world, rule, connection, known), ports))


def _to(world: World, rule: FirewallRule, connection: Connection, known: Addresses) -> Answer:
    end = connection.destination
    assert isinstance(end, Outside)
    if rule.dns is not None:
        return _by_name(rule.dns, end, known)
    if rule.nodes is not None:
        return _by_node(world, rule, end)
    assert rule.network is not None
    if end.address is None:
        return Doubt(f"the address of {end.name} is not known")
    return end.address in rule.network


def _by_name(dns: str, end: Outside, known: Addresses) -> Answer:
    name = end.name.rstrip(".").lower()
    first, _, rest = name.partition(".")
    if dns == name or (dns.startswith("*.") and first and rest == dns[2:]):
        return True
    if end.address is not None and any(end.address in known[each] for each in known if _means(dns, each)):
        return True
    if dns in known and end.address is not None:
        return False
    return Doubt(f"the addresses of {dns} are not known")


def _means(dns: str, name: str) -> bool:
    return dns == name or (dns.startswith("*.") and name.partition(".")[2] == dns[2:])


def _by_node(world: World, rule: FirewallRule, end: Outside) -> Answer:
    if world.nodes is None or end.address is None:
        return Doubt(f"whether {end} is a node of this cluster is not known")
    assert rule.nodes is not None
    return some(selects(rule.nodes, node.labels) for node in world.nodes if end.address in node.addresses)
