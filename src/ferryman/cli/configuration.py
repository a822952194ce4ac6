"""FILE…, --as and --set: what the verbs that read a configuration have in common.

`source_options` puts an `Input` into a verb; `Input.load` reads it, `demand` shows every finding and goes on only with
a plan. Prints findings, and never a password that stands in the lines it shows.
"""

from __future__ import annotations

import functools
import io
import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from ferryman.cli.verb import FAILED

if TYPE_CHECKING:
    from ferryman.config.load import Loaded
    from ferryman.config.source import Diagnostic, Document, Source
    from ferryman.plan import Plan

Override = tuple[str, str]

_GUARD: Final[Override] = ("listeners.*.connect.egress_guard", "true")

_COLOURS: Final[dict[str, dict[str, Any]]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "place": {"bold": True},
    "spot": {"fg": "green", "bold": True},
    "hint": {"fg": "cyan"},
}


class Input:
    """Where the configuration comes from. May be loaded again and again: standard input is read once and kept."""

    def __init__(self, paths: tuple[str, ...], dialect: str | None, overrides: tuple[Override, ...]) -> None:
        self.paths = paths
        self.dialect = dialect
        self.overrides = overrides
        self._stdin: bytes | None = None
        self._kept: list[Source] | None = None

    def load(self, renew: bool = False) -> Loaded:
        """Read everything anew. What cannot be read is among the diagnostics.

        `renew`: the texts are those of the last time, only the files that they name are read.
        """
        from ferryman.config.load import Loaded, load, read
        from ferryman.config.source import Document
        from ferryman.errors import ConfigError

        if self._stdin is None and "-" in self.paths:
            self._stdin = sys.stdin.buffer.read()
        try:
            sources = self._kept if renew and self._kept else read(self.paths, io.BytesIO(self._stdin or b""))
        except ConfigError as error:
            return Loaded(Document("", {}), None, None, error.diagnostics)
        loaded = load(sources, self.dialect, self.overrides)
        if loaded.plan is not None:
            self._kept = list(sources)
        return loaded

    def with_overrides(self, *overrides: Override) -> Input:
        """The same with more values put in place, after those there are."""
        return Input(self.paths, self.dialect, (*self.overrides, *overrides))


class _Setting(click.ParamType[Override]):
    """PATH=VALUE as (path, value). No value is empty text, which for users, folders and files means none."""

    name = "setting"

    def convert(self, value: str | Override, param: click.Parameter | None, ctx: click.Context | None) -> Override:
        if isinstance(value, tuple):
            return value
        path, equals, text = value.partition("=")
        if not path or not equals:
            self.fail(f"{value!r} is not of the form PATH=VALUE, such as global.user=nobody", param, ctx)
        return path, text or '""'


def source_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add FILE…, --as and --set to a verb; it gets them as its argument `source`, an Input."""

    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
    @click.option(
        "--as",
        "dialect",
        metavar="DIALECT",
        help="Read it as this dialect: ferryman, haproxy, squid, trafficserver, stunnel or mtc.",
    )
    @click.option(
        "--set",
        "overrides",
        metavar="PATH=VALUE",
        multiple=True,
        type=_Setting(),
        help="Put a value in place of the file's; may be given more than once.",
    )
    @click.option(
        "--egress-guard",
        "guarded",
        is_flag=True,
        help="Keep clients of explicit proxies from loopback, link-local and cloud metadata addresses.",
    )
    @functools.wraps(function)
    def with_source(
        *args: Any,
        files: tuple[str, ...],
        dialect: str | None,
        overrides: tuple[Override, ...],
        guarded: bool,
        **options: Any,
    ) -> None:
        source = Input(files, dialect, overrides)
        function(*args, source=source.with_overrides(_GUARD) if guarded else source, **options)

    return with_source


def demand(loaded: Loaded) -> Plan:
    """Show every finding on standard error; end with exit code 1 unless there is a plan."""
    show(loaded, err=True)
    if loaded.plan is None:
        click.echo(f"ferryman: {count(loaded.diagnostics.found)}", err=True)
        raise click.exceptions.Exit(FAILED)
    return loaded.plan


def show(loaded: Loaded, err: bool) -> None:
    """Print every finding, in colour on a terminal."""
    from ferryman.config.render import render

    sources = [_without_passwords(source, loaded.document) for source in loaded.sources]
    for finding in loaded.diagnostics.found:
        click.echo(render(finding, sources, _styled), err=err)


def count(findings: Iterable[Diagnostic]) -> str:
    """ "1 error, 2 warnings"."""
    kinds = [finding.severity for finding in findings]
    return ", ".join(
        f"{kinds.count(kind)} {kind}{'' if kinds.count(kind) == 1 else 's'}" for kind in ("error", "warning")
    )


def _styled(role: str, text: str) -> str:
    return click.style(text, **_COLOURS.get(role, {}))


_PASSWORD = re.compile(r"(\bauth\s+[^\s:]+:|\blogin=[^\s:]+:|\bpassword\s+|\bpassword:\s*)(\S+)")
_USERS = re.compile(r"""^(\s*)(?:- +)?.*\busers["']?\s*:""")


def _without_passwords(source: Source, document: Document) -> Source:
    """The text with a star for each character of a password, so that places stay where they are.

    Where it was understood, the document knows the places; where it was not, whatever looks like a password is taken
    for one.
    """
    from ferryman.config.source import Source

    lines = source.text.split("\n")
    if not document.data:
        lines = _without_users(lines)
    for path, mark in document.marks.items():
        if path[-2:-1] == ("users",) and mark.file == source.name and 0 < mark.line <= len(lines):
            lines[mark.line - 1] = _starred(lines[mark.line - 1], mark.column - 1, mark.length or None)
    text = "\n".join(lines)
    return Source(source.name, _PASSWORD.sub(lambda found: found[1] + "*" * len(found[2]), text))


def _without_users(lines: list[str]) -> list[str]:
    """Hide what follows `users:`, on its line and in the lines indented below it."""
    hidden: list[str] = []
    below: int | None = None
    for line in lines:
        if below is not None and line.strip() and len(line) - len(line.lstrip()) <= below:
            below = None
        if found := _USERS.match(line):
            below = len(found[1])
            line = _starred(line, found.end())
        elif below is not None and ":" in line:
            line = _starred(line, line.index(":") + 1)
        hidden.append(line)
    return hidden


def _starred(line: str, start: int, length: int | None = None) -> str:
    end = len(line) if length is None else start + length
    return line[:start] + "*" * len(line[start:end]) + line[end:]
