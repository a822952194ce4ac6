"""Adds the workers' counters up, by name, over workers and over what is gone.

Called by the supervisor (to carry the numbers of a dead worker or a replaced plan over, and to clear them) and by
snapshot. Knows cells and plans; must not know sockets, processes or how anything is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from ferryman.dataplane.counters import WIDTH, Cell, backend_base, listener_base, process_base, server_base
from ferryman.plan import Plan

Kind = Literal["process", "listener", "backend", "server"]
Key = tuple[Kind, str, str]
"""What the cells belong to: kind, name of the listener or backend, name of the server ("" for the other kinds)."""

Totals = dict[Key, list[int]]

PROCESS: Final[Key] = ("process", "", "")
"""All listeners together; of its cells only those of sessions are in use."""

PEAKS: Final = {Cell.SESSIONS_MAX: Cell.SESSIONS_NOW, Cell.QUEUE_MAX: Cell.QUEUE_NOW}
"""Each with the gauge it is the peak of."""

GAUGES: Final = (*PEAKS.values(), Cell.PREWARMED_NOW)
_NOT_COUNTERS: Final = frozenset((*GAUGES, *PEAKS, Cell.LAST_SESSION))


def keys(plan: Plan) -> Iterator[tuple[Key, int]]:
    """Every block of a region for `plan`, with the index of its first cell."""
    for listener in plan.listeners:
        yield ("listener", listener.name, ""), listener_base(plan, listener.id)
    for backend in plan.backends:
        yield ("backend", backend.name, ""), backend_base(plan, backend.id)
    for server in plan.servers:
        yield ("server", server.backend, server.name), server_base(plan, server.id)
    yield PROCESS, process_base(plan)


def add_up(plan: Plan, regions: Iterable[memoryview]) -> Totals:
    """Sum over workers. Workers peak at different moments, so a sum of peaks is an upper bound of the real peak."""
    totals: Totals = {key: [0] * WIDTH for key, _ in keys(plan)}
    for region in regions:
        for key, base in keys(plan):
            cells = totals[key]
            block = region[base : base + WIDTH].tolist()
            last = max(cells[Cell.LAST_SESSION], block[Cell.LAST_SESSION])
            cells[:] = map(int.__add__, cells, block)
            cells[Cell.LAST_SESSION] = last
    return totals


def merge(into: Totals, earlier: Mapping[Key, Sequence[int]]) -> None:
    """Add what was counted before: counters and gauges add up, of peaks and times the greater stays."""
    for key, block in earlier.items():
        cells = into.setdefault(key, [0] * WIDTH)
        for cell in range(WIDTH):
            if cell in PEAKS or cell == Cell.LAST_SESSION:
                cells[cell] = max(cells[cell], block[cell])
            else:
                cells[cell] += block[cell]


def carry(carried: Totals, plan: Plan, region: memoryview) -> None:
    """Keep the numbers of a region whose worker, or whose last connection of an old plan, is gone: nothing is open."""
    gone = add_up(plan, (region,))
    for cells in gone.values():
        for gauge in GAUGES:
            cells[gauge] = 0
    merge(carried, gone)


def total(plan: Plan, regions: Iterable[memoryview], carried: Mapping[Key, Sequence[int]]) -> Totals:
    """Everything counted for the names of `plan`; names that only `carried` still knows are left out."""
    totals = add_up(plan, regions)
    merge(totals, {key: block for key, block in carried.items() if key in totals})
    return totals


def clear_maxima(plan: Plan, regions: Iterable[memoryview], carried: Totals) -> None:
    """Let peaks start again from what is open now (`clear counters`).

    The one place where the supervisor writes into a region. A worker that raises the same peak at this very moment may
    lose that one update; nothing else can go wrong, as cells are written whole.
    """
    for region in regions:
        for _, base in keys(plan):
            for peak, now in PEAKS.items():
                region[base + peak] = region[base + now]
    for cells in carried.values():
        for peak, now in PEAKS.items():
            cells[peak] = cells[now]


def clear(
    plan: Plan,
    regions: Sequence[memoryview],
    carried: Totals,
    earlier: Iterable[tuple[Plan, Sequence[memoryview]]] = (),
) -> None:
    """Let everything that is counted start from zero (`clear counters all`), gauges apart.

    `earlier`: plans that still count, with their regions. Workers go on from where they are; `carried` becomes the
    negative of it, and evens out for good when the regions are carried over one day.
    """
    carried.clear()
    for counted, its_regions in ((plan, regions), *earlier):
        clear_maxima(counted, its_regions, carried)
        for key, cells in add_up(counted, its_regions).items():
            negative = carried.setdefault(key, [0] * WIDTH)
            for cell in range(WIDTH):
                if cell not in _NOT_COUNTERS:
                    negative[cell] -= cells[cell]
