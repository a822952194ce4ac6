"""What rsync says of its progress (--info=progress2) and at its end (--stats), as numbers. Pure.

The same line is written again and again, with \\r; it shows the rate and the time left while it runs. Bytes are those
that were moved in this attempt, per cent are of the whole volume: what an attempt finds in place counts in neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

_LINE: Final = re.compile(
    r"\s*([0-9,.]{1,26})\s+([0-9]{1,3})%\s+([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMGTP]?)B/s\s+"
    r"(?:([0-9]{1,7}):([0-9]{2}):([0-9]{2})|\?\?:\?\?:\?\?)"
    r"(?:\s+\(xfr#([0-9]{1,15}), (?:to|ir)-chk=([0-9]{1,15})/([0-9]{1,15})\))?\s*"
)
_UNITS: Final = {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
_LONGEST: Final = 4096
_MOST: Final = 1 << 55
"""No volume has so much: what is beyond was damaged on its way. A hundred times this can still be kept in a memory."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`rate` in bytes per second; `left` in seconds, None: not known; files are entries of any kind."""

    bytes: int
    percent: int
    rate: float
    left: int | None
    moved: int = 0
    files_done: int = 0
    files: int = 0

    @property
    def total(self) -> int:
        """Bytes of the whole volume, as near as per cent tell; 0: not known."""
        return round(self.bytes * 100 / self.percent) if self.percent else 0


def parse(line: str) -> Progress | None:
    """None: it is none of these lines."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    amount, percent, rate, unit, hours, minutes, seconds, moved, remaining, files = found.groups()
    left = int(hours) * 3600 + int(minutes) * 60 + int(seconds) if hours else None
    total = int(files or 0)
    return Progress(
        _number(amount), int(percent), min(float(rate) * _UNITS[unit], _MOST), left, int(moved or 0),
        max(0, total - int(remaining or 0)), total,
    )  # fmt: skip


def _number(text: str) -> int:
    """With or without separators of thousands."""
    return min(int(re.sub("[,.]", "", text) or 0), _MOST)


def latest(lines: Sequence[bytes]) -> list[bytes]:
    """Without lines of progress that others have overtaken; only those at the end of a file count files."""
    written = [line.startswith(b" ") and b"B/s " in line for line in lines]
    last = {b"(xfr#" in line: number for number, line in enumerate(lines) if written[number]}
    kept = {*last.values()}
    return [line for number, line in enumerate(lines) if not written[number] or number in kept]


def texts(lines: Iterable[bytes]) -> Iterator[str]:
    """Those in which there is something to be seen."""
    for line in lines:
        text = line.decode("utf-8", "replace")
        if text.strip():
            yield text


class Lines:
    """Cuts a stream into lines, at \\r and \\n. Of one that does not end only the last part is kept, in `rest`."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that have ended."""
        *whole, rest = re.split(b"[\r\n]", self.rest + data)
        self.rest = rest[-_LONGEST:]
        return whole


@dataclass(slots=True)
class Stats:
    """The numbers of --stats; bytes but for `files`, `created`, `deleted` and `transferred`."""

    files: int = 0
    created: int = 0
    deleted: int = 0
    transferred: int = 0
    size: int = 0
    transferred_size: int = 0
    literal: int = 0
    matched: int = 0
    sent: int = 0
    received: int = 0

    def take(self, line: str) -> bool:
        """Does the line have one of them?"""
        name, colon, value = line.partition(":")
        field = _STATS.get(name.strip())
        found = re.match(r"\s*([0-9,.]{1,26})(?![0-9,.])", value)
        if not colon or field is None or found is None:
            return False
        setattr(self, field, _number(found[1]))
        return True

    def add(self, other: Stats) -> None:
        """Of another attempt: what there is stays, what was done adds up."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, max(mine, theirs) if field.name in ("files", "size") else mine + theirs)


_STATS: Final = {
    "Number of files": "files",
    "Number of created files": "created",
    "Number of deleted files": "deleted",
    "Number of regular files transferred": "transferred",
    "Total file size": "size",
    "Total transferred file size": "transferred_size",
    "Literal data": "literal",
    "Matched data": "matched",
    "Total bytes sent": "sent",
    "Total bytes received": "received",
}
