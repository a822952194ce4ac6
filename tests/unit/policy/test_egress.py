# ruff: noqa: E501 - a table reads best across
"""EgressNetworkPolicy and EgressFirewall, rule by rule."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from tests.unit.policy.worlds import firewall, world

from ferryman.policy.answer import Doubt
from ferryman.policy.egress import judge
from ferryman.policy.flows import Plane, client, server
from ferryman.policy.networking import Connection, Outside
from ferryman.policy.objects import Cni

POD = client(Plane.FS, "shop")
PROXY = Outside("192.0.2.7", ip_address("192.0.2.7"))
NAMED = Outside("p.example", ip_address("192.0.2.7"))
UNKNOWN = Outside("p.example")
ALLOW = "{type: Allow, to: {cidrSelector: 192.0.2.0/24}}"
DENY = "{type: Deny, to: {cidrSelector: 0.0.0.0/0}}"
NAME = "{type: Allow, to: {dnsName: p.example}}"
SDN, OVN = "EgressNetworkPolicy", "EgressFirewall"


def asked(text: str, end: Outside = PROXY, port: int | None = 3128, cni: Cni | None = None, **known: str) -> object:
    addresses = {name.replace("_", "."): frozenset({ip_address(each)}) for name, each in known.items()}
    answer = judge(world(text, cni), "shop", Connection(POD, end, "TCP", port), addresses).answer
    return answer.reason if isinstance(answer, Doubt) else answer


@pytest.mark.parametrize("kind", [SDN, OVN])
@pytest.mark.parametrize(
    ("rules", "end", "expected"),
    [
        ("[]", PROXY, True),
        (f"[{DENY}]", PROXY, False),
        (f"[{ALLOW}, {DENY}]", PROXY, True),
        (f"[{DENY}, {ALLOW}]", PROXY, False),
        ("[{type: Deny, to: {cidrSelector: 198.51.100.0/24}}]", PROXY, True),
        (f"[{NAME}, {DENY}]", NAMED, True),
        (f"[{NAME}, {DENY}]", PROXY, "the addresses of p.example are not known"),
        (f"[{NAME}, {ALLOW}, {DENY}]", PROXY, True),  # that is allowed whatever the name means
        (f"[{NAME}, {DENY}]", UNKNOWN, True),
        (f"[{ALLOW}, {DENY}]", UNKNOWN, "the address of p.example is not known"),
        (f"[{ALLOW}]", UNKNOWN, True),
    ],
)
def test_the_first_that_matches(kind: str, rules: str, end: Outside, expected: object) -> None:
    assert asked(firewall(kind, rules), end) == expected


def test_names_and_their_addresses() -> None:
    text = firewall(OVN, f"[{NAME}, {DENY}]")
    assert asked(text, PROXY, p_example="192.0.2.7") is True
    assert asked(text, PROXY, p_example="192.0.2.8") is False


@pytest.mark.parametrize(("name", "allowed"), [("a.b.example", True), ("x.a.b.example", False), ("b.example", False)])
def test_a_star_is_exactly_one_label(name: str, allowed: bool) -> None:
    text = firewall(OVN, "[{type: Allow, to: {dnsName: '*.b.example'}}, {type: Deny, to: {cidrSelector: 0.0.0.0/0}}]")
    answer = asked(text, Outside(name, ip_address("192.0.2.7")))
    assert (answer is True) == allowed


def test_ports_of_the_egress_firewall() -> None:
    rule = "{type: Allow, to: {cidrSelector: 192.0.2.7/32}, ports: [{protocol: TCP, port: 3128}]}"
    text = firewall(OVN, f"[{rule}, {DENY}]")
    assert asked(text) is True
    assert asked(text, port=3129) is False
    assert asked(text, port=None) == "the port is not known"


def test_nodes() -> None:
    rules = "[{type: Allow, to: {nodeSelector: {matchLabels: {r: w}}}}, {type: Deny, to: {cidrSelector: 0.0.0.0/0}}]"
    text = firewall(OVN, rules)
    assert asked(text) == "whether 192.0.2.7 is a node of this cluster is not known"
    node = "---\n{apiVersion: v1, kind: Node, metadata: {name: n, labels: {r: %s}}, status: {addresses: [{type: InternalIP, address: 192.0.2.7}]}}\n"
    assert asked(text + node % "w") is True
    assert asked(text + node % "x") is False


def test_two_egress_network_policies_drop_everything() -> None:
    text = firewall(SDN, "[]", "a") + firewall(SDN, f"[{ALLOW}]", "b")
    assert asked(text) is False
    assert asked(text, cni=Cni.OVN) is True


def test_only_the_one_named_default_counts() -> None:
    assert asked(firewall(OVN, f"[{DENY}]", "other")) is True
    assert asked(firewall(OVN, f"[{DENY}]", "default")) is False


def test_each_network_plugin_obeys_its_own() -> None:
    assert asked(firewall(OVN, f"[{DENY}]"), cni=Cni.SDN) is True
    assert asked(firewall(SDN, f"[{DENY}]"), cni=Cni.OVN) is True
    both = firewall(SDN, f"[{DENY}]") + firewall(OVN, f"[{ALLOW}]")
    assert "do not agree" in str(asked(both))
    assert asked(both, cni=Cni.OVN) is True


def test_what_openshift_sdn_makes_of_a_host_that_is_none() -> None:
    assert asked(firewall(SDN, "[{type: Deny, to: {cidrSelector: 0.0.0.0/32}}]")) is False
    assert asked(firewall(OVN, "[{type: Deny, to: {cidrSelector: 0.0.0.0/32}}]")) is True


def test_what_stays_in_the_cluster_is_not_looked_at() -> None:
    found = world(firewall(SDN, f"[{DENY}]"))
    assert judge(found, "shop", Connection(POD, server(Plane.FS, "x"), "TCP", 6443), {}).answer is True
