"""How a running migration is shown: lines that are rewritten on a terminal, plain lines elsewhere, JSON for programs.

Each is an attempts.Watcher, and draws the standings every so often. Text goes to standard error, so that standard
output has the report alone; JSON is standard output's, an object a line, each with `event`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, TextIO

from ferryman.migrate.diagnosis import Cause
from ferryman.migrate.report import Standing, duration, size

_STATES: Final = {
    "comparing": "comparing checksums",
    "done": "done",
    "retrying": "waiting for the next attempt",
    "failed": "FAILED",
}


class Display(Protocol):
    """`every`: seconds between two drawings."""

    every: float

    def note(self, text: str) -> None: ...
    def attempt_failed(self, standing: Standing, cause: Cause, pause: float | None) -> None: ...
    def changed(self, standing: Standing) -> None: ...
    def draw(self, standings: Sequence[Standing]) -> None: ...
    def end(self) -> None: ...


def choose(as_json: bool, quiet: bool) -> Display:
    """For where our output goes."""
    if as_json:
        return Json(sys.stdout)
    if quiet:
        return Quiet(sys.stderr, every=float("inf"))
    return Terminal(sys.stderr) if sys.stderr.isatty() else Plain(sys.stderr)


def line(standing: Standing) -> str:
    """One volume, or all together."""
    if standing.state in ("comparing", "done"):
        return f"{standing.name}: {_STATES[standing.state]}, {size(standing.bytes)} moved"
    # an attempt that goes on with half a file counts that half once more, until it is through
    there = min(standing.bytes, standing.total) if standing.total else standing.bytes
    head = f"{standing.name}: {standing.percent:3} %  {size(there)}"
    if standing.total:
        head += f" of {size(standing.total)}"
    if standing.files:
        head += f", {standing.files_done} of {standing.files} entries"
    if standing.state == "moving":
        if standing.rate:
            head += f", {size(standing.rate)}/s"
        if standing.left:  # 0: rsync does not know yet
            head += f", {duration(standing.left)} left"
        return head
    return f"{head}, {_STATES.get(standing.state, standing.state)}"


def total(standings: Sequence[Standing]) -> Standing:
    """All together; the time left follows from the rate."""
    whole = Standing("total", "done" if all(one.state == "done" for one in standings) else "moving")
    for one in standings:
        whole.moved += one.bytes
        whole.total += one.total
        whole.files += one.files
        whole.files_done += one.files_done
        whole.rate += one.rate
    known = all(one.total for one in standings)
    if not all(one.files for one in standings):
        whole.files = whole.files_done = 0
    if known and whole.rate and whole.state != "done":
        whole.left = round(max(0, whole.total - whole.bytes) / whole.rate)
    if not known:
        whole.total = 0
    return whole


def failure(standing: Standing, cause: Cause, pause: float | None) -> str:
    """An attempt that failed."""
    then = "" if pause is None else f"; again in {pause:g} s"
    return f"{standing.name}: attempt {standing.attempts}: {cause.text}{then}"


class Plain:
    """A line for each volume every few seconds, and one for whatever happens."""

    def __init__(self, stream: TextIO, every: float = 5.0) -> None:
        self._stream = stream
        self.every = every

    def note(self, text: str) -> None:
        print(f"ferryman: {text}", file=self._stream, flush=True)

    def attempt_failed(self, standing: Standing, cause: Cause, pause: float | None) -> None:
        self.note(failure(standing, cause, pause))

    def changed(self, standing: Standing) -> None:
        if standing.state in ("comparing", "done"):
            self.note(line(standing))

    def draw(self, standings: Sequence[Standing]) -> None:
        running = [one for one in standings if one.state in ("moving", "comparing")]
        for one in running:
            self.note(line(one))
        if len(standings) > 1 and running:
            self.note(line(total(standings)))

    def end(self) -> None:
        return


class Quiet(Plain):
    """Only what goes wrong."""

    def changed(self, standing: Standing) -> None:
        return


class Terminal(Plain):
    """The last lines of the terminal are written anew; what happens is written above them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, every=0.5)
        self._drawn: list[str] = []

    def note(self, text: str) -> None:
        drawn = self._drawn
        self._wipe()
        super().note(text)
        self._put(drawn)

    def changed(self, standing: Standing) -> None:
        return

    def draw(self, standings: Sequence[Standing]) -> None:
        shown = [line(one) for one in standings if one.state not in ("waiting", "done")]
        if len(standings) > 1:
            shown.append(line(total(standings)))
        self._wipe()
        self._put(shown)

    def end(self) -> None:
        self._wipe()

    def _put(self, lines: list[str]) -> None:
        columns, rows = shutil.get_terminal_size()
        self._drawn = [one[: columns - 1] for one in lines[-max(1, rows - 1) :]]
        self._stream.write("".join(f"{one}\n" for one in self._drawn))
        self._stream.flush()

    def _wipe(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{len(self._drawn)}A\x1b[J")
            self._drawn = []


class Json:
    """Events for programs."""

    every = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tell(self, event: str, **more: Any) -> None:
        """One event; `time` is seconds since 1970."""
        print(json.dumps({"event": event, "time": round(time.time(), 3), **more}), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        self.tell("note", text=text)

    def attempt_failed(self, standing: Standing, cause: Cause, pause: float | None) -> None:
        self.tell(
            "attempt_failed", volume=standing.name, attempt=standing.attempts, reason=cause.text,
            files=list(cause.files), again_in=pause,
        )  # fmt: skip

    def changed(self, standing: Standing) -> None:
        self.tell("volume", **_numbers(standing))

    def draw(self, standings: Sequence[Standing]) -> None:
        for one in standings:
            if one.state in ("moving", "comparing"):
                self.tell("progress", **_numbers(one))
        self.tell("total", **{key: value for key, value in _numbers(total(standings)).items() if key != "volume"})

    def end(self) -> None:
        return


def _numbers(one: Standing) -> dict[str, Any]:
    return {
        "volume": one.name, "state": one.state, "bytes": one.bytes, "bytes_total": one.total or None,
        "percent": one.percent, "entries_done": one.files_done, "entries": one.files or None,
        "rate": round(one.rate), "seconds_left": one.left, "attempts": one.attempts,
    }  # fmt: skip
