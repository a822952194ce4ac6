"""Many bytes: both ends of the probe over a pair of sockets, and what is said where they do not all arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.doctor.ends import PATIENCE, PLACES, Server, talks_tls

from ferryman.doctor.farend import FarEnd
from ferryman.doctor.handshake import Shaker
from ferryman.doctor.path import Path
from ferryman.doctor.throughput import BLOCK, LAST, examine, swallow
from ferryman.doctor.tlsstream import TlsStream, client_context
from ferryman.doctor.tunnel import Dialer


def shaker(path: Path) -> Shaker:
    return Shaker(path, Dialer(path.patience), "")


def test_it_is_asked_for_and_takes_the_far_ends_help() -> None:
    told: list[str] = []
    path = Path("127.0.0.1", 1)
    (row,) = examine(shaker(path), None, PLACES, told.append)
    assert (row.state, told) == ("skipped", [])
    assert "--throughput" in row.said
    (row,) = examine(shaker(replace(path, throughput=1.0)), None, PLACES, told.append)
    assert row.state == "skipped"
    assert "--far-end" in row.said


def test_what_comes_is_counted_each_time(server: Callable[..., Server]) -> None:
    done: list[int] = []

    def handler(stream: TlsStream) -> None:
        done.append(swallow(stream, b"", 5.0))

    stream = TlsStream(client_context(), "localhost")
    there = server(talks_tls(handler))
    stream.handshake(Dialer(5.0).connect("127.0.0.1", there.port), 5.0)
    last = bytes([LAST]) + bytes(BLOCK - 1)
    for blocks in (3, 1):
        stream.write(bytes(BLOCK) * (blocks - 1) + last, 5.0)
        assert stream.read(5.0) == b"%d\n" % (blocks * BLOCK)
    stream.close()
    there.close()
    assert done == [4 * BLOCK]


def test_a_far_end_that_does_not_read_is_waited_for() -> None:
    end = FarEnd("127.0.0.1", 0)
    threading.Thread(target=end.serve, daemon=True).start()
    told: list[str] = []
    try:
        path = Path("127.0.0.1", end.port, token=end.token, throughput=0.4, patience=10.0)
        (row,) = examine(shaker(path), end.token, PLACES, told.append)
    finally:
        end.close()
    assert row.state == "ok", row.said
    assert row.evidence["rate"].endswith(" MB/s")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("answer", "said"), [(b"", "the connection is closed"), (b"7\n", "bytes 7 arrived"), (b"x\n", "bytes -1 arrived")]
)
def test_bytes_that_do_not_arrive(answer: bytes, said: str, server: Callable[..., Server]) -> None:
    def handler(stream: TlsStream) -> None:
        while LAST not in (data := stream.read(PATIENCE)):  # all others are 0, but for the question
            continue
        left = BLOCK - (len(data) - data.index(LAST))
        while left:
            left -= len(stream.read(PATIENCE))
        if answer:
            stream.write(answer, PATIENCE)

    end = FarEnd("127.0.0.1", 0)  # for its token
    end.close()
    path = Path("127.0.0.1", server(talks_tls(handler)).port, token=end.token, throughput=0.1, patience=5.0)
    (row,) = examine(shaker(path), end.token, PLACES, lambda text: None)
    assert row.verdict
    assert row.verdict.code == "TRANSFER_CUT"
    assert said in row.said
