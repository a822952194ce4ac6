"""A volume's daemon, with real rsync: who ends whom, what can be read, and what becomes of links afterwards."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ferryman.migrate import rsync, rsyncd
from ferryman.migrate.rsyncd import Daemon, unmunge
from ferryman.migrate.volumes import Volume

PATIENCE = 120.0
PASSWORD = "open-sesame"

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Daemon, int]]:
    """A daemon, and a port of loopback that leads to it."""
    (folder / "volume").mkdir()
    with tempfile.TemporaryDirectory() as place:
        daemon = Daemon(rsync.find(), Volume("data", str(folder / "volume")), place, PASSWORD)
        daemon.start()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_unix_connection(daemon.path)
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        door = await asyncio.start_server(carry, "127.0.0.1", 0)
        yield daemon, door.sockets[0].getsockname()[1]
        door.close()
        await daemon.stop()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def call(port: int, *arguments: str, password: str = PASSWORD) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "rsync", *(one.replace("DATA", f"rsync://root@127.0.0.1:{port}/data") for one in arguments),
        env=rsync.environment(password), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def run(folder: Path, test: Callable[[Daemon, int], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE), serving(folder) as (daemon, port):
            await test(daemon, port)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - of any kind
        await asyncio.sleep(0.01)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(2_000_000))
    return folder


@needs_rsync
def test_strangers_do_not_disturb_a_client(tmp_path: Path, source: Path) -> None:
    async def test(daemon: Daemon, port: int) -> None:
        client = await call(port, "-a", "--bwlimit=1m", f"{source}/", "DATA/")
        await until(lambda: any((tmp_path / "volume").glob(".file.*")))
        knocks = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(20)]
        thief = await call(port, "-a", f"{source}/", "DATA/", password="guessed")
        _, said = await thief.communicate()
        assert b"auth failed" in said
        _, said = await client.communicate()
        assert client.returncode == 0, said
        assert len(daemon._strangers) <= rsyncd._STRANGERS
        for each in knocks:
            each.close()

    run(tmp_path, test)
    assert (tmp_path / "volume" / "file").read_bytes() == (source / "file").read_bytes()


@needs_rsync
def test_the_client_that_comes_again_ends_the_one_before(tmp_path: Path, source: Path) -> None:
    async def test(daemon: Daemon, port: int) -> None:
        first = await call(port, "-a", "--bwlimit=500k", f"{source}/", "DATA/")
        await until(lambda: any((tmp_path / "volume").glob(".file.*")))
        second = await call(port, "-a", f"{source}/", "DATA/")
        assert await second.wait() == 0
        assert await first.wait() in rsync.NETWORK

    run(tmp_path, test)
    assert (tmp_path / "volume" / "file").read_bytes() == (source / "file").read_bytes()
    assert not list((tmp_path / "volume").glob(".file.*"))


@needs_rsync
def test_who_never_shows_the_password_is_sent_away(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsyncd, "_STRANGER", 0.2)

    async def test(daemon: Daemon, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.readline()).startswith(b"@RSYNCD: ")
        assert await reader.read() == b""
        await until(lambda: not daemon._strangers)
        writer.close()

    run(tmp_path, test)


@needs_rsync
def test_nothing_can_be_read_from_a_destination(tmp_path: Path) -> None:
    async def test(daemon: Daemon, port: int) -> None:
        (tmp_path / "volume" / "old").write_text("what was there before")
        for arguments in (["DATA/"], ["DATA/old", str(tmp_path / "stolen")], ["-M--sender", "DATA/"]):
            thief = await call(port, *arguments)
            out, said = await thief.communicate()
            assert thief.returncode != 0
            assert b"old" not in out, said
        assert not (tmp_path / "stolen").exists()

    run(tmp_path, test)


@needs_rsync
@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["-an", "--delete", "--timeout=9"], False),
        (["-aHAXSnc", "--numeric-ids", "--exclude=x"], False),
        (["-a"], True),
        (["-a", "-M-Tn"], True),
        (["-an", "-s"], True),
    ],
)
def test_whether_something_was_written_is_known(
    tmp_path: Path, source: Path, arguments: list[str], written: bool
) -> None:
    async def test(daemon: Daemon, port: int) -> None:
        await (await call(port, *arguments, f"{source}/", "DATA/")).wait()
        assert daemon.written is written
        assert written or not (tmp_path / "volume" / "file").exists()

    run(tmp_path, test)


@needs_rsync
def test_a_connection_that_cannot_be_served_does_not_end_it(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsyncd, "_PAUSE", 0.01)
    real, failures = asyncio.create_subprocess_exec, [OSError(errno.EMFILE, "Too many open files")] * 3

    async def failing(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        if "--daemon" in arguments and failures:
            raise failures.pop()
        return await real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", failing)

    async def test(daemon: Daemon, port: int) -> None:
        codes = [await (await call(port, "-a", f"{source}/", "DATA/")).wait() for _ in range(4)]
        assert codes[-1] == 0
        assert set(codes[:3]) <= rsync.NETWORK

    run(tmp_path, test)


def munged(path: Path, target: str) -> None:
    path.symlink_to(f"/rsyncd-munged/{target}")


def test_links_become_what_they_were(tmp_path: Path) -> None:
    munged(tmp_path / "up", "../elsewhere")
    (tmp_path / ".ferryman-link").write_text("a file of the volume's own")
    shut = tmp_path / "shut"
    (shut / "inner").mkdir(parents=True)
    munged(shut / "link", "/etc/passwd")
    munged(shut / "inner" / "link", "x")
    (tmp_path / "plain").symlink_to("not munged")
    os.utime(shut, (1, 1))
    shut.chmod(0o555)
    unmunge(os.fsencode(tmp_path))
    links = {one: os.readlink(tmp_path / one) for one in ("up", "shut/link", "shut/inner/link", "plain")}
    assert links == {"up": "../elsewhere", "shut/link": "/etc/passwd", "shut/inner/link": "x", "plain": "not munged"}
    assert shut.stat().st_mode & 0o777 == 0o555
    assert shut.stat().st_mtime == 1
    assert sorted(os.listdir(tmp_path)) == [".ferryman-link", "plain", "shut", "up"]
    shut.chmod(0o755)


def test_folders_may_be_deep(tmp_path: Path) -> None:
    path = bytes(tmp_path)
    for _ in range(1200):
        path += b"/d"
        os.mkdir(path)
    os.symlink(b"/rsyncd-munged/x", path + b"/link")
    unmunge(os.fsencode(tmp_path))
    assert os.readlink(path + b"/link") == b"x"
    while path != bytes(tmp_path):  # shutil.rmtree, which cleans up after tests, takes no such depth
        for entry in os.scandir(path):
            if entry.is_symlink():
                os.unlink(entry.path)
        os.rmdir(path)
        path = os.path.dirname(path)
