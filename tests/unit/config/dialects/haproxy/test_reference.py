"""The reference page is what the tables say."""

from __future__ import annotations

from pathlib import Path

from ferryman.config.dialects.haproxy.reference import markdown

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "haproxy.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == markdown(), (
        "run: python -m ferryman.config.dialects.haproxy.reference > docs/reference/haproxy.md"
    )
