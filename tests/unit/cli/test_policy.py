"""`ferryman policy`: what is asked about, and how it is shown. What real clusters make of it is in e2e."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli.conftest import Ferryman, Write

SHUT = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: %s}
spec: {podSelector: {}, policyTypes: [Egress]}
"""


def flows(ferryman: Ferryman, *arguments: str, input: str = "") -> list[dict[str, Any]]:
    done = ferryman("policy", "check", "-", "--json", *arguments, input=input)
    found: list[dict[str, Any]] = json.loads(done.stdout)["flows"]
    return found


def test_where_there_is_no_policy_it_is_said(ferryman: Ferryman) -> None:
    told = "there is no policy among what was read, and where there is none everything is allowed\n"
    shop = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}'
    assert ferryman("policy", "check", "-", "--proxy", "192.0.2.7:3128", input=shop).stdout.endswith(told)
    assert told not in ferryman("policy", "check", "-", "--proxy", "192.0.2.7:3128", input=SHUT % "shop").stdout


def test_what_programs_get(ferryman: Ferryman) -> None:
    (flow, _) = flows(ferryman, "--proxy", "[2001:db8::7]:3128", "--plane", "block", input=SHUT % "shop")
    assert flow == {
        "flow": "F2",
        "plane": "block",
        "side": "source",
        "namespace": "shop",
        "from": "the block client's pod in shop",
        "to": "2001:db8::7",
        "protocol": "TCP",
        "port": 3128,
        "verdict": "DENIED",
        "layer": "NetworkPolicy, egress",
        "reason": "a NetworkPolicy isolates it for egress, and no rule lets this through",
        "by": [
            {
                "kind": "NetworkPolicy",
                "namespace": "shop",
                "name": "shut",
                "path": [],
                "file": "<stdin>",
                "line": 1,
                "column": 1,
            }
        ],
    }


def test_which_namespaces(ferryman: Ferryman) -> None:
    text = "---\n".join(SHUT % name for name in ("b", "a", "openshift-dns"))
    assert [each["namespace"] for each in flows(ferryman, "--plane", "fs", input=text)] == ["a"] * 3 + ["b"] * 3
    asked = flows(ferryman, "--plane", "fs", "-n", "b", "--to-namespace", "c", input=text)
    assert [each["namespace"] for each in asked] == ["b", "b", "c"]
    assert {each["namespace"] for each in flows(ferryman, input="")} == {"default"}


def test_objects_without_a_namespace_are_of_the_one_that_is_asked_about(ferryman: Ferryman) -> None:
    text = SHUT.replace(", namespace: %s", "")
    assert flows(ferryman, "-n", "shop", input=text)[0]["verdict"] == "DENIED"


def test_where_there_are_many_those_that_are_fine_are_counted_only(ferryman: Ferryman) -> None:
    text = "---\n".join(SHUT % f"n{number}" for number in range(30))
    text += "---\n{apiVersion: v1, kind: Namespace, metadata: {name: fine}}\n"
    done = ferryman("policy", "check", "-", "--proxy", "192.0.2.7:3128", input=text)
    assert done.exit_code == 3
    assert "namespace fine" not in done.stdout
    assert done.stdout.endswith("64 allowed, 60 denied\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name files, a folder or - for standard input; or --cluster, but not both"),
        (("-", "--cluster"), "but not both"),
        (("-", "--proxy", "192.0.2.7"), "--proxy needs the port"),
        (("-", "--proxy", "user:pw@h:1"), "this is not of the form HOST:PORT"),
        (("-", "--proxy", "http://u:pw@h:99999"), "this is not of the form HOST:PORT"),
        (("-", "--resolve", "a"), "'a' is not of the form NAME=ADDRESS"),
        (("-", "--resolve", "a=b"), "is not of the form NAME=ADDRESS"),
        (("-", "--resolver", "kube-system"), "is not of the form NAMESPACE:PORT"),
        (("-", "--destination", "x", "--to-context", "y"), "one of them"),
        (("-", "--endpoint", "route53"), "is not one of"),
    ],
)
def test_usage(ferryman: Ferryman, arguments: tuple[str, ...], said: str) -> None:
    done = ferryman("policy", "check", *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "pw" not in done.stderr


def test_names_from_manifests_do_not_steer_the_terminal(ferryman: Ferryman, write: Write) -> None:
    path = write('{"apiVersion": "v1", "kind": "a\\u001b[31m", "metadata": {"name": "\\ud800"}}', "x.json")
    done = ferryman("policy", "check", path)
    assert done.exit_code in (0, 1)
    assert "\x1b" not in done.stdout
    listed = ferryman("policy", "check", path, "--json")
    assert json.loads(listed.stdout)["others"] == {"a\x1b[31m": 1}


def test_explain_counts_only_what_it_shows(ferryman: Ferryman) -> None:
    done = ferryman("policy", "explain", "-", "--flow", "F3", input=SHUT % "shop")
    assert done.exit_code == 0
    assert "ALLOWED" in done.stdout
