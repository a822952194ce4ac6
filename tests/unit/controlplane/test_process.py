"""One worker process, real or a script that misbehaves: started, asked, listened to, and noticed when it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ferryman.controlplane.process import WorkerProcess, describe_exit


class Boss:
    """A worker process and what was heard of it."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.status: int | None = None
        self.worker = WorkerProcess(3, lambda _, report: self.reports.append(report), self._ended)

    def _ended(self, worker: WorkerProcess, status: int) -> None:
        assert self.status is None, "told once"
        self.status = status


def tell(story: Callable[[Boss], Awaitable[None]]) -> Boss:
    """Start a worker and let the story go on with it."""
    boss = Boss()

    async def whole() -> None:
        await boss.worker.start()
        try:
            await story(boss)
        finally:
            boss.worker.kill()
            assert await boss.worker.ended(60)

    asyncio.run(whole())
    return boss


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a script play the worker; `sock` is its end of the channel."""

    def install(body: str) -> None:
        file = tmp_path / "worker"
        file.write_text(
            f"#!{sys.executable} -IS\nimport json, os, socket, struct, sys\n"
            "sock = socket.socket(fileno=int(sys.argv[-2]))\n"
            "def say(data, count=0):\n"
            "    data = data if isinstance(data, bytes) else json.dumps(data).encode()\n"
            "    sock.sendall(struct.pack('!IH', len(data), count) + data)\n"
            f"{body}\n"
        )
        file.chmod(0o755)
        monkeypatch.setattr("ferryman.controlplane.process.sys.executable", str(file))

    return install


def test_a_real_worker_ends_when_told_to() -> None:
    async def story(boss: Boss) -> None:
        assert boss.worker.alive
        assert boss.worker.order("quit")
        assert await boss.worker.ended(60)
        assert not boss.worker.order("quit"), "nobody listens any more"

    boss = tell(story)
    assert boss.status == 0
    assert not boss.worker.alive


def test_a_real_worker_that_cannot_do_as_told_says_so_by_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    async def story(boss: Boss) -> None:
        boss.worker.order("nonsense")
        assert await boss.worker.ended(60)

    assert tell(story).status == 70
    assert "internal error" in capfd.readouterr().err


def test_a_real_worker_imports_nothing_from_the_folder_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit('imported from the wrong place')\n")
    (tmp_path / "pickle.py").write_text("raise SystemExit('imported from the wrong place')\n")
    monkeypatch.chdir(tmp_path)

    async def story(boss: Boss) -> None:
        boss.worker.order("quit")
        assert await boss.worker.ended(60)

    assert tell(story).status == 0


def test_answers_find_the_question_and_other_reports_their_listener(script: Callable[[str], None]) -> None:
    script(
        "say({'kind': 'event', 'text': 'x'})\nsock.recv(1000)\nsay({'request': 1, 'kind': 'sessions'})\nsock.recv(9)"
    )

    async def story(boss: Boss) -> None:
        assert await boss.worker.ask("sessions") == {"request": 1, "kind": "sessions"}

    assert tell(story).reports == [{"kind": "event", "text": "x"}]


def test_no_answer_in_time_and_no_answer_ever(script: Callable[[str], None]) -> None:
    script("heard = b''\nwhile heard.count(b'sessions') < 2:\n    heard += sock.recv(1000)")

    async def story(boss: Boss) -> None:
        assert await boss.worker.ask("sessions", timeout=0.05) is None
        assert await boss.worker.ask("sessions", timeout=60) is None, "it died: nobody waits for it"
        assert await boss.worker.ended(60)
        assert await boss.worker.ask("sessions", timeout=60) is None

    tell(story)


def test_who_stops_waiting_for_an_answer_is_not_held(script: Callable[[str], None]) -> None:
    script("sock.recv(1000)\nsock.recv(1000)")

    async def story(boss: Boss) -> None:
        task = asyncio.create_task(boss.worker.ask("sessions", timeout=60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    tell(story)


@pytest.mark.parametrize(
    "nonsense",
    ["sock.sendall(b'\\xff' * 100)", "say(b'[]')", "say(b'{')", "say({}, count=9)", "say(b'[' * 100000)",
     "socket.send_fds(sock, [b'x'], [0])"],
)  # fmt: skip
def test_a_worker_that_talks_nonsense_is_ended(script: Callable[[str], None], nonsense: str) -> None:
    script(f"{nonsense}\nsock.recv(1)")

    async def story(boss: Boss) -> None:
        assert await boss.worker.ended(60)

    boss = tell(story)
    assert boss.status is not None
    assert boss.reports == []


def test_strange_but_well_formed_reports_are_passed_on(script: Callable[[str], None]) -> None:
    script("say({'request': [1]})\nsay({'request': {}})\nsay({'request': 'x'})")

    async def story(boss: Boss) -> None:
        assert await boss.worker.ended(60)

    assert tell(story).reports == [{"request": [1]}, {"request": {}}, {"request": "x"}]


def test_a_worker_that_does_not_listen_is_ended_not_waited_for(
    script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferryman.controlplane.process.SEND_TIMEOUT", 0.05)
    script("import signal\nsignal.pause()")

    async def story(boss: Boss) -> None:
        assert not boss.worker.order("plan", "x" * 2_000_000)
        assert await boss.worker.ended(60)

    assert tell(story).status == -9


def test_one_that_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.controlplane.process.sys.executable", "/nowhere/python")
    worker = Boss().worker

    async def story() -> int:
        with pytest.raises(FileNotFoundError):
            await worker.start()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError):
            await worker.start()
        return len(os.listdir("/proc/self/fd")) - before

    assert asyncio.run(story()) == 0


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "ended"), (70, "exit status 70"), (-9, "killed by SIGKILL"), (-40, "killed by signal 40")],
)
def test_an_exit_status_in_words(status: int, text: str) -> None:
    assert describe_exit(status) == text
