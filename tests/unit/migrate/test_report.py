"""What is said at the end, and on the way."""

from __future__ import annotations

import io
import json

import pytest

from ferryman.migrate import display, report
from ferryman.migrate.diagnosis import Cause
from ferryman.migrate.display import Json, Plain, Terminal
from ferryman.migrate.report import Standing


def moving() -> Standing:
    return Standing("data", "moving", moved=0, now=25_000_000, total=100_000_000, files=20, files_done=5,
                    rate=1_000_000.0, left=75, attempts=1)  # fmt: skip


def test_the_report_has_what_was_moved_how_long_and_how_often() -> None:
    done = Standing("data", "done", moved=5_000_000, total=5_000_000, files_moved=7, files=9, seconds=2.5, attempts=3,
                    causes=["cut", "cut again"], compared=9)  # fmt: skip
    text = report.text([done], 2.5, dry_run=False)
    assert "data: complete: 7 files, 5.0 MB moved" in text
    assert "2.5 s, 2.0 MB/s, 2 retries" in text
    assert "checksums of 9 entries compared: no difference" in text
    assert "attempt 2: cut again" in text
    failed = Standing("logs", "failed", different=2, compared=3, differences=[">fc a", ">fc b"])
    both = report.text([done, failed], 3, dry_run=False)
    assert "NOT complete" in both
    assert "2 DIFFERENCES" in both
    assert "1 of 2 volumes" in both


def test_what_is_remembered_is_waiting_again() -> None:
    again = report.recalled(moving().kept())
    assert (again.state, again.bytes, again.now) == ("waiting", 25_000_000, 0)
    assert report.recalled(Standing("x", "done", moved=3).kept()).state == "done"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (5e12, "5.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert report.size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (17, "17 s"), (245, "4:05"), (7384, "2:03:04")])
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_a_line_of_progress_has_bytes_files_rate_and_time_left() -> None:
    assert display.line(moving()) == "data:  25 %  25.0 MB of 100.0 MB, 5 of 20 entries, 1.0 MB/s, 1:15 left"


def test_all_together() -> None:
    whole = display.total([moving(), moving()])
    assert (whole.bytes, whole.total, whole.files, whole.left) == (50_000_000, 200_000_000, 40, 75)
    assert display.total([moving(), Standing("waits")]).total == 0, "not known yet"


def test_plain_lines() -> None:
    stream = io.StringIO()
    plain = Plain(stream)
    plain.draw([moving(), Standing("waits")])
    plain.attempt_failed(moving(), Cause("cut", "again"), 4.0)
    assert stream.getvalue().count("\n") == 3
    assert "attempt 1: cut; again in 4 s" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_terminals_lines_are_written_anew() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.draw([moving()])
    terminal.draw([moving()])
    terminal.note("a word")
    terminal.end()
    assert stream.getvalue().count("\x1b[1A\x1b[J") == 3
    assert "ferryman: a word\n" in stream.getvalue()


def test_events_are_objects() -> None:
    stream = io.StringIO()
    events = Json(stream)
    events.draw([moving()])
    events.attempt_failed(moving(), Cause("cut", "again", ("x",)), None)
    events.note("a word")
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["event"] for one in found] == ["progress", "total", "attempt_failed", "note"]
    assert found[0]["bytes_total"] == 100_000_000
    assert found[2]["again_in"] is None
