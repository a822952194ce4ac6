"""The files that a squid.conf names: included ones, and values of ACLs, one a line.

Called by the reader and for ACLs. Looks at regular files only. Every function raises Mistake at the word that names the
file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from typing import Final

from ferryman.config.place import Mistake, Word
from ferryman.config.source import Mark

_LARGEST: Final = 64 << 20  # bytes
_COMMENT: Final = re.compile(r"[ \t]+#.*")


def read(word: Word, path: str) -> str:
    """The text of a file."""
    try:
        if not stat.S_ISREG((found := os.stat(path)).st_mode):
            raise Mistake(word, f"{path!r} is no file")
        if found.st_size > _LARGEST:
            raise Mistake(word, f"{path!r} is larger than {_LARGEST >> 20} MiB", "is it the right file?")
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read(_LARGEST)
    except UnicodeDecodeError:
        raise Mistake(word, f"{path!r} is not UTF-8", "save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Mistake(word, f"cannot read {path!r}: {reason}") from None


def read_values(words: Iterable[Word]) -> list[Word]:
    """Values as they stand, and for each in quotes the lines of the file that it names."""
    found: list[Word] = []
    for word in words:
        if word.text[0] not in "\"'":
            found.append(word)
            continue
        path = re.split("[\"']", word.text)[1]
        for number, line in enumerate(read(word, path).split("\n"), start=1):
            text = _COMMENT.sub("", line.rstrip("\r")).strip(" \t")
            if text and not text.startswith("#"):
                found.append(Word(text, Mark(path, number, line.index(text[0]) + 1, len(text))))
    return found
