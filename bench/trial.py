"""One measurement of one proxy: start it, warm it up, put the load on, see what it cost."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.loads import Idle, Servers, Workload, open_tunnels
from bench.measure import cpu_between, family, memory
from bench.peers import ACCESS_LOG, Job, Kind, Peer, Place
from bench.process import START_SECONDS, BenchError, LogSink, free_port, running
from bench.report import Sample
from bench.stalls import MIN_SHARE, Seen, StallClock, segments

IDLE_WARM_UP = 64  # tunnels opened before the first look at the memory, so that one-time costs are not counted
LOG_PATIENCE = 3.0  # seconds a log line may take, on a busy machine


@dataclass(frozen=True, slots=True)
class Scene:
    """Somewhere else than on loopback: who is where. `everybody`: also proxies that can only forward are put there.

    While `intercepted` lasts, the kernel leads what is for a job's server to its proxy, where it is to.
    """

    place: Place
    sink: LogSink
    servers: Servers
    everybody: bool = False
    intercepted: Callable[[Job], contextlib.AbstractContextManager[None]] = lambda _: contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class Trial:
    """What all measurements of one comparison share."""

    folder: Path
    servers: Servers
    sink: LogSink
    proxy_cpus: set[int]
    load_threads: int
    stalled: StallClock
    seconds: int
    tunnels: int
    scenes: Mapping[str, Scene] = field(default_factory=dict)

    def load(self, workload: Workload, workers: int, peer: Peer) -> Sample:
        """Measure `workload` on `peer` with this many workers.

        Raises BenchError or ProcessesChangedError when that cannot be done.
        """
        job, sink = self._job(peer, workload.kind, workload.target(self.servers), workers), self.sink
        if workload.kind not in peer.kinds and workload.operation != "GB":
            job = replace(job, target=self.servers.http)
        with contextlib.ExitStack() as stack:
            if workload.scene and ((scene := self.scenes[workload.scene]).everybody or workload.kind in peer.kinds):
                sink, target = scene.sink, workload.target(scene.servers)
                job = replace(job, place=scene.place, target=target, log=sink.port)
                stack.enter_context(scene.intercepted(job))
            command = [*job.place.at_proxy, *peer.command(job)]
            output, witness = job.folder / "output", job.place.witness
            pid = stack.enter_context(running(command, self.proxy_cpus, (job.listen,), output, witness))
            self._warm_up(workload, job)
            self.stalled.follow(list(family(pid)))
            start, stalled, segments_before, before = time.monotonic(), self.stalled(), segments(pid), family(pid)
            outcome = workload.run(job, self.seconds, self.load_threads)
            cpu = cpu_between(before, family(pid))
            seen, passed = self.stalled() - stalled, segments(pid) - segments_before
            lost = seen.paused / (time.monotonic() - start)
            pss = memory(pid).pss
        if not _logged(job, sink):
            raise BenchError("wrote no log line, so its cost is not comparable")
        return Sample(
            cost=_undisturbed(cpu, seen, passed) / outcome.operations,
            lost=lost,
            rate=outcome.operations / outcome.seconds,
            pss=pss,
            errors=outcome.errors,
            p50=outcome.p50,
            p99=outcome.p99,
        )

    def _warm_up(self, workload: Workload, job: Job) -> None:
        """Until something has been answered: ferryman listens before its worker is up, which takes long on a busy
        machine and would be charged to the load. Raises BenchError."""
        deadline = time.monotonic() + START_SECONDS
        while not workload.run(job, 1, self.load_threads).operations:
            if time.monotonic() > deadline:
                raise BenchError("answers nobody")

    def idle(self, idle: Idle, peer: Peer) -> Sample:
        """Measure what each of many tunnels of this kind costs `peer` in memory."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(socket.create_server(("127.0.0.1", free_port()), backlog=1024))
            job = self._job(peer, idle.kind, server.getsockname()[1], workers=1)
            command = peer.command(job)
            pid = stack.enter_context(running(command, self.proxy_cpus, (job.listen,), job.folder / "output"))
            open_tunnels(job, server, IDLE_WARM_UP, stack)
            before, start = memory(pid), time.monotonic()
            open_tunnels(job, server, self.tunnels, stack)
            seconds, after = time.monotonic() - start, memory(pid)
        self.sink.drain()
        return Sample(cost=(after.own - before.own) / self.tunnels, rate=self.tunnels / seconds, pss=after.pss)

    def _job(self, peer: Peer, kind: Kind, target: int, workers: int) -> Job:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        most = self.tunnels + 1000
        job = Job(folder, free_port(), target, self.sink.port, workers, most, kind, self.folder)
        return job if kind in peer.kinds else replace(job, kind="forward")


def _logged(job: Job, sink: LogSink) -> bool:
    file = job.folder / ACCESS_LOG
    return bool(file.stat().st_size if file.exists() else sink.drain(LOG_PATIENCE))


def _undisturbed(cpu: float, seen: Seen, passed: int) -> float:
    """CPU seconds of the whole load, by what its undisturbed stretches took; `cpu` itself where none were seen."""
    if seen.segments < passed * MIN_SHARE:
        return cpu
    return seen.cpu * passed / seen.segments
