"""A verb that teaches by example: a click command with examples and exit codes in its help.

Used by every module of cli and by scripts/make_commands.py. Knows nothing of ferryman.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click

FINE, FAILED, REFUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 3, 130, 141


class Verb(click.Command):
    """`examples`: command lines, each under a `# what it does`. `exits`: what exit codes mean."""

    def __init__(self, *args: Any, examples: str = "", exits: dict[int, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = inspect.cleandoc(examples)
        self.exits = exits or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_epilog(formatter, self.examples, self.exits)


class Verbs(click.Group):
    """A verb that has verbs of its own, in the order of their use."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("subcommand_metavar", "VERB ...")
        super().__init__(*args, **kwargs)
        self.examples = inspect.cleandoc(examples)
        self.exits: dict[int, str] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_epilog(formatter, self.examples, self.exits)


def verb(name: str, *, examples: str, exits: dict[int, str] | None = None) -> Callable[[Callable[..., None]], Verb]:
    """Make a function a verb; its docstring is the help."""

    def make(function: Callable[..., None]) -> Verb:
        return click.command(name, cls=Verb, examples=examples, exits=exits)(function)

    return make


def write_epilog(formatter: click.HelpFormatter, examples: str, exits: dict[int, str]) -> None:
    """The blocks at the end of a help text: line by line, never refilled."""
    if examples:
        with formatter.section("Examples"):
            for line in examples.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}".rstrip() + "\n")
    if exits:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in exits.items()])
