"""What the tests of policies share: a world from YAML, and what a flow through it comes to."""

from __future__ import annotations

from ferryman.config.source import Source
from ferryman.kubernetes.manifests import Reading, take
from ferryman.policy.flows import Plane, Question, Side, Target
from ferryman.policy.objects import Cni, World
from ferryman.policy.reading import build
from ferryman.policy.ruling import Ruling
from ferryman.policy.survey import Worlds, survey

PROXY = Question(Target("192.0.2.7", 3128), planes=(Plane.FS,))


def reading(text: str) -> Reading:
    """The manifests of a text."""
    found = Reading()
    take(Source("x.yaml", text), found)
    return found


def world(text: str, cni: Cni | None = None, default: str = "shop") -> World:
    """The world of a text that has no mistakes."""
    found = reading(text)
    built = build(found, default, cni)
    assert [str(each) for each in found.diagnostics.found if each.severity == "error"] == []
    return built


def both(one: World) -> Worlds:
    return {Side.SOURCE: one, Side.DESTINATION: one}


def rulings(one: World, question: Question = PROXY, namespace: str = "shop") -> dict[str, Ruling]:
    """The flows of one namespace by name; of several of one name the last."""
    return {each.flow.name: each for each in survey(both(one), question, [(namespace, namespace)])}


def verdict(one: World, flow: str, question: Question = PROXY) -> str:
    return rulings(one, question)[flow].verdict.value


def policy(spec: str, name: str = "p", namespace: str = "shop") -> str:
    """A NetworkPolicy; `spec` is in flow style, such as {podSelector: {}, ingress: []}."""
    metadata = f"{{name: {name}, namespace: {namespace}}}"
    return f"---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {metadata}, spec: {spec}}}\n"


def firewall(kind: str, rules: str, name: str = "default") -> str:
    """An egress firewall with these rules."""
    api = "network.openshift.io/v1" if kind == "EgressNetworkPolicy" else "k8s.ovn.org/v1"
    metadata = f"{{name: {name}, namespace: shop}}"
    return f"---\n{{apiVersion: {api}, kind: {kind}, metadata: {metadata}, spec: {{egress: {rules}}}}}\n"
