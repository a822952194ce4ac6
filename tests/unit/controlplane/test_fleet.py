"""Workers together, as real processes: restarted, resized, told the right things, drained and stopped."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from plans import listener, make_plan, server

from ferryman.controlplane import sockets
from ferryman.controlplane.fleet import Fleet
from ferryman.controlplane.generations import Generations
from ferryman.controlplane.process import WorkerProcess
from ferryman.controlplane.sockets import Sockets
from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.questions import Learned
from ferryman.errors import StartError
from ferryman.plan import Plan, Settings


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.fleet.QUIT_TIMEOUT", 60.0)


class Crew:
    """A fleet and all that the supervisor would do around it. Servers' weights are 1 unless set."""

    def __init__(self) -> None:
        self.generations = Generations()
        self.sockets = Sockets()
        self.said: list[str] = []
        self.asked: list[tuple[WorkerProcess, dict[str, Any]]] = []
        self.what_was_learned: Learned = {}
        self.fleet = Fleet(
            self.generations,
            self.sockets,
            self,
            lambda level, text: self.said.append(text),
            lambda worker, report: self.asked.append((worker, report)),
        )
        self.far = socket.create_server(("127.0.0.1", 0))
        self.peers = [self.far]

    def plan(self, workers: int, *names: str) -> Plan:
        """One listener; servers with these names, all of them the far end."""
        port = self.far.getsockname()[1]
        servers = [server(name, port) for name in names or ("s1",)]
        return make_plan([listener("web", 0, default_backend="app")], {"app": servers}, Settings(workers=workers))

    async def adopt(self, plan: Plan) -> None:
        """As a reload does."""
        fresh = self.sockets.prepare(plan)
        self.generations.begin(plan, plan.settings.workers)
        self.sockets.adopt(plan, fresh)
        self.fleet.follow()
        await self.fleet.resize(plan.settings.workers)
        await self.fleet.confirmed()

    # fleet.Orders

    def weights(self) -> dict[int, int]:
        assert self.generations.present is not None
        return {one.id: 1 for one in self.generations.present.plan.servers}

    def addresses(self) -> dict[int, list[str]]:
        return {}

    def log_descriptors(self) -> Sequence[int]:
        return []

    def confinement(self) -> tuple[str, int | None, int | None]:
        return "", None, None

    def ticket_keys(self) -> bytes:
        return b""

    def learned(self) -> Learned:
        return self.what_was_learned

    # from outside

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(0.01)

    async def tunnel(self) -> tuple[socket.socket, socket.socket]:
        """A client, and the far end of what became of it."""
        (door,) = self.sockets.open.values()
        client = socket.create_connection(door.getsockname(), 60)
        await self.until(lambda: select.select([self.far], [], [], 0)[0])
        connection, _ = self.far.accept()
        connection.settimeout(60)
        self.peers += [client, connection]
        return client, connection

    def sessions(self) -> int:
        """Ever accepted, over all plans and workers that were."""
        assert self.generations.present is not None
        base = counters.listener_base(self.generations.present.plan, 0)
        present = sum(region[base + Cell.SESSIONS] for region in self.generations.present.regions)
        carried = self.generations.carried.get(("listener", "web", ""), [0] * counters.WIDTH)
        return present + carried[Cell.SESSIONS]

    def open(self) -> int:
        present = self.generations.present
        return sum(one.live for one in (*self.generations.earlier, *([present] if present else [])))


def tell(story: Callable[[Crew], Awaitable[None]]) -> Crew:
    crew = Crew()

    async def whole() -> None:
        try:
            await story(crew)
        finally:
            await crew.fleet.stop()
            crew.sockets.close()
            for peer in crew.peers:
                peer.close()

    asyncio.run(whole())
    return crew


def alive(worker: WorkerProcess) -> bool:
    return os.path.exists(f"/proc/{worker.pid}") and worker.alive


def test_a_worker_that_dies_is_replaced_and_its_numbers_are_kept() -> None:
    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(1))
        await crew.tunnel()
        worker = crew.fleet.workers[0]
        assert crew.fleet.pids == [worker.pid]
        os.kill(worker.pid, signal.SIGKILL)
        await crew.until(lambda: crew.fleet.workers[0] is not worker and crew.fleet.workers[0].generation == 1)
        assert (crew.sessions(), crew.open()) == (1, 0)
        await crew.tunnel()
        assert (crew.sessions(), crew.open()) == (2, 1)

    (said,) = tell(story).said
    assert said.endswith("killed by SIGKILL; a new one starts now")


def test_questions_of_workers_are_passed_on_and_new_ones_are_told_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script plays the worker: it asks, and repeats as a question what it is told."""
    script = tmp_path / "worker"
    script.write_text(
        f"#!{sys.executable} -P\n"
        f"import socket, sys\nsys.path[:0] = {sys.path!r}\n"
        "from ferryman.dataplane.channel import Frames, frame\n"
        "sock = socket.socket(fileno=int(sys.argv[-2]))\n"
        "frames = Frames(sock, trusted=True)\n"
        "while True:\n"
        "    frames.receive()\n"
        "    for order, _ in frames.orders():\n"
        "        if order[0] == 'plan': sock.sendall(frame({'kind': 'ready', 'generation': order[1]}))\n"
        "        if order[0] == 'learned': sock.sendall(frame({'kind': 'ask', 'id': len(order[1])}))\n"
        "        if order[0] == 'quit': sys.exit()\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr("ferryman.controlplane.process.sys.executable", str(script))

    async def story(crew: Crew) -> None:
        crew.what_was_learned = {("web", "192.0.2.7", "a.example"): 99.0}
        await crew.adopt(crew.plan(1))
        await crew.until(lambda: crew.asked)
        assert crew.asked == [(crew.fleet.workers[0], {"kind": "ask", "id": 1})]
        crew.fleet.broadcast("learned", {})
        await crew.until(lambda: len(crew.asked) > 1)
        assert crew.asked[1][1]["id"] == 0

    tell(story)


def state(pid: int) -> str:
    """Of a process, as proc(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_one_let_go_keeps_what_it_carries_and_hears_nothing_of_later_plans() -> None:
    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(2))
        first = crew.fleet.workers[0].pid
        os.kill(first, signal.SIGSTOP)  # so that the other takes the connection
        await crew.until(lambda: state(first) == "T")  # only then it has left the queue of those who are woken
        client, connection = await crew.tunnel()
        os.kill(first, signal.SIGCONT)
        second = crew.fleet.workers[1]
        await crew.adopt(crew.plan(1, "s1", "s2", "s3"))
        assert crew.fleet.leaving == [second]
        assert second.last == 1, "the new plan has no counters for it"
        crew.fleet.broadcast("addresses", {2: ["127.0.0.1"]})
        crew.fleet.broadcast("kill_server", 0)
        await crew.tunnel()
        client.sendall(b"still there")
        assert connection.recv(100) == b"still there"
        client.close()
        connection.close()
        await crew.until(lambda: not crew.fleet.leaving)
        assert not alive(second)

    assert not tell(story).said


def test_a_new_worker_with_the_number_of_one_that_is_leaving() -> None:
    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(1))
        client, connection = await crew.tunnel()
        leaving = crew.fleet.workers[0]
        await crew.fleet.resize(0)
        await crew.adopt(crew.plan(1))
        young = crew.fleet.workers[0]
        assert young is not leaving
        os.kill(young.pid, signal.SIGKILL)
        await crew.until(lambda: crew.fleet.workers[0] is not young)
        assert crew.open() == 1, "the older one's connection is still counted"
        client.close()
        connection.close()
        await crew.until(lambda: not crew.fleet.leaving)
        assert crew.open() == 0

    tell(story)


def test_draining_waits_for_the_last_connection_and_starts_nobody() -> None:
    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(2))
        client, connection = await crew.tunnel()
        assert not await crew.fleet.drain(0.05)
        await crew.until(lambda: any(worker.drained for worker in crew.fleet.workers.values()))
        (idle,) = [worker for worker in crew.fleet.workers.values() if worker.drained]
        os.kill(idle.pid, signal.SIGKILL)
        client.close()
        connection.close()
        assert await crew.fleet.drain(60)
        assert idle in crew.fleet.workers.values(), "nobody took its place"

    tell(story)


def test_one_that_dies_again_and_again_is_started_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.fleet.BACKOFF", (0.0, 0.01, 0.02))
    monkeypatch.setattr("ferryman.controlplane.fleet.READY_TIMEOUT", 0.5)
    monkeypatch.setattr("ferryman.controlplane.process.sys.executable", "/bin/false")

    async def story(crew: Crew) -> None:
        with pytest.raises(StartError, match="did not take the plan"):
            await crew.adopt(crew.plan(1))
        await crew.until(lambda: len(crew.said) > 3)

    said = tell(story).said
    assert [text.rpartition(" starts ")[2] for text in said[:4]] == ["now", "in 0.01 s", "in 0.02 s", "in 0.02 s"]
    assert "exit status 1" in said[0]


def test_one_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.fleet.BACKOFF", (0.0, 0.01))

    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(1))
        with monkeypatch.context() as patch:
            patch.setattr("ferryman.controlplane.process.sys.executable", "/nowhere/python")
            worker = crew.fleet.workers[0]
            os.kill(worker.pid, signal.SIGKILL)
            await crew.until(lambda: len(crew.said) > 2)
        await crew.until(lambda: crew.fleet.workers[0] is not worker and crew.fleet.workers[0].generation)

    assert any("cannot start worker 0" in text for text in tell(story).said)


def test_the_first_start_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.process.sys.executable", "/nowhere/python")

    async def story(crew: Crew) -> None:
        with pytest.raises(StartError, match="cannot start worker 0"):
            await crew.adopt(crew.plan(1))

    tell(story)


def test_stopping_ends_all_and_cuts_what_they_carry() -> None:
    async def story(crew: Crew) -> None:
        await crew.adopt(crew.plan(2))
        client, _ = await crew.tunnel()
        workers = list(crew.fleet.workers.values())
        await crew.fleet.stop()
        assert not [worker for worker in workers if alive(worker)]
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert crew.open() == 0
        assert sockets.wanted(crew.plan(2)).keys() == crew.sockets.open.keys(), "closing those is not its business"

    assert not tell(story).said
