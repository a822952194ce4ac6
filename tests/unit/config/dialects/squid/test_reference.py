"""The reference page is what the tables say, and the tables know every directive that Squid documents."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from ferryman.config.dialects.squid.keywords import DIRECTIVES, YES
from ferryman.config.dialects.squid.reference import markdown
from ferryman.config.dialects.squid.settings import HANDLERS

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "squid.md"
DOCUMENTED = Path("/usr/share/doc/squid-common/squid.conf.documented.gz")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == markdown(), (
        "run: python -m ferryman.config.dialects.squid.reference > docs/reference/squid.md"
    )


def test_what_is_supported_is_read() -> None:
    assert {row.name for row in DIRECTIVES if row.support == YES} == {*HANDLERS, "include"}


@pytest.mark.skipif(not DOCUMENTED.exists(), reason="squid-common is not installed")
def test_every_directive_is_known() -> None:
    text = gzip.decompress(DOCUMENTED.read_bytes()).decode()
    assert set(re.findall(r"^#  TAG: (\S+)", text, re.MULTILINE)) - set(DIRECTIVES.rows) == set()
