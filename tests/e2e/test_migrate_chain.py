"""The whole way of a migrated volume, cut everywhere while it runs.

rsync -> TLS -> CONNECT with Basic credentials (Squid) -> routed by its server name (HAProxy) -> TLS -> rsync. More of
it, by hand: FERRYMAN_TEST_FILES=40000 FERRYMAN_TEST_MEGABYTES=2000 FERRYMAN_TEST_SILENCE=30.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import squid
import trees
from ferry import free_port, until
from migrating import PASSWORD, Migrating, Proxy, Router, used

FILES = int(os.environ.get("FERRYMAN_TEST_FILES", "2000"))
MEGABYTES = int(os.environ.get("FERRYMAN_TEST_MEGABYTES", "60"))
SILENCE = os.environ.get("FERRYMAN_TEST_SILENCE", "6")
"""Seconds after which a connection on which nothing comes is given up."""
PATIENCE = 120.0 + MEGABYTES


class Chain:
    """The machines on the way, and the serving end behind them."""

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self.folder = folder
        self.target = folder / "target"
        self.source = folder / "source"
        place = end.enter_context(squid.folder())
        self.port = free_port()
        self.proxy = Proxy(place)
        end.callback(self.proxy.close)
        self.router = Router(folder, self.port)
        end.callback(self.router.close)
        self.token = folder / "token"
        self._end = end
        self.serving = self.serve(
            str(self.target), "--listen", f"127.0.0.1:{self.port}",
            "--address", f"localhost:{self.router.port}", "--token-file", str(self.token),
        )  # fmt: skip
        self.serving.until_said("the token is in")

    def serve(self, *arguments: str) -> Migrating:
        self.serving = Migrating(self.folder / "there", "serve", "serve", *arguments)
        self._end.callback(self.serving.close)
        return self.serving

    def migrate(self, *arguments: str) -> Migrating:
        environment = {"FERRYMAN_MIGRATE_VIA": self.proxy.url}
        running = Migrating(self.folder / "here", "migrate", *arguments, environment=environment)
        self._end.callback(running.close)
        return running


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    squid.need()
    with ExitStack() as end:
        yield Chain(tmp_path, end)


def test_a_volume_arrives_as_it_is(chain: Chain) -> None:
    trees.build(chain.source, FILES, MEGABYTES)
    trees.synced()
    running = chain.migrate(
        str(chain.source), f"@{chain.token}", "--checksum", "--sparse", "--xattrs", "--acls"
    )  # fmt: skip
    until(lambda: used(chain.target) > 1_000_000 or running.process.poll() is not None, "it to begin")
    for process in (running, chain.serving):
        for line in process.children().values():
            assert PASSWORD not in line, "credentials are in no command line"
            assert chain.token.read_text().strip() not in line
    assert running.wait(PATIENCE) == 0, running.said
    assert "no difference" in running.out
    assert "no retry" in running.out
    assert chain.serving.wait() == 0, "it ends when the client says so"
    trees.assert_same(chain.source, chain.target)
    sparse = (chain.target / "strange" / "sparse").stat()
    assert sparse.st_blocks * 512 < 1_000_000, "it has its holes"
    assert not list((chain.folder / "here" / "state").iterdir()), "nothing is left to remember"
    assert not list((chain.folder / "there" / "state").iterdir())
    for text in (running.said, chain.serving.said):
        assert PASSWORD not in text


def test_cut_at_every_hop_it_still_arrives(chain: Chain) -> None:
    trees.build(chain.source, FILES // 2, MEGABYTES)
    rate = max(4, MEGABYTES // 12)
    running = chain.migrate(
        str(chain.source), f"@{chain.token}", "--checksum", "--bwlimit", f"{rate}m", "--timeout", SILENCE, "--json"
    )  # fmt: skip

    def moved(share: float) -> None:
        goal = share * MEGABYTES * 1_000_000
        until(lambda: used(chain.target) > goal or running.process.poll() is not None, f"{share} of it", PATIENCE)
        assert running.process.poll() is None, f"it ended too early:\n{running.said[-3000:]}"

    def failures() -> int:
        return len(running.events("attempt_failed"))

    def after(count: int, what: str) -> str:
        until(lambda: failures() > count or running.process.poll() is not None, f"{what} to be noticed", PATIENCE)
        assert failures() > count, f"{what}: {running.said[-3000:]}"
        return str(running.events("attempt_failed")[count]["reason"])

    moved(0.1)
    before = failures()
    chain.proxy.squid.close()
    after(before, "the proxy's death")
    chain.proxy.start()

    moved(0.25)
    before = failures()
    chain.router.kill()
    after(before, "the route's end")
    chain.router.start()

    moved(0.4)
    before = failures()
    os.kill(running.worker(), signal.SIGKILL)
    assert "killed by SIGKILL" in after(before, "the client's worker's death")

    moved(0.5)
    before = failures()
    os.kill(chain.serving.worker(), signal.SIGKILL)
    after(before, "the serving worker's death")

    moved(0.6)
    before = failures()
    chain.router.reset()
    after(before, "the reset")

    moved(0.7)
    before = failures()
    chain.proxy.squid.process.send_signal(signal.SIGSTOP)
    assert "nothing came for too long" in after(before, "the silence")
    chain.proxy.squid.process.send_signal(signal.SIGCONT)

    assert running.wait(PATIENCE) == 0, running.said[-3000:]
    end = running.events("end")[0]
    assert end["code"] == 0
    assert end["volumes"][0]["attempts"] >= 6
    assert end["volumes"][0]["different"] == 0
    assert chain.serving.wait() == 0
    trees.assert_same(chain.source, chain.target, attributes=False)
