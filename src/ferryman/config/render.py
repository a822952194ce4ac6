"""Findings as people and tools read them: text with the line shown and the spot marked, and JSON.

Used by the command line. Prints nothing itself and knows no colours: the caller's `style` may add them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from ferryman.config.source import Diagnostic, Mark, Source

Style = Callable[[str, str], str]
"""(role, text) -> text; roles are error, warning, place, spot and hint."""

_WIDEST: Final = 120  # characters of a source line that are shown
_BEFORE: Final = 60  # of these, at most so many before the spot


def plain(role: str, text: str) -> str:
    """The style without any."""
    return text


def render(diagnostic: Diagnostic, sources: Iterable[Source] = (), style: Style = plain) -> str:
    """`file:line:col: error: message; hint`, then the source line and `^~~~` under the spot."""
    mark = diagnostic.mark
    place = style("place", printable(f"{mark}:")) + " " if mark else ""
    hint = "; " + style("hint", printable(diagnostic.hint)) if diagnostic.hint else ""
    head = place + style(diagnostic.severity, f"{diagnostic.severity}:") + f" {printable(diagnostic.message)}{hint}"
    return "\n".join([head, *(_snippet(mark, sources, style) if mark else ())])


def as_json(diagnostic: Diagnostic) -> dict[str, object]:
    """The same for tools; `line` and `column` count from 1, `file` is null where no place is known."""
    mark = diagnostic.mark
    return {
        "severity": diagnostic.severity,
        "file": mark.file if mark else None,
        "line": mark.line if mark else None,
        "column": mark.column if mark else None,
        "length": mark.length if mark else None,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    }


def printable(text: str) -> str:
    """Text that cannot steer a terminal: whatever is not printable becomes `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _snippet(mark: Mark, sources: Iterable[Source], style: Style) -> list[str]:
    text = next((source.text for source in sources if source.name == mark.file), "")
    lines = _lines(text)
    line = lines[mark.line - 1].expandtabs(1) if 0 < mark.line <= len(lines) else ""
    column = mark.column - 1
    if not line.strip() or column > len(line):
        return []
    skipped = max(0, column - _BEFORE) if len(line) > _WIDEST else 0
    visible = _masked(line)[skipped : skipped + _WIDEST]
    length = max(1, min(mark.length, len(visible) - (column - skipped)))
    spot = style("spot", "^" + "~" * (length - 1))
    return [f"    {printable(visible)}", "    " + " " * (column - skipped) + spot]


@lru_cache(4)
def _lines(text: str) -> list[str]:
    """A text with thousands of findings is not cut up for each of them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


_USER: Final = re.compile(r"""://[^\s/:@"']*+:""")  # http://user:password@host
_SECRETS: Final = (
    re.compile(r"""\bpassword["']?\s*:\s*("[^"]*"|'[^']*'|[^\s,}]+)"""),
    re.compile(r"""\blogin=[^\s:]{0,255}:(\S+)"""),  # of a cache_peer
    re.compile(r"""(?i)\bprotocolPas\w*\s*[\s=:]\s*(.+)"""),  # of stunnel, also misspelt
    re.compile(r"""(?i)\bProxy-Authorization\s*:\s*(.+)"""),
    re.compile(r"""(?i)\bticket(?:Key|Mac)Secret\s*=\s*(.+)"""),
)
_UP_TO_AT: Final = re.compile(
    r"""\bstunnel_tcp_proxy["']?\s*:\s*(?:["']?[A-Za-z][\w+.-]*://)?(.+)"""
)  # of a MigrationController


def masked(line: str) -> str:
    """A line of configuration with stars for what is likely a password, each character one.

    In time that grows with the line, whatever is in it.
    """
    line = re.sub(r"\S+", _without_password, line)
    at = line.rfind("@")
    if at >= 0 and (found := _UP_TO_AT.search(line, 0, at)):
        line = _stars(line, *found.span(1))
    for secret in _SECRETS:
        line = secret.sub(lambda found: _stars(found[0], *(place - found.start() for place in found.span(1))), line)
    return line


_masked = lru_cache(64)(masked)


def _without_password(found: re.Match[str]) -> str:
    """A word with stars between the user and its last @."""
    word = found[0]
    at = word.rfind("@")
    user = _USER.search(word, 0, max(at, 0))
    return _stars(word, user.end(), at) if user else word


def _stars(text: str, start: int, end: int) -> str:
    return text[:start] + "*" * max(0, end - start) + text[end:]
