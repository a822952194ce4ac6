"""Rounds become medians, medians become ratios, ratios meet their targets."""

from bench.report import Sample, Summary, caveats, summarize, table, verdict_table, verdicts


def of(cost: float, p99: float | None = None, lost: float = 0.0) -> Summary:
    return summarize([Sample(cost=cost, rate=1000, pss=5_000_000, p99=p99, lost=lost)])


def test_medians_of_the_rounds() -> None:
    rounds = [Sample(cost=cost, rate=10 / cost, pss=100, errors=1, p99=cost) for cost in (5.0, 1.0, 2.0)]
    summary = summarize(rounds)
    assert (summary.median.cost, summary.median.rate, summary.median.p99, summary.median.errors) == (2.0, 5.0, 2.0, 3)
    assert (summary.lowest, summary.highest, len(summary.samples)) == (1.0, 5.0, 3)
    assert summary.median.p50 is None


def test_verdicts_are_ratios_to_haproxy() -> None:
    found = verdicts("plain", {"ferryman": of(120e-6, p99=2e-3), "haproxy": of(100e-6, p99=2e-3)})
    assert found == [("plain: cost", 1.2, 1.10), ("plain: p99", 1.0, 1.25)]
    text = verdict_table(found)
    assert "MISSED by 9 %" in text
    assert text.count("reached") == 1


def test_no_verdict_without_both() -> None:
    assert verdicts("plain", {"ferryman": of(1.0)}) == []


def test_table_without_haproxy_has_no_ratios() -> None:
    lines = table("bulk1: bulk", "GB", {"nginx": of(0.95)}).splitlines()
    assert lines[-1].split()[:2] == ["nginx", "950.0"]


def test_caveats_are_said_only_when_they_apply() -> None:
    assert caveats({"plain": {"nginx": of(1.0)}}, others=0.01).strip() == ""
    said = caveats({"plain": {"nginx": of(1.0, lost=0.5)}}, others=0.5)
    assert "NOT QUIET" in said
    assert "50%" in said
