"""Which connections earn a line, and at which level; accesslog makes the line, syslog frames and sends it.

One per listener and generation, made by worker. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ferryman.dataplane.accesslog import Counts, compile_format
from ferryman.dataplane.record import Record
from ferryman.dataplane.syslog import Sink
from ferryman.plan import Listener

Count = Callable[[Record], Counts]
"""Tells how many connections there are, for formats that show it."""


class LogWriter:
    """`node` names this machine in JSON lines."""

    def __init__(self, listener: Listener, sinks: Sequence[Sink], node: str) -> None:
        log = listener.log
        self._log = log
        self._sinks = tuple(sinks)
        self._format = compile_format(log.format, node) if self._sinks else None
        # a line as soon as the server is reached takes the place of the one at the end
        self.early = bool(self._sinks) and (log.at_start or log.as_soon_as_possible or log.format == "connect")
        self._late = bool(self._sinks) and not (log.as_soon_as_possible or log.format == "connect")
        self.needs_local = self._format is not None and self._format.needs_local

    def started(self, record: Record, count: Count) -> None:
        """The connection is through to its server (or, for format connect, was accepted)."""
        self._emit("info", record, count)

    def ended(self, record: Record, count: Count) -> None:
        """The connection is over."""
        if not self._late:
            return
        log = self._log
        well = record.code == "--"
        if well and (record.idle or not log.normal):
            return
        if not log.empty and not (record.bytes_in or record.bytes_out):
            return
        self._emit("err" if log.separate_errors and not well else "info", record, count)

    def _emit(self, level: str, record: Record, count: Count) -> None:
        form = self._format
        assert form is not None
        line = form(record, count(record) if form.needs_counts else None)
        for sink in self._sinks:
            sink.emit(level, line)
