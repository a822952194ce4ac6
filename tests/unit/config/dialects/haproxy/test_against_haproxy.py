"""What HAProxy takes or refuses, ferryman takes or refuses: snippets.txt, held against both.

HAProxy takes a sixth of a second to look at one, so a part of them has to do; SNIPPETS=all takes all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source

PRELUDE = "global\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@dataclass(frozen=True)
class Snippet:
    line: int
    verdict: str
    text: str


def snippets() -> list[Snippet]:
    text = (Path(__file__).parent / "snippets.txt").read_text()
    found = []
    for match in re.finditer(r"^=== ([a-z ]+?)( !)?\n(.*?)(?=^===|\Z)", text, re.MULTILINE | re.DOTALL):
        body = match[3] if match[2] else PRELUDE + match[3]
        found.append(Snippet(text.count("\n", 0, match.start()) + 1, match[1], body))
    return found


SNIPPETS = snippets()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: f"line{snippet.line}")
def test_ferryman(snippet: Snippet) -> None:
    loaded = load([Source("haproxy.cfg", snippet.text)], "haproxy", environment={})
    errors = [str(finding) for finding in loaded.diagnostics.found if finding.severity == "error"]
    match snippet.verdict:
        case "accepted" | "looser":
            assert errors == []
        case "not yet":
            assert errors
            assert all("not supported" in error for error in errors)
        case _:
            assert errors


def version() -> str:
    assert HAPROXY is not None
    found = re.search(r"version (\d+\.\d+)", subprocess.run([HAPROXY, "-v"], capture_output=True, text=True).stdout)
    return found[1] if found else ""


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_haproxy(tmp_path: Path) -> None:
    if version() != "2.6":
        pytest.skip(f"the snippets are for haproxy 2.6, this is {version()}")
    wrong = []
    for snippet in SNIPPETS if os.environ.get("SNIPPETS") == "all" else SNIPPETS[::4]:
        file = tmp_path / f"line{snippet.line}.cfg"
        file.write_text(snippet.text)
        done = subprocess.run([str(HAPROXY), "-c", "-f", str(file)], capture_output=True, text=True, env={})
        taken = done.returncode != 1  # 2: fine, but there is nothing to listen at
        if taken != (snippet.verdict in ("accepted", "not yet", "stricter")):
            wrong.append(f"line {snippet.line}: {done.stderr}")
    assert wrong == []


def test_there_are_enough() -> None:
    assert len(SNIPPETS) > 200
