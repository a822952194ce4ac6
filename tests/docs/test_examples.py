"""What the documentation shows is true: configurations load, marked commands print it, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ferryman.cli.main import main
from ferryman.cli.verb import Verbs
from ferryman.config.load import load
from ferryman.config.source import Source
from tests.docs.blocks import PAGES, ROOT, Block, blocks, every_block

BLOCKS = every_block()
RUN = [block for block in BLOCKS if block.mark == "run"]


def is_run(block: Block) -> bool:
    """Do marked commands of its page read it, perhaps with files that they make? Then they are its test."""
    name = block.mark.removeprefix("file: ")
    return name != block.mark and any(other.page == block.page and name in other.text.split() for other in RUN)


CONFIGURATIONS = [
    block
    for block in BLOCKS
    if not is_run(block)
    and (block.language == "haproxy" or (block.language == "yaml" and re.search(r"^listeners:", block.text, re.M)))
]
COMMANDS = [
    (block, line)
    for block in BLOCKS
    if block.language in ("sh", "console", "bash")
    for line in re.sub(r"\\\n *", "", block.text).splitlines()
    if re.match(r"(\$ )?ferryman ", line)
]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_configurations_load(block: Block) -> None:
    dialect = "haproxy" if block.language == "haproxy" else "ferryman"
    loaded = load([Source(str(block), block.text)], dialect, environment={})
    assert not loaded.diagnostics.errors, "\n".join(map(str, loaded.diagnostics.found))
    assert loaded.plan is not None


def transcript(text: str) -> list[tuple[str, str]]:
    """A console block as commands and what each prints."""
    steps: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        elif line.startswith("> ") and steps and not steps[-1][1]:
            steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", "")
        else:
            assert steps, f"output before any command: {line}"
            steps[-1] = (steps[-1][0], f"{steps[-1][1]}{line.rstrip()}\n")
    return steps


def pattern(shown: str) -> str:
    """What is shown as a regular expression: a line of dots is any lines, dots within a line any text."""
    lines = []
    for line in shown.splitlines():
        if line.strip() in ("...", "…"):
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(r"[^\n]*".join(map(re.escape, re.split(r"\.\.\.|…", line))) + r"\n")
    return "".join(lines)


@pytest.mark.parametrize("block", RUN, ids=str)
def test_commands_print_what_is_shown(block: Block, tmp_path: Path) -> None:
    for other in blocks(block.page):
        if other.mark.startswith("file: "):
            (tmp_path / other.mark.removeprefix("file: ")).write_text(other.text)
        if other == block:
            break
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    for command, shown in transcript(block.text):
        ended = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        printed = "".join(f"{line.rstrip()}\n" for line in ended.stdout.splitlines())
        assert re.fullmatch(pattern(shown), printed), f"{block}: `{command}` prints\n{printed}instead of\n{shown}"


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{block}-{i}" for i, (block, _) in enumerate(COMMANDS)])
def test_commands_exist(block: Block, line: str) -> None:
    words = shlex.split(line.removeprefix("$ "), comments=True)[1:]
    command = main.commands.get(words[0])
    if command is None:
        assert words[0] in ("--help", "--version", "VERB", "…"), f"{block}: there is no verb {words[0]}"
        return
    if isinstance(command, Verbs) and (inner := command.commands.get(words[1])) is not None:
        command = inner
    known = {name for option in command.params if isinstance(option, click.Option) for name in
             (*option.opts, *option.secondary_opts)}  # fmt: skip
    for word in words[1:]:
        if word in ("|", "||", "&&", ">", ";"):
            break
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}, f"{block}: {line}: there is no {word}"


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]+)?\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target, anchor in LINK.findall(text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {target}, which does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.relative_to(ROOT)} links to {target}{anchor}: no such heading"


def test_there_is_something_to_test() -> None:
    assert len(CONFIGURATIONS) > 8
    assert len(RUN) > 4
    assert len(COMMANDS) > 20
