"""Listening in a network namespace that has no way out, with servers where ferryman itself is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ferry import Ferry, free_port, until
from servers import EchoServer

from ferryman.controlplane import namespaces

NAME = f"ferryman-{os.getpid()}"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")


@pytest.fixture
def isolated() -> Iterator[str]:
    """A namespace in which there is nothing but loopback."""
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        subprocess.run(["ip", "-n", NAME, "link", "set", "lo", "up"], check=True)
        yield NAME
    finally:
        subprocess.run(["ip", "netns", "delete", NAME], check=True)


TALK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as sock:
    sock.sendall(b"x" * 300_000)
    sock.shutdown(socket.SHUT_WR)
    got = 0
    while data := sock.recv(65536):
        got += len(data)
print(got)
"""


def talk(name: str, port: int) -> str:
    command = ["ip", "netns", "exec", name, "/usr/bin/env", "python3", "-c", TALK, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


NATIVE = """
global: {{workers: 1}}
listeners:
  inner: {{bind: {{address: "127.0.0.1:{port}", namespace: {name}}}, servers: "{server}"}}
"""
HAPROXY = """
global
    nbthread 1
defaults
    mode tcp
    log stdout format raw local0
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen inner
    bind 127.0.0.1:{port} namespace {name}
    server s {server}
"""


@pytest.mark.parametrize("dialect", ["ferryman.yaml", "haproxy.cfg"])
def test_who_is_in_there_gets_out(
    dialect: str, isolated: str, run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    text = (NATIVE if dialect == "ferryman.yaml" else HAPROXY).format(port=port, name=isolated, server=server.address)
    ferry = run_ferry(text, dialect)
    assert talk(isolated, port) == "300000"
    listening = subprocess.run(["ss", "-Hltn", "sport", "=", str(port)], capture_output=True, text=True, check=True)
    assert listening.stdout == "", "nobody listens outside"
    assert ferry.listener("inner")["addresses"] == [f"127.0.0.1:{port} in {isolated}"]
    assert ferry.client.reload()["ok"], "the socket is there already"
    assert talk(isolated, port) == "300000"
    ferry.file.write_text(ferry.file.read_text().replace(str(port), str(other := free_port())))
    assert ferry.client.reload()["ok"]
    assert talk(isolated, other) == "300000"
    assert talk(isolated, port) == "", "nobody listens there any more"


def test_the_same_address_outside_and_inside(
    isolated: str, run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    """And no loop: what is led to that address from here is not led back in there."""
    server, port = echo(), free_port()
    ferry = run_ferry(
        f"""
global: {{workers: 1}}
listeners:
  outer: {{bind: "127.0.0.1:{port}", servers: "{server.address}"}}
  inner: {{bind: {{address: "127.0.0.1:{port}", namespace: {isolated}}}, servers: "127.0.0.1:{port}"}}
"""
    )
    assert talk(isolated, port) == "300000"
    until(lambda: len(ferry.lines()) == 2, "both lines")
    assert {line["listener"] for line in ferry.lines()} == {"outer", "inner"}


def test_a_namespace_that_is_not_there(isolated: str, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("listeners: {a: {bind: {address: '127.0.0.1:1', namespace: none-such}, servers: 'x:1'}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "ferryman", "run", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        "f.yaml:1:17: error: there is no network namespace none-such; make it: `ip netns add none-such`" in done.stderr
    )


def test_only_the_thread_goes_there(isolated: str) -> None:
    here = os.readlink("/proc/self/ns/net")
    there = namespaces.within(isolated, lambda: os.readlink("/proc/thread-self/ns/net"))
    assert there != here
    assert os.readlink("/proc/self/ns/net") == here
    with pytest.raises(ZeroDivisionError):
        namespaces.within(isolated, lambda: 1 // 0)
    with pytest.raises(FileNotFoundError):
        namespaces.within("none-such", lambda: None)
