"""The command lines of doctor, install and uninstall; what they do is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from tests.unit.cli.conftest import Ferryman

from ferryman.opennebula import daemons, doctor, install
from ferryman.opennebula.symptoms import Finding

FOUND = [
    Finding("error", "", "10.0.0.1:5030 cannot be reached: timed out", "is it up?"),
    Finding("hint", "br0", "a guest is silent"),
    Finding("error", "br0", "br0b is down", "`ferryman tproxy heal`", "heal"),
    Finding("warning", "br0", "port 1 is missing", "`ferryman tproxy apply`", "apply"),
]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found; repairing removes it."""
    now = list(FOUND)

    def mend(findings: list[Finding], file: str) -> Iterator[str]:
        now[:] = [each for each in now if not each.fixable]
        yield f"repaired after {file}"

    monkeypatch.setattr(doctor, "examine", lambda file: list(now))
    monkeypatch.setattr(doctor, "mend", mend)
    monkeypatch.setattr(doctor, "summary", lambda: "no bridge has a proxy")
    return now


def test_findings_by_bridge(ferryman: Ferryman, found: list[Finding]) -> None:
    done = ferryman("tproxy", "doctor")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "this host:",
        "  error    10.0.0.1:5030 cannot be reached: timed out",
        "           → is it up?",
        "br0:",
        "  hint     a guest is silent",
        "  error    br0b is down",
        "           → `ferryman tproxy heal` (--fix does it)",
        "  warning  port 1 is missing",
        "           → `ferryman tproxy apply` (--fix does it)",
        "2 errors, 1 warning",
    ]


def test_repairing(ferryman: Ferryman, found: list[Finding]) -> None:
    done = ferryman("tproxy", "doctor", "--fix", "--settings", "one.conf")
    lines = done.stdout.splitlines()
    assert (done.exit_code, lines[0], lines[-1]) == (1, "repaired after one.conf", "1 error")
    assert "(--fix does it)" not in done.stdout


def test_nothing_but_hints(ferryman: Ferryman, found: list[Finding]) -> None:
    del found[2:], found[0]
    done = ferryman("tproxy", "doctor", "--fix")
    expected = "br0:\n  hint     a guest is silent\nthis host is fine: no bridge has a proxy\n"
    assert (done.exit_code, done.stdout) == (0, expected)


def test_as_json(ferryman: Ferryman, found: list[Finding]) -> None:
    done = ferryman("tproxy", "doctor", "--json")
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert (shown["done"], len(shown["findings"])) == ([], 4)
    assert shown["findings"][2] == {
        "severity": "error",
        "bridge": "br0",
        "message": "br0b is down",
        "remedy": "`ferryman tproxy heal`",
        "fixable": True,
    }


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, and not only said."""
    made: list[str] = []

    def record(name: str) -> None:
        def step(*given: object) -> list[str]:
            made.append(" ".join([name, *map(str, given)]))
            return [f"{name} is done"]

        monkeypatch.setattr(install if hasattr(install, name) else daemons, name, step)

    for name in ("executable", "restore", "surroundings", "clear", "follow", "stop"):
        record(name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


def test_install_and_uninstall(ferryman: Ferryman, calls: list[str]) -> None:
    executable = "/var/tmp/one/vnm/tproxy"
    done = ferryman("tproxy", "install")
    assert done.stdout.splitlines()[:3] == ["executable is done", "surroundings is done", "follow is done"]
    assert ferryman("tproxy", "uninstall").exit_code == 0
    assert calls == [f"executable {executable} False", "surroundings False", "follow",
                     "clear False", f"restore {executable} False", "stop"]  # fmt: skip
    calls.clear()
    ferryman("tproxy", "install", "--dry-run")
    ferryman("tproxy", "uninstall", "--dry-run")
    assert calls == [f"executable {executable} True", "surroundings True", "clear True", f"restore {executable} True"]
    calls.clear()
    ferryman("tproxy", "install", "--path", "/a/tproxy")
    ferryman("tproxy", "uninstall", "--path", "/a/tproxy")
    assert calls == ["executable /a/tproxy False", "restore /a/tproxy False"]


def test_daemons_of_the_original_are_left_alone(
    ferryman: Ferryman, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the same names; and whoever uninstalls twice has them running again."""
    monkeypatch.setattr(install, "is_in_place", lambda: False)
    done = ferryman("tproxy", "uninstall")
    assert (done.exit_code, calls[-1]) == (0, "restore /var/tmp/one/vnm/tproxy False")
    assert "daemons" not in done.stdout


def test_only_root(ferryman: Ferryman, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for verb in ("install", "uninstall"):
        done = ferryman("tproxy", verb)
        assert (done.exit_code, done.stderr) == (1, "ferryman: this takes root: run it by sudo\n")
    assert calls == []
