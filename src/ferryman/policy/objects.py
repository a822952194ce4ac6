"""Policies, and the world they are in, as values.

Made by `reading`, judged by `networking` and `egress`. A rule keeps the path at which it stands in its manifest, so
that its place can be told. Knows nothing of migrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from ferryman.config.source import Mark, Path
from ferryman.kubernetes.manifests import Manifest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""Every namespace carries its name under this key."""


class Direction(Enum):
    INGRESS = "Ingress"
    EGRESS = "Egress"


class Cni(Enum):
    """The network plugin, as far as it makes a difference."""

    SDN = "openshift-sdn"
    OVN = "ovn-kubernetes"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition of a selector. matchLabels are `In` with one value."""

    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist
    values: tuple[str, ...] = ()


Selector = tuple[Requirement, ...]
"""All have to hold; none of them selects everything."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of something's labels. `whose` names it in reasons.

    `unsure` are keys that may be there, with values that are not known; unless `complete`, any key may.
    """

    known: Mapping[str, str]
    whose: str
    unsure: frozenset[str] = frozenset()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """ipBlock: an address range without some ranges in it."""

    network: Network
    excepted: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of namespaces; no namespace selector: those of the policy's own."""

    pods: Selector | None
    namespaces: Selector | None


Peer = Block | Pods


@dataclass(frozen=True, slots=True)
class Port:
    """Ports of a rule; no `first`: all of the protocol; text: what the destination's pod calls it."""

    protocol: str
    first: int | str | None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a NetworkPolicy: no peers is everybody, no ports is every port."""

    peers: tuple[Peer, ...]
    ports: tuple[Port, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    manifest: Manifest
    selector: Selector
    directions: frozenset[Direction]
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        return self.ingress if direction is Direction.INGRESS else self.egress


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """A rule of an egress firewall: exactly one of the three says where to."""

    allows: bool
    network: Network | None
    dns: str | None
    nodes: Selector | None
    ports: tuple[Port, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Firewall:
    """EgressNetworkPolicy or EgressFirewall: rules in order, the first that matches counts."""

    manifest: Manifest
    rules: tuple[FirewallRule, ...]


@dataclass(frozen=True, slots=True)
class Node:
    labels: Labels
    addresses: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Replaced:
    """Two objects of one name: the later is the one that is there."""

    first: Manifest
    second: Manifest


@dataclass(slots=True)
class World:
    """All that is known of a cluster. Objects by namespace; "" is where an object's namespace is not known, or none.

    `broken` are policies that were not understood, `foreign` those of kinds that are not judged, `lost` says why
    there may be more than this.
    """

    policies: dict[str, list[NetworkPolicy]] = field(default_factory=dict)
    egress_network_policies: dict[str, list[Firewall]] = field(default_factory=dict)
    egress_firewalls: dict[str, list[Firewall]] = field(default_factory=dict)
    broken: dict[str, list[Manifest]] = field(default_factory=dict)
    foreign: dict[str, list[Manifest]] = field(default_factory=dict)
    namespaces: dict[str, Labels] = field(default_factory=dict)
    nodes: list[Node] | None = None
    seen: set[str] = field(default_factory=set)
    replaced: list[Replaced] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    default_namespace: str = "default"
    cni: Cni | None = None

    @property
    def has_policies(self) -> bool:
        """Is there anything that says who may talk to whom, of whatever kind?"""
        return any(
            (self.policies, self.egress_network_policies, self.egress_firewalls, self.broken, self.foreign, self.lost)
        )


@dataclass(frozen=True, slots=True)
class Cause:
    """An object, and the value in it, that a ruling rests on."""

    manifest: Manifest
    path: Path = ()

    @property
    def mark(self) -> Mark:
        return self.manifest.mark(*self.path)

    def __str__(self) -> str:
        rule = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        return f"{self.manifest}{f' {rule}' if rule else ''} ({self.mark})"
