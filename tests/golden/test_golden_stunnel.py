"""stunnel.conf files and what becomes of them: text, a line of dashes, the findings and the native data.

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second halves anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from ferryman.config.dialects import stunnel
from ferryman.config.source import Diagnostics, Source

FOLDER = Path(__file__).parent / "stunnel"
DASHES = "-" * 40 + "\n"


def outcome(name: str, text: str) -> str:
    diagnostics = Diagnostics()
    document = stunnel.parse([Source(name, text)], diagnostics, {})
    found = "".join(f"{finding}\n" for finding in diagnostics.found)
    return found + yaml.safe_dump(document.data, sort_keys=False, width=120, allow_unicode=True)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_stunnel(file: Path) -> None:
    text, dashes, expected = file.read_text().partition(DASHES)
    got = outcome(f"{file.stem}.conf", text)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + DASHES + got)
        return
    assert dashes, "a line of dashes ends the configuration"
    assert got == expected
