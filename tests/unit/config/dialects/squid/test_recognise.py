"""Which text is a squid.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config.dialects import haproxy, native
from ferryman.config.dialects.squid import recognise
from ferryman.config.source import Source

GOLDEN = Path(__file__).parents[4] / "golden"


@pytest.mark.parametrize("file", sorted((GOLDEN / "squid").glob("*.txt")), ids=lambda file: file.name)
def test_squid_s(file: Path) -> None:
    source = Source("x.conf", file.read_text().partition("-" * 40)[0])
    assert recognise(source) > 50
    assert haproxy.recognise(source) == native.recognise(source) == 0


@pytest.mark.parametrize(
    "text",
    [
        "acl dvmRoute dstdomain x\n\nssl_bump splice dvmRoute\n",
        "http_port 3128\n",
        "acl a src 1.2.3.4\nacl b dst ::1\nssl_bump splice a\n",
    ],
)
def test_pieces(text: str) -> None:
    assert recognise(Source("<stdin>", text)) > 50


@pytest.mark.parametrize(
    "file", sorted([*(GOLDEN / "haproxy").glob("*.*"), *(GOLDEN / "native").glob("*.yaml")]), ids=lambda file: file.name
)
def test_others_files(file: Path) -> None:
    assert recognise(Source("x", file.read_text())) == 0


@pytest.mark.parametrize(
    "text", ["", "hello world\n", "listeners:\n  a:\n", "http_port: 3128\n", "http_port = 3128\n", "[service]\n"]
)
def test_others(text: str) -> None:
    assert recognise(Source("squid.conf", text)) == 0
