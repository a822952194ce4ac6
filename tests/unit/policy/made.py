"""Policies made by chance, as manifests in plain data."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Data = dict[str, Any]

KEYS, VALUES = ("a", "b"), ("x", "y")
NAMESPACES = {"shop": {"a": "x"}, "bank": {"a": "y", "b": "x"}, "openshift-dns": {}, "openshift-ingress": {"b": "y"}}
ADDRESSES = ("192.0.2.7", "192.0.2.200", "198.51.100.1", "203.0.113.9")
RANGES = ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/28", "198.51.100.0/24", "203.0.113.9/32")
PORTS = (53, 80, 443, 3128, 5353, 6443)


def selectors(labels: dict[str, tuple[str, ...]]) -> st.SearchStrategy[Data]:
    """Label selectors over these keys and values."""
    keys = sorted(labels)
    match = st.fixed_dictionaries({}, optional={key: st.sampled_from(labels[key]) for key in keys})
    expressions = st.sampled_from(keys).flatmap(
        lambda key: st.one_of(
            st.fixed_dictionaries({"key": st.just(key), "operator": st.sampled_from(("Exists", "DoesNotExist"))}),
            st.fixed_dictionaries(
                {
                    "key": st.just(key),
                    "operator": st.sampled_from(("In", "NotIn")),
                    "values": st.lists(st.sampled_from(labels[key]), min_size=1, max_size=2),
                }
            ),
        )
    )
    return st.fixed_dictionaries(
        {}, optional={"matchLabels": match, "matchExpressions": st.lists(expressions, max_size=2)}
    )


PLAIN = dict.fromkeys(KEYS, VALUES)


@st.composite
def blocks(draw: st.DrawFn) -> Data:
    cidr = draw(st.sampled_from(RANGES))
    inner = {"0.0.0.0/0": RANGES[1:], "192.0.2.0/24": RANGES[2:3]}.get(cidr, ())
    excepted = draw(st.lists(st.sampled_from(inner), max_size=2)) if inner else []
    return {"ipBlock": {"cidr": cidr, **({"except": excepted} if excepted else {})}}


def pods(labels: dict[str, tuple[str, ...]]) -> st.SearchStrategy[Data]:
    either = {"podSelector": selectors(labels), "namespaceSelector": selectors(PLAIN)}
    one = st.sampled_from(sorted(either)).flatmap(lambda key: st.fixed_dictionaries({key: either[key]}))
    return st.one_of(one, st.fixed_dictionaries(either))


@st.composite
def ports(draw: st.DrawFn) -> Data:
    port: Data = draw(
        st.fixed_dictionaries(
            {}, optional={"protocol": st.sampled_from(("TCP", "UDP")), "port": st.sampled_from(PORTS)}
        )
    )
    if "port" in port and draw(st.booleans()):
        port["endPort"] = draw(st.integers(port["port"], 7000))
    return port


def rules(peers: str, labels: dict[str, tuple[str, ...]]) -> st.SearchStrategy[list[Data]]:
    entries = st.lists(st.one_of(blocks(), pods(labels)), max_size=3)
    return st.lists(
        st.fixed_dictionaries({}, optional={peers: entries, "ports": st.lists(ports(), max_size=2)}), max_size=3
    )


@st.composite
def policies(
    draw: st.DrawFn, labels: dict[str, tuple[str, ...]] = PLAIN, where: tuple[str, ...] = ("shop", "bank")
) -> list[Data]:
    """Some NetworkPolicies, each of another name."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        spec = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "podSelector": selectors(labels),
                    "policyTypes": st.lists(st.sampled_from(("Ingress", "Egress")), unique=True),
                    "ingress": rules("from", labels),
                    "egress": rules("to", labels),
                },
            )
        )
        metadata = {"name": f"p{number}", "namespace": draw(st.sampled_from(where))}
        found.append(
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        )
    return found


@st.composite
def firewalls(draw: st.DrawFn) -> Data:
    """An egress firewall of either kind in `shop`."""
    kind, api = draw(
        st.sampled_from((("EgressNetworkPolicy", "network.openshift.io/v1"), ("EgressFirewall", "k8s.ovn.org/v1")))
    )
    found = []
    for _ in range(draw(st.integers(0, 4))):
        rule: Data = {
            "type": draw(st.sampled_from(("Allow", "Deny", "Deny"))),
            "to": {"cidrSelector": draw(st.sampled_from(RANGES))},
        }
        if kind == "EgressFirewall" and draw(st.booleans()):
            rule["ports"] = [{"protocol": draw(st.sampled_from(("TCP", "UDP"))), "port": draw(st.sampled_from(PORTS))}]
        found.append(rule)
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {"egress": found},
    }


def namespaces() -> list[Data]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in NAMESPACES.items()
    ]
