"""The reference page is what the tables say, and the tables know every record of layer 4 there is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ferryman.config.dialects.ats.keywords import RECORDS, family
from ferryman.config.dialects.ats.reference import markdown

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "trafficserver.md"
PROGRAM = shutil.which("traffic_server", path="/usr/bin:/usr/sbin:/usr/local/bin")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == markdown(), (
        "run: python -m ferryman.config.dialects.ats.reference > docs/reference/trafficserver.md"
    )


@pytest.mark.skipif(PROGRAM is None, reason="trafficserver is not installed")
def test_every_record_is_known() -> None:
    assert PROGRAM is not None
    names = set(re.findall(rb"\0(proxy\.config\.[A-Za-z0-9_.]+)\0", Path(PROGRAM).read_bytes()))
    assert len(names) > 200
    unknown = {name.decode() for name in names if name.decode() not in RECORDS.rows and not family(name.decode())}
    assert {name for name in unknown if not name.endswith(".")} == set()
