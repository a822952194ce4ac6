"""Where CI is set a skipped test fails the session, and elsewhere it does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """\
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such program here")
"""


@pytest.mark.parametrize(("ci", "workers", "code"), [("1", ["-n", "1"], 1), ("", [], 0)])
def test_a_skip_fails_only_where_ci_is_set(ci: str, workers: list[str], code: int, tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", *workers, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=env | {"CI": ci})
    assert done.returncode == code, done.stdout
    assert ("CI: 1 skipped" in done.stdout) == bool(ci)
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]
