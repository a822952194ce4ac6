"""Line by line through the sources and the files that they include. Called by the package's `parse`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.files import read
from ferryman.config.dialects.squid.keywords import DIRECTIVES
from ferryman.config.dialects.squid.settings import HANDLERS, Settings
from ferryman.config.dialects.squid.tokens import lines, words
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics, Source

_DEEPEST: Final = 16  # files within files, as in Squid


class Reader:
    """Reads all lines, in order, into `settings`."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.settings = Settings(diagnostics)

    def read(self, sources: Sequence[Source]) -> None:
        for source in sources:
            self._source(source, 0)

    def _source(self, source: Source, depth: int) -> None:
        for pieces in lines(source):
            first = ""
            try:
                if parts := words(pieces):
                    first = parts[0].text
                    self._line(parts, source, depth)
            except Mistake as mistake:
                self.settings.faulty.add(first)
                self.diagnostics.error(mistake.mark, mistake.message, mistake.hint)

    def _line(self, parts: list[Word], source: Source, depth: int) -> None:
        word = parts[0]
        if not DIRECTIVES.wanted(word, word.text, " ".join(part.text for part in parts[1:]), self.diagnostics):
            return
        arguments = Arguments(parts)
        if word.text == "include":
            for pattern in arguments.rest() or [arguments.need("a file")]:
                self._include(pattern, source, depth)
            return
        HANDLERS[word.text](self.settings, arguments)
        arguments.end()

    def _include(self, pattern: Word, source: Source, depth: int) -> None:
        """Read files in the order of their names. A relative name is one of the current folder, as in Squid, or else
        of the folder of the file that includes it."""
        if depth >= _DEEPEST:
            raise Mistake(pattern, f"files include each other more than {_DEEPEST} deep")
        text = pattern.text.strip("\"'")
        found = sorted(glob.glob(text)) or sorted(glob.glob(os.path.join(os.path.dirname(source.name), text)))
        if not found and glob.has_magic(text):
            self.diagnostics.warning(pattern.mark, f"no file is like {text}: nothing is included")
        elif not found:
            raise Mistake(pattern, f"there is no file {text}")
        for path in found:
            if not os.path.isdir(path):
                self._source(Source(path, read(pattern, path)), depth + 1)
