"""Lines into words: comments, lines that go on after a backslash, `${service_name}`.

Called by the reader for each source. Quotes are not looked at: only values of ACLs may be in quotes, and then they name
a file (acl.py). Knows no directives. Source: the preamble of Squid's documented squid.conf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ferryman.config.place import Mistake, RawLine, Word
from ferryman.config.source import Source

_BLANKS: Final = " \t\r"
_WORD: Final = re.compile(r"[^ \t\r]+")
_MACRO: Final = re.compile(r"\$\{(service_name|process_name|process_number)\}")

Pieces = tuple[RawLine, ...]
"""A directive as it stands: one line, or several of which all but the last go on."""


def lines(source: Source) -> Iterator[Pieces]:
    """The lines that are neither empty nor comments; those that end with a backslash together with what follows."""
    pieces: list[RawLine] = []
    for number, text in enumerate(source.text.split("\n"), start=1):
        text = text.rstrip("\r")
        if not text.strip(_BLANKS) or text.lstrip(_BLANKS).startswith("#"):
            continue  # also between lines that belong together
        goes_on = text.endswith("\\")
        pieces.append(RawLine(source.name, number, text[:-1] if goes_on else text))
        if not goes_on:
            yield tuple(pieces)
            pieces = []
    if pieces:
        yield tuple(pieces)


def words(pieces: Pieces) -> list[Word]:
    """The words up to a comment, which a # at the beginning of a word starts. Raises Mistake."""
    found: list[Word] = []
    glued = False  # the line before ended within a word
    for piece in pieces:
        for match in _WORD.finditer(piece.text):
            word = Word(match[0], piece.mark(match.start(), match.end()))
            if glued and found:
                found[-1] = Word(found[-1].text + word.text, found[-1].mark)
            elif word.text.startswith("#"):
                return [_expanded(word) for word in found]
            else:
                found.append(word)
            glued = False
        glued = bool(piece.text) and piece.text[-1] not in _BLANKS
    return [_expanded(word) for word in found]


def _expanded(word: Word) -> Word:
    for macro in _MACRO.findall(word.text):
        if macro != "service_name":
            message = f"${{{macro}}}, which differs from worker to worker, is Squid's, not supported by ferryman yet"
            raise Mistake(word, message)
    return Word(word.text.replace("${service_name}", "squid"), word.mark)
