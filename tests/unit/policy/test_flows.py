"""Which connections a migration needs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from tests.unit.policy.worlds import world

from ferryman.policy.flows import Endpoint, Plane, Question, Target, inbound, outbound
from ferryman.policy.objects import Cni

FS = Question(planes=(Plane.FS,))
DNS = "F1 fs: the fs client's pod in a → the resolver's pod in openshift-dns UDP 5353"
IN = "F3 fs: the router's pod in openshift-ingress → the fs server's pod in b TCP 6443"
KNOWN = {"p.example": frozenset({ip_address("192.0.2.9"), ip_address("192.0.2.7")})}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (FS, [DNS, "F2 fs: the fs client's pod in a → the router of the destination TCP 443", IN]),
        (replace(FS, proxy=Target("192.0.2.7", 3128)), ["F2 fs: the fs client's pod in a → 192.0.2.7 TCP 3128", IN]),
        (replace(FS, proxy=Target("P.example.", 3128), known=KNOWN), [
            DNS,
            "F2 fs: the fs client's pod in a → P.example. (192.0.2.7) TCP 3128",
            "F2 fs: the fs client's pod in a → P.example. (192.0.2.9) TCP 3128",
            IN,
        ]),
        (replace(FS, targets=(Target("203.0.113.1"), Target("203.0.113.2", 8443))), [
            DNS,
            "F2 fs: the fs client's pod in a → 203.0.113.1 TCP 443",
            "F2 fs: the fs client's pod in a → 203.0.113.2 TCP 8443",
            IN,
        ]),
        (replace(FS, endpoint=Endpoint.NODE_PORT, targets=(Target("10.0.0.5"),)), [
            "F2 fs: the fs client's pod in a → 10.0.0.5",
            "F3 fs: a node or a client that comes by its port → the fs server's pod in b TCP 6443",
        ]),
        (replace(FS, endpoint=Endpoint.CLUSTER_IP), [
            "F2 fs: the fs client's pod in a → the fs server's pod in b TCP 6443",
            "F3 fs: the fs client's pod in a → the fs server's pod in b TCP 6443",
        ]),
        (replace(FS, endpoint=Endpoint.CLUSTER_IP, proxy=Target("192.0.2.7", 3128)), [
            "F2 fs: the fs client's pod in a → 192.0.2.7 TCP 3128",
            "F3 fs: 192.0.2.7 → the fs server's pod in b TCP 6443",
        ]),
        (replace(FS, router_on_host=True, proxy=Target("192.0.2.7", 1)), [
            "F2 fs: the fs client's pod in a → 192.0.2.7 TCP 1",
            "F3 fs: the router on the nodes' own network → the fs server's pod in b TCP 6443",
        ]),
    ],
)  # fmt: skip
def test_the_flows(question: Question, expected: list[str]) -> None:
    found = [*outbound(question, "a", "b"), *inbound(question, "a", "b", world("", Cni.OVN))]
    assert list(map(str, found)) == expected


def test_both_planes() -> None:
    assert [each.plane for each in inbound(Question(), "a", "b", world(""))] == [Plane.FS, Plane.BLOCK]
