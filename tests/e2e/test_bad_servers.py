"""Servers that refuse, stay silent, vanish or break off: the client learns it, the log says it, others go on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ferry import Ferry, free_port, until
from servers import EchoServer

pytestmark = pytest.mark.twin

RESET = b"\1\0\0\0\0\0\0\0"


def configuration(port: int, *servers: str, **settings: object) -> str:
    lines = "".join(f"      {key}: {value}\n" for key, value in settings.items())
    addresses = ", ".join(f'"{server}"' for server in servers)
    return (
        f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    client_timeout: 20s\n"
        f"    backend:\n      servers: [{addresses}]\n{lines}"
    )


def closed_by(sock: socket.socket) -> str:
    try:
        return "fin" if sock.recv(1) == b"" else "data"
    except ConnectionResetError:
        return "rst"


def outcome(port: int) -> str:
    """How a client that only connects is ended. A reset may be so quick that it meets the connecting already."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            return closed_by(sock)
    except ConnectionResetError:
        return "rst"


@contextmanager
def full_server() -> Iterator[str]:
    """A server whose queue is full: connections to it are not answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
                fillers.append(filler)
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


def test_a_refusal_is_passed_on_as_a_reset(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    ferry = run_ferry(configuration(port, f"127.0.0.1:{free_port()}", retries=0))
    assert outcome(port) == "rst"
    line = ferry.line()
    assert (line["code"], line["how"]) == ("SC", "rst")
    assert "Connection refused" in line["reason"]


def test_a_refusing_server_costs_a_retry_and_another_answers(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    text = configuration(port, f"127.0.0.1:{free_port()}", server.address, retries=1, balance="first")
    ferry = run_ferry(text)
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"through")
        assert sock.recv(10) == b"through"
    line = ferry.line()
    assert (line["server"], line["retries"], line["redispatched"]) == (server.address, 1, True)


def test_balance_source_moves_to_another_server_too(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    text = configuration(port, f"127.0.0.1:{free_port()}", server.address, retries=1, balance="source")
    ferry = run_ferry(text)
    for number in range(2, 8):
        with socket.create_connection(("127.0.0.1", port), 10, (f"127.0.0.{number}", 0)) as sock:
            sock.sendall(b"through")
            assert sock.recv(10) == b"through"
    until(lambda: len(ferry.lines()) == 6, "six log lines")
    assert any(line["redispatched"] for line in ferry.lines()), "some clients hash to the dead server"


def test_a_server_that_does_not_answer_is_given_up_in_time(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    with full_server() as address:
        ferry = run_ferry(configuration(port, address, retries=0, connect_timeout="300ms"))
        assert outcome(port) == "rst"
        line = ferry.line()
    assert (line["code"], line["how"]) == ("sC", "timeout")
    assert "no answer within 0.3 s" in line["reason"]


def test_a_client_that_gives_up_meanwhile_frees_everything(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    with full_server() as address:
        ferry = run_ferry(configuration(port, address, retries=0, connect_timeout="20s"))
        before = ferry.descriptors()
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            until(lambda: ferry.descriptors() > before, "the server to be tried")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert ferry.line()["code"] == "CC"
        until(lambda: ferry.descriptors() <= before, "descriptors to be given back")


def test_a_server_that_accepts_and_says_nothing_times_out(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server.address, server_timeout="300ms"))
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        assert closed_by(sock) == "fin"
    line = ferry.line()
    assert (line["code"], line["how"]) == ("sD", "timeout")


def test_a_server_that_breaks_off_is_a_reset_for_the_client(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ferry = run_ferry(configuration(port, f"127.0.0.1:{server.getsockname()[1]}"))
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            connection, _ = server.accept()
            sock.sendall(b"question")
            assert connection.recv(100) == b"question"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            assert closed_by(sock) == "rst"
    line = ferry.line()
    assert (line["code"], line["how"], line["ended_by"]) == ("SD", "rst", "server")


def test_without_any_server_the_client_is_refused_at_once(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    port = free_port()
    text = configuration(port, f"127.0.0.1:{free_port()}", check="{interval: 50ms, fall: 1}")
    ferry = run_ferry(text)
    until(lambda: ferry.status()["backends"][0]["servers"][0]["status"] == "DOWN", "the check to fail")
    assert outcome(port) == "rst"
    assert "no server available" in ferry.line()["reason"]
    assert "has no server available!" in ferry.log
