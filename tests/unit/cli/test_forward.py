"""ferryman forward: the configuration that a command line stands for."""

from __future__ import annotations

from pathlib import Path

import yaml

from .conftest import Ferryman


def printed(ferryman: Ferryman, *arguments: str) -> dict[str, object]:
    result = ferryman("forward", *arguments, "--print")
    assert result.exit_code == 0, result.stderr
    found = yaml.safe_load(result.stdout)
    assert isinstance(found, dict)
    return found


def test_one_target_is_not_checked(ferryman: Ferryman) -> None:
    found = printed(ferryman, "127.0.0.1:8443", "[2001:db8::7]:443")
    assert found == {"listeners": {"forward": {"bind": "127.0.0.1:8443", "servers": ["[2001:db8::7]:443"]}}}


def test_several_targets_are_checked(ferryman: Ferryman) -> None:
    listener = {"bind": "127.0.0.1:8443", "backend": {"servers": ["192.0.2.7:443", "192.0.2.8:443"], "check": True}}
    assert printed(ferryman, "127.0.0.1:8443", "192.0.2.7:443", "192.0.2.8:443") == {"listeners": {"forward": listener}}
    unchecked = printed(ferryman, "127.0.0.1:8443", "192.0.2.7:443", "192.0.2.8:443", "--no-check")
    assert "check" not in str(unchecked)


def test_options_reach_the_configuration(ferryman: Ferryman) -> None:
    found = printed(
        ferryman, "127.0.0.1:8443", "a.example:1", "b.example:1", "--balance", "leastconn", "--workers", "3"
    )
    assert "'balance': 'leastconn'" in str(found)
    assert found["global"] == {"workers": 3}


def test_names_lead_to_targets(ferryman: Ferryman) -> None:
    found = printed(
        ferryman, "127.0.0.1:443", "--sni", "a.example=192.0.2.7:1", "--sni", "*.b.example=192.0.2.8:1",
        "--sni", "a.example=192.0.2.9:1",
    )  # fmt: skip
    assert found["backends"] == {
        "a.example": {"servers": ["192.0.2.7:1", "192.0.2.9:1"], "check": True},
        "any.b.example": {"servers": ["192.0.2.8:1"]},
    }
    assert "{'to': 'any.b.example', 'when': {'sni': '*.b.example'}}" in str(found)


def test_what_is_printed_can_be_read(ferryman: Ferryman, tmp_path: Path) -> None:
    result = ferryman("forward", "127.0.0.1:443", "x.example:1", "--sni", "a.example=192.0.2.7:1", "--print")
    assert ferryman("check", "-", input=result.stdout).stdout == "configuration is fine\n"


def test_wrong_arguments_are_named(ferryman: Ferryman) -> None:
    for arguments, said in (
        (["8443", "a:1"], "*:8443"),
        (["127.0.0.1:8443"], "at least one TARGET"),
        (["127.0.0.1:8443", "::1"], "[::1]:443"),
        (["127.0.0.1:8443", "--sni", "a.example"], "NAME=TARGET"),
        (["127.0.0.1:8443", "--sni", "a.example=:1"], "names no host"),
    ):
        result = ferryman("forward", *arguments)
        assert result.exit_code == 2
        assert said in result.stderr
    unknown = ferryman("forward", "127.0.0.1:8443", "a:1", "--balance", "magic")
    assert unknown.exit_code == 1
    assert "unknown algorithm 'magic'" in unknown.stderr
