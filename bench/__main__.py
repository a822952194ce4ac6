"""`python -m bench`: options, and the rounds. See the package's docstring for the map.

The proxies take turns (A B C A B C ...), each freshly started and warmed up, so that drift of the machine meets all of
them alike. The medians of the rounds are compared.
"""

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import guests, loads, network, report, verbs, volumes
from bench.measure import ProcessesChangedError, others_cpu
from bench.peers import Peer, found, installed
from bench.process import BenchError, LogSink
from bench.stalls import stall_clock
from bench.trial import Scene, Trial

RESULTS = Path(__file__).parent / "results"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # tinyproxy syncs its log, which should cost it little
SCALING_LOADS = ("plain", "sni", "keepalive64")
NEEDED = ("nginx", "wrk", "iperf3", "taskset")

Measure = Callable[[Peer], report.Sample]


class Rounds:
    """Runs measurements with the proxies taking turns. A run that fails is remembered in `failures`, the rest go on."""

    def __init__(self, peers: dict[str, Peer], count: int) -> None:
        self.peers = peers
        self.count = count
        self.failures: list[str] = []

    def run(self, name: str, wanted: Sequence[str], *measures: Measure) -> list[dict[str, report.Summary]]:
        """For each of `measures` the summary of every proxy of those wanted that could be measured; the measures take
        turns too."""
        peers = [self.peers[peer] for peer in wanted if peer in self.peers]
        samples: list[dict[str, list[report.Sample]]] = [{} for _ in measures]
        for number in range(self.count):
            for peer in peers:
                for collected, measure in zip(samples, measures, strict=True):
                    _progress(f"{name}: round {number + 1} of {self.count}, {peer.name}")
                    try:
                        collected.setdefault(peer.name, []).append(measure(peer))
                    except (BenchError, ProcessesChangedError) as error:
                        self.failures.append(f"{name}, {peer.name}: {error}")
        _progress("")
        return [{peer: report.summarize(kept) for peer, kept in one.items() if kept} for one in samples]


def compare(trial: Trial, rounds: Rounds, names: Sequence[str]) -> dict[str, dict[str, report.Summary]]:
    """One worker each: every workload on every proxy, printed as it comes, the targets at the end."""
    results: dict[str, dict[str, report.Summary]] = {}
    verdicts = []
    for workload in loads.WORKLOADS:
        if workload.name in names:
            [result] = rounds.run(workload.name, workload.peers, partial(trial.load, workload, 1))
            results[workload.name] = result
            title = f"{workload.name}: {workload.title}"
            print(report.table(title, workload.operation, result, workload.peers[1]))
    for idle in loads.IDLES:
        if idle.name in names:
            [result] = rounds.run(idle.name, idle.peers, partial(trial.idle, idle))
            results[idle.name] = result
            print(report.table(f"{idle.name}: {trial.tunnels} idle tunnels", "tunnel", result, idle.peers[1]))
    for name, result in results.items():
        verdicts += report.verdicts(name, result)
    if verdicts:
        print(report.verdict_table(verdicts))
    return results


def scale(trial: Trial, rounds: Rounds, names: Sequence[str], workers: int) -> dict[str, dict[str, report.Summary]]:
    """The rates of one worker and of `workers`, proxies, load and servers all sharing the machine's CPUs."""
    results: dict[str, dict[str, report.Summary]] = {}
    for workload in loads.WORKLOADS:
        if workload.name in names and workload.name in SCALING_LOADS:
            one, more = rounds.run(
                workload.name,
                workload.peers,
                partial(trial.load, workload, 1),
                partial(trial.load, workload, workers),
            )
            title = f"{workload.name}: {workload.title}"
            print(report.scaling_table(title, workload.operation, one, more, workers))
            results |= {f"{workload.name} with 1": one, f"{workload.name} with {workers}": more}
    return results


def divide_cpus(workers: int) -> tuple[set[int], set[int]]:
    """(the proxy's CPUs, the load's): apart where there are enough, shared where there are not."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > workers:
        return set(cpus[:workers]), set(cpus[workers : 2 * workers])
    if workers == 1:
        print("only one CPU: proxy and load share it, so rates and latencies say little", file=sys.stderr)
    return set(cpus), set(cpus)


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    names = [*(workload.name for workload in (*loads.WORKLOADS, *loads.IDLES)), "volumes", *verbs.VERBS]

    def several(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare ferryman with other proxies.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per workload (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds per measured load (default 3)")
    parser.add_argument("--tunnels", type=int, default=4000, help="idle tunnels (default 4000)")
    parser.add_argument(
        "--only", type=several, default=names, metavar="A,B", help=f"workloads out of {','.join(names)}"
    )
    parser.add_argument("--peers", type=several, metavar="A,B", help="proxies out of those installed")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="show how rates grow from 1 worker to N")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run at all?")
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.only) - set(names):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if parsed.quick:
        parsed.rounds, parsed.seconds, parsed.tunnels = 1, 1, min(parsed.tunnels, 500)
    return parsed


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for. Returns 0, 1 when a run failed, 2 when it cannot be made here."""
    asked = options(arguments)
    others = [name for name in asked.only if name == "volumes" or name in verbs.VERBS]
    asked.only = [name for name in asked.only if name not in others]
    codes = [0]
    for name in others:  # before this process is bound to some CPUs
        quick = ["--quick"] if asked.quick else ["--rounds", str(min(asked.rounds, 3))]
        codes.append(volumes.main(quick) if name == "volumes" else verbs.run(name, asked.rounds))
    if asked.only:
        codes.append(proxies(asked))
    return max(codes)


def proxies(asked: argparse.Namespace) -> int:
    """Run the comparison of proxies. Returns as main."""
    peers = installed()
    if missing := [program for program in NEEDED if not found(program)]:
        return _refuse(f"not installed: {', '.join(missing)} (`make peers` installs them)")
    if missing := [name for name in asked.peers or () if name not in peers]:
        return _refuse(f"not installed: {', '.join(missing)}")
    peers = {name: peer for name, peer in peers.items() if not asked.peers or name in asked.peers}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, _terminated)

    proxy_cpus, load_cpus = divide_cpus(asked.threads)
    os.sched_setaffinity(0, load_cpus)
    for peer in peers.values():
        print(f"{peer.name}: {peer.version}")
    rounds = Rounds(peers, asked.rounds)
    start, others = time.monotonic(), others_cpu()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY)))
        servers = stack.enter_context(loads.servers(folder, load_cpus))
        sink = stack.enter_context(LogSink())
        stalled = stack.enter_context(stall_clock(proxy_cpus, folder))
        scenes = stack.enter_context(_scenes(folder, load_cpus, asked.only))
        trial = Trial(folder, servers, sink, proxy_cpus, len(load_cpus), stalled, asked.seconds, asked.tunnels, scenes)
        if asked.threads == 1:
            results = compare(trial, rounds, asked.only)
        else:
            results = scale(trial, rounds, asked.only, asked.threads)
    share = (others_cpu() - others) / (time.monotonic() - start)
    print(report.caveats(results, share))
    path = RESULTS / ("comparison.json" if asked.threads == 1 else f"scaling-{asked.threads}.json")
    report.write_json(path, peers, results, vars(asked) | {"others": round(share, 3)})
    print(f"\nwritten to {path}")
    for failure in rounds.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if rounds.failures else 0


@contextlib.contextmanager
def _scenes(folder: Path, cpus: set[int], names: list[str]) -> Iterator[dict[str, Scene]]:
    """Those that the workloads need; where one cannot be had, `names` is without its workloads afterwards."""
    made: dict[str, Scene] = {}
    with contextlib.ExitStack() as stack:
        for scene, (why_not, make) in SCENES.items():
            wanting = [one.name for one in loads.WORKLOADS if one.scene == scene and one.name in names]
            if wanting and (reason := why_not()):
                print(f"left out: {', '.join(wanting)} ({reason})")
                names[:] = [name for name in names if name not in wanting]
            elif wanting:
                made[scene] = stack.enter_context(make(folder / scene, cpus))
        yield made


@contextlib.contextmanager
def _routed(folder: Path, cpus: set[int]) -> Iterator[Scene]:
    """Client, proxy and server as three machines."""
    with network.network() as machines:
        place = machines.place
        with loads.scene_servers(folder, cpus, place.server, machines.at_server) as servers:
            yield Scene(place, machines.sink, servers, everybody=True, intercepted=machines.intercepted)


@contextlib.contextmanager
def _guests(folder: Path, cpus: set[int]) -> Iterator[Scene]:
    """A guest on a hypervisor, and servers on the host."""
    with guests.guest() as (place, sink), loads.scene_servers(folder, cpus, place.server, place.at_proxy) as servers:
        yield Scene(place, sink, servers)


SCENES = {"routed": (network.why_not, _routed), "guests": (guests.why_not, _guests)}


def _refuse(reason: str) -> int:
    print(f"bench: {reason}", file=sys.stderr)
    return 2


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)  # unwinds, so that everything started is stopped


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
