"""What the tests of the command line share: running a verb in this process, and configurations to give it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferryman.cli.main import main

Ferryman = Callable[..., Result]
Write = Callable[..., str]


@pytest.fixture
def ferryman() -> Ferryman:
    """Run a command line: ferryman("check", path, input="…"). Only expected exceptions are allowed to escape."""

    def run(*arguments: str, input: str | None = None, **options: object) -> Result:
        return CliRunner().invoke(main, arguments, input=input, prog_name="ferryman", catch_exceptions=False, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration and return its path."""

    def make(text: str, name: str = "ferryman.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return make
