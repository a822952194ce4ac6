"""All policies that a flow meets, and what comes of them: ALLOWED, DENIED by what, UNKNOWN why.

A flow passes if every layer lets it: NetworkPolicy where it leaves, the egress firewall, NetworkPolicy where it enters.
Where something was not understood that could have a say, a layer's answer is a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ferryman.policy import egress, networking
from ferryman.policy.answer import Answer, Doubt, every
from ferryman.policy.egress import Addresses
from ferryman.policy.flows import Flow
from ferryman.policy.networking import Anybody, Outside, Pod
from ferryman.policy.objects import Cause, Direction, World


class Verdict(Enum):
    """From the best to the worst."""

    ALLOWED = "ALLOWED"
    UNKNOWN = "UNKNOWN"
    DENIED = "DENIED"


class Stage(Enum):
    LEAVING = "NetworkPolicy, egress"
    FIREWALL = "egress firewall"
    ENTERING = "NetworkPolicy, ingress"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one kind of policy says of a flow."""

    stage: Stage
    namespace: str
    answer: Answer
    reason: str
    causes: tuple[Cause, ...]
    isolated: Answer = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of a flow; `decisive` is the layer that the verdict rests on."""

    flow: Flow
    layers: tuple[Layer, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict(every(layer.answer for layer in self.layers))

    @property
    def blocking(self) -> tuple[Layer, ...]:
        """The layers that have to be put right; where it is denied, only those that surely stop it."""
        wanted = self.verdict
        return tuple(layer for layer in self.layers if layer.answer is not True and verdict(layer.answer) is wanted)

    @property
    def decisive(self) -> Layer:
        """The first layer that says what all say together."""
        wanted = self.verdict
        fitting = [layer for layer in self.layers if verdict(layer.answer) is wanted]
        return next((layer for layer in fitting if layer.causes), fitting[0])


def verdict(answer: Answer) -> Verdict:
    if isinstance(answer, Doubt):
        return Verdict.UNKNOWN
    return Verdict.ALLOWED if answer else Verdict.DENIED


def rule_on(world: World, flow: Flow, known: Addresses) -> Ruling:
    """Ask all layers."""
    return Ruling(flow, tuple(_layers(world, flow, known)))


def _layers(world: World, flow: Flow, known: Addresses) -> Iterator[Layer]:
    source, destination = flow.connection.source, flow.connection.destination
    if flow.leaves and isinstance(source, Pod):
        yield _policies(world, flow, Direction.EGRESS, source.namespace)
        if isinstance(destination, Outside):
            yield _firewall(world, flow, source.namespace, known)
    if flow.enters and isinstance(destination, Pod):
        yield _policies(world, flow, Direction.INGRESS, destination.namespace)
        if isinstance(source, Anybody):
            yield from _replies(world, destination.namespace)


def _policies(world: World, flow: Flow, direction: Direction, namespace: str) -> Layer:
    stage = Stage.LEAVING if direction is Direction.EGRESS else Stage.ENTERING
    doubted = _not_understood(world, namespace, ("NetworkPolicy",)) or _foreign(world, namespace)
    outcome = networking.judge(world, flow.connection, direction)
    if doubted is not None:
        return Layer(stage, namespace, doubted[0], doubted[0].reason, doubted[1], outcome.isolated)
    return Layer(stage, namespace, outcome.answer, outcome.reason, outcome.causes, outcome.isolated)


def _firewall(world: World, flow: Flow, namespace: str, known: Addresses) -> Layer:
    passing = egress.judge(world, namespace, flow.connection, known)
    if (doubted := _not_understood(world, namespace, ("EgressNetworkPolicy", "EgressFirewall"))) is not None:
        return Layer(Stage.FIREWALL, namespace, doubted[0], doubted[0].reason, doubted[1])
    return Layer(Stage.FIREWALL, namespace, passing.answer, passing.reason, passing.causes)


def _replies(world: World, namespace: str) -> Iterator[Layer]:
    """What comes by a node's port: in shared gateway mode OVN-Kubernetes looks at the replies as at other traffic."""
    for firewall in egress.in_force(world, namespace)[1]:
        denying = [rule for rule in firewall.rules if not rule.allows]
        if denying:
            doubt = Doubt("in shared gateway mode it may drop the replies to what comes by a node's port")
            yield Layer(Stage.FIREWALL, namespace, doubt, doubt.reason, (Cause(firewall.manifest, denying[0].path),))


def _not_understood(world: World, namespace: str, kinds: tuple[str, ...]) -> tuple[Doubt, tuple[Cause, ...]] | None:
    """Why there may be policies of these kinds that are not known."""
    broken = [each for part in (namespace, "") for each in world.broken.get(part, ()) if each.kind in kinds]
    if broken:
        return Doubt(f"{broken[0]} has mistakes, so what it says is not known"), (Cause(broken[0]),)
    if world.lost:
        return Doubt(f"not all manifests could be read: {world.lost[0]}"), ()
    return None


def _foreign(world: World, namespace: str) -> tuple[Doubt, tuple[Cause, ...]] | None:
    """A policy of a kind that is not judged, and that could let through or stop what NetworkPolicy does not."""
    for part in (namespace, ""):
        for manifest in world.foreign.get(part, ()):
            return Doubt(f"{manifest} is of {manifest.api}, which is not evaluated"), (Cause(manifest),)
    return None
