"""Plans in use and their counters: what is carried over, when, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plans import listener, make_plan, server

from ferryman.controlplane.generations import Generation, Generations
from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell

PLAN = make_plan([listener("web")], {"app": [server("s1")]})
WEB = ("listener", "web", "")


@pytest.fixture
def generations() -> Iterator[Generations]:
    generations = Generations()
    yield generations
    for generation in (*generations.earlier, generations.present):
        if generation is not None:
            generation.close()


def count(generation: Generation, worker: int, total: int, now: int = 0) -> None:
    """As the worker would write it."""
    region = generation.region(worker)
    for base in (counters.listener_base(PLAN, 0), counters.process_base(PLAN)):
        region[base + Cell.SESSIONS], region[base + Cell.SESSIONS_NOW] = total, now


def carried(generations: Generations) -> tuple[int, int]:
    cells = generations.carried.get(WEB, [0] * counters.WIDTH)
    return cells[Cell.SESSIONS], cells[Cell.SESSIONS_NOW]


def test_each_plan_has_a_number_and_a_region_for_each_worker(generations: Generations) -> None:
    first = generations.begin(PLAN, 2)
    second = generations.begin(PLAN, 3)
    assert (first.number, second.number, generations.earlier) == (1, 2, [first])
    count(first, 0, 5, 2)
    count(first, 1, 7, 1)
    assert first.live == 3
    assert [region[Cell.SESSIONS] for region in first.regions] == [5, 7]
    assert len(second.regions) == 3


def test_what_an_earlier_plan_counts_is_seen_while_it_lives_and_after(generations: Generations) -> None:
    first = generations.begin(PLAN, 1)
    count(first, 0, 5, 1)
    generations.begin(PLAN, 1)
    assert carried(generations) == (5, 1)
    generations.follow([2])
    generations.forget_ended()
    assert generations.earlier == [first], "a connection still lives by it"
    count(first, 0, 6, 0)
    generations.forget_ended()
    assert not generations.earlier
    assert carried(generations) == (6, 0)


def test_an_earlier_plan_is_kept_until_all_workers_have_left_it(generations: Generations) -> None:
    first = generations.begin(PLAN, 2)
    generations.follow([1, 1])
    generations.begin(PLAN, 2)
    generations.follow([1, 2])
    generations.forget_ended()
    assert generations.earlier == [first], "one of them may be accepting by it at this moment"
    count(first, 0, 1)
    generations.follow([2, 2])
    generations.forget_ended()
    assert carried(generations) == (1, 0)


def test_a_dead_workers_numbers_are_kept_and_nothing_of_it_is_open(generations: Generations) -> None:
    first = generations.begin(PLAN, 2)
    count(first, 0, 5, 2)
    count(first, 1, 7, 3)
    second = generations.begin(PLAN, 2)
    count(second, 0, 1, 1)
    generations.worker_gone(0, 1, 2)
    assert carried(generations) == (6 + 7, 3)
    assert first.live == 3
    assert second.live == 0


def test_regions_of_the_worker_before_it_are_left_alone(generations: Generations) -> None:
    first = generations.begin(PLAN, 2)
    count(first, 1, 7, 3)  # a worker that was let go, and still carries
    second = generations.begin(PLAN, 2)
    count(second, 1, 2, 1)
    generations.worker_gone(1, 2, 2)
    assert first.live == 3
    assert second.live == 0


def test_a_worker_that_was_never_sent_a_plan_changes_nothing(generations: Generations) -> None:
    first = generations.begin(PLAN, 1)
    count(first, 0, 7, 3)
    generations.worker_gone(0, 0, 0)
    generations.worker_gone(5, 1, 1)
    assert first.live == 3
