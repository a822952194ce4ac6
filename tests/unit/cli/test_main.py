"""The group: help, errors as messages and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.cli.main import EXITS, main
from ferryman.cli.tproxy import tproxy
from ferryman.cli.verb import Verb, Verbs

from .conftest import Ferryman

FERRYMAN = [sys.executable, "-m", "ferryman"]


def test_help_names_every_verb_and_exit_code(ferryman: Ferryman) -> None:
    result = ferryman("--help")
    assert result.exit_code == 0
    for name in main.commands:
        assert f"\n  {name} " in result.stdout
    for code in EXITS:
        assert f"\n  {code} " in result.stdout


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_verb_teaches_by_example(ferryman: Ferryman, name: str) -> None:
    command = main.commands[name]
    assert isinstance(command, Verb | Verbs)
    assert f"ferryman {name}" in command.examples
    result = ferryman(name, "--help")
    assert result.exit_code == 0
    assert command.examples.splitlines()[0] in result.stdout
    assert len(command.get_short_help_str(200)) <= 60, "cut off in `ferryman --help`"


@pytest.mark.parametrize("name", sorted(tproxy.commands))
def test_the_verbs_of_a_verb_do_as_well(ferryman: Ferryman, name: str) -> None:
    command = tproxy.commands[name]
    assert isinstance(command, Verb)
    assert f"ferryman tproxy {name}" in command.examples
    result = ferryman("tproxy", name, "--help")
    assert result.exit_code == 0
    assert command.examples.splitlines()[0] in result.stdout


@pytest.mark.parametrize(("name", "verb"), [("migrate", "copy"), ("doctor", "path")])
def test_the_verb_that_need_not_be_named_lends_its_exit_codes(ferryman: Ferryman, name: str, verb: str) -> None:
    listed = ferryman(name, verb, "--help").output.partition("Exit codes:")[2]
    assert listed.strip()
    assert ferryman(name, "--help").output.endswith(listed)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from ferryman.cli.main import main; main(['--help'], standalone_mode=False);"
        "print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ended.stderr.split())
    assert not loaded & {"pydantic", "starlette", "uvicorn", "jinja2", "yaml", "asyncio", "ferryman.plan", "ssl"}


def test_python_m_ferryman_is_the_command() -> None:
    ended = subprocess.run([*FERRYMAN, "version"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("ferryman ")


def test_a_wrong_command_line_is_exit_code_2(ferryman: Ferryman) -> None:
    assert ferryman("chekc").exit_code == 2
    assert ferryman("check").exit_code == 2
    assert "such as global.user=nobody" in ferryman("check", "x", "--set", "global.user").stderr


def test_expected_failures_are_one_message_and_exit_code_1(ferryman: Ferryman, tmp_path: Path) -> None:
    result = ferryman("status", "--control", str(tmp_path / "none.sock"))
    assert result.exit_code == 1
    assert result.stderr.startswith("ferryman: no ferryman is running behind ")
    assert result.stdout == ""


def test_interrupted_is_exit_code_130(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    command = ["env", "--default-signal=INT", *FERRYMAN, "check", str(fifo)]  # whoever runs the tests may ignore it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with open(fifo, "w"):  # returns when the other side has opened it, too, and waits for what comes
            process.send_signal(2)
            assert process.wait(60) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = f"{' '.join(FERRYMAN)} schema | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert ended.stdout.strip() == "141"


def test_no_color_wins_over_a_terminal(ferryman: Ferryman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("listeners: 1\n")
    assert "\x1b[" in ferryman("check", str(path), color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in ferryman("check", str(path), color=True).stdout
