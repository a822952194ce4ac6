"""A migration from the side that has the sources: what is remembered of it, and whole ones within this machine."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman.migrate import MigrationError, certificates, memory, rsync
from ferryman.migrate.attempts import Interrupted
from ferryman.migrate.display import Quiet
from ferryman.migrate.ends import Via
from ferryman.migrate.memory import Memory
from ferryman.migrate.session import Foreign, Order, Session, recalled
from ferryman.migrate.token import SECRET, Token
from ferryman.migrate.volumes import Volume

PATIENCE = 120.0
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
FLAGS = rsync.Flags(delete=True, bwlimit="5m", excludes=("lost+found", "*.tmp"))
ORDER = Order((Volume("a", "/srv/a"), Volume("b", "/srv/b")), FLAGS, folder="/dest", parallel=3, verify=True)


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="f") as folder:
        yield folder


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (ORDER, "folder"),
        (replace(ORDER, folder="", foreign=Foreign("dvm.test:443", "data", password="x", ca="/ca")), "foreign"),
        (replace(ORDER, folder="", token=Token(("a.test:1",), "ab" * 32, bytes(SECRET), "a.test")), "token"),
        (replace(ORDER, via=Via("http://proxy.test:3128", "walter", "hunter2")), "folder"),
    ],
)
def test_an_order_is_remembered_whole(order: Order, kind: str, place: str) -> None:
    assert order.kind == kind
    remembered = memory.begin(place, "migrate", {"order": order.kept()})
    remembered.close()
    found = memory.find(place, "migrate", "")
    assert recalled(found.data["order"]) == order
    found.close()
    assert "hunter2" not in repr(order)


@pytest.mark.parametrize("change", [{"sources": [{"nome": "a"}]}, {"flags": 7}, {"more": 1}, {"token": "x"}])
def test_an_order_of_another_version_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MigrationError, match="of another version"):
        recalled(ORDER.kept() | change)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for volume in ("a", "b"):
        folder = tmp_path / "source" / volume
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / f"{volume}.bin").write_bytes(os.urandom(100_000))
        os.utime(folder / "sub" / f"{volume}.bin", (1e9, 1e9))  # long before it is read
        (folder / "link").symlink_to("/nowhere")
    return tmp_path


def begun(place: str, tree: Path, **more: object) -> Memory:
    sources = tuple(Volume(name, str(tree / "source" / name)) for name in ("a", "b"))
    order = replace(Order(sources, rsync.Flags(), folder=str(tree / "dest")), **more)  # type: ignore[arg-type]
    return memory.begin(place, "migrate", {"order": order.kept()})


def run(session: Session, stop: bool = False) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            if stop:
                session.stop()
            await session.run()

    asyncio.run(main())


def quiet() -> Quiet:
    return Quiet(io.StringIO(), every=float("inf"))


@needs_rsync
def test_volumes_go_to_a_folder_and_are_compared(place: str, tree: Path) -> None:
    remembered = begun(place, tree, verify=True)
    session = Session(remembered, quiet())
    run(session)
    for volume in ("a", "b"):
        name = f"{volume}/sub/{volume}.bin"
        assert (tree / "dest" / name).read_bytes() == (tree / "source" / name).read_bytes()
        assert os.readlink(tree / "dest" / volume / "link") == "/nowhere"
        assert not (tree / "dest" / volume / rsync.UNFINISHED).exists()
    assert session.complete
    assert [(one.state, one.bytes, one.different) for one in session.standings] == [("done", 100_000, 0)] * 2
    assert all(one.compared for one in session.standings)
    remembered.forget()
    assert os.listdir(place) == []


@needs_rsync
def test_a_dry_run_makes_nothing(place: str, tree: Path) -> None:
    remembered = begun(place, tree, flags=rsync.Flags(dry_run=True))
    session = Session(remembered, quiet())
    run(session)
    assert [one.bytes for one in session.standings] == [100_000] * 2
    assert not (tree / "dest").exists()
    remembered.forget()


@needs_rsync
def test_what_is_done_is_not_done_again(place: str, tree: Path) -> None:
    remembered = begun(place, tree)
    remembered.data["standings"] = [{**one.kept(), "state": "done"} for one in Session(remembered, quiet()).standings]
    session = Session(remembered, quiet())
    run(session)
    assert not list((tree / "dest").rglob("*.bin"))
    remembered.forget()


@needs_rsync
def test_stopped_before_it_began(place: str, tree: Path) -> None:
    remembered = begun(place, tree)
    session = Session(remembered, quiet())
    with pytest.raises(Interrupted):
        run(session, stop=True)
    assert not session.complete
    assert [one.state for one in session.standings] == ["waiting"] * 2
    remembered.forget()


@needs_rsync
def test_a_source_that_is_not_there(place: str, tree: Path) -> None:
    remembered = begun(place, tree)
    shutil.rmtree(tree / "source" / "b")
    with pytest.raises(MigrationError, match=f"{tree}/source/b"):
        run(Session(remembered, quiet()))
    assert not (tree / "dest").exists()
    remembered.forget()


@needs_rsync
def test_a_serving_end_that_is_not_there_is_given_up(place: str, tree: Path) -> None:
    fingerprint = certificates.make("server").fingerprint
    token = Token(("127.0.0.1:1",), fingerprint, bytes(SECRET), "")
    remembered = begun(place, tree, folder="", token=token, limit=0)
    with pytest.raises(MigrationError, match="the serving end cannot be reached"):
        run(Session(remembered, quiet()))
    remembered.forget()
