"""What is said to upstream proxies, to the byte, and what becomes of their answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from proxying import connect_to, head, hop, line, proxy, through
from rig import Rig, closed_port, plan, server

from ferryman.dataplane.chain import authorization
from ferryman.plan import Address, Hop, Through
from ferryman.wire import http1

pytestmark = pytest.mark.twin

TARGET = "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\nVia: 1.1 ferryman\r\n"


class Client:
    """One that gave credentials."""

    def __init__(self, authorization: str) -> None:
        self.authorization = authorization
        self.via = "1.1 ferryman"


def test_connect_with_credentials_and_what_follows_the_answer(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far, user="bob", password="p:w"),)))
    client = connect_to(rig, 443)
    client.sendall(b"hello")
    rig.run(far.waiting)
    upstream = far.accept()
    assert head(rig, upstream) == f"{TARGET}Proxy-Authorization: Basic Ym9iOnA6dw==\r\n\r\n"
    upstream.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nVia: x\r\n\r\nserver first")
    assert head(rig, client) == "HTTP/1.1 200 Connection established\r\n\r\n"
    assert rig.read(client, 12) == b"server first"
    assert rig.read(upstream, 5) == b"hello"
    client.close()
    upstream.close()
    assert line(rig)["via"] == f"http://127.0.0.1:{far.port}"


def test_several_in_a_row(rig: Rig) -> None:
    far = rig.server()
    second = Hop("socks5", Address("name", "second.test", 1080), "bob", "pw")
    third = Hop("http", Address("inet6", "2001:db8::3", 3128))
    proxy(rig, via=through((hop(far), second, third)))
    client = connect_to(rig, 443, "Via: 1.0 first")
    rig.run(far.waiting)
    upstream = far.accept()
    hops = "Via: 1.0 first, 1.1 ferryman\r\n"
    assert head(rig, upstream) == f"CONNECT second.test:1080 HTTP/1.1\r\nHost: second.test:1080\r\n{hops}\r\n"
    upstream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert rig.read(upstream, 4) == b"\x05\x02\x00\x02"
    upstream.sendall(b"\x05\x02")
    assert rig.read(upstream, 8) == b"\x01\x03bob\x02pw"
    upstream.sendall(b"\x01\x00")
    assert rig.read(upstream, 22) == b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x03\x0c\x38"
    upstream.sendall(b"\x05\x00\x00\x01" + bytes(6))
    assert head(rig, upstream) == f"{TARGET}\r\n".replace("1.1 f", "1.0 first, 1.1 f")
    upstream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert head(rig, client) == "HTTP/1.1 200 Connection established\r\n\r\n"
    client.close()
    upstream.close()


def test_socks5_without_credentials(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far, "socks5"),)))
    client = connect_to(rig, 443)
    rig.run(far.waiting)
    upstream = far.accept()
    assert rig.read(upstream, 3) == b"\x05\x01\x00"
    upstream.sendall(b"\x05\x00")
    assert rig.read(upstream, 10) == b"\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb"
    upstream.sendall(b"\x05\x00\x00\x01" + bytes(6) + b"first")
    assert head(rig, client).startswith("HTTP/1.1 200 ")
    assert rig.read(client, 5) == b"first"
    client.close()
    upstream.close()


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (b"\x05\xff", 502, "http_request_denied"),
        (b"\x05\x00\x05\x02\x00\x01" + bytes(6), 403, "http_request_denied"),
        (b"\x05\x00\x05\x05\x00\x01" + bytes(6), 502, "connection_refused"),
        (b"\x05\x00\x05\x06\x00\x01" + bytes(6), 504, "connection_timeout"),
        (b"\x05\x00\x05\x09\x00\x01" + bytes(6), 503, "destination_unavailable"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 502, "http_protocol_error"),
    ],
)
def test_what_a_socks5_proxy_says_no_with(rig: Rig, answer: bytes, status: int, error: str) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far, "socks5"),)))
    client = connect_to(rig, 443)
    rig.run(far.waiting)
    far.accept().sendall(answer)
    said = head(rig, client)
    assert said.startswith(f"HTTP/1.1 {status} ")
    assert f"error={error}" in said
    client.close()


def test_a_proxy_that_says_nothing(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far),)), connect_timeout=0.1)
    client = connect_to(rig, 443)
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 504 ")
    assert f"proxy 127.0.0.1:{far.port}: no answer within 0.1 s" in said
    client.close()


def test_a_proxy_whose_tls_takes_too_long(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far, "https"),)), connect_timeout=0.1)
    client = connect_to(rig, 443)
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 504 ")
    assert "error=connection_timeout" in said
    client.close()
    assert (line(rig)["code"], line(rig)["how"]) == ("sC", "timeout")


@pytest.mark.parametrize(("mode", "error"), [("connect", "proxy_loop_detected"), ("tcp", "connection_refused")])
def test_an_own_explicit_proxy_is_no_way_out(rig: Rig, mode: str, error: str) -> None:
    port = closed_port()
    made = proxy(rig, via=through((hop(port),)))
    own = replace(made.listeners[0], id=1, name="own", mode=mode, bind=(Address("inet", "127.0.0.1", port),))
    rig.follow(replace(made, listeners=(*made.listeners, own)))
    client = connect_to(rig, 443)
    assert f"502 Bad Gateway\r\nConnection: close\r\nProxy-Status: ferryman; error={error}" in head(rig, client)
    client.close()


def test_the_clients_credentials_are_for_those_that_are_to_get_them() -> None:
    plain, own = hop(1), hop(1, user="bob", password="pw")
    passing = hop(1, pass_credentials=True)
    assert authorization(plain, Client("Basic x")) == ""
    assert authorization(own, Client("Basic x")) == "Basic Ym9iOnB3"
    assert authorization(passing, Client("Basic x")) == "Basic x"
    assert authorization(passing, Client("")) == authorization(passing, None) == ""


def test_servers_of_a_backend_by_the_first_way_that_works(rig: Rig) -> None:
    judge, far = rig.server(), rig.server()
    ways = Through(((hop(judge),), (hop(far),)))
    rig.follow(plan(server(443), backend={"via": ways}))
    client = rig.client()
    client.sendall(b"hello")
    rig.run(judge.waiting)
    connection = judge.accept()
    assert head(rig, connection) == f"{TARGET}\r\n"
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    rig.run(far.waiting)
    upstream = far.accept()
    assert head(rig, upstream) == f"{TARGET}\r\n"
    upstream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert rig.read(upstream, 5) == b"hello"
    client.close()
    upstream.close()


def test_why_a_backends_only_way_failed_is_in_the_log(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(443), backend={"via": Through(((hop(far),),))}))
    client = rig.client()
    rig.run(far.waiting)
    far.accept().sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    found = line(rig)
    assert found["code"] == "SC"
    assert found["reason"] == f"s: proxy 127.0.0.1:{far.port} answered 403 Forbidden to CONNECT 127.0.0.1:443"


def test_interim_answers_of_a_proxy_have_an_end(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far),)))
    client = connect_to(rig, 443)
    rig.run(far.waiting)
    upstream = far.accept()
    upstream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * http1.MAX_INTERIM)  # and then nothing
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 502 ")
    assert "error=http_protocol_error" in said
    client.close()
    assert line(rig)["reason"] == f"proxy 127.0.0.1:{far.port}: interim answers without an end"
