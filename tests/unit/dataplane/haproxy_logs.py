"""HAProxy itself as the reference for log lines: a frontend per set of lines, a UDP socket that takes what it logs."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

HEAD = """
global
  nbthread 1
defaults
  mode tcp
  timeout connect 60s
  timeout client 60s
  timeout server 60s
"""
FRONTEND = """
frontend fe{number}
  bind fd@{listener}
  tcp-request inspect-delay 60s
  tcp-request content capture req.payload(0,0) len 200 if {{ req.len gt 0 }}
  {lines}
  default_backend be
"""
BACKEND = """
backend be
  server srv 127.0.0.1:{port}
"""


def program() -> str:
    """Where HAProxy is; skips the test without it."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("haproxy is not installed")
    return found


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(60)
    return sock


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """A server that answers each connection's first bytes and then waits for its end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, contextlib.suppress(OSError):
                    peer.recv(65536)
                    peer.sendall(b"answer")
                    peer.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def logged(folder: Path, frontends: Sequence[str], sinks: Sequence[socket.socket], payload: bytes) -> list[bytes]:
    """One connection through each frontend, and the datagram that each of `sinks` got."""
    haproxy = program()
    with answering() as port, contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in frontends]
        text = HEAD + BACKEND.format(port=port)
        for number, (listener, lines) in enumerate(zip(listeners, frontends, strict=True)):
            text += FRONTEND.format(number=number, listener=listener.fileno(), lines=lines)
        (folder / "haproxy.cfg").write_text(text)
        process = subprocess.Popen(
            [haproxy, "-db", "-f", str(folder / "haproxy.cfg")],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno() for listener in listeners],
        )
        try:
            for listener in listeners:
                with socket.create_connection(listener.getsockname(), timeout=60) as client:
                    client.sendall(payload)
                    assert client.recv(100) == b"answer"
            return [sink.recv(65536) for sink in sinks]
        finally:
            process.kill()
            process.wait()
