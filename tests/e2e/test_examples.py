"""The examples: every configuration is fine as it stands, and the demonstration works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.config.load import load, read

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".cfg", ".yaml"))


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_example_is_fine_as_it_stands(path: Path) -> None:
    loaded = load(read([str(path)]))
    assert [str(finding) for finding in loaded.diagnostics.found] == []
    assert loaded.plan is not None


def test_the_demonstration_loses_no_request() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KEEP"}
    done = subprocess.run(
        [sys.executable, "examples/demo.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 requests, 0 failed." in done.stdout
    assert "master1 DOWN" in done.stdout
    assert "http://127.0.0.1:26404/stats" in done.stdout
