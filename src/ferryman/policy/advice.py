"""The smallest change that lets denied flows through.

A NetworkPolicy of its own where pods are isolated (never where they are not: it would isolate them), an `Allow` before
the first rule of an egress firewall that stops the flow. What cannot be put right by adding something is said in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final, cast

import yaml

from ferryman.kubernetes.documents import Json
from ferryman.kubernetes.manifests import Manifest
from ferryman.policy import egress
from ferryman.policy.egress import Addresses
from ferryman.policy.flows import (
    APP,
    OWNED_BY,
    OWNER,
    PURPOSE,
    Plane,
    Side,
    host_namespace,
)
from ferryman.policy.networking import Anybody, Connection, End, Host, Outside, labels_of
from ferryman.policy.objects import NAME_LABEL, Firewall, FirewallRule, Port, World
from ferryman.policy.ruling import Layer, Ruling, Stage, Verdict

_GROUP_LABEL: Final = "policy-group.network.openshift.io/ingress"
_SERVERS_OWN: Final = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Change:
    """An object to apply in the cluster of one side; `why` says what it does."""

    side: Side
    data: dict[str, Json]
    why: str


@dataclass(slots=True)
class Advice:
    """What to apply, and in words what cannot be done by applying something."""

    changes: list[Change] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Wanted:
    """A new policy in the making."""

    planes: list[Plane] = field(default_factory=list)
    rules: list[dict[str, Json]] = field(default_factory=list)


def advise(worlds: dict[Side, World], rulings: Iterable[Ruling], known: Addresses) -> Advice:
    """What to change so that the denied flows of these rulings are let through."""
    advice = Advice()
    wanted: dict[tuple[Side, str, Stage], _Wanted] = {}
    patched: dict[int, tuple[Side, Firewall, list[str]]] = {}
    for ruling in rulings:
        flow = ruling.flow
        for layer in ruling.layers:
            if layer.answer is not False:
                continue
            world = worlds[flow.side]
            if layer.stage is Stage.FIREWALL:
                _open(world, ruling, layer, known, patched, advice)
            elif layer.namespace != flow.namespace:
                _say(advice, f"{flow}: {layer.reason} in {layer.namespace}, which is not the migration's to change")
            elif (rule := _rule(world, layer.stage, flow.connection)) is None:
                _say(advice, f"{flow}: a NetworkPolicy takes addresses only: say it with --proxy, --to or --resolve")
            else:
                want = wanted.setdefault((flow.side, layer.namespace, layer.stage), _Wanted())
                want.planes += [flow.plane] if flow.plane not in want.planes else []
                want.rules += [rule] if rule not in want.rules else []
        if ruling.verdict is Verdict.UNKNOWN:
            _say(advice, f"{flow}: nothing to add, as it is not known whether it passes: {ruling.decisive.reason}")
    for (side, namespace, stage), want in wanted.items():
        advice.changes.append(_policy(worlds[side], side, namespace, stage, want))
    for side, firewall, why in patched.values():
        data = _cleaned(firewall.manifest.data, firewall.manifest.namespace or worlds[side].default_namespace)
        advice.changes.append(Change(side, data, f"{firewall.manifest}: {'; '.join(why)}"))
    return advice


def _say(advice: Advice, text: str) -> None:
    if text not in advice.words:
        advice.words.append(text)


# NetworkPolicy


def _policy(world: World, side: Side, namespace: str, stage: Stage, want: _Wanted) -> Change:
    leaving = stage is Stage.LEAVING
    expressions: list[Json] = [{"key": APP, "operator": "In", "values": [plane.value for plane in want.planes]}]
    labels: dict[str, Json] = {OWNER: OWNED_BY}
    if leaving:
        expressions.append({"key": PURPOSE, "operator": "DoesNotExist"})
    else:
        labels[PURPOSE] = "rsync"
    kind, part = ("Egress", "egress") if leaving else ("Ingress", "ingress")
    name = _unused(world, namespace, f"allow-dvm-{part}")
    data: dict[str, Json] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": labels, "matchExpressions": expressions},
            "policyTypes": [kind],
            part: cast(Json, list(want.rules)),
        },
    }
    pods = " and ".join(str(plane) for plane in want.planes)
    whose = "client" if leaving else "server"
    why = f"NetworkPolicy {namespace}/{name}: the {pods} {whose} pods are isolated for {part}; it adds what they need"
    return Change(side, data, why)


def _unused(world: World, namespace: str, name: str) -> str:
    taken = {policy.manifest.name for policy in world.policies.get(namespace, ())}
    taken |= {manifest.name for manifest in world.broken.get(namespace, ())}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _rule(world: World, stage: Stage, connection: Connection) -> dict[str, Json] | None:
    """The rule for one connection; None if it cannot be said."""
    leaving = stage is Stage.LEAVING
    peer = _peer(world, connection.destination if leaving else connection.source)
    if peer is None:
        return None
    rule: dict[str, Json] = {}
    if peer:
        rule["to" if leaving else "from"] = [peer]
    if connection.port is not None:
        protocols = ("UDP", "TCP") if connection.protocol == "UDP" else ("TCP",)  # long answers of names come by TCP
        rule["ports"] = [{"protocol": protocol, "port": connection.port} for protocol in protocols]
    return rule


def _peer(world: World, end: End) -> dict[str, Json] | None:
    """An entry of `from` or `to`; empty for everybody."""
    if isinstance(end, Outside):
        return {"ipBlock": {"cidr": _alone(end)}} if end.address is not None else None
    if isinstance(end, Anybody):
        return {}
    if isinstance(end, Host):
        known = host_namespace(world).known
        key = next((each for each in known if "policy-group" in each), NAME_LABEL)
        return {"namespaceSelector": {"matchLabels": {key: known[key]}}}
    labels: dict[str, Json] = {NAME_LABEL: end.namespace}
    if labels_of(world, end.namespace).known.get(_GROUP_LABEL) == "":
        labels = {_GROUP_LABEL: ""}  # older clusters do not label namespaces with their names
    peer: dict[str, Json] = {"namespaceSelector": {"matchLabels": labels}}
    if OWNER in end.labels.known:
        own = {key: end.labels.known[key] for key in (OWNER, APP, PURPOSE) if key in end.labels.known}
        peer["podSelector"] = {"matchLabels": cast(Json, own)}
    return peer


def _alone(end: Outside) -> str:
    assert end.address is not None
    return f"{end.address}/{end.address.max_prefixlen}"


# egress firewalls


def _open(
    world: World,
    ruling: Ruling,
    layer: Layer,
    known: Addresses,
    patched: dict[int, tuple[Side, Firewall, list[str]]],
    advice: Advice,
) -> None:
    """Let a flow through every egress firewall that stops it."""
    flow = ruling.flow
    sdn, ovn = egress.in_force(world, layer.namespace)
    if len(sdn) > 1:
        names = ", ".join(str(each.manifest) for each in sdn)
        _say(advice, f"{flow}: {layer.reason}; put the rules of {names} into one of them and delete the others")
        return
    for firewall in (*sdn, *ovn):
        side, now, why = patched.get(id(firewall.manifest), (flow.side, firewall, []))
        if egress.first_match(world, now, flow.connection, known).answer is False:
            now, index = _inserted(world, now, flow.connection, known)
            _say_order(why, flow.connection, index)
            patched[id(firewall.manifest)] = side, now, why


def _say_order(why: list[str], connection: Connection, index: int) -> None:
    why.append(f"Allow {connection.destination} as rule {index + 1}, before the first that may stop it, for all pods")


def _inserted(world: World, firewall: Firewall, connection: Connection, known: Addresses) -> tuple[Firewall, int]:
    """With an Allow before the first rule that stops, or may stop, the connection; and where it is now."""
    index = next(
        number
        for number, rule in enumerate(firewall.rules)
        if not rule.allows and egress.matches(world, rule, connection, known) is not False
    )
    end = connection.destination
    assert isinstance(end, Outside)
    sdn = firewall.manifest.kind == "EgressNetworkPolicy"
    to: dict[str, Json] = {"cidrSelector": _alone(end)} if end.address is not None else {"dnsName": end.name}
    written: dict[str, Json] = {"type": "Allow", "to": to}
    if not sdn and connection.port is not None:
        written["ports"] = [{"protocol": connection.protocol, "port": connection.port}]
    data = json.loads(json.dumps(firewall.manifest.data))  # a copy in which aliases of YAML are no longer shared
    data["spec"]["egress"].insert(index, written)
    network = ip_network(_alone(end)) if end.address is not None else None
    ports = (Port(connection.protocol, connection.port),) if "ports" in written else ()
    rule = FirewallRule(True, network, None if network else end.name.lower(), None, ports, ("spec", "egress", index))
    manifest = firewall.manifest
    changed = Manifest(
        manifest.api, manifest.kind, manifest.namespace, manifest.name, data, manifest.places, manifest.path
    )
    rules = (*firewall.rules[:index], rule, *firewall.rules[index:])
    return Firewall(changed, rules), index


def _cleaned(data: dict[str, Json], namespace: str) -> dict[str, Json]:
    """Without what the API server writes into objects itself."""
    metadata = data.get("metadata")
    kept = {
        key: value for key, value in (metadata if isinstance(metadata, dict) else {}).items() if key not in _SERVERS_OWN
    }
    kept["namespace"] = namespace
    if isinstance(annotations := kept.get("annotations"), dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != _APPLIED}
        kept = {key: value for key, value in kept.items() if key != "annotations" or value}
    return {key: kept if key == "metadata" else value for key, value in data.items() if key != "status"}


def text(changes: Iterable[Change]) -> str:
    """Changes as YAML to apply."""
    return "".join(
        f"---\n# for the {change.side.value}'s cluster\n" + yaml.safe_dump(change.data, sort_keys=False, width=120)
        for change in changes
    )
