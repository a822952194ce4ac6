"""What Squid takes or refuses, ferryman takes or refuses: snippets.txt, held against both.

Squid takes a third of a second to look at one, so a part of them has to do; SNIPPETS=all takes all.

accepted, refused   by both
not yet             by Squid only: ferryman says that it does not support it yet
stricter            by Squid only: it goes on after a mistake, or leaves it out
looser              by ferryman only
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.config.dialects.squid.reading import files

from ferryman.config.load import load
from ferryman.config.source import Source

PRELUDE = "http_port 3128\n"
SQUID = shutil.which("squid", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files(tmp_path_factory.mktemp("squid"))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: f"line{snippet.line}")
def test_ferryman(snippet: Snippet, folder: Path) -> None:
    text = snippet.text.replace("@DIR@", str(folder))
    loaded = load([Source("squid.conf", text)], "squid", environment={})
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
    assert SQUID is not None
    found = re.search(r"Version (\d+)\.", subprocess.run([SQUID, "-v"], capture_output=True, text=True).stdout)
    return found[1] if found else ""


@pytest.mark.skipif(SQUID is None, reason="squid is not installed")
def test_squid(folder: Path) -> None:
    assert SQUID is not None
    built = subprocess.run([SQUID, "-v"], capture_output=True, text=True).stdout
    if version() != "5" or "--with-openssl" not in built:
        pytest.skip("the snippets are for squid 5 with OpenSSL")
    wrong = []
    for snippet in SNIPPETS if os.environ.get("SNIPPETS") == "all" else SNIPPETS[::6]:
        file = folder / f"line{snippet.line}.conf"
        file.write_text(snippet.text.replace("@DIR@", str(folder)))
        done = subprocess.run([SQUID, "-k", "parse", "-f", str(file)], capture_output=True, text=True)
        if (done.returncode == 0) != (snippet.verdict in ("accepted", "not yet", "stricter")):
            wrong.append(f"line {snippet.line}: {done.stderr[-2000:]}")
    assert wrong == []


def test_there_are_enough() -> None:
    assert len(SNIPPETS) > 120
