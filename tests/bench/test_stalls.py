"""CPU time is read right, of processes whose threads come and go."""

import os
import threading
import time
from pathlib import Path

import pytest
from bench.stalls import process_clock, reader, segments


def burn() -> None:
    while time.thread_time() < 0.05:
        pass


def test_threads_that_ended_count() -> None:
    before = time.clock_gettime(process_clock(os.getpid()))
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    assert time.clock_gettime(process_clock(os.getpid())) - before >= 0.05


def test_nothing_is_known_of_processes_that_changed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.write_text(str(os.getpid()))
    read = reader(pids)
    assert read() is None
    seen = read()
    assert seen is not None
    assert seen[0] == pytest.approx(time.process_time(), abs=1.0)
    assert seen[1] <= segments(os.getpid())
    pids.write_text("1 4194999")  # more than any kernel gives: nobody has it
    assert read() is None
    assert read() is None
