"""ferryman completion: scripts, and that a shell gets verbs from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from .conftest import Ferryman


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(ferryman: Ferryman, shell: str) -> None:
    result = ferryman("completion", shell)
    assert result.exit_code == 0
    assert f"_FERRYMAN_COMPLETE={shell}_complete" in result.stdout


def test_the_script_is_what_bash_takes(ferryman: Ferryman) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    script = ferryman("completion", "bash").stdout
    subprocess.run([bash, "-n"], input=script, text=True, check=True)


def test_verbs_and_options_are_offered() -> None:
    def offered(words: str, at: int) -> str:
        environment = {**os.environ, "_FERRYMAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        program = "from ferryman.cli.main import main; main(prog_name='ferryman')"
        ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        return ended.stdout

    assert "plain,status\n" in offered("ferryman st", 1)
    assert "plain,--strict\n" in offered("ferryman check --s", 2)
    assert offered("ferryman check x", 2) == "file,x\n"
