"""What the rounds amount to: medians, ratios to another proxy, targets; as a table and as JSON."""

import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.peers import Peer

SUBJECT = "ferryman"


@dataclass(frozen=True, slots=True)
class Target:
    """The most that ferryman may need of CPU per operation, or of memory per tunnel: a ratio to `reference`.

    That is a proxy in the same run, or a name for the fixed `cost`.
    """

    reference: str
    most: float
    cost: float | None = None


TARGETS: dict[str, list[Target]] = {
    "plain": [Target("haproxy", 1.10)],
    "sni": [Target("haproxy", 1.00)],
    "keepalive1": [Target("haproxy", 1.05)],
    "keepalive64": [Target("haproxy", 1.05)],
    "bulk1": [Target("haproxy", 0.50)],
    "bulk4": [Target("haproxy", 0.50)],
    "idle": [Target("haproxy", 0.40)],
    "tls-full": [Target("haproxy", 1.00)],
    "tls-resumed": [Target("haproxy", 1.00)],
    "tls-keepalive": [Target("haproxy", 1.30)],
    "tls-bulk": [Target("haproxy", 1.00)],
    "proxy-in": [Target("ferryman-tcp", 1.10)],
    "proxy-out": [Target("ferryman-tcp", 1.10)],
    "transparent": [Target("ferryman-tcp", 1.10)],
    "tproxy": [Target("ferryman-tcp", 1.25)],
    "tproxy-bulk": [Target("ferryman-tcp", 1.15)],
    "prewarm": [],
    "connect": [Target("squid", 0.60), Target("tinyproxy", 0.85)],
    "connect-bulk": [Target("ferryman-tcp", 1.05)],
    "connect-idle": [Target("haproxy", 0.40)],
    "bump": [Target("squid", 1.00)],
    "mint": [Target("300 a second", 1.00, cost=1 / 300)],
}
P99_REFERENCE = "haproxy"
P99_TARGET = 1.25
MOST_OTHERS = 0.10
MOST_LOST = 0.02


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured load on one proxy.

    `cost` is CPU seconds per operation, or bytes of memory per tunnel for `idle`; `rate` is operations per second;
    latencies are in seconds; `pss` is the proxy's memory at the end of the load, in bytes; `lost` is the share of time
    for which the machine's host took the CPU away (see bench.stalls), already taken out of `cost`.
    """

    cost: float
    rate: float
    pss: int
    lost: float = 0.0
    errors: int = 0
    p50: float | None = None
    p99: float | None = None


NOTHING = Sample(cost=0, rate=0, pss=0)


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of a proxy's rounds, the lowest and highest cost among them, and the rounds themselves."""

    median: Sample
    lowest: float
    highest: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """How a workload's cost and rate are shown: the stored value times the factor."""

    cost: str
    cost_factor: float
    rate: str


UNITS = {
    "connection": Unit("CPU µs/conn", 1e6, "conn/s"),
    "request": Unit("CPU µs/req", 1e6, "req/s"),
    "GB": Unit("CPU ms/GB", 1e3, "GB/s"),
    "handshake": Unit("CPU µs/handshake", 1e6, "handshakes/s"),
    "name": Unit("CPU µs/name", 1e6, "names/s"),
    "tunnel": Unit("bytes/tunnel", 1, "tunnels/s"),
}


def summarize(samples: Sequence[Sample]) -> Summary:
    """Field by field the median of the rounds; errors are added up."""

    def middle(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    costs = [sample.cost for sample in samples]
    median = Sample(
        cost=statistics.median(costs),
        rate=statistics.median(sample.rate for sample in samples),
        pss=round(statistics.median(sample.pss for sample in samples)),
        lost=statistics.median(sample.lost for sample in samples),
        errors=sum(sample.errors for sample in samples),
        p50=middle(sample.p50 for sample in samples),
        p99=middle(sample.p99 for sample in samples),
    )
    return Summary(median, min(costs), max(costs), tuple(samples))


def ratio(value: float | None, reference: float | None) -> float | None:
    """value / reference, or None where one of them is missing or nothing."""
    return value / reference if value is not None and reference else None


def table(title: str, operation: str, results: dict[str, Summary], reference: str) -> str:
    """One workload's lines, one proxy each, with ratios to the one that is the reference."""
    unit = UNITS[operation]
    other = results[reference].median if reference in results else NOTHING
    times = f"×{reference}"
    head = (
        "",
        unit.cost,
        "(low–high)",
        times,
        unit.rate,
        times,
        "p50 µs",
        "p99 µs",
        times,
        "PSS MB",
        "lost",
    )
    rows = [head]
    for name, summary in results.items():
        mine, factor = summary.median, unit.cost_factor
        rows.append(
            (
                name + (f" ({mine.errors} errors)" if mine.errors else ""),
                f"{mine.cost * factor:.1f}",
                f"({summary.lowest * factor:.1f}–{summary.highest * factor:.1f})",
                _times(ratio(mine.cost, other.cost)),
                f"{mine.rate:.2f}" if operation == "GB" else f"{mine.rate:.0f}",
                _times(ratio(mine.rate, other.rate)),
                _micro(mine.p50),
                _micro(mine.p99),
                _times(ratio(mine.p99, other.p99)),
                f"{mine.pss / 1e6:.1f}",
                f"{mine.lost:.0%}",
            )
        )
    return f"\n{title}\n{_aligned(rows)}"


def verdicts(workload: str, results: dict[str, Summary]) -> list[tuple[str, float, float]]:
    """(what, ratio, target) for every target of this workload that was measured."""
    found: list[tuple[str, float | None, float]] = []
    if SUBJECT in results:
        mine = results[SUBJECT].median
        for target in TARGETS[workload]:
            other = results[target.reference].median.cost if target.reference in results else target.cost
            found.append((f"{workload}: cost, {target.reference}", ratio(mine.cost, other), target.most))
        if P99_REFERENCE in results:
            found.append((f"{workload}: p99", ratio(mine.p99, results[P99_REFERENCE].median.p99), P99_TARGET))
    return [(what, value, most) for what, value, most in found if value is not None]


def verdict_table(found: Sequence[tuple[str, float, float]]) -> str:
    """The targets, each reached or missed."""
    rows = [("ferryman to another", "ratio", "target", "")]
    for what, value, target in found:
        result = "reached" if value <= target else f"MISSED by {(value / target - 1) * 100:.0f} %"
        rows.append((what, f"{value:.2f}", f"≤ {target:.2f}", result))
    return f"\nTargets\n{_aligned(rows)}"


def caveats(results: dict[str, dict[str, Summary]], others: float) -> str:
    """What speaks against trusting the figures: `others` is the share of one CPU that unrelated work took."""
    said = []
    if others > MOST_OTHERS:
        said.append(f"NOT QUIET: unrelated work took {others:.0%} of one CPU meanwhile.")
    lost = [summary.median.lost for by_peer in results.values() for summary in by_peer.values()]
    if lost and max(lost) > MOST_LOST:
        said.append(
            f"PAUSED: this machine's host took its CPUs away for up to {max(lost):.0%} of the time. That is taken out "
            "of the CPU costs, but not of rates and latencies: p99 shows the pauses, not the proxies."
        )
    return "\n".join(["", *said])


def scaling_table(title: str, operation: str, one: dict[str, Summary], more: dict[str, Summary], workers: int) -> str:
    """How a proxy's rate grows from one worker to `workers`."""
    rows = [("", f"{UNITS[operation].rate} with 1", f"with {workers}", "growth")]
    for name in one.keys() & more.keys():
        single, several = one[name].median.rate, more[name].median.rate
        rows.append((name, f"{single:.0f}", f"{several:.0f}", _times(ratio(several, single))))
    return f"\n{title}\n{_aligned([rows[0], *sorted(rows[1:])])}"


def write_json(path: Path, peers: dict[str, Peer], results: dict[str, dict[str, Summary]], options: object) -> None:
    """Everything needed to read the result again: machine, versions, command, medians in SI units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": ["python", "-m", "bench", *sys.argv[1:]],
        "machine": {
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": {name: peer.version for name, peer in peers.items()},
        "options": options,
        "results": {
            load: {name: asdict(summary) for name, summary in by_peer.items()} for load, by_peer in results.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _micro(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append(f"  {first:<{widths[0]}}  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)
