"""All layers of a flow together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.policy.worlds import PROXY, firewall, policy, rulings, verdict, world

from ferryman.policy.flows import Endpoint, Question, Target
from ferryman.policy.objects import Cni

ROUTER = "{from: [{namespaceSelector: {matchLabels: {policy-group.network.openshift.io/ingress: ''}}}]}"
LEGACY = "{from: [{namespaceSelector: {matchLabels: {network.openshift.io/policy-group: ingress}}}]}"
HOST = "{from: [{namespaceSelector: {matchLabels: {policy-group.network.openshift.io/host-network: ''}}}]}"
NODES = Question(targets=(Target("10.0.0.5", 30123),), endpoint=Endpoint.NODE_PORT)


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        (policy(f"{{ingress: [{ROUTER}]}}"), PROXY, "ALLOWED"),
        (policy(f"{{ingress: [{LEGACY}]}}"), PROXY, "ALLOWED"),
        (policy(f"{{ingress: [{HOST}]}}"), PROXY, "UNKNOWN"),  # openshift-ingress is not known to be labelled so
        (policy(f"{{ingress: [{HOST}]}}"), replace(PROXY, router_on_host=True), "ALLOWED"),
        (policy("{ingress: [{from: [{podSelector: {}}]}]}"), PROXY, "DENIED"),
        (policy("{ingress: [{ports: [{port: 443}]}]}"), PROXY, "DENIED"),  # the route's port is not the pod's
        (policy("{ingress: [{ports: [{port: 6443}]}]}"), PROXY, "ALLOWED"),
        (policy("{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"), PROXY, "UNKNOWN"),
        (policy("{}"), NODES, "DENIED"),
        (policy("{ingress: [{ports: [{port: 6443}]}]}"), NODES, "ALLOWED"),
        (policy("{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"), NODES, "UNKNOWN"),
        (policy("{policyTypes: [Egress]}", namespace="openshift-ingress"), PROXY, "DENIED"),
        (firewall("EgressFirewall", "[{type: Deny, to: {cidrSelector: 0.0.0.0/0}}]"), NODES, "UNKNOWN"),
    ],
)
def test_into_the_destination(text: str, question: Question, expected: str) -> None:
    assert verdict(world(text), "F3", question) == expected


def test_a_denial_counts_more_than_a_doubt_and_all_denials_are_shown() -> None:
    text = policy("{policyTypes: [Egress]}") + firewall(
        "EgressFirewall", "[{type: Deny, to: {cidrSelector: 0.0.0.0/0}}]"
    )
    ruling = rulings(world(text))["F2"]
    assert [layer.stage.value for layer in ruling.blocking] == ["NetworkPolicy, egress", "egress firewall"]
    unsure = rulings(world(text), replace(PROXY, proxy=Target("p.example", 3128)))["F2"]
    assert unsure.verdict.value == "DENIED"
    assert [layer.stage.value for layer in unsure.blocking] == ["NetworkPolicy, egress"]


def test_what_allows_is_named() -> None:
    text = policy("{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}")
    assert (
        str(rulings(world(text, Cni.OVN))["F2"].decisive.causes[0])
        == "NetworkPolicy shop/p spec.egress[0] (x.yaml:2:134)"
    )


def test_the_resolver_is_asked_only_for_names() -> None:
    assert "F1" not in rulings(world(""))
    shut = world(policy("{policyTypes: [Egress]}"))
    assert verdict(shut, "F1", Question()) == "DENIED"
    named = policy("{policyTypes: [Egress], egress: [{ports: [{port: dns, protocol: UDP}]}]}")
    assert verdict(world(named), "F1", Question()) == "ALLOWED"
