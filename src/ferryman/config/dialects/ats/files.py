"""The files beside a sni.yaml that Traffic Server reads with it. Called by the package's `parse`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from ferryman.config.source import Diagnostics, Mark, Source

RECORDS: Final = ("records.yaml", "records.config")
_LARGEST: Final = 16 << 20  # bytes


def beside(source: Source, names: Iterable[str], diagnostics: Diagnostics) -> Source | None:
    """The first of some files that there is in the folder of a source."""
    folder = os.path.dirname(source.name)
    for name in names:
        path = os.path.join(folder, name)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                continue
            with open(path, encoding="utf-8-sig", newline="") as file:
                return Source(path, file.read(_LARGEST))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            diagnostics.error(Mark(source.name, 1, 1), f"cannot read {path}, which belongs to this file: {reason}")
            return None
    return None
