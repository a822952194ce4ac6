"""Policies made by chance: the evaluator and the oracle agree, and what fix prints does what it says and no more."""

from __future__ import annotations

import json
from ipaddress import ip_address
from itertools import product
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.policy import made, oracle
from tests.unit.policy.oracle import Being, Universe
from tests.unit.policy.worlds import both, world

from ferryman.policy import egress, networking
from ferryman.policy.advice import advise, text
from ferryman.policy.flows import Plane, Question, Target, client, server
from ferryman.policy.networking import Connection, End, Outside, Pod
from ferryman.policy.objects import Direction, Labels
from ferryman.policy.ruling import Stage, Verdict
from ferryman.policy.survey import survey

Data = dict[str, Any]
LABELLED: tuple[dict[str, str], ...] = ({}, {"a": "x"}, {"a": "y"}, {"b": "x"}, {"a": "x", "b": "y"})
PODS = tuple(Being(namespace, tuple(labels.items())) for namespace in ("shop", "bank") for labels in LABELLED)
OUTSIDE = tuple(Being(address=address) for address in made.ADDRESSES)
NAMED = {name: {**labels, "kubernetes.io/metadata.name": name} for name, labels in made.NAMESPACES.items()}
UNIVERSE = Universe((*PODS, *OUTSIDE), (53, 80, 6443), NAMED)


def written(objects: list[Data]) -> str:
    """As a list in JSON, or as YAML: both have to do."""
    everything = [*made.namespaces(), *objects]
    if len(objects) % 2:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": everything})
    return yaml.safe_dump_all(everything)


def end(being: Being) -> End:
    if being.address:
        return Outside(being.address, ip_address(being.address))
    return Pod(being.namespace, Labels(dict(being.labels), "a pod"))


def uses_blocks(policies: list[Data]) -> bool:
    return "ipBlock" in json.dumps(policies)


@settings(max_examples=60)
@given(made.policies(), st.sampled_from(Direction))
def test_what_is_allowed(policies: list[Data], way: Direction) -> None:
    found = world(written(policies))
    for pod in PODS:
        right = oracle.allowed(UNIVERSE, policies, pod, way.value.lower())
        for being, protocol, port in UNIVERSE.everything():
            ends = (end(pod), end(being)) if way is Direction.EGRESS else (end(being), end(pod))
            answer = networking.judge(found, Connection(*ends, protocol, port), way).answer
            if isinstance(answer, bool):
                assert answer == ((being, protocol, port) in right), (pod, being, protocol, port)
            else:  # an ipBlock may mean pods or not
                assert not being.address
                assert uses_blocks(policies)


@settings(max_examples=50)
@given(made.policies(where=("shop",)), st.sampled_from(made.VALUES), st.sampled_from(("ingress", "egress")))
def test_an_answer_holds_whatever_is_not_known(policies: list[Data], value: str, direction: str) -> None:
    """A pod of which one label is not known: what is answered holds for every value it may have."""
    found = world(written(policies))
    way = Direction(direction.capitalize())
    variants = [Being("shop", (("a", value), *rest)) for rest in ((), (("b", "x"),), (("b", "y"),), (("b", "z"),))]
    pod = Pod("shop", Labels({"a": value}, "a pod", unsure=frozenset({"b"})))
    right = [oracle.allowed(UNIVERSE, policies, variant, direction) for variant in variants]
    for being, port in product(OUTSIDE, UNIVERSE.ports):
        ends = (pod, end(being)) if way is Direction.EGRESS else (end(being), pod)
        answer = networking.judge(found, Connection(*ends, "TCP", port), way).answer
        if isinstance(answer, bool):
            assert {(being, "TCP", port) in each for each in right} == {answer}


@settings(max_examples=60)
@given(made.firewalls())
def test_egress_firewalls(firewall: Data) -> None:
    found = world(written([firewall]))
    for address, protocol, port in product(made.ADDRESSES, ("TCP", "UDP"), made.PORTS):
        connection = Connection(end(PODS[0]), Outside(address, ip_address(address)), protocol, port)
        answer = egress.judge(found, "shop", connection, {}).answer
        assert answer == oracle.leaves(firewall["spec"]["egress"], address, protocol, port)


# what fix prints


OWN = {"owner": ("directvolumemigration",), "app": tuple(plane.value for plane in Plane), "purpose": ("rsync",)}
MIGRATING = tuple(
    Being("shop", tuple(sorted(pod.labels.known.items())))
    for plane in Plane
    for pod in (client(plane, "shop"), server(plane, "shop"))
)
OTHERS = (
    *(each for each in PODS if each.namespace == "shop"),
    Being("shop", (("owner", "directvolumemigration"),)),
    Being("shop", (("app", Plane.FS.value),)),
    Being("shop", (("app", Plane.FS.value), ("purpose", "rsync"))),
    Being("openshift-dns"),
    Being("openshift-ingress"),
)
EVERYBODY = Universe((*MIGRATING, *OTHERS, *OUTSIDE), made.PORTS, NAMED)


@settings(max_examples=60)
@given(
    made.policies(OWN, where=("shop",)),
    made.firewalls(),
    st.sampled_from(
        (
            Question(Target("192.0.2.7", 3128)),
            Question(Target("p.example", 3128), known={"p.example": frozenset({ip_address("192.0.2.7")})}),
            Question(targets=(Target("203.0.113.9"), Target("198.51.100.1"))),
        )
    ),
)
def test_what_fix_prints_is_enough_and_no_more(policies: list[Data], firewall: Data, question: Question) -> None:
    objects = [*policies, firewall]
    before = world(written(objects))
    rulings = list(survey(both(before), question, [("shop", "shop")]))
    printed = text(advise(both(before), rulings, question.known).changes)
    after = world(yaml.safe_dump_all([*made.namespaces(), *objects]) + printed)
    for was, now in zip(rulings, survey(both(after), question, [("shop", "shop")]), strict=True):
        unsure = any(not isinstance(layer.answer, bool) for layer in was.layers)
        assert now.verdict is Verdict.ALLOWED or unsure, was.flow
        assert was.verdict is not Verdict.ALLOWED or now.verdict is Verdict.ALLOWED
    new = [each for each in yaml.safe_load_all(printed) if each["kind"] == "NetworkPolicy"]
    assert not {each["metadata"]["name"] for each in new} & {each["metadata"]["name"] for each in policies}
    for direction in ("ingress", "egress"):
        for pod in OTHERS:
            assert oracle.allowed(EVERYBODY, policies, pod, direction) == oracle.allowed(
                EVERYBODY, [*policies, *new], pod, direction
            )
        for pod in MIGRATING:  # nothing is lost
            assert oracle.allowed(EVERYBODY, policies, pod, direction) <= oracle.allowed(
                EVERYBODY, [*policies, *new], pod, direction
            )
    patched = [each for each in yaml.safe_load_all(printed) if each["kind"] != "NetworkPolicy"]
    for each in patched:
        assert each["metadata"] == firewall["metadata"]
        ends = [one.flow.connection.destination for one in rulings]
        wanted = {str(one.address) for one in ends if isinstance(one, Outside)}
        for address, protocol, port in product(made.ADDRESSES, ("TCP", "UDP"), made.PORTS):
            if address not in wanted:
                assert oracle.leaves(firewall["spec"]["egress"], address, protocol, port) == oracle.leaves(
                    each["spec"]["egress"], address, protocol, port
                )
    if all(layer.answer is True for was in rulings for layer in was.layers):
        assert printed == ""


@settings(max_examples=50)
@given(made.policies(OWN, where=("shop",)))
def test_fix_isolates_nobody(policies: list[Data]) -> None:
    """A new policy is only for pods that some policy isolates already."""
    before = world(written(policies))
    rulings = list(survey(both(before), Question(Target("192.0.2.7", 3128)), [("shop", "shop")]))
    changes = advise(both(before), rulings, {}).changes
    isolated = {
        (each.flow.plane.value, layer.stage)
        for each in rulings
        for layer in each.layers
        if layer.isolated is True and layer.namespace == "shop"
    }
    for change in changes:
        spec: Any = change.data["spec"]
        stage = Stage.LEAVING if spec["policyTypes"] == ["Egress"] else Stage.ENTERING
        for app in spec["podSelector"]["matchExpressions"][0]["values"]:
            assert (app, stage) in isolated
