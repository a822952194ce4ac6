"""Plain HTTP requests in a worker of this process: which connection, whose fault; the wire is tests/e2e's matter."""

from __future__ import annotations

import json
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from proxying import answer, asks, head, hop, line, proxy, through
from rig import Far, Rig, gauges, reset

from ferryman.dataplane import counters, forward, questions
from ferryman.dataplane.body import CHUNKED_SHARE
from ferryman.dataplane.counters import Cell
from ferryman.rules.networks import Networks, network
from ferryman.wire import http1

pytestmark = pytest.mark.twin


def get(far: Far, *fields: str, method: str = "GET") -> str:
    return "\r\n".join([f"{method} http://127.0.0.1:{far.port}/x HTTP/1.1", "Host: y", *fields, "", ""])


def begun(rig: Rig, far: Far, request: str) -> tuple[socket.socket, socket.socket]:
    """A client that asked, and the server's side once the head is there."""
    client = asks(rig, request)
    rig.run(far.waiting)
    connection = far.accept()
    head(rig, connection)
    return client, connection


def test_a_request_and_the_next_one_on_the_same_two_connections(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    for _ in range(2):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert head(rig, client) == "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 ferryman\r\n\r\n"
        assert rig.read(client, 2) == b"ok"
        client.sendall(get(far).encode())
        assert head(rig, connection).startswith(f"GET /x HTTP/1.1\r\nHost: 127.0.0.1:{far.port}\r\n")
    client.close()
    connection.close()


def test_who_ended_a_connection(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    whole, endless = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
    for fields, said, who in (((), whole, None), (("Connection: close",), whole, "proxy"), ((), endless, "server")):
        client, connection = begun(rig, far, get(far, *fields))
        connection.sendall(said)
        connection.close()
        head(rig, client)
        client.close()
        found = line(rig)
        assert (found["code"], found["ended_by"]) == ("--", who)


def test_a_kept_connection_that_speaks_unasked_is_not_used_again(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 Smuggled\r\n\r\n")
    head(rig, client)
    client.sendall(get(far).encode())
    rig.run(far.waiting)
    other = far.accept()
    head(rig, other)
    with pytest.raises(ConnectionResetError):  # closed, and nobody has read what it said
        connection.recv(1)
    other.sendall(b"HTTP/1.1 204 Right\r\n\r\n")
    assert head(rig, client).startswith("HTTP/1.1 204 Right")
    client.close()


def test_an_upstream_proxy_gets_the_whole_uri_and_its_credentials(rig: Rig) -> None:
    far, elsewhere = rig.server(), rig.server()
    proxy(rig, via=through((hop(far, user="bob", password="pw"),)))
    client = asks(rig, get(elsewhere, "Proxy-Authorization: Basic YTpi"))
    rig.run(far.waiting)
    connection = far.accept()
    sent = head(rig, connection)
    assert sent.startswith(f"GET http://127.0.0.1:{elsewhere.port}/x HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic Ym9iOnB3\r\n" in sent
    assert "YTpi" not in sent
    client.close()
    connection.close()


def test_other_credentials_go_out_on_another_connection(rig: Rig) -> None:
    far, elsewhere = rig.server(), rig.server()
    proxy(rig, via=through((hop(far, pass_credentials=True),)))
    client = asks(rig, get(elsewhere))
    rig.run(far.waiting)
    connection = far.accept()
    assert "Proxy-Auth" not in head(rig, connection)
    connection.sendall(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=up\r\nContent-Length: 0\r\n\r\n")
    assert "Proxy-Authenticate: Basic realm=up" in head(rig, client)
    client.sendall(get(elsewhere, "Proxy-Authorization: Basic YTpi").encode())
    rig.run(far.waiting)
    other = far.accept()
    assert "Proxy-Authorization: Basic YTpi\r\n" in head(rig, other)
    client.close()
    other.close()


def test_an_answer_that_came_before_the_server_refused_the_body_is_delivered(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far, "Content-Length: 50000000", method="POST"))
    client.setblocking(False)
    full = 0
    while full < 3:  # all that the kernel keeps for it is full
        rig.turns(0)
        try:
            client.send(bytes(1 << 20))
        except BlockingIOError:
            full += 1
    connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
    reset(connection)
    client.setblocking(True)
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 413 ")
    assert "Connection: close" in said
    assert rig.read(client, 4) == b"no!", "and then an orderly end"
    client.close()


def test_a_client_that_is_reset_is_not_the_servers_fault(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    head(rig, client)
    reset(client)
    connection.sendall(b"x")
    found = line(rig)
    assert (found["code"][0], found["ended_by"]) == ("C", "client")
    with pytest.raises(ConnectionResetError):  # the server is let go, in the middle of its body
        rig.read(connection)


def test_an_idle_connection_ends_without_complaint(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 204 No\r\n\r\n")
    head(rig, client)
    client.close()
    found = line(rig)
    assert (found["code"], found["how"], found["reason"]) == ("--", "fin", None)
    assert found["target"] == f"127.0.0.1:{far.port}"


def test_what_may_be_forwarded_no_further_is_answered_here(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client = asks(rig, get(far, "Max-Forwards: 0", method="TRACE"))
    assert "Content-Type: message/http\r\nConnection: keep-alive\r\n" in head(rig, client)
    assert head(rig, client).startswith(f"TRACE http://127.0.0.1:{far.port}/x HTTP/1.1\r\n")
    client.sendall(get(far, "Max-Forwards: 1", method="OPTIONS").encode())
    rig.run(far.waiting)
    connection = far.accept()
    assert "\r\nMax-Forwards: 0\r\n" in head(rig, connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nAllow: X\r\nContent-Length: 0\r\n\r\n")
    assert "\r\nAllow: X\r\n" in head(rig, client)
    client.sendall(get(far, "Max-Forwards: 0", "Content-Length: 1", method="OPTIONS").encode() + b"x")
    said = head(rig, client)
    assert "\r\nAllow: CONNECT, GET, " in said
    assert "\r\nConnection: close\r\n" in said, "its body is not read"
    assert rig.read(client) == b""
    client.close()
    assert (line(rig)["method"], line(rig)["status"], line(rig)["code"]) == ("OPTIONS", 200, "--")
    assert len(rig.lines()) == 3


def test_a_connection_is_kept_for_the_addresses_that_a_request_was_judged_by(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "NAME_TTL", 0.0)
    proxy(rig, egress_networks=Networks.of([network("127.0.0.0/8")]))
    far = rig.server()
    other = socket.create_server(("127.0.0.2", far.port))
    rig.peers.append(other)
    request = f"GET http://name.test:{far.port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    client = asks(rig, request)
    answer(rig, "resolve", ["127.0.0.1"])
    rig.run(far.waiting)
    connection = far.accept()
    head(rig, connection)
    connection.sendall(b"HTTP/1.1 204 No\r\n\r\n")
    head(rig, client)
    client.sendall(request.encode())
    answer(rig, "resolve", ["127.0.0.2"])
    rig.run(lambda: bool(select.select([other], [], [], 0)[0]))
    other.accept()[0].close()
    client.close()


def test_the_time_that_rules_see_is_the_requests(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 204 No\r\n\r\n")
    head(rig, client)
    (session,) = rig.worker.waiting
    between = time.time()
    assert session.learn().time <= between
    client.sendall(get(far).encode())
    head(rig, connection)
    assert session.learn().time >= between
    client.close()


# what goes wrong, and for how long


def test_a_body_in_many_chunks_lets_others_have_their_turn(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    body = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    turns = 0

    def counting() -> None:
        nonlocal turns
        turns += 1

    with ThreadPoolExecutor(2) as pool:
        sent = pool.submit(connection.sendall, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        received = pool.submit(_all, client, len(body))
        rig.worker.loop._turn_end = counting
        rig.run(received.done)
        sent.result()
    assert received.result().endswith(b"\r\n0\r\n\r\n")
    assert turns >= len(body) / CHUNKED_SHARE
    client.close()


def _all(client: socket.socket, size: int) -> bytes:
    """An answer whose body has so many bytes."""
    data = b""
    while len(data) - data.find(b"\r\n\r\n") - 4 < size:
        data += client.recv(1 << 20)
    return data


def test_interim_answers_have_an_end(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * (http1.MAX_INTERIM + 1))
    for _ in range(http1.MAX_INTERIM):
        assert head(rig, client).startswith("HTTP/1.1 103 ")
    assert head(rig, client).startswith("HTTP/1.1 502 ")
    client.close()
    assert line(rig)["reason"] == f"127.0.0.1:{far.port}: interim answers without an end"


def test_a_client_that_has_closed_its_side_does_not_wait_for_ever(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "PARTED", 0.2)
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    client.shutdown(socket.SHUT_WR)
    assert head(rig, client).startswith("HTTP/1.1 504 ")
    found = line(rig)
    assert (found["code"], found["reason"]) == ("sH", f"127.0.0.1:{far.port}: silent for 0.2 s")
    assert rig.read(connection) == b""


# what is written about them


def test_every_request_of_a_connection_has_its_line_and_the_connection_is_counted_once(rig: Rig) -> None:
    made = proxy(rig)
    cells = rig.follow(made)
    one, two = rig.server(), rig.server()
    client, connection = begun(rig, one, get(one, "Content-Length: 3", method="POST"))
    client.sendall(b"abc")
    assert rig.read(connection, 3) == b"abc"
    connection.sendall(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok")
    first = len(head(rig, client)) + 2
    assert rig.read(client, 2) == b"ok"
    rig.run(lambda: len(rig.lines()) == 1)  # at once, not when the connection ends
    client.sendall(get(one).encode())
    head(rig, connection)
    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    head(rig, client)
    client.sendall(get(two).encode())
    rig.run(two.waiting)
    two.accept().close()
    assert head(rig, client).startswith("HTTP/1.1 502 ")
    client.close()
    rig.run(rig.over)
    lines = [json.loads(text) for text in rig.lines()]
    shown = [(row["method"], row["target"], row["status"], row["code"], row["error"]) for row in lines]
    assert shown == [
        ("POST", f"127.0.0.1:{one.port}", 201, "--", None),
        ("GET", f"127.0.0.1:{one.port}", 404, "--", None),
        ("GET", f"127.0.0.1:{two.port}", 502, "SH", "connection_terminated"),
    ]
    assert lines[0]["bytes"] == {"in": 3, "out": first}
    assert lines[1]["times"]["connect"] == 0, "it went out on the connection that was there"
    assert len({row["id"] for row in lines}) == 1
    assert lines[0]["time"] <= lines[1]["time"] <= lines[2]["time"]
    base = counters.listener_base(made, 0)
    assert (cells[base + Cell.SESSIONS], cells[base + Cell.CONNECT_ERRORS]) == (1, 1)
    assert cells[base + Cell.BYTES_IN] == 3
    assert cells[base + Cell.BYTES_OUT] == sum(row["bytes"]["out"] for row in lines)
    assert set(gauges(made, cells).values()) == {0}


def test_a_connection_that_ends_between_two_requests_leaves_no_line_for_it(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    for leave in (socket.socket.close, reset):
        before = len(rig.lines())
        client, connection = begun(rig, far, get(far))
        connection.sendall(b"HTTP/1.1 204 No\r\n\r\n")
        head(rig, client)
        leave(client)
        rig.run(rig.over)
        assert len(rig.lines()) == before + 1
        connection.close()


def test_one_that_begins_another_request_and_breaks_it_off_has_a_line_for_it(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 204 No\r\n\r\n")
    head(rig, client)
    client.sendall(b"GET http://half")
    client.shutdown(socket.SHUT_WR)
    found = line(rig)
    assert (found["code"], found["reason"]) == ("CR", "client: closed in the middle of a head")
    assert "target" not in found, "the former request's is none of its business"
    assert len(rig.lines()) == 2


def test_what_came_of_an_answer_that_broke_off_is_counted(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client, connection = begun(rig, far, get(far))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345")
    size = len(head(rig, client)) + 5
    assert rig.read(client, 5) == b"12345"
    connection.close()
    found = line(rig)
    assert (found["code"], found["status"], found["bytes"]["out"]) == ("SD", 200, size)
