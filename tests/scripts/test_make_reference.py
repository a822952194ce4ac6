"""The reference of the configuration is what the schema says, and the examples in it are right."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "configuration.md"


def test_the_page_is_current() -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("number", [0, 1, 2])
def test_its_examples_are_right(number: int) -> None:
    text = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    loaded = load([Source("configuration.md", text)], "ferryman", environment={})
    assert [str(finding) for finding in loaded.diagnostics.found] == []
    assert loaded.plan is not None
