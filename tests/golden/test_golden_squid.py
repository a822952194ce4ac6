"""squid.conf files and what becomes of them: text, a line of dashes, the findings and the native data.

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second halves anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from ferryman.config.dialects import squid
from ferryman.config.load import load
from ferryman.config.source import Diagnostics, Source

FOLDER = Path(__file__).parent / "squid"
DASHES = "-" * 40 + "\n"


def outcome(name: str, text: str) -> str:
    diagnostics = Diagnostics()
    document = squid.parse([Source(name, text)], diagnostics, {})
    found = "".join(f"{finding}\n" for finding in diagnostics.found)
    return found + yaml.safe_dump(document.data, sort_keys=False, width=120, allow_unicode=True)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_squid(file: Path) -> None:
    text, dashes, expected = file.read_text().partition(DASHES)
    got = outcome(f"{file.stem}.conf", text)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + DASHES + got)
        return
    assert dashes, "a line of dashes ends the configuration"
    assert got == expected


def test_debian_s_own_file_loads_with_warnings_only() -> None:
    text = (FOLDER / "debian.txt").read_text().partition(DASHES)[0]
    loaded = load([Source("squid.conf", text)], environment={})
    assert loaded.document.dialect == "squid"
    assert loaded.plan is not None
    assert [finding.severity for finding in loaded.diagnostics.found] == ["warning"] * len(loaded.diagnostics.found)
