"""NetworkPolicy: does it let a connection leave, or reach, a pod?

Policies only add: a pod that none selects for a direction may talk to everybody; one that is selected may do what any
rule of any of them says. So the order means nothing, and nothing is ever denied but by being isolated.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ferryman.policy.answer import Answer, Doubt, every, some
from ferryman.policy.objects import (
    Address,
    Block,
    Cause,
    Cni,
    Direction,
    Labels,
    NetworkPolicy,
    Peer,
    Port,
    Rule,
    World,
)
from ferryman.policy.selectors import selects


@dataclass(frozen=True, slots=True)
class Pod:
    """An end of a connection. `ports`: number by the names that its containers give; None: not known."""

    namespace: str
    labels: Labels
    ports: tuple[tuple[str, str, int], ...] | None = None  # name, protocol, number

    def __str__(self) -> str:
        return f"{self.labels.whose} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class Outside:
    """An end outside of the cluster; no address: it is not known which."""

    name: str
    address: Address | None = None

    def __str__(self) -> str:
        return self.name if str(self.address or self.name) == self.name else f"{self.name} ({self.address})"


@dataclass(frozen=True, slots=True)
class Host:
    """A process on a node's own network. Policies see it as one of this namespace, or as an address."""

    namespace: Labels

    def __str__(self) -> str:
        return "the router on the nodes' own network"


@dataclass(frozen=True, slots=True)
class Anybody:
    """An end of which nothing is known."""

    name: str

    def __str__(self) -> str:
        return self.name


End = Pod | Outside | Host | Anybody


@dataclass(frozen=True, slots=True)
class Connection:
    """From one end to a port of another; no port: it is not known which."""

    source: End
    destination: End
    protocol: str
    port: int | None

    def pod(self, direction: Direction) -> End:
        """The end that policies of a direction protect."""
        return self.destination if direction is Direction.INGRESS else self.source

    def peer(self, direction: Direction) -> End:
        return self.source if direction is Direction.INGRESS else self.destination


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the policies say of one direction. `isolated`: whether any selects the pod for it."""

    answer: Answer
    reason: str
    causes: tuple[Cause, ...]
    isolated: Answer


def judge(world: World, connection: Connection, direction: Direction) -> Outcome:
    """Whether the NetworkPolicies let this connection leave its source, or reach its destination."""
    pod = connection.pod(direction)
    assert isinstance(pod, Pod)
    surely: list[NetworkPolicy] = []
    perhaps: list[tuple[NetworkPolicy, Doubt]] = []
    for policy in world.policies.get(pod.namespace, ()):
        if direction not in policy.directions:
            continue
        answer = selects(policy.selector, pod.labels)
        if answer is True:
            surely.append(policy)
        elif isinstance(answer, Doubt):
            perhaps.append((policy, answer))
    if not surely and not perhaps:
        return Outcome(True, f"no NetworkPolicy isolates it for {direction.value.lower()}", (), False)
    return _isolated(world, connection, direction, surely, perhaps)


def _isolated(
    world: World,
    connection: Connection,
    direction: Direction,
    surely: list[NetworkPolicy],
    perhaps: list[tuple[NetworkPolicy, Doubt]],
) -> Outcome:
    isolated: Answer = True if surely else perhaps[0][1]
    doubts: list[tuple[Doubt, Cause]] = []
    for policy in surely:
        for rule in policy.rules(direction):
            answer = allows(world, policy, rule, connection, direction)
            cause = Cause(policy.manifest, rule.path)
            if answer is True:
                return Outcome(True, "a rule lets it through", (cause,), True)
            if isinstance(answer, Doubt):
                doubts.append((answer, cause))
    refusing = [each for each in perhaps if _allowed_by(world, each[0], connection, direction) is not True]
    if not surely and not refusing:
        return Outcome(True, "every policy that may select it lets it through", (), isolated)
    for policy, doubt in perhaps if surely else refusing:
        if not surely or _allowed_by(world, policy, connection, direction) is not False:
            doubts.append((doubt, Cause(policy.manifest, ("spec", "podSelector"))))
    if doubts:
        doubt, cause = doubts[0]
        return Outcome(doubt, doubt.reason, (cause,), isolated)
    causes = tuple(Cause(policy.manifest) for policy in surely)
    number = "a NetworkPolicy isolates" if len(causes) == 1 else f"{len(causes)} NetworkPolicies isolate"
    return Outcome(False, f"{number} it for {direction.value.lower()}, and no rule lets this through", causes, True)


def _allowed_by(world: World, policy: NetworkPolicy, connection: Connection, direction: Direction) -> Answer:
    return some(allows(world, policy, rule, connection, direction) for rule in policy.rules(direction))


def allows(world: World, policy: NetworkPolicy, rule: Rule, connection: Connection, direction: Direction) -> Answer:
    """Whether this rule lets the connection through."""
    ports: Answer = some(port_matches(port, connection) for port in rule.ports) if rule.ports else True
    if ports is False:
        return False
    namespace = policy.manifest.namespace or world.default_namespace
    end = connection.peer(direction)
    peers: Answer = some(peer_matches(world, peer, end, namespace) for peer in rule.peers) if rule.peers else True
    return every((peers, ports))


def port_matches(port: Port, connection: Connection) -> Answer:
    """Whether the connection goes to this port of a rule."""
    if port.protocol != connection.protocol:
        return False
    if port.first is None:
        return True
    if isinstance(port.first, str):
        return _named(port.first, connection)
    if connection.port is None:
        return Doubt("the port is not known")
    return port.first <= connection.port <= (port.last or port.first)


def _named(name: str, connection: Connection) -> Answer:
    """Names of ports are those of the destination's pod."""
    pod = connection.destination
    if not isinstance(pod, Pod):
        return False
    if pod.ports is None:
        return Doubt(f"whether {pod.labels.whose} calls port {connection.port} {name!r} is not known")
    return (name, connection.protocol, connection.port) in pod.ports


def peer_matches(world: World, peer: Peer, end: End, namespace: str) -> Answer:
    """Whether an entry of `from` or `to`, of a policy in this namespace, means this end."""
    if isinstance(peer, Block):
        return _in_block(world, peer, end)
    if isinstance(end, Outside):
        return False
    if isinstance(end, Anybody):
        return Doubt(f"{end.name} may be selected or not")
    if isinstance(end, Host):
        if peer.namespaces is None or peer.pods:
            return False
        return selects(peer.namespaces, end.namespace)
    if isinstance(end, Pod):
        within: Answer = end.namespace == namespace
        if peer.namespaces is not None:
            within = selects(peer.namespaces, labels_of(world, end.namespace))
        return every((within, selects(peer.pods or (), end.labels)))
    assert_never(end)


def _in_block(world: World, block: Block, end: End) -> Answer:
    if world.cni is Cni.SDN and block.excepted:
        return False  # OpenShift SDN leaves such a block out altogether
    if isinstance(end, Outside):
        if end.address is None:
            return Doubt(f"the address of {end.name} is not known")
        return end.address in block.network and not any(end.address in part for part in block.excepted)
    if isinstance(end, Anybody):
        return Doubt(f"the address of {end.name} is not known")
    return Doubt(f"whether an ipBlock means the address of {end} depends on the network plugin")


def labels_of(world: World, namespace: str) -> Labels:
    """What is known of a namespace's labels. Those of OpenShift's own are known without having seen them."""
    if namespace in world.namespaces:
        return world.namespaces[namespace]
    return Labels(
        {"kubernetes.io/metadata.name": namespace, **_WELL_KNOWN.get(namespace, {})},
        f"namespace {namespace}",
        complete=False,
    )


_WELL_KNOWN = {
    "openshift-ingress": {
        "policy-group.network.openshift.io/ingress": "",
        "network.openshift.io/policy-group": "ingress",
    }
}
