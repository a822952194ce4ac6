"""CPU time and memory are accounted right, descendants included."""

import os
import subprocess
import sys

import pytest
from bench.measure import (
    TICKS_PER_SECOND,
    Memory,
    ProcessesChangedError,
    Stat,
    cpu_between,
    descendants,
    family,
    memory,
    parse_machine_cpu,
    parse_smaps_rollup,
    parse_stat,
)


def test_stat_with_a_name_that_looks_like_fields() -> None:
    line = f"42 (a) R (b c) S 7 42 42 0 -1 4194560 100 0 0 0 {TICKS_PER_SECOND} {2 * TICKS_PER_SECOND} 9 9 20 0 1 0 5\n"
    assert parse_stat(line) == Stat(pid=42, parent=7, cpu=3.0)


def test_smaps_rollup() -> None:
    kib = {"Rss": 1000, "Pss": 600, "Pss_Anon": 100, "Pss_File": 480, "Pss_Shmem": 20, "SwapPss": 5}
    lines = ["5581-7ffd ---p 00000000 00:00 0 [rollup]", *(f"{name}: {value:8} kB" for name, value in kib.items())]
    assert parse_smaps_rollup("\n".join(lines)) == Memory(pss=600 * 1024, own=125 * 1024)


def test_machine_cpu_leaves_out_idle_and_waiting() -> None:
    tick = TICKS_PER_SECOND
    assert parse_machine_cpu(f"cpu  {tick} {tick} {tick} 999 999 {tick} {tick} {tick} 0 0\ncpu0 1 1\n") == 6.0


def test_descendants_of_descendants_belong() -> None:
    everyone = {pid: Stat(pid, parent, 0.0) for pid, parent in ((1, 0), (5, 1), (6, 5), (3, 6), (9, 1))}
    assert descendants(5, everyone).keys() == {5, 6, 3}
    assert descendants(77, everyone) == {}


def test_cpu_is_summed_over_the_family() -> None:
    before = {5: Stat(5, 1, 1.0), 6: Stat(6, 5, 2.0)}
    after = {5: Stat(5, 1, 1.5), 6: Stat(6, 5, 4.0)}
    assert cpu_between(before, after) == 2.5


def test_a_process_that_ended_meanwhile_spoils_the_measurement() -> None:
    both = {5: Stat(5, 1, 1.0), 6: Stat(6, 5, 2.0)}
    with pytest.raises(ProcessesChangedError, match="6"):
        cpu_between(both, {5: Stat(5, 1, 1.5)})


def test_a_real_child_is_seen_with_its_cpu_time_and_memory() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint('burnt', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"burnt\n"
        seen = family(os.getpid())
        assert seen[child.pid].cpu >= 0.15
        assert memory(os.getpid()).pss > memory(child.pid).pss > 1_000_000
        child.communicate(b"\n")
