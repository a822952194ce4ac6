"""Other people's programs for e2e tests: clients to their end, and servers in the foreground on configurations of ours.

A program that is not installed skips the test, with the reason. Squid has a module of its own.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from ferry import PATIENCE, free_port, until

_WHERE = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin:/bin:/sbin"


def program(name: str) -> str:
    """Its path."""
    path = shutil.which(name) or shutil.which(name, path=_WHERE)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(
    *command: str, stdin: bytes = b"", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A client to its end, with what it said."""
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        input=stdin,
        capture_output=True,
        timeout=240,
        env=environment,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


class Peer:
    """A server that listens on `port` once it is ready."""

    def __init__(self, folder: Path, port: int, command: Sequence[str]) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._log = folder / "output"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._ready, f"{command[0]} to listen")

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"it ended:\n{self.log}"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)


def _folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def tinyproxy(folder: Path, *lines: str) -> Peer:
    """tinyproxy for clients on this machine."""
    path, port = program("tinyproxy"), free_port()
    here = _folder(folder, "tinyproxy")
    (here / "conf").write_text("\n".join(["Listen 127.0.0.1", f"Port {port}", "Allow 127.0.0.1", *lines, ""]))
    return Peer(here, port, [path, "-d", "-c", str(here / "conf")])


def nginx(folder: Path, server: str) -> Peer:
    """nginx with one server, whose files are in the folder `files`."""
    path, port = program("nginx"), free_port()
    here = _folder(folder, "nginx")
    _folder(here, "files")
    (here / "conf").write_text(f"""
daemon off;
master_process off;
pid {here}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
    uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
    server {{
        listen 127.0.0.1:{port};
        root {here}/files;
        {server}
    }}
}}
""")
    return Peer(here, port, [path, "-p", str(here), "-c", str(here / "conf"), "-e", "stderr"])


def stunnel(folder: Path, name: str, service: str) -> Peer:
    """stunnel with one service; `{port}` in it is where it accepts."""
    path, port = program("stunnel4"), free_port()
    here = _folder(folder, name)
    (here / "conf").write_text(f"foreground = yes\npid =\ndebug = 7\n[{name}]\naccept = 127.0.0.1:{port}\n{service}\n")
    return Peer(here, port, [path, str(here / "conf")])


def rsyncd(folder: Path, module: str) -> Peer:
    """An rsync daemon with a module "data" that can be read and written."""
    path, port = program("rsync"), free_port()
    here = _folder(folder, "rsyncd")
    (here / "conf").write_text(f"use chroot = no\n[data]\npath = {module}\nread only = no\nuid = 0\ngid = 0\n")
    command = [path, "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={here / 'conf'}"]
    return Peer(here, port, command)
