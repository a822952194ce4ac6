"""Plans that are in use: the present one, and earlier ones that connections still began with. Their counters.

Made by the supervisor at every reload. A generation's memfd holds one region per worker; what is counted in a region
is carried over, by name, when its worker dies or when the last connection of an earlier plan has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ferryman.controlplane import totals
from ferryman.controlplane.totals import Totals
from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.plan import Plan


class Generation:
    """One plan and its counters, for `workers` workers."""

    def __init__(self, number: int, plan: Plan, workers: int) -> None:
        self.number = number
        self.plan = plan
        self.workers = workers
        stride = counters.size(plan)
        self.descriptor = os.memfd_create(f"ferryman-counters-{number}", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, stride * workers)
        self._cells = counters.attach(self.descriptor, stride * workers)
        self._stride = stride // 8

    def region(self, index: int) -> memoryview:
        """The cells that worker `index` writes."""
        return self._cells[index * self._stride : (index + 1) * self._stride]

    @property
    def regions(self) -> Sequence[memoryview]:
        return [self.region(index) for index in range(self.workers)]

    @property
    def live(self) -> int:
        """Connections that began with this plan and have not ended."""
        cell = counters.process_base(self.plan) + Cell.SESSIONS_NOW
        return sum(region[cell] for region in self.regions)

    def close(self) -> None:
        os.close(self.descriptor)


class Generations:
    """The present generation, the earlier ones that still carry connections, and the sums of what is gone."""

    def __init__(self) -> None:
        self.present: Generation | None = None
        self.earlier: list[Generation] = []
        self._gone: Totals = {}
        self._followed = 0

    def begin(self, plan: Plan, workers: int) -> Generation:
        """A new plan takes over."""
        number = self.present.number + 1 if self.present else 1
        if self.present is not None:
            self.earlier.append(self.present)
        self.present = Generation(number, plan, workers)
        return self.present

    def worker_gone(self, index: int, first: int, last: int) -> None:
        """Worker `index` is gone, which was sent plans `first` to `last`: keep its sums; nothing of it is open.

        Of other plans the region of this index belongs to a worker before or after it.
        """
        for generation in (*self.earlier, *([self.present] if self.present else [])):
            if index < generation.workers and first <= generation.number <= last:
                region = generation.region(index)
                totals.carry(self._gone, generation.plan, region)
                region[:] = memoryview(bytes(region.nbytes)).cast("Q")

    def follow(self, confirmed: Iterable[int]) -> None:
        """Numbers of the plans that workers have confirmed: before the least of them nothing begins any more."""
        self._followed = min(confirmed, default=self._followed)

    def forget_ended(self) -> None:
        """Give up earlier plans that carry nothing any more."""
        for generation in [g for g in self.earlier if g.number < self._followed and not g.live]:
            for region in generation.regions:
                totals.carry(self._gone, generation.plan, region)
            self.earlier.remove(generation)
            generation.close()

    @property
    def carried(self) -> Totals:
        """What to add to the present plan's counters: all that is gone, and what earlier plans still count."""
        result: Totals = {key: list(cells) for key, cells in self._gone.items()}
        for generation in self.earlier:
            totals.merge(result, totals.add_up(generation.plan, generation.regions))
        return result

    @property
    def gone(self) -> Totals:
        """The sums of what is gone, to be changed in place (clear counters)."""
        return self._gone
