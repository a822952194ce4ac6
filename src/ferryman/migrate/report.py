"""What came of a migration: numbers for each volume, kept in its memory, and as text at the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from ferryman.migrate.memory import restored

State = Literal["waiting", "moving", "comparing", "retrying", "done", "failed"]
_SHOWN: Final = 10
"""Differences and causes that are shown."""


@dataclass(slots=True)
class Standing:
    """How one volume stands. Bytes and files are summed over attempts; `seconds`: of work on it.

    `total`, `files`: of the whole volume, 0: not known yet. `now`: bytes of the present attempt. `changed`: files that
    were written to whenever they were read.
    """

    name: str
    state: State = "waiting"
    moved: int = 0
    now: int = 0
    total: int = 0
    files_moved: int = 0
    files_now: int = 0
    files_done: int = 0
    files: int = 0
    rate: float = 0.0
    left: int | None = None
    seconds: float = 0.0
    attempts: int = 0
    deleted: int = 0
    causes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int | None = None
    differences: list[str] = field(default_factory=list)
    different: int = 0
    changed: int = 0
    refused: bool = False

    @property
    def bytes(self) -> int:
        return self.moved + self.now

    @property
    def percent(self) -> int:
        """Of the bytes; 100 only when it is done."""
        if self.state == "done":
            return 100
        return min(99, self.bytes * 100 // self.total) if self.total else 0

    def kept(self) -> dict[str, Any]:
        """For migrate.memory."""
        return asdict(self)


def recalled(data: dict[str, Any]) -> Standing:
    """What `kept` gave. Raises TypeError if it is of another version."""
    standing = restored(Standing, data)
    if standing.state != "done":
        standing.state = "waiting"
        standing.refused = False
    standing.moved, standing.now = standing.bytes, 0
    return standing


def text(standings: Sequence[Standing], seconds: float, dry_run: bool) -> str:
    """For people."""
    lines = [line for one in standings for line in _volume(one, dry_run)]
    if len(standings) > 1:
        moved, done = sum(one.bytes for one in standings), sum(one.state == "done" for one in standings)
        lines.append(f"{done} of {len(standings)} volumes, {size(moved)} in {duration(seconds)}")
    return "\n".join(lines)


def _volume(one: Standing, dry_run: bool) -> list[str]:
    verb = "would be moved" if dry_run else "moved"
    retried = one.attempts - 1
    again = "no retry" if retried <= 0 else f"{retried} {'retry' if retried == 1 else 'retries'}"
    rate = f", {size(one.bytes / one.seconds)}/s" if one.seconds >= 0.1 and one.bytes and not dry_run else ""
    numbers = f"{one.files_moved} files, {size(one.bytes)} {verb}"
    if one.files:
        numbers += f"; the volume has {one.files} entries, {size(one.total)}"
    if one.deleted:
        numbers += f"; {one.deleted} deleted"
    head = f"{one.name}: {'complete' if one.state == 'done' else 'NOT complete'}: {numbers}; "
    lines = [head + f"{duration(one.seconds)}{rate}, {again}"]
    if one.compared is not None:
        found = "no difference" if not one.different else f"{one.different} DIFFERENCES"
        lines.append(f"  checksums of {one.compared} entries compared: {found}")
        lines += [f"    {difference}" for difference in one.differences[:_SHOWN]]
    lines += [f"  note: {note}" for note in one.notes[:_SHOWN]]
    lines += [f"  attempt {number}: {cause}" for number, cause in list(enumerate(one.causes, 1))[-_SHOWN:]]
    return lines


def size(count: float) -> str:
    """Bytes, as people read them (powers of ten)."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """As 0.4 s, 17 s, 4:05 or 2:03:04."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
