# ruff: noqa: E501 - a table reads best across
"""NetworkPolicy, case by case, as https://kubernetes.io/docs/concepts/services-networking/network-policies/ has it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from tests.unit.policy.worlds import policy, world

from ferryman.policy.answer import Doubt
from ferryman.policy.networking import Anybody, Connection, End, Host, Outside, Pod, judge
from ferryman.policy.objects import Cni, Direction, Labels

NAMESPACES = """
---
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: myproject, labels: {project: myproject}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: other}}
"""
DB = Pod("default", Labels({"role": "db"}, "db"), (("redis", "TCP", 6379),))
FRONTEND = Pod("default", Labels({"role": "frontend"}, "frontend"))
PLAIN = Pod("default", Labels({}, "plain"))
IN_PROJECT = Pod("myproject", Labels({"role": "client"}, "client"))
ELSEWHERE = Pod("other", Labels({"role": "frontend"}, "elsewhere"))

DOCUMENTED = """
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {project: myproject}}
    - podSelector: {matchLabels: {role: frontend}}
    ports:
    - {protocol: TCP, port: 6379}
  egress:
  - to:
    - ipBlock: {cidr: 10.0.0.0/24}
    ports:
    - {protocol: TCP, port: 5978}
"""


def at(address: str) -> Outside:
    return Outside(address, ip_address(address))


def ingress(
    spec: str, source: End, to: Pod = DB, port: int = 6379, protocol: str = "TCP", cni: Cni | None = None
) -> object:
    """Whether a connection may enter: True, False, or the reason of the doubt."""
    text = f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: default}}\nspec:\n{spec}"
    answer = judge(world(NAMESPACES + text, cni), Connection(source, to, protocol, port), Direction.INGRESS).answer
    return answer.reason if isinstance(answer, Doubt) else answer


@pytest.mark.parametrize(
    ("source", "port", "expected"),
    [
        (FRONTEND, 6379, True),
        (FRONTEND, 6380, False),
        (PLAIN, 6379, "whether an ipBlock means the address of plain in default depends on the network plugin"),
        (IN_PROJECT, 6379, True),
        (at("172.17.0.5"), 6379, True),
        (at("172.17.1.5"), 6379, False),
        (at("172.17.2.0"), 6379, True),
        (at("172.18.0.1"), 6379, False),
        (at("::1"), 6379, False),
    ],
)
def test_the_documented_example(source: End, port: int, expected: object) -> None:
    assert ingress(DOCUMENTED, source, port=port) == expected


def test_the_documented_example_selects_nobody_else() -> None:
    assert ingress(DOCUMENTED, at("172.18.0.1"), to=PLAIN) is True


@pytest.mark.parametrize(
    ("address", "port", "allowed"), [("10.0.0.9", 5978, True), ("10.0.0.9", 80, False), ("10.0.1.9", 5978, False)]
)
def test_the_documented_example_on_the_way_out(address: str, port: int, allowed: bool) -> None:
    text = f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: default}}\nspec:\n{DOCUMENTED}"
    assert judge(world(text), Connection(DB, at(address), "TCP", port), Direction.EGRESS).answer is allowed


@pytest.mark.parametrize(
    ("spec", "enters", "leaves"),
    [
        ("{podSelector: {}, policyTypes: [Ingress]}", False, True),
        ("{podSelector: {}, policyTypes: [Egress]}", True, False),
        ("{podSelector: {}, policyTypes: [Ingress, Egress]}", False, False),
        ("{podSelector: {}, ingress: [{}], policyTypes: [Ingress]}", True, True),
        ("{podSelector: {}, egress: [{}], policyTypes: [Egress]}", True, True),
        # without policyTypes: always ingress, egress only where there are rules for it
        ("{podSelector: {}}", False, True),
        ("{}", False, True),
        ("{podSelector: {}, ingress: []}", False, True),
        ("{podSelector: {}, egress: []}", False, True),
        ("{podSelector: {}, egress: [{}]}", False, True),
        ("{podSelector: {}, egress: [{ports: [{port: 53}]}]}", False, False),
        # a direction that policyTypes leave out is not looked at
        ("{podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: [{ports: [{port: 1}]}]}", True, True),
    ],
)
def test_default_policies_and_types(spec: str, enters: bool, leaves: bool) -> None:
    found = world(policy(spec, namespace="default"))
    connection = Connection(at("192.0.2.1"), PLAIN, "TCP", 80)
    assert judge(found, connection, Direction.INGRESS).answer is enters
    connection = Connection(PLAIN, at("192.0.2.1"), "TCP", 80)
    assert judge(found, connection, Direction.EGRESS).answer is leaves


@pytest.mark.parametrize(
    ("peers", "source", "expected"),
    [
        # one entry with both selectors: and; two entries: or
        ("[{namespaceSelector: {matchLabels: {project: myproject}}, podSelector: {matchLabels: {role: client}}}]", IN_PROJECT, True),
        ("[{namespaceSelector: {matchLabels: {project: myproject}}, podSelector: {matchLabels: {role: x}}}]", IN_PROJECT, False),
        ("[{namespaceSelector: {matchLabels: {project: myproject}}}, {podSelector: {matchLabels: {role: x}}}]", IN_PROJECT, True),
        # a pod selector alone is for the policy's own namespace
        ("[{podSelector: {matchLabels: {role: frontend}}}]", ELSEWHERE, False),
        ("[{podSelector: {}}]", FRONTEND, True),
        ("[{podSelector: {}}]", ELSEWHERE, False),
        # empty is everything
        ("[{namespaceSelector: {}}]", ELSEWHERE, True),
        ("[{namespaceSelector: {}, podSelector: {matchLabels: {role: frontend}}}]", ELSEWHERE, True),
        ("[{namespaceSelector: {}}]", at("192.0.2.1"), False),
        ("[]", at("192.0.2.1"), True),
        # every namespace carries its name
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}}]", ELSEWHERE, True),
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}}]", IN_PROJECT, False),
        # expressions
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: Exists}]}}]", IN_PROJECT, True),
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: DoesNotExist}]}}]", ELSEWHERE, True),
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: NotIn, values: [x]}]}}]", ELSEWHERE, True),
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: NotIn, values: [myproject]}]}}]", IN_PROJECT, False),
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: In, values: [x, myproject]}]}}]", IN_PROJECT, True),
        ("[{namespaceSelector: {matchExpressions: [{key: project, operator: In, values: [x]}]}}]", ELSEWHERE, False),
        # what runs on the nodes' network is seen by its namespace alone
        ("[{namespaceSelector: {matchLabels: {h: ''}}}]", Host(Labels({"h": ""}, "host")), True),
        ("[{namespaceSelector: {matchLabels: {h: ''}}, podSelector: {}}]", Host(Labels({"h": ""}, "host")), True),
        ("[{namespaceSelector: {}, podSelector: {matchLabels: {a: b}}}]", Host(Labels({}, "host")), False),
        ("[{podSelector: {}}]", Host(Labels({}, "host")), False),
        ("[{namespaceSelector: {}}]", Anybody("somebody"), "somebody may be selected or not"),
        ("[{ipBlock: {cidr: 0.0.0.0/0}}]", Anybody("somebody"), "the address of somebody is not known"),
        ("[{ipBlock: {cidr: 0.0.0.0/0}}]", Outside("p.example"), "the address of p.example is not known"),
        ("[{ipBlock: {cidr: '2001:db8::/32'}}]", at("2001:db8::7"), True),
        ("[{ipBlock: {cidr: 10.1.2.3/8}}]", at("10.9.9.9"), True),
    ],
)  # fmt: skip
def test_peers(peers: str, source: End, expected: object) -> None:
    assert ingress(f"  {{podSelector: {{}}, ingress: [{{from: {peers}}}]}}", source) == expected


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "allowed"),
    [
        ("[]", 1, "UDP", True),
        ("[{port: 80}]", 80, "TCP", True),
        ("[{port: 80}]", 80, "UDP", False),
        ("[{protocol: UDP}]", 80, "UDP", True),
        ("[{protocol: UDP}]", 80, "TCP", False),
        ("[{}]", 80, "TCP", True),
        ("[{port: redis}]", 6379, "TCP", True),
        ("[{port: redis}]", 6380, "TCP", False),
        ("[{port: http}]", 6379, "TCP", False),
        ("[{port: 32000, endPort: 32768}]", 32000, "TCP", True),
        ("[{port: 32000, endPort: 32768}]", 32768, "TCP", True),
        ("[{port: 32000, endPort: 32768}]", 32769, "TCP", False),
        ("[{port: 1}, {port: 2}]", 2, "TCP", True),
    ],
)
def test_ports(ports: str, port: int, protocol: str, allowed: bool) -> None:
    assert (
        ingress(f"  {{podSelector: {{}}, ingress: [{{ports: {ports}}}]}}", PLAIN, port=port, protocol=protocol)
        is allowed
    )


def test_peer_and_port_are_of_one_rule() -> None:
    rules = "[{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 1}]}, {from: [{podSelector: {}}], ports: [{port: 2}]}]"
    assert ingress(f"  {{podSelector: {{}}, ingress: {rules}}}", at("192.0.2.1"), port=2) is False
    assert ingress(f"  {{podSelector: {{}}, ingress: {rules}}}", at("192.0.2.1"), port=1) is True


def test_policies_add_up_and_know_no_order() -> None:
    shut = policy("{podSelector: {}}", "a", "default")
    opened = policy("{podSelector: {}, ingress: [{ports: [{port: 80}]}]}", "b", "default")
    for text in (shut + opened, opened + shut):
        assert judge(world(text), Connection(PLAIN, DB, "TCP", 80), Direction.INGRESS).answer is True
        assert judge(world(text), Connection(PLAIN, DB, "TCP", 81), Direction.INGRESS).answer is False


def test_a_denial_names_what_isolates() -> None:
    outcome = judge(
        world(policy("{podSelector: {}}", namespace="default")), Connection(PLAIN, DB, "TCP", 1), Direction.INGRESS
    )
    assert [str(cause) for cause in outcome.causes] == ["NetworkPolicy default/p (x.yaml:2:1)"]
    assert outcome.reason == "a NetworkPolicy isolates it for ingress, and no rule lets this through"


def test_openshift_sdn_leaves_out_blocks_with_exceptions() -> None:
    spec = "  {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}"
    assert ingress(spec, at("10.2.0.1")) is True
    assert ingress(spec, at("10.2.0.1"), cni=Cni.SDN) is False


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([("{podSelector: {matchLabels: {plan: x}}}", "a")], "the label `plan` of it is not known"),
        # whichever way it is, it may pass
        ([("{podSelector: {matchLabels: {plan: x}}, ingress: [{}]}", "a")], True),
        ([("{podSelector: {matchLabels: {plan: x}}}", "a"), ("{podSelector: {}, ingress: [{}]}", "b")], True),
        # whichever way it is, it may not
        ([("{podSelector: {matchLabels: {plan: x}}}", "a"), ("{podSelector: {}}", "b")], False),
        ([("{podSelector: {matchLabels: {plan: x}}, ingress: [{}]}", "a"), ("{podSelector: {}}", "b")], "the label `plan` of it is not known"),
        ([("{podSelector: {matchLabels: {plan: x, role: y}}}", "a")], True),
    ],
)  # fmt: skip
def test_labels_that_are_not_known(policies: list[tuple[str, str]], expected: object) -> None:
    found = world("".join(policy(spec, name, "default") for spec, name in policies))
    pod = Pod("default", Labels({"role": "server"}, "it", unsure=frozenset({"plan"})))
    answer = judge(found, Connection(at("192.0.2.1"), pod, "TCP", 1), Direction.INGRESS).answer
    assert (answer.reason if isinstance(answer, Doubt) else answer) == expected
