"""Attempt after attempt with real rsync: what another one mends, what none does, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ferryman.migrate import MigrationError, rsync
from ferryman.migrate.attempts import Carrier, Interrupted, Journal, Way, next_pace
from ferryman.migrate.diagnosis import Cause
from ferryman.migrate.engine import Engine
from ferryman.migrate.report import Standing
from ferryman.migrate.volumes import Volume

PATIENCE = 60.0
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


class Heard:
    """attempts.Watcher."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.failed: list[tuple[str, float | None]] = []
        self.at_failure: Callable[[], None] = lambda: None

    def attempt_failed(self, standing: Standing, cause: Cause, pause: float | None) -> None:
        self.failed.append((cause.outlook, pause))
        self.at_failure()

    def changed(self, standing: Standing) -> None:
        self.states.append(standing.state)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[int]:
    """The port of an rsync daemon, whose module "data" is `tmp_path`/target."""
    (tmp_path / "target" / rsync.UNFINISHED).mkdir(parents=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    conf = f"use chroot = no\n[data]\npath = {tmp_path}/target\nread only = no\n"
    conf += f"uid = {os.getuid()}\ngid = {os.getgid()}\n"
    (tmp_path / "conf").write_text(conf)
    command = ["--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={tmp_path}/conf"]
    process = subprocess.Popen(["rsync", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)) != 0:
                assert time.monotonic() < deadline
                threading.Event().wait(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(20):
        (folder / f"file{number}").write_bytes(os.urandom(1000))
        os.utime(folder / f"file{number}", (1e9, 1e9))  # long before it is read
    return folder


class Bench:
    """One volume, and the way that it takes."""

    def __init__(self, source: Path, port: int, module: str = "data", limit: int = 20) -> None:
        journal = Journal()
        self.way = Way(rsync.find(), Engine([], journal.hear), journal, rsync.Flags(), "", limit=limit)
        self.standing, self.heard = Standing("data"), Heard()
        volume = Volume("data", str(source))
        self.carrier = Carrier(self.way, volume, module, ("127.0.0.1", port), self.standing, self.heard)


def run(what: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await what()

    asyncio.run(main())


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@needs_rsync
def test_a_volume_is_brought_over_and_compared(source: Path, daemon: int, tmp_path: Path) -> None:
    bench = Bench(source, daemon)

    async def all_of_it() -> None:
        await bench.carrier.copy()
        (tmp_path / "target" / "file3").write_bytes(bytes(1000))
        await bench.carrier.compare()

    run(all_of_it)
    assert sorted(path.name for path in (tmp_path / "target").glob("file*")) == sorted(os.listdir(source))
    standing = bench.standing
    assert (standing.files_moved, standing.bytes, standing.attempts, standing.causes) == (20, 20_000, 1, [])
    assert standing.different == 1
    assert [line.split()[-1] for line in standing.differences] == ["file3"]
    assert bench.heard.failed == []


@needs_rsync
def test_nobody_listens_and_it_is_given_up(source: Path) -> None:
    bench = Bench(source, unused_port(), limit=0)
    with pytest.raises(MigrationError, match="given up after 1 attempts that moved nothing"):
        run(bench.carrier.copy)
    assert bench.heard.failed == [("again", None)]
    assert len(bench.standing.causes) == 1


@needs_rsync
def test_another_attempt_mends_it(source: Path, tmp_path: Path, daemon: int) -> None:
    bench = Bench(source, daemon, limit=5)
    (tmp_path / "conf").rename(tmp_path / "gone")  # a daemon reads it at each connection
    bench.heard.at_failure = lambda: shutil.copy(tmp_path / "gone", tmp_path / "conf") and None
    run(bench.carrier.copy)
    assert len(bench.heard.failed) == 1
    assert bench.heard.failed[0][1] == 1.0
    assert bench.standing.attempts == 2
    assert bench.standing.files_moved == 20


@needs_rsync
def test_what_no_attempt_can_mend_ends_it_at_once(source: Path, daemon: int) -> None:
    bench = Bench(source, daemon, module="nothing")
    with pytest.raises(MigrationError, match="nothing"):
        run(bench.carrier.copy)
    assert [pause for _, pause in bench.heard.failed] == [None]
    assert bench.standing.attempts == 1


@needs_rsync
def test_ctrl_c_in_a_pause(source: Path) -> None:
    bench = Bench(source, unused_port())
    bench.heard.at_failure = bench.way.stop
    with pytest.raises(Interrupted):
        run(bench.carrier.copy)
    assert bench.standing.attempts == 1


@needs_rsync
def test_ctrl_c_while_rsync_waits_for_an_answer(source: Path) -> None:
    async def copying() -> None:
        loop, seen = asyncio.get_running_loop(), list[asyncio.StreamWriter]()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer)  # and nothing is said
            loop.call_soon(bench[0].way.stop)

        silent = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with silent:
            bench.append(Bench(source, silent.sockets[0].getsockname()[1]))
            try:
                await bench[0].carrier.copy()
            finally:
                for writer in seen:
                    writer.close()

    bench = list[Bench]()
    with pytest.raises(Interrupted):
        run(copying)
    assert bench[0].way.running == set()


def test_the_journal_waits_for_a_line_but_not_for_ever() -> None:
    journal, found = Journal(), list[object]()

    async def both() -> None:
        asyncio.get_running_loop().call_later(0.05, journal.hear, {"listener": "to.data", "how": "reset"})
        found.append(await journal.of("to.data", PATIENCE))
        found.append(await journal.of("to.other", 0.01))
        journal.clear("to.data")
        found.append(await journal.of("to.data", 0.01))

    run(both)
    assert found == [[{"listener": "to.data", "how": "reset"}], [], []]


def test_lines_of_the_log_that_others_cause_are_not_kept_for_ever() -> None:
    journal = Journal()
    for number in range(5000):
        journal.hear({"listener": "to.data", "reason": str(number)})
    assert len(journal.lines["to.data"]) <= 100
    assert journal.lines["to.data"][-1]["reason"] == "4999"


def test_looks_at_output_are_rare_where_little_comes() -> None:
    assert [next_pace(0.25, 46), next_pace(0.5, 46), next_pace(1.0, 0)] == [0.5, 1.0, 1.0]
    assert next_pace(1.0, 1 << 20) == 0.25, "the pipe is full"
