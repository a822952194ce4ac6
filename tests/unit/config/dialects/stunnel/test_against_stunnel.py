"""What stunnel takes or refuses, ferryman takes or refuses: snippets.txt, held against both.

accepted, refused   by both
not yet             by stunnel only: ferryman says that it does not support it
stricter            by stunnel only: it starts, and refuses every connection, speaks what is too old, or takes nonsense
                    for something else (a timeout of -1, an unknown protocolAuthentication)
looser              by ferryman only: Debian's stunnel is built without it; it has no effect here; or (setuid) whether
                    there is such a user is seen at the start

stunnel is started, and ended as soon as it has said what it makes of the file. A snippet is added to a service that is
right, unless its line ends in `!`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.config.dialects.stunnel.reading import files

from ferryman.config.load import load
from ferryman.config.source import Source

PRELUDE = (
    "foreground = yes\npid =\nsyslog = no\n[s]\naccept = 127.0.0.1:@PORT@\nconnect = 127.0.0.1:1\n"
    "cert = @DIR@/server.pem\n"
)
STUNNEL = shutil.which("stunnel4", path="/usr/bin:/usr/sbin:/usr/local/bin")


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
    return files(tmp_path_factory.mktemp("stunnel"))


def filled(snippet: Snippet, folder: Path) -> str:
    return snippet.text.replace("@DIR@", str(folder)).replace("@PORT@", str(11000 + snippet.line))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: f"line{snippet.line}")
def test_ferryman(snippet: Snippet, folder: Path) -> None:
    loaded = load([Source("stunnel.conf", filled(snippet, folder))], "stunnel", environment={})
    errors = [str(finding) for finding in loaded.diagnostics.found if finding.severity == "error"]
    match snippet.verdict:
        case "accepted" | "looser":
            assert errors == []
        case "not yet":
            assert errors
            assert all("not supported" in error or "inetd" in error for error in errors)
        case _:
            assert errors


def accepts(file: Path) -> tuple[bool, str]:
    """Whether stunnel takes it, and what it said until it said so."""
    assert STUNNEL is not None
    with subprocess.Popen(
        ["timeout", "10", STUNNEL, str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if "Configuration successful" in line or "Configuration failed" in line:
                break
        process.terminate()
    return "Configuration successful" in said, said


@pytest.mark.skipif(STUNNEL is None, reason="stunnel4 is not installed")
def test_stunnel(folder: Path) -> None:
    wrong = []
    for snippet in SNIPPETS if os.environ.get("SNIPPETS") == "all" else SNIPPETS[::4]:
        file = folder / f"line{snippet.line}.conf"
        file.write_text(filled(snippet, folder))
        accepted, said = accepts(file)
        if accepted != (snippet.verdict in ("accepted", "not yet", "stricter")):
            wrong.append(f"line {snippet.line}, {snippet.verdict}: {said[-600:]}")
    assert wrong == []


def test_there_are_enough() -> None:
    assert len(SNIPPETS) > 100
