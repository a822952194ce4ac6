# ruff: noqa: E501 - a table reads best across
"""Policies that are valid, and do not do what was meant."""

from __future__ import annotations

import pytest
from tests.unit.policy.worlds import firewall, policy, world

from ferryman.config.source import Diagnostics
from ferryman.policy.flows import Plane
from ferryman.policy.mistakes import find, find_needless
from ferryman.policy.objects import Cni

SDN, OVN = "EgressNetworkPolicy", "EgressFirewall"
DENY = "{type: Deny, to: {cidrSelector: 0.0.0.0/0}}"
ALLOW = "{type: Allow, to: {cidrSelector: 192.0.2.0/24}}"
OWNED = "podSelector: {matchLabels: {owner: directvolumemigration}}"
FS = "podSelector: {matchLabels: {owner: directvolumemigration, app: directvolumemigration-rsync-transfer}}"
BOTH = "podSelector: {matchExpressions: [{key: app, operator: In, values: [directvolumemigration-rsync-transfer, directvolumemigration-rsync-transfer-block]}]}"


def said(text: str, cni: Cni | None = None, planes: tuple[Plane, ...] = tuple(Plane)) -> list[str]:
    diagnostics = Diagnostics()
    find(world(text, cni), planes, diagnostics)
    assert all(each.severity == "warning" and each.mark for each in diagnostics.found)
    return [f"{each.mark}: {each.message}; {each.hint}" for each in diagnostics.found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policy("{}") + policy("{ingress: [{}]}"), "x.yaml:4:74: NetworkPolicy shop/p replaces the one at x.yaml:2:74"),
        (policy(f"{{{FS}, ingress: [{{}}]}}"), "those with app=directvolumemigration-rsync-transfer-block carry volumes, too"),
        (policy(f"{{ingress: [{{from: [{{{OWNED}}}]}}]}}"), "it is the router that connects to them"),
        ("---\n{apiVersion: extensions/v1beta1, kind: NetworkPolicy, metadata: {name: a}, spec: {}}", "extensions/v1beta1 is gone"),
        (firewall(SDN, "[]", "a") + firewall(SDN, "[]", "b"), "namespace shop has more than one EgressNetworkPolicy, the first at x.yaml:2:83: OpenShift SDN then drops everything"),
        (firewall(OVN, "[]", "other"), "only an EgressFirewall named `default` counts"),
        (firewall(SDN, f"[{DENY}, {ALLOW}]"), "rule 2 never counts, as rule 1 denies 0.0.0.0/0 before it; move it before rule 1"),
        (firewall(OVN, f"[{DENY}, {ALLOW}]"), "rule 2 never counts"),
        (firewall(OVN, f"[{{type: Allow, to: {{dnsName: p.example}}}}, {DENY}]"), "counts only once the cluster has resolved it"),
        (firewall(SDN, "[]").replace("namespace: shop", "namespace: default"), "rejects an EgressNetworkPolicy in the global project"),
    ],
)  # fmt: skip
def test_what_is_said(text: str, expected: str) -> None:
    (found,) = said(text)
    assert expected in found


@pytest.mark.parametrize(
    "text",
    [
        policy("{}") + policy("{}", namespace="bank"),
        policy("{}") + policy("{}"),
        firewall(SDN, f"[{DENY}]") + firewall(SDN, f"[{ALLOW}, {DENY}]"),
        policy(f"{{{BOTH}, ingress: [{{}}]}}"),
        policy(f"{{{OWNED}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}"),
        firewall(SDN, f"[{ALLOW}, {DENY}]"),
        firewall(OVN, f"[{ALLOW}, {DENY}]") + firewall(SDN, "[]"),
        firewall(
            OVN, f"[{{type: Deny, to: {{cidrSelector: 0.0.0.0/0}}, ports: [{{port: 25, protocol: TCP}}]}}, {ALLOW}]"
        ),
    ],
)
def test_nothing_is_said(text: str) -> None:
    assert said(text) == []


def test_what_the_network_plugin_does_not_obey() -> None:
    assert "has no effect" in said(firewall(SDN, "[]"), Cni.OVN)[0]
    assert "has no effect" in said(firewall(OVN, "[]"), Cni.SDN)[0]
    assert said(firewall(OVN, "[]"), Cni.OVN) == []


def test_policies_that_help_in_the_other_cluster_only() -> None:
    leaving = world(policy(f"{{{OWNED}, policyTypes: [Egress], egress: [{{}}]}}"))
    entering = world(policy(f"{{{OWNED}, policyTypes: [Ingress], ingress: [{{}}]}}"))
    diagnostics = Diagnostics()
    find_needless(leaving, entering, diagnostics)
    assert diagnostics.found == []
    find_needless(entering, leaving, diagnostics)
    assert [each.message.rpartition(": ")[2] for each in diagnostics.found] == [
        "nobody connects to the source's pods",
        "the destination's pods connect to nobody, and replies always pass",
    ]


def test_one_plane_is_enough_where_no_other_is_meant() -> None:
    assert said(policy(f"{{{FS}, ingress: [{{}}]}}"), planes=(Plane.FS,)) == []
