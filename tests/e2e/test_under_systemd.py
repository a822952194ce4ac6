"""systemd hears when ferryman is ready, reloads, lives and stops, and may listen on its behalf."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer

from ferryman.controlplane.control import Client
from ferryman.errors import ControlError


class Manager:
    """What listens behind NOTIFY_SOCKET (sd_notify(3))."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def hears(self, wanted: str) -> list[str]:
        """The next message with that line; signs of life and remarks before it are passed over."""
        while True:
            lines = self.socket.recv(4096).decode().splitlines()
            if wanted in lines:
                return lines
            assert lines[0] in ("WATCHDOG=1", "STATUS=") or lines[0].startswith("STATUS="), f"{lines}, not {wanted}"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    manager = Manager(path if request.param == "path" else f"@{path}")
    with manager.socket:
        yield manager


def forwarding(port: int, server: EchoServer) -> str:
    return f"""
        listeners: {{main: {{bind: "127.0.0.1:{port}", servers: "{server.address}"}}}}
        global: {{workers: 1}}
    """


def exchange(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"hello")
        return client.recv(5)


def test_what_systemd_hears(manager: Manager, tmp_path: Path, echo: Callable[..., EchoServer]) -> None:
    port, server = free_port(), echo("::1")
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
    ferry = Ferry(tmp_path / "ferry", forwarding(port, server), "ferryman.yaml", environment=environment)
    try:
        ready = manager.hears("READY=1")
        assert f"MAINPID={ferry.process.pid}" in ready
        assert exchange(port) == b"hello", "READY=1 came before connections were accepted"
        assert manager.hears("WATCHDOG=1")

        assert ferry.client.reload()["ok"]
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.hears("RELOADING=1"))
        manager.hears("READY=1")

        ferry.file.write_text("listeners: 5")
        assert not ferry.client.reload()["ok"]
        manager.hears("RELOADING=1")
        manager.hears("READY=1")  # systemd would wait for it, although nothing has changed
        assert exchange(port) == b"hello"
    finally:
        assert ferry.stop() == 0
    manager.hears("STOPPING=1")


@contextlib.contextmanager
def activated(listening: socket.socket, folder: Path, text: str) -> Iterator[subprocess.Popen[bytes]]:
    """ferryman as systemd starts it with a socket: descriptor 3, LISTEN_FDS, and LISTEN_PID of the very process."""
    (folder / "ferryman.yaml").write_text(text)
    command = [sys.executable, "-m", "ferryman", "run", str(folder / "ferryman.yaml"), "--control", f"{folder}/control"]
    start = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", start, str(listening.fileno()), *command],
            pass_fds=(listening.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_socket_of_systemds(tmp_path: Path, echo: Callable[..., EchoServer]) -> None:
    server = echo("::1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        inode = os.fstat(listening.fileno()).st_ino
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as early:
            early.sendall(b"hello")  # before there is any ferryman: the kernel keeps it waiting
            with activated(listening, tmp_path, forwarding(port, server)) as process:
                assert early.recv(5) == b"hello", (tmp_path / "log").read_text()
                assert inode in held(process.pid), "it listens on a socket of its own instead of the one it was given"
                until(lambda: _reloaded(f"{tmp_path}/control"), "a reload")
                assert exchange(port) == b"hello"
            assert process.returncode == 0, (tmp_path / "log").read_text()
        # the port is open still, though nobody is behind it: clients wait for the next one
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as late:
            late.sendall(b"again")
            with activated(listening, tmp_path, forwarding(port, server)):
                assert late.recv(5) == b"again", (tmp_path / "log").read_text()


def held(pid: int) -> set[int]:
    """What its descriptors stand for, by inode."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found.add(descriptor.stat().st_ino)
    return found


def _reloaded(control: str) -> bool:
    try:
        return bool(Client(control).reload()["ok"])
    except ControlError:  # it is not there yet
        return False
