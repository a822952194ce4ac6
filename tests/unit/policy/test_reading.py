# ruff: noqa: E501 - a table reads best across
"""Manifests to policies: what is understood, and how what is not is told."""

from __future__ import annotations

import pytest
from tests.unit.policy.worlds import PROXY, firewall, policy, reading, rulings, world

from ferryman.policy.objects import Block, Cni, Direction, Pods, Port
from ferryman.policy.reading import build, counts

SDN, OVN = "EgressNetworkPolicy", "EgressFirewall"


def errors(text: str) -> list[str]:
    """Errors, each without the place and the object; the policy has to be among the broken."""
    found = reading(text)
    built = build(found, "shop")
    assert sum(map(len, built.broken.values())) == 1
    assert not built.policies
    assert not built.egress_network_policies
    assert all(each.mark and each.mark.line >= 2 for each in found.diagnostics.found)
    return [f"{each.message}; {each.hint}".split(": ", 1)[1] for each in found.diagnostics.found]


def test_a_policy() -> None:
    (found,) = world(
        policy(
            "{podSelector: {matchLabels: {a: b}}, ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80, endPort: 90}]}]}"
        )
    ).policies["shop"]
    assert found.directions == {Direction.INGRESS}
    (rule,) = found.rules(Direction.INGRESS)
    assert rule.ports == (Port("TCP", 80, 90),)
    assert isinstance(rule.peers[0], Pods)
    assert isinstance(rule.peers[1], Block)
    assert found.rules(Direction.EGRESS) == ()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{podselector: {}}", "`spec` has no field `podselector`; did you mean 'podSelector'?"),
        (
            "{podSelector: {matchlabels: {a: b}}}",
            "`podSelector` has no field `matchlabels`; did you mean 'matchLabels'?",
        ),
        ("{podSelector: {app: web}}", "`podSelector` has no field `app`; there are matchLabels, matchExpressions"),
        ("{podSelector: []}", "`podSelector` takes a mapping, this is a list; "),
        ("{podSelector: {matchLabels: {a: 1}}}", '`a` takes text, this is a number; quote it: "1"'),
        ("{podSelector: {matchLabels: {a: no}}}", '`a` takes text, this is true or false; quote it: "false"'),
        ("{podSelector: {matchLabels: {a: 'b c'}}}", "'b c' cannot be the value of a label; "),
        (
            "{podSelector: {matchLabels: {a: <app>}}}",
            "'<app>' cannot be the value of a label; <app> is a placeholder: write what belongs there",
        ),
        ("{podSelector: {matchLabels: {'a b': c}}}", "'a b' cannot be the key of a label; "),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}",
            "`operator` is one of In, NotIn, Exists, DoesNotExist, not 'in'; did you mean 'In'?",
        ),
        ("{podSelector: {matchExpressions: [{key: a, operator: In}]}}", "`In` needs values; "),
        ("{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}", "`Exists` takes no values; "),
        (
            "{podSelector: {matchExpressions: {key: a}}}",
            "`matchExpressions` takes a list, this is a mapping; begin each entry with `- `",
        ),
        ("{policyTypes: [ingress]}", "`policyTypes` is one of Ingress, Egress, not 'ingress'; did you mean 'Ingress'?"),
        ("{policyTypes: Egress}", "`policyTypes` takes a list, this is text; begin each entry with `- `"),
        ("{ingress: {}}", "`ingress` takes a list, this is a mapping; begin each entry with `- `"),
        ("{ingress: [~]}", "an entry is empty; write `- {}` for a rule that lets everything through"),
        ("{ingress: [{to: []}]}", "`ingress` has no field `to`; there are from, ports"),
        ("{egress: [{from: []}]}", "`egress` has no field `from`; there are to, ports"),
        ("{ingress: [{from: [{}]}]}", "an entry selects nothing; it takes ipBlock, podSelector or namespaceSelector"),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
            "`ipBlock` cannot be together with a selector; make it an entry of its own: `- ipBlock:`",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]}",
            "`cidr`: '10.0.0.1' is no address range: it needs the length of its prefix; write 10.0.0.1/32",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}",
            "`cidr`: '10.0.0.0/33' is no address range: the address is none; ",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: any/0}}]}]}",
            "`cidr`: 'any/0' is no address range: it is not made of numbers; ",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 010.0.0.0/8}}]}]}",
            "`cidr`: '010.0.0.0/8' is no address range: the address is none; ",
        ),
        ("{ingress: [{from: [{ipBlock: {}}]}]}", "`cidr` takes text, this is missing; "),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}",
            "`except` 11.0.0.0/16 does not lie inside of `cidr` 10.0.0.0/8; ",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['::/0']}}]}]}",
            "`except` ::/0 does not lie inside of `cidr` 10.0.0.0/8; ",
        ),
        ("{ingress: [{ports: [{port: '6443'}]}]}", "'6443' cannot be the name of a port; a number is not quoted: 6443"),
        (
            "{ingress: [{ports: [{port: 0}]}]}",
            "`port` is a number from 1 to 65535, or the name that the pod gives it; ",
        ),
        (
            "{ingress: [{ports: [{port: 65536}]}]}",
            "`port` is a number from 1 to 65535, or the name that the pod gives it; ",
        ),
        (
            "{ingress: [{ports: [{port: 80, protocol: tcp}]}]}",
            "`protocol` is one of TCP, UDP, SCTP, not 'tcp'; did you mean 'TCP'?",
        ),
        ("{ingress: [{ports: [{port: 80, endPort: 79}]}]}", "`endPort` 79 is below `port` 80; "),
        ("{ingress: [{ports: [{endPort: 79}]}]}", "`endPort` needs a `port` that is a number; "),
        ("{ingress: [{ports: [{port: http, endPort: 79}]}]}", "`endPort` needs a `port` that is a number; "),
        ("~", "it has no `spec`; "),
        ("[]", "`spec` takes a mapping, this is a list; "),
    ],
)
def test_what_is_wrong_with_a_network_policy(spec: str, expected: str) -> None:
    assert errors(policy(spec)) == [expected]


@pytest.mark.parametrize(
    ("kind", "rules", "expected"),
    [
        (
            SDN,
            "[{type: deny, to: {cidrSelector: 10.0.0.0/8}}]",
            "`type` is one of Allow, Deny, not 'deny'; did you mean 'Deny'?",
        ),
        (SDN, "[{to: {cidrSelector: 10.0.0.0/8}}]", "`type` is one of Allow, Deny, not missing; "),
        (SDN, "[{type: Deny}]", "`to` needs exactly one of cidrSelector, dnsName; "),
        (
            SDN,
            "[{type: Deny, to: {cidrSelector: 10.0.0.0/8, dnsName: a.example}}]",
            "`to` needs exactly one of cidrSelector, dnsName; ",
        ),
        (
            SDN,
            "[{type: Deny, to: {cidrSelector: '::/0'}}]",
            "`cidrSelector`: ::/0 is IPv6, and this kind of object takes IPv4 only; ",
        ),
        (
            SDN,
            "[{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{port: 1}]}]",
            "`egress` has no field `ports`; there are type, to",
        ),
        (SDN, "[{type: Deny, to: {dnsName: '*.example'}}]", "'*.example' is no name that can be looked up; "),
        (SDN, "[{type: Deny, to: {dnsName: 'a b'}}]", "'a b' is no name that can be looked up; "),
        (
            OVN,
            "[{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{protocol: TCP}]}]",
            "`port` is a number from 1 to 65535; ",
        ),
        (
            OVN,
            "[{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{port: http}]}]",
            "`port` is a number from 1 to 65535; ",
        ),
        (OVN, "[{type: Deny, to: {}}]", "`to` needs exactly one of cidrSelector, dnsName, nodeSelector; "),
        (OVN, "~", "`egress` is missing; it is the list of rules, and may be []"),
        (
            SDN,
            "[{type: Deny, to: {cidrSelector: <cidr>}}]",
            "`cidrSelector`: <cidr> is a placeholder; write the range that it stands for; mind that `type: Deny` shuts it, Allow opens it",
        ),
        (
            SDN,
            "[{type: Allow, to: {cidrSelector: <cidr>}}]",
            "`cidrSelector`: <cidr> is a placeholder; write the range that it stands for",
        ),
    ],
)
def test_what_is_wrong_with_an_egress_firewall(kind: str, rules: str, expected: str) -> None:
    assert errors(firewall(kind, rules)) == [expected]


def test_too_many_rules() -> None:
    rules = "[" + ", ".join(["{type: Deny, to: {cidrSelector: 10.0.0.0/8}}"] * 1001) + "]"
    assert errors(firewall(SDN, rules)) == ["there are 1001 rules, 1000 are possible; "]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("{name: <name>}", "the name <name> is a placeholder; write the name that belongs there"),
        (
            "{name: p, namespace: <namespace>}",
            "the namespace <namespace> is a placeholder; write the name that belongs there",
        ),
        ("{name: Big}", "'Big' cannot be a name; it has small letters, digits and - only"),
        ("{namespace: shop}", "it has no name; every object needs `metadata.name`"),
    ],
)
def test_names(metadata: str, expected: str) -> None:
    text = f"---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {metadata}, spec: {{}}}}"
    assert errors(text) == [expected]


def test_the_wrong_api() -> None:
    text = "---\n{apiVersion: k8s.ovn.org/v1, kind: EgressNetworkPolicy, metadata: {name: a}, spec: {egress: []}}"
    assert errors(text) == ["there is no EgressNetworkPolicy in k8s.ovn.org/v1; write network.openshift.io/v1"]


def test_a_broken_policy_makes_its_namespace_unknown_and_no_other() -> None:
    found = reading(policy("{podSelector: {app: web}}"))
    built = build(found)
    assert rulings(built)["F2"].verdict.value == "UNKNOWN"
    assert rulings(built, namespace="bank")["F2"].verdict.value == "ALLOWED"
    nowhere = build(reading(policy("{}", namespace="<namespace>")))
    assert rulings(nowhere, namespace="bank")["F2"].verdict.value == "UNKNOWN"


def test_text_that_cannot_be_read_makes_all_unknown() -> None:
    built = build(reading("a: [\n"))
    assert {each.verdict.value for each in rulings(built).values()} == {"UNKNOWN"}
    assert "not all manifests could be read: x.yaml:" in rulings(built)["F2"].decisive.reason


@pytest.mark.parametrize(
    "api",
    [
        "policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy",
        "crd.projectcalico.org/v1, kind: NetworkPolicy",
        "cilium.io/v2, kind: CiliumNetworkPolicy",
    ],
)
def test_kinds_that_are_not_evaluated_make_unknown(api: str) -> None:
    ruling = rulings(build(reading(f"{{apiVersion: {api}, metadata: {{name: a, namespace: shop}}}}"), "shop"))["F2"]
    assert ruling.verdict.value == "UNKNOWN"
    assert "which is not evaluated" in ruling.decisive.reason


def test_other_kinds_are_left_alone() -> None:
    found = reading("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {podSelector: 1}}")
    built = build(found)
    assert found.diagnostics.found == []
    assert not counts(found.manifests[0])
    assert rulings(built)["F2"].verdict.value == "ALLOWED"


def test_of_two_objects_with_one_name_the_later_counts() -> None:
    built = world(policy("{policyTypes: [Egress]}") + policy("{policyTypes: [Egress], egress: [{}]}"))
    assert rulings(built)["F2"].verdict.value == "ALLOWED"
    assert len(built.replaced) == 1
    apart = world(policy("{policyTypes: [Egress]}") + policy("{policyTypes: [Egress], egress: [{}]}", namespace="bank"))
    assert not apart.replaced


def test_objects_without_a_namespace_are_of_the_default_one() -> None:
    text = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {policyTypes: [Egress]}}"
    assert rulings(world(text, default="shop"), PROXY)["F2"].verdict.value == "DENIED"
    assert rulings(world(text, default="default"), PROXY)["F2"].verdict.value == "ALLOWED"


@pytest.mark.parametrize(
    ("name", "cni"), [("OpenShiftSDN", Cni.SDN), ("OVNKubernetes", Cni.OVN), ("Calico", Cni.OTHER)]
)
def test_the_network_plugin_that_the_cluster_says(name: str, cni: Cni) -> None:
    text = f"{{apiVersion: config.openshift.io/v1, kind: Network, metadata: {{name: cluster}}, status: {{networkType: {name}}}}}"
    assert world(text).cni is cni
    assert world(text, Cni.SDN).cni is Cni.SDN
