"""ferryman version."""

from __future__ import annotations

from importlib.metadata import version

from .conftest import Ferryman


def test_it_says_what_it_runs_on(ferryman: Ferryman) -> None:
    result = ferryman("version")
    assert result.stdout.startswith(f"ferryman {version('ferryman')}\n")
    assert "Python 3." in result.stdout


def test_the_option_is_the_short_form(ferryman: Ferryman) -> None:
    assert ferryman("--version").stdout == f"ferryman {version('ferryman')}\n"
