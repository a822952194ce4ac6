"""A migration that is killed, stopped or cut off goes on where it was: at either end, or both."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trees
from ferry import free_port, until
from migrating import Migrating, used
from programs import program

MEGABYTES = 12


class Site:
    """A tree, and where it goes."""

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self.folder, self.source, self.target = folder, folder / "source", folder / "target"
        trees.build(self.source, 200, MEGABYTES)
        self._end = end

    def start(self, name: str, *arguments: str) -> Migrating:
        running = Migrating(self.folder / name.rstrip("0123456789"), name, *arguments)
        self._end.callback(running.close)
        return running

    def moved(self, running: Migrating, megabytes: float) -> None:
        goal = megabytes * 1_000_000
        until(lambda: used(self.target) > goal or running.process.poll() is not None, f"{megabytes} MB there")
        assert running.process.poll() is None, running.said

    def same(self) -> None:
        trees.assert_same(self.source, self.target, attributes=False)
        assert not (self.target / ".ferryman-unfinished").exists()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    program("rsync")
    with ExitStack() as end:
        yield Site(tmp_path, end)


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_killed_within_one_machine(site: Site) -> None:
    running = site.start("here", str(site.source), str(site.target), "--bwlimit", "3m")
    site.moved(running, 3)
    children = list(running.children())
    running.kill()
    until(lambda: gone(children), "all its children to end")
    again = site.start("here2", "--resume", "--checksum")
    assert again.wait() == 2, "what is asked for was said at the beginning"
    again = site.start("here3", "--resume")
    assert again.wait() == 0, again.said
    site.same()
    assert site.start("here4", "--resume").wait() == 1, "it is complete"


def test_interrupted(site: Site) -> None:
    running = site.start("here", str(site.source), str(site.target), "--bwlimit", "3m", "--checksum")
    site.moved(running, 3)
    second = site.start("here2", "--resume")
    assert second.wait() == 1
    assert "is running already" in second.err
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130
    assert "NOT complete" in running.out
    assert "--resume" in running.err
    again = site.start("here3", "--resume")
    assert again.wait() == 0, again.said
    assert "no difference" in again.out
    site.same()


def test_what_was_there_already_is_not_counted_again(site: Site) -> None:
    source, target, size = site.folder / "one", site.folder / "there", 6_000_000
    source.mkdir()
    (source / "big").write_bytes(os.urandom(size))
    running = site.start("here", str(source), str(target), "--bwlimit", "1m")
    until(lambda: used(target) > 3_000_000 or running.process.poll() is not None, "half of it")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130, running.said
    again = site.start("here2", "--resume", "--json")
    assert again.wait() == 0, again.said
    [report] = again.events("end")
    moved = report["volumes"][0]["moved"]
    assert size - 1_000_000 < moved < size + 1_000_000, moved  # rsync tells it once a second
    assert all(event["bytes"] <= size + 1_000_000 for event in again.events("volume") if event["state"] == "done")


def test_both_ends_are_killed_and_started_again(site: Site) -> None:
    port = free_port()
    token = site.folder / "token"
    serving = site.start(
        "there", "serve", str(site.target), "--listen", f"127.0.0.1:{port}", "--token-file", str(token)
    )
    serving.until_said("the token is in")
    running = site.start("here", str(site.source), f"@{token}", "--bwlimit", "3m")
    site.moved(running, 3)
    children = list(serving.children())
    serving.kill()
    until(lambda: gone(children), "all its children to end")
    running.until_said("again in")
    serving = site.start("there2", "serve", "--resume")
    serving.until_said("waits for its client again")
    site.moved(running, 6)
    running.kill()
    thief = site.start("elsewhere", str(site.source), f"@{token}")
    assert thief.wait() == 3
    assert "used already" in thief.err
    again = site.start("here2", "--resume")
    assert again.wait() == 0, again.said
    assert serving.wait() == 0, serving.said
    site.same()
