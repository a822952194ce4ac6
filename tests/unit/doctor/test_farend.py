"""The far end among strangers: they give way to who knows the token, and get nothing by what they overhear."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from ferryman.doctor import farend
from ferryman.doctor.farend import FarEnd
from ferryman.doctor.pairing import HELLO, ask

PATIENCE = 60.0
NONCE = "0123456789abcdef" * 2


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def end(log: list[str]) -> Iterator[FarEnd]:
    made = FarEnd("127.0.0.1", 0, log=log.append)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    yield made
    made.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def connect(end: FarEnd, *data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", end.port), PATIENCE)
    sock.sendall(b"".join(data))
    return sock


def read(sock: socket.socket, count: int) -> bytes:
    with sock.makefile("rb") as file:
        return file.read(count)


def test_the_oldest_stranger_gives_way(end: FarEnd) -> None:
    known = connect(end, ask(end.token.secret, "echo", NONCE), b"x")
    assert read(known, 1) == b"x"
    strangers = [connect(end, b"\x16\x03\x01") for _ in range(farend._MOST)]
    assert read(strangers[0], 1) == b"", "it is closed long before its time is up"
    with connect(end, ask(end.token.secret, "echo", NONCE[::-1]), b"y") as late:
        assert read(late, 1) == b"y"
    known.sendall(b"z")
    assert read(known, 1) == b"z"
    for sock in (known, *strangers):
        sock.close()


def test_a_question_that_was_overheard_is_not_answered_again(end: FarEnd, log: list[str]) -> None:
    question = ask(end.token.secret, "echo", NONCE)
    with connect(end, question, b"x") as first, connect(end, question, b"x") as thief:
        assert {read(first, 1), read(thief, 1)} == {b"x", b""}
    assert any("overheard" in line for line in log)


def test_a_connection_that_cannot_be_accepted_does_not_end_it(
    end: FarEnd, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = end._socket, [OSError(errno.EMFILE, "Too many open files")] * 3

    class Failing:
        def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            if failures:
                raise failures.pop()
            return real.accept()

        def shutdown(self, how: int) -> None:
            real.shutdown(how)

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(end, "_socket", Failing())
    with connect(end), connect(end) as sock:  # the first one is accepted as ever
        assert read(sock, len(HELLO)) == HELLO
    assert log.count("cannot accept a connection: Too many open files") == 3
