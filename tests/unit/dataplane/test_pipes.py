"""The pool of pipes: reuse, its limit, and what happens without descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from ferryman.dataplane import pipes
from ferryman.dataplane.pipes import PipePool

pytestmark = pytest.mark.twin


@pytest.fixture
def pool() -> Iterator[PipePool]:
    pool = PipePool()
    yield pool
    pool.empty()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_an_empty_pipe_is_used_again(pool: PipePool) -> None:
    pipe = pool.get()
    assert pipe is not None
    pool.put(pipe)
    assert pool.get() == pipe
    pool.put(pipe)


def test_a_pipe_is_large_and_never_waits(pool: PipePool) -> None:
    pipe = pool.get()
    assert pipe is not None
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)
    assert os.write(pipe[1], bytes(4096)) == 4096
    pool.drop(pipe)
    assert not is_open(pipe[0])
    assert not is_open(pipe[1])


def test_more_than_it_keeps_are_closed(pool: PipePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "KEPT", 1)
    first, second = pool.get(), pool.get()
    assert first is not None
    assert second is not None
    pool.put(first)
    pool.put(second)
    assert is_open(first[0])
    assert not is_open(second[0])


def test_emptying_gives_descriptors_back(pool: PipePool) -> None:
    pipe = pool.get()
    assert pipe is not None
    pool.put(pipe)
    pool.empty()
    assert not is_open(pipe[1])


def test_without_descriptors_there_is_none(pool: PipePool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        assert pool.get() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
