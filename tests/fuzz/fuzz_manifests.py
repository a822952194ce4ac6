"""Reading manifests and judging them never raises; what is not understood is never ALLOWED.

That is: every finding can be shown, every value has a place within the text, and where something could not be read, no
flow is let through.
"""

from __future__ import annotations

import driver

from ferryman.config.render import as_json, render
from ferryman.kubernetes.manifests import Reading, decoded, take
from ferryman.policy.advice import advise, text
from ferryman.policy.flows import Plane, Question, Side, Target
from ferryman.policy.mistakes import find
from ferryman.policy.reading import build
from ferryman.policy.ruling import Verdict
from ferryman.policy.story import tell
from ferryman.policy.survey import namespaces, survey

SEEDS = [
    b"""apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {matchLabels: {owner: directvolumemigration}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{namespaceSelector: {matchExpressions: [{key: a, operator: In, values: [x]}]}, podSelector: {}}]
    ports: [{port: 6443, endPort: 6444, protocol: TCP}]
  egress:
  - to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
""",
    b"""apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - type: Allow
    to: {dnsName: p.example}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
---
apiVersion: k8s.ovn.org/v1
kind: EgressFirewall
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Deny, to: {nodeSelector: {matchLabels: {a: b}}}, ports: [{port: 80, protocol: UDP}]}
""",
    b'{"kind": "List", "apiVersion": "v1", "items": [{"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1",'
    b' "metadata": {"name": "a"}, "spec": {"podSelector": {}, "egress": [{"ports": [{"port": "http"}]}]}},'
    b' {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop", "labels": {"a": "x"}}},'
    b' {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"},'
    b' "status": {"addresses": [{"address": "::1"}]}}]}',
]
QUESTIONS = (
    Question(Target("192.0.2.7", 3128)),
    Question(Target("p.example", 3128), router_on_host=True),
    Question(targets=(Target("203.0.113.9"),)),
)


def one(data: bytes) -> None:
    reading = Reading()
    if (source := decoded("x", data, reading)) is not None:
        take(source, reading)
    world = build(reading)
    find(world, tuple(Plane), reading.diagnostics)
    lines = source.text.split("\n") if source else []
    for finding in reading.diagnostics.found:
        assert as_json(finding)
        assert render(finding, reading.sources).split("\n")[0].isprintable()
    for manifest in reading.manifests:
        mark = manifest.mark("metadata", "name")
        assert 1 <= mark.line <= max(len(lines), data.count(b"\r") + len(lines))
    worlds = {Side.SOURCE: world, Side.DESTINATION: world}
    for question in QUESTIONS:
        rulings = list(survey(worlds, question, [(name, name) for name in namespaces(worlds, ())[:3]]))
        for ruling in rulings:
            assert not (reading.lost and ruling.verdict is Verdict.ALLOWED)
            assert list(tell(world, ruling, question.known))
        assert isinstance(text(advise(worlds, rulings, question.known).changes), str)


if __name__ == "__main__":
    driver.main(one, SEEDS)
