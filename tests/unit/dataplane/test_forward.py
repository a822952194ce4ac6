"""Plain HTTP requests in a worker of this process: which connection, whose fault; the wire is tests/e2e's matter."""

from __future__ import annotations

import socket

import pytest
from proxying import asks, head, hop, line, proxy, through
from rig import Far, Rig, reset

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
    answer = head(rig, client)
    assert answer.startswith("HTTP/1.1 413 ")
    assert "Connection: close" in answer
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
