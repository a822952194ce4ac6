"""The reference page is what the tables say, and the tables know every option of stunnel's manual."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from ferryman.config.dialects.stunnel.keywords import GLOBAL, SERVICE
from ferryman.config.dialects.stunnel.reference import markdown

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "stunnel.md"
MANUAL = Path("/usr/share/man/man8/stunnel4.8.gz")
WINDOWS = {"iconActive", "iconError", "iconIdle", "taskbar"}


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == markdown(), (
        "run: python -m ferryman.config.dialects.stunnel.reference > docs/reference/stunnel.md"
    )


@pytest.mark.skipif(not MANUAL.exists(), reason="stunnel4 is not installed")
def test_every_option_is_known() -> None:
    names = set(re.findall(r"^\.IX Item \"(\w+) = ", gzip.decompress(MANUAL.read_bytes()).decode(), re.MULTILINE))
    assert len(names) > 90
    assert {name for name in names - WINDOWS if name.lower() not in GLOBAL.rows | SERVICE.rows} == set()
