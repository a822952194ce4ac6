"""One flow, step by step: which policies it meets, which select its pod, what each of their rules says.

Asks the same questions as `ruling`, and notes the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ferryman.policy import egress, networking
from ferryman.policy.answer import Answer, Doubt
from ferryman.policy.egress import Addresses
from ferryman.policy.networking import Connection, Outside, Pod
from ferryman.policy.objects import Block, Cause, Direction, NetworkPolicy, Peer, Port, Rule, Selector, World
from ferryman.policy.ruling import Layer, Ruling, Stage, verdict
from ferryman.policy.selectors import selects


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at. `depth` is how far to indent it."""

    depth: int
    text: str
    cause: Cause | None = None


def tell(world: World, ruling: Ruling, known: Addresses) -> Iterator[Step]:
    """The steps of one flow."""
    flow = ruling.flow
    yield Step(0, str(flow))
    for layer in ruling.layers:
        yield Step(1, f"{layer.stage.value}, of namespace {layer.namespace}")
        if layer.stage is Stage.FIREWALL:
            yield from _firewall(world, layer, flow.connection, known)
        else:
            direction = Direction.EGRESS if layer.stage is Stage.LEAVING else Direction.INGRESS
            yield from _policies(world, flow.connection, direction)
        yield Step(2, f"so: {verdict(layer.answer).value}: {layer.reason}")
    yield Step(1, ruling.verdict.value)


def _policies(world: World, connection: Connection, direction: Direction) -> Iterator[Step]:
    pod = connection.pod(direction)
    assert isinstance(pod, Pod)
    for policy in world.policies.get(pod.namespace, ()):
        at = Cause(policy.manifest)
        if direction not in policy.directions:
            yield Step(2, f"{policy.manifest} says nothing of {direction.value.lower()}", at)
            continue
        answer = selects(policy.selector, pod.labels)
        which = described(policy.selector)
        if answer is False:
            yield Step(2, f"{policy.manifest} does not select the pod: it is for {which}", at)
            continue
        certain = f"; not sure: {answer.reason}" if isinstance(answer, Doubt) else ""
        yield Step(2, f"{policy.manifest} selects the pod: it is for {which}{certain}", at)
        yield from _rules(world, policy, connection, direction)


def _rules(world: World, policy: NetworkPolicy, connection: Connection, direction: Direction) -> Iterator[Step]:
    rules = policy.rules(direction)
    if not rules:
        yield Step(3, "it has no rule: nothing is let through", Cause(policy.manifest))
    for number, rule in enumerate(rules, 1):
        answer = networking.allows(world, policy, rule, connection, direction)
        whom = " or ".join(map(_peer, rule.peers)) or "everybody"
        ports = " or ".join(map(_port, rule.ports)) or "every port"
        text = f"rule {number}, {whom} at {ports}: {_said(answer)}{_why_not(world, policy, rule, connection, answer)}"
        yield Step(3, text, Cause(policy.manifest, rule.path))


def _why_not(world: World, policy: NetworkPolicy, rule: Rule, connection: Connection, answer: Answer) -> str:
    if answer is not False:
        return ""
    if rule.ports and all(networking.port_matches(port, connection) is False for port in rule.ports):
        return f", the connection goes to {connection.protocol} {connection.port or '?'}"
    return ", none of these is the other end"


def _firewall(world: World, layer: Layer, connection: Connection, known: Addresses) -> Iterator[Step]:
    if not isinstance(connection.destination, Outside):
        return  # it is about replies
    sdn, ovn = egress.in_force(world, layer.namespace)
    for firewall in (*sdn, *ovn):
        yield Step(2, f"{firewall.manifest}, rules in order:", Cause(firewall.manifest))
        for number, rule in enumerate(firewall.rules, 1):
            answer = egress.matches(world, rule, connection, known)
            to = rule.dns or (f"nodes with {described(rule.nodes)}" if rule.nodes is not None else str(rule.network))
            ports = " at " + " or ".join(map(_port, rule.ports)) if rule.ports else ""
            text = f"rule {number}, {egress.word(rule)} {to}{ports}: {_said(answer)}"
            yield Step(3, text, Cause(firewall.manifest, rule.path))
            if answer is True:
                break


def _said(answer: Answer) -> str:
    if isinstance(answer, Doubt):
        return f"perhaps: {answer.reason}"
    return "matches" if answer else "does not match"


def described(selector: Selector) -> str:
    """A selector in words."""
    words = []
    for each in selector:
        values = ", ".join(each.values)
        if each.operator == "In" and len(each.values) == 1:
            words.append(f"{each.key}={values}")
        elif each.operator in ("Exists", "DoesNotExist"):
            words.append(each.key if each.operator == "Exists" else f"no {each.key}")
        else:
            words.append(f"{each.key} {'in' if each.operator == 'In' else 'not in'} ({values})")
    return " and ".join(words) or "all"


def _peer(peer: Peer) -> str:
    if isinstance(peer, Block):
        excepted = f" without {', '.join(map(str, peer.excepted))}" if peer.excepted else ""
        return f"{peer.network}{excepted}"
    pods = f"pods with {described(peer.pods)}" if peer.pods else "all pods"
    where = " of its own namespace" if peer.namespaces is None else f" of namespaces with {described(peer.namespaces)}"
    return pods + (" of all namespaces" if peer.namespaces == () else where)


def _port(port: Port) -> str:
    number = "" if port.first is None else f" {port.first}"
    return f"{port.protocol}{number}{f'-{port.last}' if port.last else ''}"
