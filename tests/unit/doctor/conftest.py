"""Servers and far ends that tests of the doctor's parts start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from tests.unit.doctor.ends import Handler, Server

from ferryman.doctor.farend import FarEnd


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """Start one: server(handler)."""
    running: list[Server] = []

    def start(handler: Handler, host: str = "127.0.0.1") -> Server:
        running.append(Server(handler, host))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    end = FarEnd("127.0.0.1", 0)
    thread = threading.Thread(target=end.serve, daemon=True)
    thread.start()
    yield end
    end.close()
    thread.join(20)
    assert not thread.is_alive()
