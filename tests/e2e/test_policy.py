"""Do a cluster's policies let a migration through? From files, and from a cluster, through the real kubectl."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_api import TOKEN, ApiServer
from programs import program

Data = dict[str, Any]
PROXY = ("--proxy", "192.0.2.7:3128")
SHUT: Data = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "default-deny", "namespace": "shop"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
FIREWALL: Data = {
    "apiVersion": "network.openshift.io/v1",
    "kind": "EgressNetworkPolicy",
    "metadata": {"name": "only-ours", "namespace": "shop", "uid": "1", "resourceVersion": "7"},
    "spec": {
        "egress": [
            {"type": "Allow", "to": {"cidrSelector": "198.51.100.0/24"}},
            {"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}},
        ]
    },
}
NAMESPACE: Data = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def ferryman(
    *arguments: str, input: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ferryman", "policy", *arguments],
        input=input,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Of --json: verdict by flow and plane."""
    assert done.returncode in (0, 1, 3), done.stderr
    return {f"{each['flow']} {each['plane']}": each["verdict"] for each in json.loads(done.stdout)["flows"]}


def test_from_denied_to_allowed(tmp_path: Path) -> None:
    """What fix prints goes into the folder, and everything is allowed."""
    (tmp_path / "policies.yaml").write_text(yaml.safe_dump_all([SHUT, FIREWALL]))
    check = ferryman("check", str(tmp_path), *PROXY)
    assert check.returncode == 3
    assert "4 denied" in check.stdout
    assert f"by NetworkPolicy shop/default-deny ({tmp_path}/policies.yaml:1:1)" in check.stdout
    fix = ferryman("fix", str(tmp_path), *PROXY)
    assert fix.returncode == 0, fix.stderr
    egress, ingress, firewall = yaml.safe_load_all(fix.stdout)
    assert egress["metadata"] == {"name": "allow-dvm-egress", "namespace": "shop"}
    assert egress["spec"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]}
    ]
    assert ingress["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 6443}]
    assert firewall["metadata"] == {"name": "only-ours", "namespace": "shop"}
    assert [rule["to"]["cidrSelector"] for rule in firewall["spec"]["egress"]] == [
        "198.51.100.0/24",
        "192.0.2.7/32",
        "0.0.0.0/0",
    ]
    (tmp_path / "zz-fix.yaml").write_text(fix.stdout)
    again = ferryman("check", str(tmp_path), *PROXY)
    assert again.returncode == 0, again.stdout
    assert "4 allowed" in again.stdout
    nothing = ferryman("fix", str(tmp_path), *PROXY)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "nothing to add" in nothing.stderr


def test_names_need_the_resolver(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(SHUT))
    named = ("--proxy", "http://user:secret@proxy.example:3128", "--plane", "fs")
    check = ferryman("check", str(file), *named, "--json")
    assert verdicts(check) == {"F1 fs": "DENIED", "F2 fs": "DENIED", "F3 fs": "DENIED"}
    fix = ferryman("fix", str(file), *named)
    assert fix.returncode == 1
    assert "a NetworkPolicy takes addresses only: say it with --proxy, --to or --resolve" in fix.stderr
    fix = ferryman("fix", str(file), *named, "--resolve", "proxy.example=192.0.2.7")
    assert fix.returncode == 0
    assert {"protocol": "UDP", "port": 5353} in next(yaml.safe_load_all(fix.stdout))["spec"]["egress"][0]["ports"]
    assert "secret" not in check.stdout + check.stderr + fix.stdout + fix.stderr


def seed(name: str) -> str:
    """The policies that the documentation of Direct Volume Migration shows."""
    return (Path(__file__).parent / "policies" / name).read_text()


def test_the_documented_policies_and_their_mistakes() -> None:
    done = ferryman("check", "-", *PROXY, input=seed("documented.yaml"))
    assert done.returncode == 1
    assert "replaces the one at <stdin>:" in done.stdout
    assert "those with app=directvolumemigration-rsync-transfer-block carry volumes, too" in done.stdout
    assert "the namespace <namespace> is a placeholder" in done.stdout
    assert "`type: Deny` shuts it, Allow opens it" in done.stdout
    assert re.search(r"UNKNOWN +F2 fs", done.stdout)


def test_the_documented_egress_firewall_stops_what_it_is_for() -> None:
    """Filled in, but with `type: Deny` as it stands."""
    text = seed("documented.yaml").replace("<namespace>", "default")
    text = text.replace("<cidr_of_source_or_target_cluster>", "192.0.2.0/24")
    done = ferryman("check", "-", *PROXY, input=text)
    assert done.returncode == 3
    assert "the first rule that matches says Deny" in done.stdout
    fix = ferryman("fix", "-", *PROXY, input=text)
    assert fix.returncode == 0
    (firewall,) = yaml.safe_load_all(fix.stdout)
    assert [rule["type"] for rule in firewall["spec"]["egress"]] == ["Allow", "Deny"]


def test_a_second_egress_network_policy_drops_everything() -> None:
    second = {**FIREWALL, "metadata": {"name": "test-egress-policy", "namespace": "shop"}}
    text = yaml.safe_dump_all([FIREWALL, second])
    done = ferryman("check", "-", *PROXY, "--json", input=text)
    assert verdicts(done)["F2 fs"] == "DENIED"
    by = json.loads(done.stdout)["flows"][0]["by"]
    assert [each["name"] for each in by] == ["only-ours", "test-egress-policy"]
    fix = ferryman("fix", "-", *PROXY, input=text)
    assert (fix.returncode, fix.stdout) == (1, "")
    assert "into one of them and delete the others" in fix.stderr


def test_broken_yaml_has_a_place() -> None:
    done = ferryman("check", "-", *PROXY, input="a: b\n  c: d\n")
    assert done.returncode == 1
    assert "<stdin>:2:4: error: this is not YAML" in done.stdout
    assert "UNKNOWN" in done.stdout
    assert "ALLOWED" not in done.stdout


def test_what_is_no_policy_is_counted() -> None:
    done = ferryman("check", "-", *PROXY, input=yaml.safe_dump_all([{**NAMESPACE, "kind": "ConfigMap"}] * 2))
    assert done.returncode == 0
    assert "not policies, and not looked at: 2 ConfigMap" in done.stdout


def test_explain_walks_a_flow() -> None:
    done = ferryman("explain", "-", *PROXY, "--flow", "F2", "--plane", "fs", input=yaml.safe_dump_all([SHUT, FIREWALL]))
    assert done.returncode == 3
    assert [line.strip() for line in done.stdout.splitlines()] == [
        "F2 fs: the fs client's pod in shop → 192.0.2.7 TCP 3128",
        "NetworkPolicy, egress, of namespace shop",
        "NetworkPolicy shop/default-deny selects the pod: it is for all  (<stdin>:1:1)",
        "it has no rule: nothing is let through  (<stdin>:1:1)",
        "so: DENIED: a NetworkPolicy isolates it for egress, and no rule lets this through",
        "egress firewall, of namespace shop",
        "EgressNetworkPolicy shop/only-ours, rules in order:  (<stdin>:12:1)",
        "rule 1, Allow 198.51.100.0/24: does not match  (<stdin>:21:5)",
        "rule 2, Deny 0.0.0.0/0: matches  (<stdin>:24:5)",
        "so: DENIED: the first rule that matches says Deny",
        "DENIED",
    ]


def test_usage() -> None:
    for arguments in ((), ("x.yaml", "--cluster"), ("-", "--proxy", "192.0.2.7"), ("-", "--proxy", "u:hidden@h:1")):
        done = ferryman("check", *arguments)
        assert done.returncode == 2
        assert "hidden" not in done.stderr


# a live cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    program("kubectl")
    server = ApiServer(tmp_path, [NAMESPACE, SHUT, FIREWALL, {**SHUT, "metadata": {"name": "x", "namespace": "bank"}}])
    yield server
    server.stop()


def live(server: ApiServer, verb: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    options = ("--kubeconfig", str(server.kubeconfig), *PROXY, *arguments)
    return ferryman(verb, *options, environment={"HOME": str(home)})


def test_a_live_cluster(cluster: ApiServer, tmp_path: Path) -> None:
    done = live(cluster, "check", "--context", "there", "--json", home=tmp_path)
    flows = json.loads(done.stdout)["flows"]
    assert {each["namespace"] for each in flows} == {"bank", "shop"}
    assert {each["verdict"] for each in flows} == {"DENIED"}
    assert flows[0]["by"][0]["file"] == "<kubectl get networkpolicies.networking.k8s.io>"
    assert TOKEN not in done.stdout + done.stderr
    fix = live(cluster, "fix", "-n", "shop", home=tmp_path)
    assert fix.returncode == 0, fix.stderr
    assert [each["kind"] for each in yaml.safe_load_all(fix.stdout)] == [
        "NetworkPolicy",
        "NetworkPolicy",
        "EgressNetworkPolicy",
    ]
    for namespace in ("shop", "openshift-dns", "openshift-ingress"):
        assert f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies" in cluster.asked


def test_two_clusters(cluster: ApiServer, tmp_path: Path) -> None:
    """The source's is live, and the destination's has no policies at all."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "n.yaml").write_text(yaml.safe_dump(NAMESPACE))
    options = ("--context", "here", "-n", "shop", "--destination", str(there))
    assert verdicts(live(cluster, "check", *options, "--json", home=tmp_path)) == {
        "F2 fs": "DENIED",
        "F2 block": "DENIED",
        "F3 fs": "ALLOWED",
        "F3 block": "ALLOWED",
    }
    both = live(cluster, "check", "--context", "here", "--to-context", "there", "-n", "shop", home=tmp_path)
    assert "4 denied" in both.stdout
    fix = live(
        cluster,
        "fix",
        "--context",
        "here",
        "--to-context",
        "there",
        "-n",
        "shop",
        "--side",
        "destination",
        home=tmp_path,
    )
    assert fix.returncode == 0, fix.stderr
    assert fix.stdout.startswith("---\n# for the destination's cluster\n")
    assert len(list(yaml.safe_load_all(fix.stdout))) == 1


def test_a_context_that_is_not_there(cluster: ApiServer, tmp_path: Path) -> None:
    done = live(cluster, "check", "--context", "nowhere", home=tmp_path)
    assert done.returncode == 1
    assert re.search("error: .*kubectl get namespaces: .*nowhere", done.stdout)
    assert "UNKNOWN" in done.stdout


def test_what_may_not_be_read_makes_unknown(tmp_path: Path) -> None:
    program("kubectl")
    server = ApiServer(tmp_path, [NAMESPACE, SHUT], forbidden=["networkpolicies", "nodes"])
    try:
        done = live(server, "check", "-n", "shop", "--json", home=tmp_path)
    finally:
        server.stop()
    assert done.returncode == 1
    assert set(verdicts(done).values()) == {"UNKNOWN"}
    found = json.loads(done.stdout)["diagnostics"]
    assert any("Forbidden" in each["message"] and each["severity"] == "error" for each in found)
    assert any("nodes may not be read" in each["message"] and each["severity"] == "warning" for each in found)


def test_no_kubectl(tmp_path: Path) -> None:
    done = ferryman("check", "--cluster", *PROXY, environment={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "there is no kubectl and no oc here" in done.stdout


# many


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_five_thousand_policies(format: str, tmp_path: Path) -> None:
    """A limit that no machine should miss; `make bench` has the measure."""
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}], "ports": [{"protocol": "TCP", "port": 80}]}
    policies = [
        {
            **SHUT,
            "metadata": {"name": f"p{number}", "namespace": f"n{number % 500}"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [rule], "policyTypes": ["Ingress"]},
        }
        for number in range(5000)
    ]
    file = tmp_path / f"many.{format}"
    listed = {"apiVersion": "v1", "kind": "List", "items": policies}
    file.write_text(json.dumps(listed) if format == "json" else yaml.dump_all(policies, Dumper=yaml.CSafeDumper))
    began = time.monotonic()
    done = ferryman("check", str(file), *PROXY)
    assert "2000 allowed" in done.stdout
    assert time.monotonic() - began < 60
