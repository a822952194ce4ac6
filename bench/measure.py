"""CPU time and memory of a process and all its descendants, read from /proc.

Called before and after a load. It only reads; it starts and signals nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that matter here (proc(5)); CPU time in seconds, all threads included."""

    pid: int
    parent: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one or more processes in bytes. A page shared by n processes counts as 1/n in each.

    `pss` is everything; `own` leaves out pages of files, which the kernel drops and reads again as it likes.
    """

    pss: int
    own: int

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.pss + other.pss, self.own + other.own)


class ProcessesChangedError(Exception):
    """A process came or went during a measurement, so its CPU time is not known."""


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat line. The name in parentheses may itself hold spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return Stat(int(pid), int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND)


def parse_smaps_rollup(text: str) -> Memory:
    """Read /proc/PID/smaps_rollup (values there are in KiB)."""
    kib = {}
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])
    return Memory(pss=kib["Pss"] * 1024, own=(kib["Pss_Anon"] + kib["Pss_Shmem"] + kib["SwapPss"]) * 1024)


def family(root: int) -> dict[int, Stat]:
    """The process `root` and its descendants, by pid."""
    everyone: dict[int, Stat] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                everyone[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended between listing and reading
    return descendants(root, everyone)


def descendants(root: int, everyone: dict[int, Stat]) -> dict[int, Stat]:
    """Those of `everyone` that are `root` or descend from it."""
    found = {root: everyone[root]} if root in everyone else {}
    while True:
        more = {pid: stat for pid, stat in everyone.items() if stat.parent in found and pid not in found}
        if not more:
            return found
        found |= more


def cpu_between(before: dict[int, Stat], after: dict[int, Stat]) -> float:
    """CPU seconds a family used between two snapshots; raises ProcessesChangedError when they differ in members."""
    if before.keys() != after.keys():
        raise ProcessesChangedError(f"processes {sorted(before)} before the load, {sorted(after)} after it")
    return sum(after[pid].cpu - before[pid].cpu for pid in before)


def memory(root: int) -> Memory:
    """Memory of the process `root` and its descendants together."""
    total = Memory(0, 0)
    for pid in family(root):
        total += parse_smaps_rollup((PROC / str(pid) / "smaps_rollup").read_text())
    return total


def parse_machine_cpu(text: str) -> float:
    """CPU seconds in which the machine was not idle since boot, from /proc/stat (proc(5)): all CPUs, steal included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, text.partition("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def others_cpu() -> float:
    """CPU seconds since boot that neither this process nor its ended children used. The difference of two calls, made
    while no child runs, is what the rest of the machine took meanwhile."""
    mine = os.times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    return parse_machine_cpu((PROC / "stat").read_text()) - own
