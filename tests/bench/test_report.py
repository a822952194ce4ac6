"""Rounds become medians, medians become ratios, ratios meet their targets."""

from bench.loads import IDLES, WORKLOADS
from bench.report import TARGETS, UNITS, Sample, Summary, caveats, summarize, table, verdict_table, verdicts


def of(cost: float, p99: float | None = None, lost: float = 0.0) -> Summary:
    return summarize([Sample(cost=cost, rate=1000, pss=5_000_000, p99=p99, lost=lost)])


def test_medians_of_the_rounds() -> None:
    rounds = [Sample(cost=cost, rate=10 / cost, pss=100, errors=1, p99=cost) for cost in (5.0, 1.0, 2.0)]
    summary = summarize(rounds)
    assert (summary.median.cost, summary.median.rate, summary.median.p99, summary.median.errors) == (2.0, 5.0, 2.0, 3)
    assert (summary.lowest, summary.highest, len(summary.samples)) == (1.0, 5.0, 3)
    assert summary.median.p50 is None


def test_verdicts_are_ratios_to_another_proxy() -> None:
    found = verdicts("plain", {"ferryman": of(120e-6, p99=2e-3), "haproxy": of(100e-6, p99=2e-3)})
    assert found == [("plain: cost, haproxy", 1.2, 1.10), ("plain: p99", 1.0, 1.25)]
    text = verdict_table(found)
    assert "MISSED by 9 %" in text
    assert text.count("reached") == 1


def test_verdicts_may_be_about_several_proxies_or_none() -> None:
    results = {"ferryman": of(0.5), "squid": of(1.0), "tinyproxy": of(2.0), "ferryman-tcp": of(0.1)}
    assert verdicts("connect", results) == [
        ("connect: cost, squid", 0.5, 0.6),
        ("connect: cost, tinyproxy", 0.25, 0.85),
    ]
    assert verdicts("mint", {"ferryman": of(1 / 300)}) == [("mint: cost, 300 a second", 1.0, 1.0)]


def test_every_workload_has_a_target_and_a_unit() -> None:
    assert TARGETS.keys() == {workload.name for workload in (*WORKLOADS, *IDLES)}
    for workload in WORKLOADS:
        assert workload.operation in UNITS
        for target in TARGETS[workload.name]:
            assert target.cost or target.reference in workload.peers


def test_no_verdict_without_both() -> None:
    assert verdicts("plain", {"ferryman": of(1.0)}) == []


def test_table_without_the_reference_has_no_ratios() -> None:
    lines = table("bulk1: bulk", "GB", {"nginx": of(0.95)}, "haproxy").splitlines()
    assert lines[-1].split()[:2] == ["nginx", "950.0"]


def test_caveats_are_said_only_when_they_apply() -> None:
    assert caveats({"plain": {"nginx": of(1.0)}}, others=0.01).strip() == ""
    said = caveats({"plain": {"nginx": of(1.0, lost=0.5)}}, others=0.5)
    assert "NOT QUIET" in said
    assert "50%" in said
