"""Which connections earn a line, when, and at which level."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from records import COUNTS, record

from ferryman.dataplane.logfields import Counts
from ferryman.dataplane.logwriter import LogWriter
from ferryman.dataplane.record import Record
from ferryman.dataplane.syslog import Sink
from ferryman.plan import AccessLog, Listener, LogTarget

TARGET = LogTarget(0, "fd", "1", format="priority")
ERROR, INFO = "<131>", "<134>"


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink(TARGET, os.open("/dev/null", os.O_WRONLY), 1)
    yield sink
    sink.close()


def counts(one: Record) -> Counts:
    return COUNTS


def writer(sink: Sink | None, format: str = "tcp", **settings: bool) -> LogWriter:
    log = AccessLog((TARGET,) if sink else (), format, **settings)
    return LogWriter(Listener(0, "front", "tcp", (), log), [sink] if sink else [], "")


def lines(sink: Sink) -> list[str]:
    return [line.decode().rstrip() for line in sink.pending]


def test_a_line_at_the_end(sink: Sink) -> None:
    log = writer(sink)
    assert not log.early
    log.ended(record(), counts)
    (line,) = lines(sink)
    assert line.startswith(f"{INFO}192.0.2.7:51234 ")
    assert " 7/5/3/2/0 " in line, "with the numbers it was given, and itself"


@pytest.mark.parametrize(
    ("settings", "fields", "expected"),
    [
        ({"normal": False}, {}, []),
        ({"normal": False}, {"code": "SC"}, [INFO]),
        ({"empty": False}, {"bytes_in": 0, "bytes_out": 0}, []),
        ({"empty": False}, {"bytes_in": 0}, [INFO]),
        ({"separate_errors": True}, {"code": "CD"}, [ERROR]),
        ({"separate_errors": True}, {}, [INFO]),
        ({"as_soon_as_possible": True}, {}, []),
    ],
)
def test_some_connections_earn_none_or_another_level(
    sink: Sink, settings: dict[str, bool], fields: dict[str, object], expected: list[str]
) -> None:
    writer(sink, **settings).ended(record(**fields), counts)
    assert [line[:5] for line in lines(sink)] == expected


@pytest.mark.parametrize("settings", [{"at_start": True}, {"as_soon_as_possible": True}])
def test_a_line_at_the_start(sink: Sink, settings: dict[str, bool]) -> None:
    log = writer(sink, **settings)
    assert log.early
    log.started(record(total_ms=-1), counts)
    assert len(lines(sink)) == 1


def test_the_line_of_a_connection_that_was_accepted_is_its_only_one(sink: Sink) -> None:
    log = writer(sink, "connect")
    assert log.early
    assert log.needs_local
    log.started(record(total_ms=-1), counts)
    log.ended(record(), counts)
    assert [line[5:17] for line in lines(sink)] == ["Connect from"]


def test_without_targets_nothing_is_made() -> None:
    def never(one: Record) -> Counts:
        raise AssertionError("nobody needs it")

    log = writer(None, at_start=True)
    assert not log.early
    assert not log.needs_local
    log.ended(record(), never)
