"""The table of verdicts is whole: explained, documented, used, and each produced by a peer in a test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.doctor.report import Check, Report, finding, fine, skipped, unknown
from ferryman.doctor.verdicts import VERDICTS

ROOT = Path(__file__).parents[3]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "src/ferryman/doctor").glob("*.py") if path.stem != "verdicts")
TESTS = [ast.parse(path.read_text()) for path in (ROOT / "tests/e2e").glob("test_doctor_*.py")]
SMALL = {"odd", "lossy"}
"""What tests call whose peer is a few lines of Python, in place of a program that people run."""


def strings(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def demanded(test: ast.FunctionDef, tables: dict[str, ast.expr]) -> Iterator[str]:
    """The strings without which a test fails: those in its assertions, or in the table that these go by."""
    for node in ast.walk(test):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "found":
            yield from strings(node)
        if not isinstance(node, ast.Assert) or not isinstance(node.test, ast.Compare):
            continue
        if not isinstance(node.test.ops[0], ast.Eq | ast.GtE | ast.In):
            continue
        out = {text for part in ast.walk(node.test) if isinstance(part, ast.BinOp) for text in strings(part.right)}
        yield from strings(node.test) - out  # found.codes - {"X"} == …
        if {"code", "codes"} & names(node.test):
            for decorator in test.decorator_list:
                yield from strings(decorator)
            for name in names(test) & tables.keys():
                yield from strings(tables[name])


def produced() -> dict[str, set[str]]:
    """By code the tests that demand it of a program that people run."""
    found: dict[str, set[str]] = {}
    for module in TESTS:
        tables = {
            (node.target if isinstance(node, ast.AnnAssign) else node.targets[0]).id: node.value  # type: ignore[attr-defined]
            for node in module.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        }
        for test in module.body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_") and not SMALL & names(test):
                for code in VERDICTS.keys() & set(demanded(test, tables)):
                    found.setdefault(code, set()).add(test.name)
    return found


PRODUCED = produced()


def test_the_check_itself_takes_assertions_only() -> None:
    named = """
@pytest.mark.parametrize("code", ["A"])
def test_x(code):
    found = diagnose("B")
    assert found.codes == {code, "C"}
    assert "D" not in found.codes
    assert found.codes <= {"E"}
    assert "F" in found.codes and "G"
    found.found("H")
    assert found.codes - {"I"} == {"J"}
"""
    test = ast.parse(named).body[0]
    assert isinstance(test, ast.FunctionDef)
    assert set(demanded(test, {})) == {"A", "C", "H", "J", "code"}


@pytest.mark.parametrize("code", VERDICTS)
def test_a_verdict_is_explained_used_and_produced_by_a_peer(code: str) -> None:
    verdict = VERDICTS[code]
    assert verdict.title.endswith(".")
    assert verdict.means.endswith(".")
    assert verdict.remedy
    assert set(re.findall(r"\{(\w+)\}", verdict.remedy)) <= {"host", "port", "target", "proxy"}
    assert f'"{code}"' in SOURCE, "nothing finds it"
    assert PRODUCED.get(code), "no test demands it of a program that is misconfigured so"


def test_the_page_is_what_the_table_says() -> None:
    done = subprocess.run([sys.executable, "scripts/make_verdicts.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("codes", "exit_code", "carries"),
    [
        ([], 0, "yes"),
        (["OPEN_PROXY"], 0, "yes"),
        (["EARLY_200", "OPEN_PROXY"], 4, "perhaps"),
        (["EARLY_200", "MITM"], 1, "no"),
    ],
)
def test_the_exit_code_is_the_worst_severity(codes: list[str], exit_code: int, carries: str) -> None:
    rows: list[Check] = [fine("a", "x"), unknown("b", "y"), skipped("c", "z")]
    report = Report("p", (*rows, *(finding("d", code, "s", {}) for code in codes)), 0.1)
    assert report.exit_code == exit_code
    assert report.data()["carries"] == carries


def test_a_remedy_has_the_names_of_the_path() -> None:
    row = finding("tls", "MITM", "s", {"host": "dvm.apps.test"}, issuer="", subject="CN=x").data()
    assert "ssl::server_name dvm.apps.test" in row["remedy"]
    assert row["evidence"] == {"subject": "CN=x"}
