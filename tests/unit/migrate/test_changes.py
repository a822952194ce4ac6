"""ferryman.migrate.changes: which files were written to since a moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ferryman.migrate import changes


def test_what_was_written_to_since_then(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("old", "sub/old", "sub/new", "later"):
        (tmp_path / name).write_bytes(b"x")
    began = time.time_ns()
    for name in ("old", "sub/old"):
        os.utime(tmp_path / name, ns=(0, began - 1_000_000_000))
    os.utime(tmp_path / "later", ns=(0, began + 10**15))  # a clock that is wrong
    (tmp_path / "link").symlink_to("sub/new")
    os.mkfifo(tmp_path / "fifo")
    assert changes.since(str(tmp_path), began) == ["sub/new"]


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert changes.since(str(tmp_path / "gone"), 0) == []


def test_it_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    assert changes.since(str(tmp_path), time.time_ns(), lambda: True) == []
