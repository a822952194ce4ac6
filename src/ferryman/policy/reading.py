"""Manifests to the world that they make: policies as values, everything else counted.

Called by the command line. What is wrong with a policy is reported with its place, and the policy is put among the
`broken`. Of two objects with one name the later one counts, as if all were applied in this order.

Sources: the API reference of networking.k8s.io/v1, network.openshift.io/v1 and k8s.ovn.org/v1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import Final

from ferryman.config.source import Diagnostics, Path
from ferryman.kubernetes.documents import Json
from ferryman.kubernetes.manifests import PLACEHOLDER, Manifest, Reading
from ferryman.policy.fields import Fields
from ferryman.policy.objects import (
    NAME_LABEL,
    Block,
    Cni,
    Direction,
    Firewall,
    FirewallRule,
    Labels,
    Network,
    NetworkPolicy,
    Node,
    Peer,
    Pods,
    Replaced,
    Rule,
    World,
)

NETWORKING, SDN, OVN = "networking.k8s.io", "network.openshift.io", "k8s.ovn.org"
GROUPS: Final = {"NetworkPolicy": NETWORKING, "EgressNetworkPolicy": SDN, "EgressFirewall": OVN}
"""The kinds that are judged, and the API group that each is of."""
_VERSIONS: Final = {
    "NetworkPolicy": ("networking.k8s.io/v1", "extensions/v1beta1"),
    "EgressNetworkPolicy": ("network.openshift.io/v1", "v1"),
    "EgressFirewall": ("k8s.ovn.org/v1",),
}
FOREIGN: Final = re.compile(r"\w*NetworkPolicy")
"""Kinds that say who may talk to whom, too."""
_RULES: Final = {"EgressNetworkPolicy": 1000, "EgressFirewall": 8000}
ANYWHERE: Final = ip_network("0.0.0.0/0")
_TOP: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS: Final = re.compile(
    r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)


def build(readings: Reading, default_namespace: str = "default", cni: Cni | None = None) -> World:
    """The world of some manifests. Objects without a namespace go to the default one, as kubectl does it."""
    world = World(default_namespace=default_namespace, cni=cni, lost=list(readings.lost))
    for manifest in _latest(readings.manifests, world):
        _place(manifest, world, readings.diagnostics)
    return world


def counts(manifest: Manifest) -> bool:
    """Whether an object has a say, or is known to others; all the rest is of no interest here."""
    return manifest.kind in (*GROUPS, "Namespace", "Project", "Node", "Network") or bool(
        FOREIGN.fullmatch(manifest.kind)
    )


def _latest(manifests: Iterable[Manifest], world: World) -> Iterable[Manifest]:
    """Without those that a later one replaces."""
    latest: dict[tuple[str, str, str, str], Manifest] = {}
    for number, manifest in enumerate(manifests):
        namespace = manifest.namespace or world.default_namespace
        key = manifest.group, manifest.kind, namespace, manifest.name or f"/{number}"
        if (first := latest.pop(key, None)) is not None and manifest.kind in GROUPS:
            world.replaced.append(Replaced(first, manifest))
        latest[key] = manifest
    return latest.values()


def _place(manifest: Manifest, world: World, diagnostics: Diagnostics) -> None:
    kind = manifest.kind
    fields = Fields(manifest, diagnostics)
    if kind in GROUPS and manifest.api in _VERSIONS[kind]:
        _policy(fields, world)
    elif kind in GROUPS and "calico" not in manifest.group:
        right = _VERSIONS[kind][0]
        fields.error(("apiVersion",), f"there is no {kind} in {manifest.api}", f"write {right}")
        world.broken.setdefault(_namespace(fields, world), []).append(manifest)
    elif FOREIGN.fullmatch(kind):
        world.foreign.setdefault(manifest.namespace, []).append(manifest)
    elif (kind, manifest.group) in (("Namespace", ""), ("Project", "project.openshift.io")):
        known = {key: value for key, value in _pairs(_metadata(manifest).get("labels")) if isinstance(value, str)}
        known[NAME_LABEL] = manifest.name
        world.namespaces[manifest.name] = Labels(known, f"namespace {manifest.name}")
        world.seen.add(manifest.name)
    elif kind == "Node" and manifest.api == "v1":
        world.nodes = [*(world.nodes or ()), _node(manifest)]
    elif kind == "Network" and manifest.group == "config.openshift.io":
        world.cni = world.cni or _plugin(manifest)


def _metadata(manifest: Manifest) -> dict[str, Json]:
    metadata = manifest.data.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _pairs(value: Json) -> Iterable[tuple[str, Json]]:
    return value.items() if isinstance(value, dict) else ()


def _node(manifest: Manifest) -> Node:
    known = {key: value for key, value in _pairs(_metadata(manifest).get("labels")) if isinstance(value, str)}
    status = manifest.data.get("status")
    listed = status.get("addresses") if isinstance(status, dict) else None
    addresses = set()
    for entry in listed if isinstance(listed, list) else ():
        text = entry.get("address") if isinstance(entry, dict) else None
        try:
            addresses.add(ip_address(text if isinstance(text, str) else ""))
        except ValueError:
            continue  # a host name
    return Node(Labels(known, f"node {manifest.name}"), frozenset(addresses))


def _plugin(manifest: Manifest) -> Cni | None:
    for part in ("status", "spec"):
        section = manifest.data.get(part)
        name = section.get("networkType") if isinstance(section, dict) else None
        if isinstance(name, str):
            return {"openshiftsdn": Cni.SDN, "ovnkubernetes": Cni.OVN}.get(name.lower(), Cni.OTHER)
    return None


def _namespace(fields: Fields, world: World) -> str:
    """Where the object is; "" if that is not known: it may be anywhere."""
    manifest = fields.manifest
    name = manifest.namespace or world.default_namespace
    if _NAMESPACE.fullmatch(name):
        return name
    _no_name(fields, ("metadata", "namespace"), name)
    return ""


def _no_name(fields: Fields, path: Path, name: str) -> None:
    if PLACEHOLDER.search(name):
        fields.error(path, f"the {path[-1]} {name} is a placeholder", "write the name that belongs there")
    elif name:
        fields.error(path, f"{name!r} cannot be a {path[-1]}", "it has small letters, digits and - only")
    else:
        fields.error(path, "it has no name", "every object needs `metadata.name`")


def _policy(fields: Fields, world: World) -> None:
    manifest = fields.manifest
    namespace = _namespace(fields, world)
    if not _NAME.fullmatch(manifest.name):
        _no_name(fields, ("metadata", "name"), manifest.name)
    data = fields.mapping(manifest.data, (), _TOP)
    if data.get("spec") is None:
        fields.error((), "it has no `spec`")
    read: Callable[[Fields], NetworkPolicy | Firewall] = (
        network_policy if manifest.kind == "NetworkPolicy" else firewall
    )
    policy = read(fields)
    world.seen.add(namespace) if namespace else None
    if fields.broken:
        world.broken.setdefault(namespace, []).append(manifest)
    elif isinstance(policy, NetworkPolicy):
        world.policies.setdefault(namespace, []).append(policy)
    else:
        sdn = manifest.kind == "EgressNetworkPolicy"
        firewalls = world.egress_network_policies if sdn else world.egress_firewalls
        firewalls.setdefault(namespace, []).append(policy)


def network_policy(fields: Fields) -> NetworkPolicy:
    """A NetworkPolicy; what is wrong is reported through `fields`."""
    spec = fields.mapping(
        fields.manifest.data.get("spec"), ("spec",), ("podSelector", "ingress", "egress", "policyTypes")
    )
    rules = {
        direction: tuple(_rule(fields, item, at, peers) for item, at in fields.items(spec.get(part), ("spec", part)))
        for direction, part, peers in ((Direction.INGRESS, "ingress", "from"), (Direction.EGRESS, "egress", "to"))
    }
    types = [
        fields.one_of(item, at, ("Ingress", "Egress"))
        for item, at in fields.items(spec.get("policyTypes"), ("spec", "policyTypes"))
    ]
    if not types:
        types = ["Ingress", "Egress"] if rules[Direction.EGRESS] else ["Ingress"]
    return NetworkPolicy(
        fields.manifest,
        fields.selector(spec.get("podSelector"), ("spec", "podSelector")),
        frozenset(map(Direction, types)),
        rules[Direction.INGRESS],
        rules[Direction.EGRESS],
    )


def _rule(fields: Fields, value: Json, path: Path, peers: str) -> Rule:
    if value is None:
        fields.error(path, "an entry is empty", "write `- {}` for a rule that lets everything through")
    given = fields.mapping(value, path, (peers, "ports"))
    return Rule(
        tuple(_peer(fields, item, at) for item, at in fields.items(given.get(peers), (*path, peers))),
        tuple(
            fields.port(item, at, ("protocol", "port", "endPort"))
            for item, at in fields.items(given.get("ports"), (*path, "ports"))
        ),
        path,
    )


def _peer(fields: Fields, value: Json, path: Path) -> Peer:
    given = fields.mapping(value, path, ("ipBlock", "podSelector", "namespaceSelector"))
    if given.get("ipBlock") is not None:
        if len(given) > 1:
            fields.error(
                path, "`ipBlock` cannot be together with a selector", "make it an entry of its own: `- ipBlock:`"
            )
        return _block(fields, given["ipBlock"], (*path, "ipBlock"))
    selectors = {
        key: fields.selector(given[key], (*path, key))
        for key in ("podSelector", "namespaceSelector")
        if given.get(key) is not None
    }
    if not selectors:
        fields.error(path, "an entry selects nothing", "it takes ipBlock, podSelector or namespaceSelector")
    return Pods(selectors.get("podSelector"), selectors.get("namespaceSelector"))


def _block(fields: Fields, value: Json, path: Path) -> Peer:
    given = fields.mapping(value, path, ("cidr", "except"))
    network = fields.network(given.get("cidr"), (*path, "cidr"))
    excepted = []
    for item, at in fields.items(given.get("except"), (*path, "except")):
        part = fields.network(item, at)
        if part is None or network is None:
            continue
        if part.version != network.version or part == network or not part.subnet_of(network):  # type: ignore[arg-type]
            fields.error(at, f"`except` {part} does not lie inside of `cidr` {network}")
        excepted.append(part)
    return Block(network, tuple(excepted)) if network else Pods((), ())


def firewall(fields: Fields) -> Firewall:
    """An EgressNetworkPolicy or an EgressFirewall; what is wrong is reported through `fields`."""
    kind = fields.manifest.kind
    spec = fields.mapping(fields.manifest.data.get("spec"), ("spec",), ("egress",))
    if "spec" in fields.manifest.data and spec.get("egress") is None:
        fields.error(("spec",), "`egress` is missing", "it is the list of rules, and may be []")
    rules = tuple(_firewall_rule(fields, item, at) for item, at in fields.items(spec.get("egress"), ("spec", "egress")))
    if len(rules) > _RULES[kind]:
        fields.error(("spec", "egress", _RULES[kind]), f"there are {len(rules)} rules, {_RULES[kind]} are possible")
    return Firewall(fields.manifest, rules)


def _firewall_rule(fields: Fields, value: Json, path: Path) -> FirewallRule:
    sdn = fields.manifest.kind == "EgressNetworkPolicy"
    given = fields.mapping(value, path, ("type", "to") if sdn else ("type", "to", "ports"))
    allows = fields.one_of(given.get("type"), (*path, "type"), ("Allow", "Deny")) == "Allow"
    at = (*path, "to")
    kinds = ("cidrSelector", "dnsName") if sdn else ("cidrSelector", "dnsName", "nodeSelector")
    to = fields.mapping(given.get("to"), at, kinds)
    if sum(to.get(key) is not None for key in kinds) != 1:
        fields.error(at if "to" in given else path, f"`to` needs exactly one of {', '.join(kinds)}")
    network = dns = nodes = None
    if to.get("cidrSelector") is not None:
        network = _cidr(fields, to["cidrSelector"], (*at, "cidrSelector"), allows)
    if to.get("dnsName") is not None:
        dns = fields.text(to["dnsName"], (*at, "dnsName"))
        if dns and (not _DNS.fullmatch(dns) or (sdn and dns.startswith("*"))):
            fields.error((*at, "dnsName"), f"{dns!r} is no name that can be looked up")
    if to.get("nodeSelector") is not None:
        nodes = fields.selector(to["nodeSelector"], (*at, "nodeSelector"))
    ports = []
    for item, place in fields.items(given.get("ports"), (*path, "ports")):
        port = fields.port(item, place, ("protocol", "port"))
        if not isinstance(port.first, int):
            fields.error((*place, "port"), "`port` is a number from 1 to 65535")
        ports.append(port)
    return FirewallRule(allows, network, dns.rstrip(".").lower() if dns else None, nodes, tuple(ports), path)


def _cidr(fields: Fields, value: Json, path: Path, allows: bool) -> Network | None:
    sdn = fields.manifest.kind == "EgressNetworkPolicy"
    if isinstance(value, str) and PLACEHOLDER.search(value):
        hint = (
            f"write the range that it stands for{'' if allows else '; mind that `type: Deny` shuts it, Allow opens it'}"
        )
        fields.error(path, f"`cidrSelector`: {value} is a placeholder", hint)
        return None
    network = fields.network(value, path, only_ipv4=sdn)
    if sdn and str(network) == "0.0.0.0/32":  # OpenShift SDN takes it for everything
        fields.diagnostics.warning(
            fields.manifest.mark(*path), f"{fields.manifest}: 0.0.0.0/32 is taken for 0.0.0.0/0, which is everything"
        )
        return ANYWHERE
    return network
