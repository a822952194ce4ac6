"""All workers together: started, told the plan, restarted when they die, let go when they are too many.

Used by the supervisor, which says what the plan is and what servers may take (`Orders`). Knows processes and
descriptors; nothing of health, pages or configuration files.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ferryman.controlplane import sockets
from ferryman.controlplane.generations import Generations
from ferryman.controlplane.process import WorkerProcess, describe_exit
from ferryman.controlplane.sockets import Sockets
from ferryman.dataplane.questions import Learned
from ferryman.errors import StartError
from ferryman.wire import http1forward

READY_TIMEOUT: Final = 30.0
"""Seconds a worker has to confirm a plan."""
BACKOFF: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before a worker that died is started again: more each time, from the first again after a calm minute."""
CALM: Final = 60.0
QUIT_TIMEOUT: Final = 3.0
"""Seconds a worker has to end when it is told to; then it is killed."""


class Orders(Protocol):
    """What a worker must know besides the plan."""

    def weights(self) -> dict[int, int]:
        """Server id -> effective weight."""

    def addresses(self) -> dict[int, list[str]]:
        """Server id -> numeric hosts, for servers that are named."""

    def log_descriptors(self) -> Sequence[int]:
        """By id of the log target."""

    def confinement(self) -> tuple[str, int | None, int | None, tuple[int, ...]]:
        """chroot, user id, group id for workers."""

    def ticket_keys(self) -> bytes:
        """What TLS sessions are resumed with; b"": none are."""

    def learned(self) -> Learned:
        """Which clients are not bumped for which names, for now."""


class Fleet:
    """`tell` gets what operators should know: (level, text); `asked` the questions of workers."""

    def __init__(
        self,
        generations: Generations,
        doors: Sockets,
        orders: Orders,
        tell: Callable[[str, str], None],
        asked: Callable[[WorkerProcess, dict[str, Any]], None],
    ) -> None:
        self.workers: dict[int, WorkerProcess] = {}
        self.leaving: list[WorkerProcess] = []
        self.stopping = False
        self._generations = generations
        self._sockets = doors
        self._orders = orders
        self._tell = tell
        self._asked = asked
        self._name = f"{http1forward.PSEUDONYM}-{secrets.token_hex(4)}"  # in Via; by chance: it tells nothing
        self._wanted = 0
        self._deaths: dict[int, list[float]] = {}  # when each index died lately
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self.workers.values() if worker.alive]

    async def resize(self, count: int) -> None:
        """Have `count` workers: start what is missing, let go what is too much. Raises StartError."""
        self._wanted = count
        for index in [index for index in self.workers if index >= count]:
            worker = self.workers.pop(index)
            if worker.order("drain"):
                self.leaving.append(worker)
        await asyncio.gather(*(self._start(index) for index in range(count) if index not in self.workers))

    async def _start(self, index: int) -> None:
        worker = WorkerProcess(index, self._report, self._exit)
        try:
            await worker.start()
        except OSError as error:
            raise StartError(f"cannot start worker {index}: {error}") from None
        if self.stopping or index >= self._wanted:  # that changed while it started
            self.leaving.append(worker)
            worker.order("quit")
            return
        self.workers[index] = worker
        worker.order("confine", *self._orders.confinement())
        worker.order("name", self._name)
        self._send_plan(worker)
        if keys := self._orders.ticket_keys():
            worker.order("tickets", keys)
        if learned := self._orders.learned():
            worker.order("learned", learned)

    def follow(self) -> None:
        """Tell every worker the present plan, but for those beyond its number of workers, which `resize` lets go."""
        generation = self._generations.present
        assert generation is not None
        for worker in self.workers.values():
            if worker.index < generation.workers:
                self._send_plan(worker)

    def _send_plan(self, worker: WorkerProcess) -> None:
        generation = self._generations.present
        assert generation is not None
        doors = [
            (key, listener.id)
            for key, (_, listener) in sockets.wanted(generation.plan).items()
            if listener.mode != "pages"
        ]
        fresh = [key for key, _ in doors if key not in worker.doors]
        descriptors = [
            generation.descriptor,
            *self._orders.log_descriptors(),
            *(self._sockets.open[key].fileno() for key in fresh),
        ]
        worker.doors = {key for key, _ in doors}
        worker.first, worker.last = worker.first or generation.number, generation.number
        worker.order(
            "plan",
            generation.number,
            generation.plan,
            doors,
            fresh,
            self._orders.weights(),
            self._orders.addresses(),
            descriptors=descriptors,
        )

    def reopen_logs(self) -> None:
        """Give the workers the present descriptors of the log targets: files were rotated."""
        for worker in self.workers.values():
            worker.order("logs", descriptors=self._orders.log_descriptors())

    async def confirmed(self) -> None:
        """Wait until every worker follows the present plan. Raises StartError."""
        generation = self._generations.present
        assert generation is not None

        def ready() -> bool:
            return all(worker.generation >= generation.number for worker in self.workers.values())

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(ready), READY_TIMEOUT)
            except TimeoutError:
                raise StartError(f"workers did not take the plan within {READY_TIMEOUT:g} s") from None

    def broadcast(self, kind: str, *values: object, descriptors: Sequence[int] = ()) -> None:
        """The same order to all that follow the present plan: what it says is said in ids of that plan."""
        generation = self._generations.present
        for worker in self.workers.values():
            if generation is not None and worker.last == generation.number:
                worker.order(kind, *values, descriptors=descriptors)

    async def ask_all(self, kind: str, *values: object) -> list[tuple[WorkerProcess, dict[str, Any]]]:
        """The same question to all; those that do not answer are left out."""
        workers = [*self.workers.values(), *self.leaving]
        answers = await asyncio.gather(*(worker.ask(kind, *values) for worker in workers))
        return [(worker, answer) for worker, answer in zip(workers, answers, strict=True) if answer is not None]

    async def drain(self, timeout: float | None) -> bool:
        """Let all accept nothing more and wait for their connections to end. False: time is up."""
        self.stopping = True
        for worker in self.workers.values():
            worker.order("drain")

        def empty() -> bool:
            return all(worker.drained or not worker.alive for worker in [*self.workers.values(), *self.leaving])

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(empty), timeout)
            except TimeoutError:
                return False
        return True

    async def stop(self) -> None:
        """End all of them: what they still carry is cut."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        workers = [*self.workers.values(), *self.leaving]
        for worker in workers:
            worker.order("quit")
        for worker in workers:
            if not await worker.ended(QUIT_TIMEOUT):
                self._tell("alert", f"worker {worker.index} (pid {worker.pid}) does not stop; killed")
                worker.kill()
                await worker.ended(QUIT_TIMEOUT)

    def _report(self, worker: WorkerProcess, report: dict[str, Any]) -> None:
        kind = report.get("kind")
        if kind == "ask":
            self._asked(worker, report)
            return
        if kind == "ready":
            worker.generation = worker.last if report.get("generation") == worker.last else worker.generation
            self._generations.follow(w.generation for w in self.workers.values() if w.generation)
        elif kind == "drained":
            worker.drained = True
            if worker in self.leaving:
                worker.order("quit")
        elif kind == "event":
            self._tell("alert", f"worker {worker.index}: {str(report.get('text', ''))[:1000]}")
        self._wake()

    def _exit(self, worker: WorkerProcess, status: int) -> None:
        self._generations.worker_gone(worker.index, worker.first, worker.last)
        if worker in self.leaving:
            self.leaving.remove(worker)
        elif not self.stopping and self.workers.get(worker.index) is worker:
            self._spawn(self._restart(worker, status))
        self._wake()

    async def _restart(self, worker: WorkerProcess, status: int) -> None:
        what = f"worker {worker.index} (pid {worker.pid}) {describe_exit(status)}"
        while True:
            delay = self._delay(worker.index)
            self._tell("alert", f"{what}; a new one starts {f'in {delay:g} s' if delay else 'now'}")
            await asyncio.sleep(delay)
            if self.stopping or self.workers.get(worker.index) is not worker:
                return
            try:
                await self._start(worker.index)
            except StartError as error:
                what = str(error)
            else:
                return

    def _delay(self, index: int) -> float:
        """Note that a worker died, or could not be started; seconds to wait before the next is."""
        now = time.monotonic()
        deaths = [at for at in self._deaths.get(index, []) if now - at < CALM]
        self._deaths[index] = [*deaths, now]
        return BACKOFF[min(len(deaths), len(BACKOFF) - 1)]

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._spawn(notify())
