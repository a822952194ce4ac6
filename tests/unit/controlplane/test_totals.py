"""Counters add up over workers, survive workers and plans by name, and can be cleared."""

from __future__ import annotations

from plans import StillView, listener, make_plan, server, shop

from ferryman.controlplane import totals
from ferryman.controlplane.totals import PROCESS, Key, Totals
from ferryman.dataplane import counters
from ferryman.dataplane.counters import WIDTH, Cell

WEB: Key = ("listener", "web", "")
A1: Key = ("server", "app", "a1")


def total(view: StillView) -> Totals:
    return totals.total(view.plan, view.regions, view.carried)


def test_every_block_of_a_region_has_a_key() -> None:
    plan = shop()
    bases = [base for _, base in totals.keys(plan)]
    assert sorted(bases) == [index * WIDTH for index in range(counters.blocks(plan))]
    assert dict(totals.keys(plan))[PROCESS] == counters.process_base(plan)


def test_workers_add_up() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=5, sessions_now=2, sessions_max=3, last_session=1000)
    view.count(1, WEB, sessions=7, sessions_now=1, sessions_max=4, last_session=900)
    cells = total(view)[WEB]
    assert (cells[Cell.SESSIONS], cells[Cell.SESSIONS_NOW], cells[Cell.SESSIONS_MAX]) == (12, 3, 7)
    assert cells[Cell.LAST_SESSION] == 1000


def test_cells_do_not_overflow() -> None:
    view = StillView(shop())
    for worker in range(2):
        view.count(worker, A1, bytes_in=2**64 - 1)
    assert total(view)[A1][Cell.BYTES_IN] == 2 * (2**64 - 1)


def test_a_dead_worker_leaves_its_counters_but_no_gauges() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=5, sessions_now=2, sessions_max=3)
    view.count(1, WEB, sessions=7, sessions_now=1, sessions_max=4)
    totals.carry(view.carried, view.plan, view.regions.pop(0))
    cells = total(view)[WEB]
    assert (cells[Cell.SESSIONS], cells[Cell.SESSIONS_NOW], cells[Cell.SESSIONS_MAX]) == (12, 1, 4)


def test_names_carry_over_a_reload_and_lost_names_are_not_shown() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=5)
    view.count(0, A1, sessions=4)
    for region in view.regions:
        totals.carry(view.carried, view.plan, region)
    after = StillView(make_plan([listener("web")], {"other": [server("x")]}))
    after.carried = view.carried
    shown = total(after)
    assert shown[WEB][Cell.SESSIONS] == 5
    assert A1 not in shown


def test_clearing_maxima_starts_peaks_from_what_is_open() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=5, sessions_now=2, sessions_max=30, queue_max=9)
    totals.clear_maxima(view.plan, view.regions, view.carried)
    cells = total(view)[WEB]
    assert (cells[Cell.SESSIONS], cells[Cell.SESSIONS_MAX], cells[Cell.QUEUE_MAX]) == (5, 2, 0)


def test_clearing_everything_keeps_gauges_and_counts_from_zero() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=5, sessions_now=2, sessions_max=30, bytes_in=100, last_session=1000)
    view.carried = {WEB: [7] * WIDTH}
    totals.clear(view.plan, view.regions, view.carried)
    cells = total(view)[WEB]
    assert (cells[Cell.SESSIONS], cells[Cell.BYTES_IN]) == (0, 0)
    assert (cells[Cell.SESSIONS_NOW], cells[Cell.SESSIONS_MAX], cells[Cell.LAST_SESSION]) == (2, 2, 1000)
    view.count(0, WEB, sessions=6)
    assert total(view)[WEB][Cell.SESSIONS] == 1
    totals.carry(view.carried, view.plan, view.regions.pop(0))
    assert total(view)[WEB][Cell.SESSIONS] == 1, "the worker's death must not bring old numbers back"


def test_clearing_everything_includes_earlier_plans_that_still_count() -> None:
    old, view = StillView(shop()), StillView(shop())
    old.count(0, WEB, sessions=9, sessions_now=1)
    view.count(0, WEB, sessions=5)
    gone: Totals = {}
    totals.clear(view.plan, view.regions, gone, [(old.plan, old.regions)])
    view.carried = {key: list(cells) for key, cells in gone.items()}
    totals.merge(view.carried, totals.add_up(old.plan, old.regions))
    cells = total(view)[WEB]
    assert (cells[Cell.SESSIONS], cells[Cell.SESSIONS_NOW]) == (0, 1)
