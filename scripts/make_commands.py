"""Write docs/reference/commands.md from the help texts of the command line, so that the two cannot differ.

.venv/bin/python scripts/make_commands.py           # write it
.venv/bin/python scripts/make_commands.py --check   # exit code 1 if it would change; a test calls this
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from ferryman.cli.main import EXAMPLES, EXITS, main
from ferryman.cli.verb import Verb, Verbs

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"


def page() -> str:
    """The whole page, as Markdown."""
    parts = [
        "# Commands",
        "<!-- made by scripts/make_commands.py from `ferryman VERB --help`; do not edit -->",
        _prose(main),
        _block(EXAMPLES),
        "| verb | |\n|---|---|\n"
        + "\n".join(f"| [`{name}`](#{name}) | {_summary(verb)} |" for name, verb in main.commands.items()),
        "## Exit codes",
        _exits(EXITS),
        *(section for verb in main.commands.values() for section in _sections(verb)),
    ]
    return "\n\n".join(parts) + "\n"


def _sections(verb: click.Command) -> list[str]:
    """A verb, and the verbs that it has."""
    if isinstance(verb, Verbs):
        inner = [one for one in verb.commands.values() if isinstance(one, Verb)]
        parts = [f"## {verb.name}", _prose(verb), _block(verb.examples)]
        return [*parts, *(section for one in inner for section in _verb(one, f"{verb.name} {one.name}", "###"))]
    return _verb(verb, verb.name or "", "##") if isinstance(verb, Verb) else []


def _verb(verb: Verb, name: str, heading: str) -> list[str]:
    context = click.Context(verb, info_name=f"ferryman {name}")
    parts = [f"{heading} {name}", f"`{verb.get_usage(context).removeprefix('Usage: ')}`", _prose(verb)]
    records = [parameter.get_help_record(context) for parameter in verb.params if isinstance(parameter, click.Option)]
    rows = [f"| `{record[0]}` | {_cell(record[1])} |" for record in records if record]
    if rows:
        parts.append("| option | |\n|---|---|\n" + "\n".join(rows))
    parts.append(_block(verb.examples))
    if verb.exits:
        parts += ["Exit codes:", _exits(verb.exits)]
    return parts


def _prose(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _summary(command: click.Command) -> str:
    return _prose(command).partition("\n")[0]


def _exits(exits: dict[int, str]) -> str:
    return "| code | |\n|---|---|\n" + "\n".join(f"| {code} | {_cell(text)} |" for code, text in exits.items())


def _cell(text: str) -> str:
    return text.replace("  [", " [").replace("|", "\\|").replace("*", "\\*")


def _block(text: str) -> str:
    return f"```sh\n{text}\n```"


if __name__ == "__main__":
    made = page()
    if sys.argv[1:] == ["--check"]:
        current = PAGE.read_text() if PAGE.exists() else ""
        if current != made:
            sys.exit(f"{PAGE} is not what the help texts say; run scripts/make_commands.py")
    else:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(made)
