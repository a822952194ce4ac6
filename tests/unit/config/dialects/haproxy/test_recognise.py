"""Which text is a haproxy.cfg."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config.dialects.haproxy import recognise
from ferryman.config.source import Source

GOLDEN = Path(__file__).parents[4] / "golden"


@pytest.mark.parametrize("file", sorted((GOLDEN / "haproxy").glob("*.*")), ids=lambda file: file.name)
def test_haproxy_s(file: Path) -> None:
    assert recognise(Source("x", file.read_text())) > 50


@pytest.mark.parametrize("file", sorted((GOLDEN / "native").glob("*.yaml")), ids=lambda file: file.name)
def test_native(file: Path) -> None:
    assert recognise(Source("x", file.read_text().partition("-" * 40)[0])) == 0


@pytest.mark.parametrize("text", ["", "hello\n", "listeners:\n  a:\n", "http_access deny all\n", "[service]\n"])
def test_others(text: str) -> None:
    assert recognise(Source("haproxy.cfg", text)) == 0
