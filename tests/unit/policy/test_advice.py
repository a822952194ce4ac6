# ruff: noqa: E501 - a table reads best across
"""The smallest change, case by case. That it is enough, and no more, is tested by chance in test_against_oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.unit.policy.worlds import PROXY, both, firewall, policy, world

from ferryman.policy.advice import Advice, advise, text
from ferryman.policy.flows import Endpoint, Plane, Question, Target
from ferryman.policy.objects import Cni, World
from ferryman.policy.survey import survey

SHUT = policy("{policyTypes: [Ingress, Egress]}")
DENY = "[{type: Deny, to: {cidrSelector: 0.0.0.0/0}}]"


def advice(one: World, question: Question = PROXY, to: str = "shop") -> Advice:
    return advise(both(one), survey(both(one), question, [("shop", to)]), question.known)


def objects(given: Advice) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(given.changes)))


def rules(given: Advice) -> list[Any]:
    """The rules of all new policies."""
    return [rule for each in objects(given) for part in ("egress", "ingress") for rule in each["spec"].get(part, [])]


def test_nothing_where_nothing_isolates() -> None:
    assert advice(world("")) == Advice()
    assert objects(advice(world(policy("{podSelector: {matchLabels: {a: b}}}")))) == []


def test_only_the_plane_that_is_isolated() -> None:
    spec = "{podSelector: {matchLabels: {app: directvolumemigration-rsync-transfer-block}}, policyTypes: [Egress]}"
    (new,) = objects(advice(world(policy(spec)), replace(PROXY, planes=tuple(Plane))))
    assert new["spec"]["podSelector"]["matchExpressions"][0]["values"] == [Plane.BLOCK.value]
    assert new["spec"]["policyTypes"] == ["Egress"]


def test_a_name_of_its_own() -> None:
    taken = policy("{policyTypes: [Egress]}", "allow-dvm-egress") + policy(
        "{podSelector: {matchLabels: {a: b}}}", "allow-dvm-egress-2"
    )
    assert [each["metadata"]["name"] for each in objects(advice(world(taken)))] == ["allow-dvm-egress-3"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (PROXY, [
            {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"policy-group.network.openshift.io/ingress": ""}}}],
             "ports": [{"protocol": "TCP", "port": 6443}]},
        ]),
        (replace(PROXY, proxy=Target("2001:db8::7", 3128), router_on_host=True), [
            {"to": [{"ipBlock": {"cidr": "2001:db8::7/128"}}], "ports": [{"protocol": "TCP", "port": 3128}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"policy-group.network.openshift.io/host-network": ""}}}],
             "ports": [{"protocol": "TCP", "port": 6443}]},
        ]),
        (replace(PROXY, proxy=None, targets=(Target("10.0.0.5", 30123),), endpoint=Endpoint.NODE_PORT), [
            {"to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}], "ports": [{"protocol": "TCP", "port": 30123}]},
            {"ports": [{"protocol": "TCP", "port": 6443}]},
        ]),
        (replace(PROXY, proxy=Target("squid.tools.svc.cluster.local", 3128), dns=("kube-system", 53)), [
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
             "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}}}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"policy-group.network.openshift.io/ingress": ""}}}],
             "ports": [{"protocol": "TCP", "port": 6443}]},
        ]),
    ],
)  # fmt: skip
def test_the_rules(question: Question, expected: object) -> None:
    assert rules(advice(world(SHUT), question)) == expected


def test_within_one_cluster() -> None:
    isolated = world(SHUT + policy("{}", namespace="bank"))
    given = advice(isolated, replace(PROXY, proxy=None, endpoint=Endpoint.CLUSTER_IP), "bank")
    assert [each["metadata"]["namespace"] for each in objects(given)] == ["shop", "bank"]
    there, back = rules(given)
    assert there["to"][0]["podSelector"]["matchLabels"]["purpose"] == "rsync"
    assert back["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "shop"}
    assert "purpose" not in back["from"][0]["podSelector"]["matchLabels"]


def test_every_address_is_let_through() -> None:
    question = replace(PROXY, proxy=None, targets=(Target("203.0.113.1"), Target("203.0.113.2")))
    (patched,) = objects(advice(world(firewall("EgressFirewall", DENY)), question))
    assert [each["to"]["cidrSelector"] for each in patched["spec"]["egress"]] == [
        "203.0.113.1/32",
        "203.0.113.2/32",
        "0.0.0.0/0",
    ]
    assert patched["spec"]["egress"][0]["ports"] == [{"protocol": "TCP", "port": 443}]


def test_a_name_where_no_address_is_known() -> None:
    question = replace(PROXY, proxy=Target("p.example", 3128))
    given = advice(world(firewall("EgressNetworkPolicy", "[{type: Deny, to: {dnsName: p.example}}]")), question)
    assert objects(given)[0]["spec"]["egress"][0] == {"type": "Allow", "to": {"dnsName": "p.example"}}


def test_what_the_server_adds_to_objects_is_left_out() -> None:
    metadata = "name: default, namespace: shop, uid: u, resourceVersion: '1', labels: {a: b}, annotations: {kubectl.kubernetes.io/last-applied-configuration: x}"
    text = firewall("EgressFirewall", DENY).replace("name: default, namespace: shop", metadata)
    text = text.replace("}}]}}", "}}]}, status: {status: applied}}")
    (patched,) = objects(advice(world(text)))
    assert patched["metadata"] == {"name": "default", "namespace": "shop", "labels": {"a": "b"}}
    assert "status" not in patched


@pytest.mark.parametrize(
    ("text", "question", "said"),
    [
        (firewall("EgressNetworkPolicy", "[]", "a") + firewall("EgressNetworkPolicy", "[]", "b"), PROXY, "into one of them"),
        (SHUT, replace(PROXY, proxy=None, targets=()), "takes addresses only"),
        (policy("{}", namespace="openshift-dns"), replace(PROXY, proxy=Target("p.example", 1)), "which is not the migration's to change"),
        (policy("{podSelector: {matchLabels: {migration.openshift.io/created-for-pvc: x}}, policyTypes: [Egress]}"), PROXY, "nothing to add, as it is not known"),
    ],
)  # fmt: skip
def test_what_is_said_in_words(text: str, question: Question, said: str) -> None:
    given = advice(world(text, Cni.SDN), question)
    assert any(said in words for words in given.words), given.words


def test_servers_are_not_isolated_with_clients() -> None:
    """A policy isolates clients' pods alone: the new one leaves servers' alone, too."""
    spec = "{podSelector: {matchExpressions: [{key: purpose, operator: DoesNotExist}]}, policyTypes: [Egress]}"
    (new,) = objects(advice(world(policy(spec))))
    assert {"key": "purpose", "operator": "DoesNotExist"} in new["spec"]["podSelector"]["matchExpressions"]
