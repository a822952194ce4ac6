"""Traffic Server's files and what becomes of them: texts, each after a line with its name, a line of dashes, the
findings and the native data.

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second halves anew; read the difference before committing it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from ferryman.config.dialects import ats
from ferryman.config.source import Diagnostics, Source

FOLDER = Path(__file__).parent / "ats"
DASHES = "-" * 40 + "\n"
_NAME = re.compile(r"^=== (\S+)\n", re.MULTILINE)


def outcome(text: str) -> str:
    diagnostics = Diagnostics()
    parts = _NAME.split(text)[1:]
    sources = [Source(name, part) for name, part in zip(parts[::2], parts[1::2], strict=True)]
    document = ats.parse(sources, diagnostics, {})
    found = "".join(f"{finding}\n" for finding in diagnostics.found)
    return found + yaml.safe_dump(document.data, sort_keys=False, width=120, allow_unicode=True)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_trafficserver(file: Path) -> None:
    text, dashes, expected = file.read_text().partition(DASHES)
    got = outcome(text)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + DASHES + got)
        return
    assert dashes, "a line of dashes ends the configuration"
    assert got == expected
