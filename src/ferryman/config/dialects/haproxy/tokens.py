"""Lines into words: blanks, escapes, quotes, comments and environment variables (HAProxy manual, 2.2 to 2.4).

Called by the reader for one line at a time, as `setenv` changes what later lines expand to. Knows no keywords.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ferryman.config.place import Mistake, RawLine, Word

_BLANKS: Final = " \t\r\v\f"
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r"}
_ITSELF: Final = " \\#'\"$"
_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>[^}]*)(?P<end>\}?)|(?P<name>[A-Za-z_.][A-Za-z0-9_]*)?)")
_BRACED: Final = re.compile(r"(?P<name>[A-Za-z_.][A-Za-z0-9_]*)(?P<spread>\[\*\])?(?:-(?P<default>.*))?", re.DOTALL)
_BARE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", re.ASCII)


def words(line: RawLine, environment: Mapping[str, str]) -> list[Word]:
    """The words of a line up to its comment. Raises Mistake for quotes, escapes and variables that do not end."""
    return _Scanner(line, environment).scan()


def expand(text: str, environment: Mapping[str, str]) -> str:
    """An address with its variables replaced: these expand without quotes as well. Unset ones vanish."""
    return _BARE.sub(lambda found: environment.get(found[1] or found[2], ""), text)


class _Scanner:
    """One pass over a line."""

    def __init__(self, line: RawLine, environment: Mapping[str, str]) -> None:
        self.line = line
        self.text = line.text
        self.environment = environment
        self.at = 0

    def scan(self) -> list[Word]:
        found: list[Word] = []
        while True:
            while self.at < len(self.text) and self.text[self.at] in _BLANKS:
                self.at += 1
            if self.at >= len(self.text) or self.text[self.at] == "#":
                return found
            start = self.at
            value = self._word()
            found.append(Word(value, self.line.mark(start, self.at)))

    def _word(self) -> str:
        """The word that begins here; a quote may begin and end anywhere within it."""
        parts: list[str] = []
        quote, opened = "", 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if not quote and (character in _BLANKS or character == "#"):
                break
            if character in "'\"" and quote in ("", character):
                quote, opened = ("" if quote else character), self.at
                self.at += 1
            elif character == "\\" and quote != "'":
                parts.append(self._escape())
            elif character == "$" and quote == '"':
                parts.append(self._variable())
            else:
                parts.append(character)
                self.at += 1
        if quote:
            raise Mistake(self.line.mark(opened), f"the quote {quote} is not closed", f"add {quote} at its end")
        return "".join(parts)

    def _escape(self) -> str:
        """What a backslash stands for. Before any other character it is a plain backslash."""
        start = self.at
        following = self.text[start + 1 : start + 2]
        self.at += 2 if following else 1
        if following == "x":
            digits = self.text[start + 2 : start + 4]
            if not re.fullmatch("[0-9A-Fa-f]{2}", digits):
                raise Mistake(self.line.mark(start, start + 4), r"\x needs two hexadecimal digits", r"such as \x20")
            self.at += 2
            return chr(int(digits, 16))
        if following in _CONTROLS:
            return _CONTROLS[following]
        if following and following in _ITSELF:
            return following
        self.at = start + 1
        return "\\"

    def _variable(self) -> str:
        found = _VARIABLE.match(self.text, self.at)
        assert found is not None  # it matches a lone $
        mark = self.line.mark(self.at, found.end())
        self.at = found.end()
        if found["braced"] is None:
            if found["name"] is None:
                raise Mistake(mark, "a variable's name is missing after $", r"write \$ for a plain $")
            return self.environment.get(found["name"], "")
        parts = _BRACED.fullmatch(found["braced"])
        if not found["end"] or parts is None:
            raise Mistake(mark, "this is no environment variable", 'write "${NAME}" or "${NAME-default}"')
        if parts["spread"]:
            raise Mistake(
                mark, "[*], one word for each part of a variable, is HAProxy's, not supported by ferryman yet"
            )
        return self.environment.get(parts["name"], parts["default"] or "")
