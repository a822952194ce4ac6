"""Conditional blocks and messages: .if, .elif, .else, .endif, .notice, .warning, .alert, .diag (manual, 2.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.haproxy.tokens import words
from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, RawLine, span
from ferryman.config.source import Diagnostics, Mark

_LIKE: Final = (3, 0)  # the version of HAProxy whose language this is, for version_atleast and version_before
_DEEPEST: Final = 64
_MESSAGES: Final = (".notice", ".warning", ".alert", ".diag")
_ALL: Final = (".if", ".elif", ".else", ".endif", *_MESSAGES)
_TOKEN: Final = re.compile(
    r"\s*(?:(&&|\|\||[!()])|([A-Za-z_][A-Za-z_0-9]*)\(([^()]*)\)|([0-9]+|true|false)(?![^\s)&|]))"
)
_NOT_YET: Final = (
    "feature",
    "enabled",
    "strstr",
    "openssl_version_atleast",
    "openssl_version_before",
    "ssllib_name_startswith",
)


@dataclass(slots=True)
class _Block:
    """An open .if: `taken` once one of its branches was, `skip` while the branch at hand is not."""

    opened: Mark
    taken: bool
    skip: bool
    has_else: bool = False


@dataclass(slots=True)
class Blocks:
    """The open blocks at one point of a source."""

    diagnostics: Diagnostics
    open: list[_Block] = field(default_factory=list)

    @property
    def skipped(self) -> bool:
        return any(block.skip for block in self.open)

    def end(self) -> None:
        """A source ends; so do its blocks."""
        for block in self.open:
            self.diagnostics.error(block.opened, "this .if has no .endif", "")
        self.open.clear()

    def directive(self, name: str, line: RawLine, environment: Mapping[str, str]) -> None:
        """A line that begins with a dot. Raises Mistake."""
        start = line.text.index(name)
        mark = line.mark(start, start + len(name))
        if name == ".if":
            self._begin(line, mark, environment)
        elif name in (".elif", ".else", ".endif"):
            self._go_on(name, line, mark, environment)
        elif not self.skipped:
            if name not in _MESSAGES:
                raise Mistake(mark, f"unknown directive {name!r}", nearest(name, _ALL))
            text = " ".join(word.text for word in words(line, environment)[1:])
            if name == ".alert":
                raise Mistake(mark, f"the configuration says: {text}", "")
            if name == ".warning":
                self.diagnostics.warning(mark, f"the configuration says: {text}", "")

    def _begin(self, line: RawLine, mark: Mark, environment: Mapping[str, str]) -> None:
        if len(self.open) >= _DEEPEST:
            raise Mistake(mark, f"blocks nested deeper than {_DEEPEST}", "")
        block = _Block(mark, taken=True, skip=True)
        self.open.append(block)  # so that its .endif finds it even if the condition is wrong
        if not any(outer.skip for outer in self.open[:-1]):
            block.taken = _holds(line, environment)
            block.skip = not block.taken

    def _go_on(self, name: str, line: RawLine, mark: Mark, environment: Mapping[str, str]) -> None:
        if not self.open:
            raise Mistake(mark, f"{name} without an .if", "")
        block = self.open[-1]
        if name == ".endif":
            self.open.pop()
        elif block.has_else:
            raise Mistake(mark, f"{name} after .else", "")
        else:
            block.has_else = name == ".else"
            block.skip = True
            if not block.taken:
                block.taken = name == ".else" or _holds(line, environment)
                block.skip = not block.taken


def _holds(line: RawLine, environment: Mapping[str, str]) -> bool:
    """The condition after .if or .elif; none is false. Raises Mistake."""
    parts = words(line, environment)[1:]
    if not parts:
        return False
    return _Condition(" ".join(part.text for part in parts), span(parts), environment).value()


class _Condition:
    """Terms joined by && and ||, of which && binds closer."""

    def __init__(self, text: str, mark: Mark, environment: Mapping[str, str]) -> None:
        self.mark = mark
        self.environment = environment
        self.tokens: list[re.Match[str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise Mistake(mark, f"cannot make sense of the condition {text[at:].strip()!r}", "")
            self.tokens.append(found)
            at = found.end()

    def value(self) -> bool:
        result = self._any(0)
        if self.tokens:
            raise Mistake(self.mark, f"unexpected {self.tokens[0][0].strip()!r} in the condition", "")
        return result

    def _any(self, depth: int) -> bool:
        result = self._all(depth)
        while self._take("||"):
            result = self._all(depth) or result
        return result

    def _all(self, depth: int) -> bool:
        result = self._term(depth)
        while self._take("&&"):
            result = self._term(depth) and result
        return result

    def _take(self, operator: str) -> bool:
        if self.tokens and self.tokens[0][1] == operator:
            del self.tokens[0]
            return True
        return False

    def _term(self, depth: int) -> bool:
        if depth > _DEEPEST or not self.tokens:
            raise Mistake(self.mark, "the condition is not complete", "")
        if self._take("!"):
            return not self._term(depth + 1)
        if self._take("("):
            result = self._any(depth + 1)
            if not self._take(")"):
                raise Mistake(self.mark, "a ) is missing in the condition", "")
            return result
        token = self.tokens.pop(0)
        if token[4]:
            return token[4] not in ("0", "false")
        if not token[2]:
            raise Mistake(self.mark, f"unexpected {token[0].strip()!r} in the condition", "")
        return self._predicate(token[2], [argument.strip() for argument in token[3].split(",")])

    def _predicate(self, name: str, arguments: list[str]) -> bool:
        if name in _NOT_YET:
            raise Mistake(self.mark, f"the predicate {name}() is HAProxy's, not supported by ferryman yet", "")
        counts = {"defined": 1, "streq": 2, "strneq": 2, "version_atleast": 1, "version_before": 1}
        if name not in counts:
            raise Mistake(self.mark, f"unknown predicate {name}()", nearest(name, counts))
        if len(arguments) != counts[name]:
            raise Mistake(self.mark, f"{name}() takes {counts[name]} argument(s), not {len(arguments)}", "")
        match name:
            case "defined":
                return arguments[0] in self.environment
            case "streq":
                return arguments[0] == arguments[1]
            case "strneq":
                return arguments[0] != arguments[1]
        found = re.match(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?", arguments[0])
        if found is None:
            raise Mistake(self.mark, f"{arguments[0]!r} is not a version", "such as 2.8")
        at_least = (int(found[1]), int(found[2] or 0)) <= _LIKE
        return at_least if name == "version_atleast" else not at_least
