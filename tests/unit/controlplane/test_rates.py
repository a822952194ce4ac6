"""Rates are differences per second; peaks stay until cleared."""

from __future__ import annotations

from plans import StillView, shop

from ferryman.controlplane.rates import Rate
from ferryman.controlplane.totals import PROCESS, Key

WEB: Key = ("listener", "web", "")
BOTH: Key = ("listener", "both", "")


def test_nothing_is_known_before_two_samples() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=50)
    assert view.rates.of(WEB) == Rate()
    view.sample(10.0)
    assert view.rates.of(WEB) == Rate()


def test_sessions_and_bytes_per_second() -> None:
    view = StillView(shop())
    view.sample(10.0)
    view.count(0, WEB, sessions=6, bytes_in=1000, bytes_out=5000)
    view.count(1, BOTH, sessions=4, bytes_in=500)
    view.sample(12.0)
    assert view.rates.of(WEB) == Rate(3, 3, 500, 2500)
    assert view.rates.of(PROCESS) == Rate(5, 5, 750, 2500)


def test_the_peak_stays_until_it_is_cleared() -> None:
    view = StillView(shop())
    view.sample(10.0)
    for second, sessions in enumerate((8, 9), start=11):
        view.count(0, WEB, sessions=sessions)
        view.sample(second)
    assert view.rates.of(WEB) == Rate(1, 8)
    view.rates.clear_maxima()
    assert view.rates.of(WEB) == Rate(1, 1)


def test_cleared_counters_make_no_negative_rate() -> None:
    view = StillView(shop())
    view.count(0, WEB, sessions=6)
    view.sample(10.0)
    view.clear_counters()
    view.sample(11.0)
    assert view.rates.of(WEB).sessions == 0


def test_two_samples_at_the_same_moment_are_harmless() -> None:
    view = StillView(shop())
    view.sample(10.0)
    view.count(0, WEB, sessions=6)
    view.sample(10.0)
    assert view.rates.of(WEB) == Rate()
