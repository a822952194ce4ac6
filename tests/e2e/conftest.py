"""What e2e tests share: a ferryman per test, real TLS and TCP servers, certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ferry import Ferry
from servers import Authority, EchoServer, TlsServer


@pytest.fixture
def run_ferry(tmp_path: Path) -> Iterator[Callable[..., Ferry]]:
    """Start ferryman on a configuration text: run_ferry(text), or run_ferry(text, "haproxy.cfg", "--set", "…")."""
    running: list[Ferry] = []

    def start(text: str, name: str = "ferryman.yaml", *arguments: str, **options: Any) -> Ferry:
        ferry = Ferry(tmp_path / f"ferry{len(running)}", text, name, *arguments, **options)
        running.append(ferry)
        return ferry.wait_ready()

    yield start
    for ferry in running:
        ferry.stop()


@pytest.fixture(scope="module")
def run_shared_ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ferry]]:
    """As run_ferry, for all tests of a file: starting takes longer than most of them."""
    running: list[Ferry] = []

    def start(text: str, name: str = "ferryman.yaml", *arguments: str, **options: Any) -> Ferry:
        ferry = Ferry(tmp_path_factory.mktemp("ferry"), text, name, *arguments, **options)
        running.append(ferry)
        return ferry.wait_ready()

    yield start
    for ferry in running:
        ferry.stop()


@pytest.fixture(scope="module")
def at_the_end() -> Iterator[ExitStack]:
    """What a file's shared servers and programs put here is ended with the file, also when not all could be started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def echo() -> Iterator[Callable[..., EchoServer]]:
    """Start TCP servers that send back what they get: echo(), echo("::1")."""
    running: list[EchoServer] = []

    def start(host: str = "127.0.0.1", **options: object) -> EchoServer:
        server = EchoServer(host, **options)  # type: ignore[arg-type]
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture
def tls(authority: Authority) -> Iterator[Callable[..., TlsServer]]:
    """Start HTTPS servers that say their name: tls("a", "api.example.org"), on [::1]."""
    running: list[TlsServer] = []

    def start(name: str, *hosts: str, host: str = "::1", port: int = 0) -> TlsServer:
        server = TlsServer(name, authority, hosts, host, port)
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()
