"""HAProxy configurations and what becomes of them: text, a line of dashes, the findings and the native data.

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second halves anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from ferryman.config.dialects import haproxy
from ferryman.config.load import load
from ferryman.config.source import Diagnostics, Source

FOLDER = Path(__file__).parent / "haproxy"
DASHES = "-" * 40 + "\n"
ENVIRONMENT = {"DOMAIN": "example.org", "NODE": "gw1"}


def outcome(name: str, text: str) -> str:
    diagnostics = Diagnostics()
    document = haproxy.parse([Source(name, text)], diagnostics, ENVIRONMENT)
    found = "".join(f"{finding}\n" for finding in diagnostics.found)
    return found + yaml.safe_dump(document.data, sort_keys=False, width=120, allow_unicode=True)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_haproxy(file: Path) -> None:
    text, dashes, expected = file.read_text().partition(DASHES)
    got = outcome(f"{file.stem}.cfg", text)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + DASHES + got)
        return
    assert dashes, "a line of dashes ends the configuration"
    assert got == expected


def test_a_cluster_s_file_as_it_stands() -> None:
    """It loads into a plan; the places of its mistakes are the words that make them."""
    text = (FOLDER / "cluster.cfg").read_text()
    assert (FOLDER / "cluster.txt").read_text().partition(DASHES)[0] == text
    loaded = load([Source("haproxy.cfg", text)], environment={})
    assert loaded.document.dialect == "haproxy"
    assert loaded.plan is not None
    lines = text.split("\n")
    marked = []
    for finding in loaded.diagnostics.found:
        assert finding.severity == "warning"
        assert finding.mark is not None
        start = finding.mark.column - 1
        marked.append(lines[finding.mark.line - 1][start : start + finding.mark.length])
    assert marked == [
        "forwardfor",  # once for the frontend
        "forwardfor",  # and once for the backend
        "ocp-disconnected.fede.ipv6.lab",  # a regex that is not anchored
        "use_backend cluster0-6443 if is_cluster0",  # which decides nothing
        "sni",  # without ssl
    ]
