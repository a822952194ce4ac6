"""What nft(8) is told, and what is made of what it prints. The real one is asked where a namespace can be had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import database
from ferryman.opennebula.database import Endpoint, Surroundings

PRINTED = """{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "ip", "name": "one_tproxy"}},
{"map": {"family": "ip", "name": "ep_br0", "table": "one_tproxy", "type": ["inet_service"], "handle": 1, "map": "x",
"elem": [[5030, {"concat": ["10.11.12.13", 5030]}], [1234, {"concat": ["10.11.12.34", 80]}]]}},
{"map": {"family": "ip", "name": "ep_br.1", "table": "one_tproxy"}}, {"map": {"family": "ip", "name": "others"}}]}"""


def test_endpoints() -> None:
    assert database.endpoints(PRINTED) == {
        "br0": [Endpoint(1234, "10.11.12.34", 80), Endpoint(5030, "10.11.12.13", 5030)],
        "br.1": [],
    }


@pytest.mark.parametrize("families", [[], ["bridge", "inet"]])
def test_it_was_flushed_when_the_table_is_gone(monkeypatch: pytest.MonkeyPatch, families: list[str]) -> None:
    def nft(*arguments: str, text: str = "") -> str:
        if "tables" not in arguments:
            raise StartError("nft -j list table ip one_tproxy: Error: No such file or directory")
        return json.dumps({"nftables": [{"table": {"family": each, "name": "one_tproxy"}} for each in families]})

    monkeypatch.setattr(database, "_nft", nft)
    assert database.read() == database.Content({}, flushed=True)


def test_a_reading_that_fails_is_no_empty_ruleset(monkeypatch: pytest.MonkeyPatch) -> None:
    def nft(*arguments: str, text: str = "") -> str:
        if "tables" not in arguments:
            raise StartError("nft -j list table ip one_tproxy: Error: cache initialization failed")
        return PRINTED

    monkeypatch.setattr(database, "_nft", nft)
    with pytest.raises(StartError, match="cache initialization failed"):
        database.read()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"nftables": [1]}', '{"nftables": [{"map": {"name": "ep_a", "elem": [1]}}]}',
        '{"nftables": [{"map": {}}]}', '{"nftables": [{"map": {"name": "ep_a", "elem": [["x", {"concat": [1, 2]}]]}}]}',
        '{"nftables": [{"map": {"name": "ep_a", "elem": [[1, "10.0.0.1"]]}}]}',
    ],
)  # fmt: skip
def test_what_is_not_expected_is_an_error(text: str) -> None:
    with pytest.raises(StartError, match="nft printed what was not expected"):
        database.endpoints(text)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What nft(8) would be told to change; there is nothing yet."""
    scripts: list[str] = []

    def nft(*arguments: str, text: str = "") -> str:
        if text:
            scripts.append(text)
        return '{"nftables": []}'

    monkeypatch.setattr(database, "_nft", nft)
    return scripts


def test_the_rule_is_opennebulas(told: list[str]) -> None:
    around = Surroundings(["br0b"], ["eth1", "eth0"], ["br0"])
    database.change({"br0": [Endpoint(5030, "10.11.12.13", 5030)]}, [], {"br0": "br0b"}, around)
    (script,) = told
    lines = script.splitlines()
    assert "add element ip one_tproxy ep_br0 { 5030 : 10.11.12.13 . 5030 }" in lines
    assert (
        'add rule bridge one_tproxy ch_br0 meta ibrname "br0" oifname != "br0b" '
        "arp operation request arp daddr ip 169.254.16.9 drop" in lines
    )
    assert 'add element bridge one_tproxy uplinks { "eth0", "eth1" }' in lines
    assert "add rule bridge one_tproxy border meta ibrname @bridges arp saddr ip 169.254.16.9 drop" in lines


def test_a_kernel_that_does_not_know_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts: list[str] = []

    def nft(*arguments: str, text: str = "") -> str:
        scripts.append(text)
        if "ibrname" in text:
            raise StartError("nft -f -: Error: Could not process rule: Operation not supported")
        return ""

    monkeypatch.setattr(database, "_nft", nft)
    database.change({"br0": [], "br1": []}, [], {"br0": "br0b", "br1": "br1b"}, Surroundings(["br0b"], [], ["br0"]))
    rules = [line for line in scripts[1].splitlines() if " ch_" in line and line.startswith("add rule")]
    ask = "oifname != @doors arp operation request arp daddr ip 169.254.16.9 drop"
    assert rules == [f"add rule bridge one_tproxy ch_{bridge} {ask}" for bridge in ("br0", "br1")]


def test_another_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nft(*arguments: str, text: str = "") -> str:
        raise StartError("nft -f -: Error: Permission denied")

    monkeypatch.setattr(database, "_nft", nft)
    with pytest.raises(StartError, match="Permission denied"):
        database.change({"br0": []}, [], {"br0": "br0b"}, Surroundings([], [], []))


def test_nothing_is_removed_where_nothing_is(told: list[str]) -> None:
    database.remove(["br0"], Surroundings([], [], []))
    assert told == []


def test_without_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StartError, match="nft is not installed; it is in the package nftables"):
        database.read()


REAL = """
from ferryman.opennebula import database
from ferryman.opennebula.database import Endpoint, Surroundings
assert database.read() == database.Content({}, flushed=True) and database.chains() == set()
many = {f"br{number}": [Endpoint(5030, "10.11.12.13", 5030), Endpoint(80, "10.0.0.1", 8080)] for number in range(50)}
doors = {bridge: f"{bridge}b" for bridge in many}
database.change({**many, "empty": []}, ["gone"], {**doors, "empty": "emptyb"},
                Surroundings(list(doors.values()), ["eth0"], list(many)))
assert database.chains() == {*many, "empty"}
assert database.read().endpoints == {**{bridge: sorted(each) for bridge, each in many.items()}, "empty": []}
database.change({"br0": []}, ["br1"], {"br0": "br0b"}, Surroundings(["br0b"], [], ["br0"]))
assert database.read().endpoints["br0"] == [] and "br1" not in database.read().endpoints
database.remove(["br2"], Surroundings([], [], []))
assert len(database.read().endpoints) == 49
database.remove(list(database.read().endpoints), Surroundings([], [], []))
assert database.tables() == set()
"""


def test_with_the_real_one() -> None:
    if os.geteuid() != 0 or shutil.which("nft") is None or shutil.which("unshare") is None:
        pytest.skip("needs root, nft and unshare")
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", REAL], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
