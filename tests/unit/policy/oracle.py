"""A second evaluator, slow and plain: it writes out everything that is allowed, and looks whether something is in it.

Works on manifests as plain data, and on a small universe of pods, addresses and ports. Shares nothing with the first.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from itertools import product
from typing import Any

Data = dict[str, Any]
PROTOCOLS = ("TCP", "UDP")


@dataclass(frozen=True)
class Being:
    """Somebody in the universe: a pod (namespace, labels) or an address outside."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""


@dataclass(frozen=True)
class Universe:
    beings: tuple[Being, ...]
    ports: tuple[int, ...]
    namespaces: dict[str, dict[str, str]]

    def everything(self) -> set[tuple[Being, str, int]]:
        return set(product(self.beings, PROTOCOLS, self.ports))


def chosen(selector: Data, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if key not in labels or labels[key] != value:
            return False
    for expression in selector.get("matchExpressions", []):
        key, values = expression["key"], expression.get("values", [])
        if expression["operator"] == "In" and not (key in labels and labels[key] in values):
            return False
        if expression["operator"] == "NotIn" and key in labels and labels[key] in values:
            return False
        if expression["operator"] == "Exists" and key not in labels:
            return False
        if expression["operator"] == "DoesNotExist" and key in labels:
            return False
    return True


def meant(universe: Universe, peer: Data, namespace: str) -> set[Being]:
    """All beings that an entry of `from` or `to` means."""
    found = set()
    for being in universe.beings:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            if being.address:
                address = int(ipaddress.ip_address(being.address))
                inside = [
                    int(net[0]) <= address <= int(net[-1])
                    for net in map(ipaddress.ip_network, [block["cidr"], *block.get("except", [])])
                ]
                if inside[0] and not any(inside[1:]):
                    found.add(being)
        elif not being.address:
            if "namespaceSelector" in peer:
                if not chosen(peer["namespaceSelector"], universe.namespaces[being.namespace]):
                    continue
            elif being.namespace != namespace:
                continue
            if chosen(peer.get("podSelector", {}), dict(being.labels)):
                found.add(being)
    return found


def opened(universe: Universe, ports: list[Data]) -> set[tuple[str, int]]:
    """All ports that a rule's list means."""
    if not ports:
        return set(product(PROTOCOLS, universe.ports))
    found = set()
    for port, number in product(ports, universe.ports):
        first = port.get("port", 0)
        last = port.get("endPort", first if first else 65535)
        if first <= number <= last:
            found.add((port.get("protocol", "TCP"), number))
    return found


def allowed(universe: Universe, policies: list[Data], pod: Being, direction: str) -> set[tuple[Being, str, int]]:
    """All that a pod may talk to ("egress"), or that may talk to it ("ingress"), as (who, protocol, port)."""
    isolated = False
    found: set[tuple[Being, str, int]] = set()
    for policy in policies:
        spec = policy["spec"]
        types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        if policy["metadata"]["namespace"] != pod.namespace or direction.capitalize() not in types:
            continue
        if not chosen(spec.get("podSelector", {}), dict(pod.labels)):
            continue
        isolated = True
        for rule in spec.get(direction, []):
            peers = rule.get("to" if direction == "egress" else "from", [])
            beings = (
                set().union(*(meant(universe, peer, pod.namespace) for peer in peers))
                if peers
                else set(universe.beings)
            )
            for being, (protocol, port) in product(beings, opened(universe, rule.get("ports", []))):
                found.add((being, protocol, port))
    return found if isolated else universe.everything()


def leaves(rules: list[Data], address: str, protocol: str, port: int) -> bool:
    """Whether an egress firewall with these rules lets something leave."""
    for rule in rules:
        ports = rule.get("ports", [])
        if ports and not any(each["port"] == port and each.get("protocol", "TCP") == protocol for each in ports):
            continue
        if ipaddress.ip_address(address) in ipaddress.ip_network(rule["to"]["cidrSelector"]):
            return bool(rule["type"] == "Allow")
    return True
