"""The table of verdicts is whole: explained, documented, used, and each produced by a peer in a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.doctor.report import Check, Report, finding, fine, skipped, unknown
from ferryman.doctor.verdicts import VERDICTS

ROOT = Path(__file__).parents[3]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "src/ferryman/doctor").glob("*.py") if path.stem != "verdicts")
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_doctor_*.py"))


@pytest.mark.parametrize("code", VERDICTS)
def test_a_verdict_is_explained_used_and_produced_by_a_peer(code: str) -> None:
    verdict = VERDICTS[code]
    assert verdict.title.endswith(".")
    assert verdict.means.endswith(".")
    assert verdict.remedy
    assert set(re.findall(r"\{(\w+)\}", verdict.remedy)) <= {"host", "port", "target", "proxy"}
    assert f'"{code}"' in SOURCE, "nothing finds it"
    assert f'"{code}"' in TESTS, "no test has a peer that misbehaves so"


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
