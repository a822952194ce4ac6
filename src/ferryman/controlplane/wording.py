"""Numbers as people read them: durations, bytes, counts. Called by pages; pure."""

from __future__ import annotations

import datetime
from typing import Final

_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_THIN_SPACE: Final = "\u202f"  # narrow and no-break: digits stay together, and no comma is taken for a decimal point


def duration(seconds: float) -> str:
    """The two largest units: "42s", "3m12s", "2h05m", "12d03h"."""
    left = max(int(seconds), 0)
    for index, (unit, length) in enumerate(_UNITS[:-1]):
        if left >= length:
            smaller, divisor = _UNITS[index + 1]
            return f"{left // length}{unit}{left % length // divisor:02d}{smaller}"
    return f"{left}s"


def size(count: float) -> str:
    """Bytes in binary units with three digits at most: "0 B", "996 B", "1.4 KiB", "12.3 GiB", "512 MiB"."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 999.5 or unit == "PiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


def number(count: int) -> str:
    """Thousands set apart: "1 234 567"."""
    return f"{count:,}".replace(",", _THIN_SPACE)


def moment(at: float) -> str:
    """Wall clock in UTC, to the second: "2026-03-14 09:26:53 UTC"."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
