"""Plain HTTP requests in absolute form: heads rewritten for the next hop, bodies as they are, connections kept."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from origin import Origin
from servers import EchoServer
from talk import Answer, Talk

pytestmark = pytest.mark.twin


class Site:
    """A proxy, and two servers behind it."""

    def __init__(self, run: Callable[..., Ferry]) -> None:
        self.port, self.hasty = free_port(), free_port()
        self.one, self.two, self.six = Origin(), Origin(), Origin("::1")
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{self.port}
    client_timeout: 5m
    connect: {{egress_allow: [127.0.0.1, "::1"]}}
  hasty:
    bind: 127.0.0.1:{self.hasty}
    connect: {{egress_allow: [127.0.0.1], server_timeout: 300ms}}
""")

    def talk(self) -> Talk:
        return Talk(self.port)


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry]) -> Iterator[Site]:
    site = Site(run_shared_ferry)
    yield site
    until(lambda: site.ferry.listener("out")["counts"]["sessions_now"] == 0, "all connections to end")
    for server in (site.one, site.two, site.six):
        server.close()


def ask(
    talk: Talk, server: Origin, path: str, *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> Answer:
    send(talk, server, path, *fields, method=method, body=body, version=version)
    return talk.answer(method)


def send(
    talk: Talk, server: Origin, path: str, *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> None:
    first = f"{method} http://{server.address}{path} HTTP/{version}"
    talk.send("\r\n".join([first, f"Host: {server.address}", *fields, "", ""]).encode() + body)


@contextmanager
def listener() -> Iterator[socket.socket]:
    """For tests that are the server themselves."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


def filling(size: int) -> bytes:
    return (b"0123456789abcdef\n" * (size // 17 + 1))[:size]


# requests and answers


def test_the_server_gets_the_request_in_origin_form(site: Site) -> None:
    with site.talk() as talk:
        assert ask(talk, site.one, "/say/hello?q=http://a/b%20c").status == 200
    received = site.one.received[-1]
    assert received.head.startswith("GET /say/hello?q=http://a/b%20c HTTP/1.1\r\n")
    assert received.all("host") == [site.one.address]
    (via,) = received.all("via")
    assert via.startswith("1.1 ferryman-")
    line = site.ferry.line(lambda line: line.get("target") == site.one.address)
    assert (line["protocol"], line["code"], line["reason"]) == ("http", "--", None)


def test_an_ipv6_server_and_an_empty_path(site: Site) -> None:
    with site.talk() as talk:
        talk.send(f"GET http://{site.six.address} HTTP/1.1\r\nHost: {site.six.address}\r\n\r\n")
        assert talk.answer().status == 200
    assert site.six.received[-1].head.startswith("GET / HTTP/1.1\r\n")


def test_the_uri_says_whom_it_is_for_whatever_host_says(site: Site) -> None:
    with site.talk() as talk:
        talk.send(f"GET http://{site.one.address}/say/x HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
        assert talk.answer().status == 200
    assert site.one.received[-1].all("host") == [site.one.address]


def test_head_has_no_body(site: Site) -> None:
    with site.talk() as talk:
        assert ask(talk, site.one, "/say/abc", method="HEAD").body == b""
        assert ask(talk, site.one, "/say/next").body == b"next", "nothing of it is left over"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_body_of_known_length_goes_up_and_down(site: Site, size: int) -> None:
    body = filling(size)
    with site.talk() as talk:
        answer = ask(talk, site.one, "/echo", f"Content-Length: {size}", method="POST", body=body)
        assert (answer.status, answer.body) == (200, body)
        assert ask(talk, site.one, "/say/next").body == b"next"


def test_chunks_go_up_and_down_with_extensions_and_trailers(site: Site) -> None:
    body = b"5;a=b\r\nhello\r\n" + b"".join(b"%x\r\n%b\r\n" % (9000, filling(9000)) for _ in range(20)) + b"0\r\n\r\n"
    with site.talk() as talk:
        answer = ask(talk, site.one, "/say/ok", "Transfer-Encoding: chunked", method="POST", body=body)
        assert answer.body == b"ok"
        assert site.one.received[-1].body == body
        down = ask(talk, site.one, "/chunks/300000", "TE: trailers")
        assert (down.body, down.get("trailer")) == (filling(300_000), "X-Sum")
        assert ask(talk, site.one, "/say/next").body == b"next"


def test_large_bodies_come_whole(site: Site) -> None:
    with site.talk() as talk:
        assert ask(talk, site.one, "/big/20000000").body == filling(20_000_000)
        assert ask(talk, site.one, "/until-close/5000000").body == filling(5_000_000)


def test_a_body_and_its_answer_may_be_under_way_at_the_same_time(site: Site) -> None:
    """The server answers while it reads: neither waits for the other to be done."""
    with site.talk() as talk:
        body = filling(4_000_000)
        send(talk, site.one, "/echo", "Content-Length: 4000000", method="PUT", body=body[:10])
        talk.send(body[10:])
        assert talk.answer("PUT").body == body


def test_100_continue_is_passed_on(site: Site) -> None:
    with site.talk() as talk:
        interim = ask(talk, site.one, "/continue", "Content-Length: 4", "Expect: 100-continue", method="POST")
        assert interim.status == 100
        talk.send(b"body")
        assert talk.answer().body == b"body"


# fields of one hop


def test_fields_of_one_hop_stay_on_it(site: Site) -> None:
    with site.talk() as talk:
        answer = ask(
            talk,
            site.one,
            "/say/x",
            "Connection: keep-alive, X-Mine",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic YTpi",
            "TE: trailers",
            "X-Mine: secret",
            "Upgrade: foo",
            "Accept: */*",
            "X-Theirs: stays",
        )
        assert answer.status == 200
    received = site.one.received[-1]
    for name in ("connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "x-mine", "upgrade"):
        assert not received.all(name), name
    assert (received.all("accept"), received.all("x-theirs")) == (["*/*"], ["stays"])


# connections


def test_several_requests_and_targets_on_one_connection(site: Site) -> None:
    before = site.one.heard(), site.two.heard()
    with site.talk() as talk:
        for number, server in enumerate([site.one, site.one, site.one, site.two, site.two, site.one]):
            assert ask(talk, server, f"/say/{number}").body == b"%d" % number
    assert (site.one.heard() - before[0], site.two.heard() - before[1]) == (2, 1)


def test_requests_sent_ahead_are_answered_in_order(site: Site) -> None:
    with site.talk() as talk:
        for number in range(5):
            send(talk, site.one, f"/echo/{number}", "Content-Length: 2", method="POST", body=b"%02d" % number)
        assert [talk.answer().body for _ in range(5)] == [b"%02d" % number for number in range(5)]


def test_a_server_that_closes_does_not_take_the_client_with_it(site: Site) -> None:
    with site.talk() as talk:
        for number in range(3):
            answer = ask(talk, site.one, f"/close/{number}")
            assert (answer.body, answer.get("connection")) == (b"%d" % number, "")


def test_a_kept_connection_that_was_closed_is_made_anew(site: Site) -> None:
    server = EchoServer()  # its port is what matters
    server.close()
    with listener() as listening, site.talk() as talk:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        for body in (b"one", b"two"):
            talk.send(f"GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n")
            connection, _ = listening.accept()
            with connection:
                assert b"\r\n\r\n" in connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)
                assert talk.answer().body == body


def test_a_kept_connection_that_is_closed_upon_the_next_request_is_made_anew_for_safe_ones(site: Site) -> None:
    with listener() as listening, site.talk() as talk:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        head = f"http://{address}/ HTTP/1.1\r\nHost: {address}\r\n"
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        talk.send(f"GET {head}\r\n")
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(ok)
            assert talk.answer().body == b"ok"
            talk.send(f"GET {head}\r\n")
            connection.recv(4096)
        again, _ = listening.accept()
        with again:
            again.recv(4096)
            again.sendall(ok)
            assert talk.answer().body == b"ok"
            talk.send(f"POST {head}Content-Length: 0\r\n\r\n")
            again.recv(4096)
        answer = talk.answer()
        assert (answer.status, answer.error) == (502, "connection_terminated"), "nobody knows what became of a POST"


def test_a_client_that_closes_is_told_so(site: Site) -> None:
    with site.talk() as talk:
        answer = ask(talk, site.one, "/say/last", "Connection: close")
        assert (answer.body, answer.get("connection")) == (b"last", "close")
        assert talk.rest() == b""


def test_http_1_0_clients(site: Site) -> None:
    with site.talk() as talk:
        answer = ask(talk, site.one, "/say/old", version="1.0")
        assert (answer.body, answer.get("connection"), talk.rest()) == (b"old", "close", b"")
    with site.talk() as talk:
        answer = ask(talk, site.one, "/say/old", "Proxy-Connection: keep-alive", version="1.0")
        assert (answer.body, answer.get("connection")) == (b"old", "keep-alive")
        answer = ask(talk, site.one, "/chunks/20000", "Connection: keep-alive", version="1.0")
        assert (answer.get("transfer-encoding"), answer.body) == ("", filling(20_000)), "no chunks, but a closed end"


def test_connect_may_follow_on_the_same_connection(site: Site) -> None:
    with site.talk() as talk:
        assert ask(talk, site.one, "/say/first").body == b"first"
        assert talk.connect(site.two.address).status == 200
        talk.send("GET /say/inside HTTP/1.1\r\nHost: x\r\n\r\n")
        assert talk.answer().body == b"inside"


# other protocols


@pytest.mark.parametrize("protocol", ["SPDY/3.1", "websocket"])
def test_an_upgrade_is_passed_and_tunnelled(site: Site, protocol: str) -> None:
    fields = ["Connection: Upgrade", f"Upgrade: {protocol}", "X-Stream-Protocol-Version: v4.channel.k8s.io"]
    with site.talk() as talk:
        send(talk, site.one, "/switch", *fields, "Content-Length: 0", method="POST", body=b"early")
        answer = talk.answer()
        assert (answer.status, answer.get("upgrade"), answer.get("connection")) == (101, protocol, "Upgrade")
        assert talk.exactly(21) == b"\x80\x03\x00\x04 first frameearly"
        talk.send(b"\x00\xff\r\n")
        assert talk.exactly(4) == b"\x00\xff\r\n"
        talk.end()
        assert talk.rest() == b""
    received = site.one.received[-1]
    assert (received.all("upgrade"), received.all("connection")) == ([protocol], ["Upgrade"])


def test_a_switch_that_nobody_asked_for_is_none(site: Site) -> None:
    with site.talk() as talk:
        answer = ask(talk, site.one, "/uninvited")
        assert (answer.status, answer.error) == (502, "http_protocol_error")


# what goes wrong


@pytest.mark.parametrize("path", ["/cut/100000", "/cut/0", "/cut-chunks/100000"])
def test_a_truncated_answer_is_not_passed_off_as_whole(site: Site, path: str) -> None:
    with site.talk() as talk:
        client = f"127.0.0.1:{talk.sock.getsockname()[1]}"
        send(talk, site.one, path)
        with pytest.raises(ConnectionResetError):
            talk.rest()
    reason = f"{site.one.address}: closed in the middle of a body"
    line = site.ferry.line(lambda line: line["client"] == client)
    assert (line["code"], line["reason"]) == ("SD", reason)


def test_a_truncated_body_up_to_the_end_of_the_connection_is_not_passed_off_as_whole(site: Site) -> None:
    with listener() as listening, site.talk() as talk:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        talk.send(f"GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n")
        connection, _ = listening.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
        assert talk.answer_head().status == 200
        assert talk.exactly(4) == b"some"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        with pytest.raises(ConnectionResetError):
            talk.rest()


def test_a_body_that_the_client_breaks_off_does_not_arrive_as_whole(site: Site) -> None:
    before = len(site.one.received), len(site.one.ended)
    for field in ("Content-Length: 10", "Transfer-Encoding: chunked"):
        with site.talk() as talk:
            send(talk, site.one, "/echo", field, method="POST", body=b"5\r\nab")
            talk.end()
            answer = talk.answer()
            assert (answer.status, answer.error) == (400, "http_request_error")
    until(lambda: len(site.one.ended) == before[1] + 2, "the server to see both break off")
    assert len(site.one.received) == before[0]
    assert site.ferry.line(lambda line: line["reason"] == "client: closed in the middle of a body")["code"] == "CD"


def test_chunks_that_are_none_are_the_clients_fault(site: Site) -> None:
    with site.talk() as talk:
        answer = ask(talk, site.one, "/echo", "Transfer-Encoding: chunked", method="POST", body=b"5\nhello\n0\n\n")
        assert (answer.status, answer.error) == (400, "http_request_error")


def test_a_server_may_refuse_a_body_it_has_not_read(site: Site) -> None:
    with site.talk() as talk:
        send(talk, site.one, "/refuse", "Content-Length: 50000000", method="POST", body=filling(1_000_000))
        answer = talk.answer()
        assert (answer.status, answer.body, answer.get("connection")) == (413, b"too large", "close")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/garbage", 502, "http_protocol_error"),
        ("/drop", 502, "connection_terminated"),
        ("/status/407", 502, "http_request_denied"),
    ],
)
def test_servers_that_do_not_answer_as_they_should(site: Site, path: str, status: int, error: str) -> None:
    with site.talk() as talk:
        answer = ask(talk, site.one, path)
        assert (answer.status, answer.error, answer.get("connection")) == (status, error, "close")
        assert talk.rest() == b""


def test_a_bad_chunk_of_the_server_ends_the_answer(site: Site) -> None:
    with site.talk() as talk:
        send(talk, site.one, "/bad-chunks")
        with pytest.raises(ConnectionResetError):
            talk.rest()


def test_a_server_that_does_not_answer_is_504(site: Site) -> None:
    with Talk(site.hasty) as talk:
        answer = ask(talk, site.one, "/hang")
        assert (answer.status, answer.error) == (504, "http_response_timeout")


def test_a_client_that_stops_in_the_middle_of_a_body_is_answered_by_408(site: Site) -> None:
    with Talk(site.hasty) as talk:
        answer = ask(talk, site.one, "/echo", "Content-Length: 10", method="POST", body=b"ab")
        assert (answer.status, answer.error) == (408, "http_request_error")


def test_a_server_that_is_not_there_is_502_and_a_later_request_is_none_of_its_business(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with site.talk() as talk:
            talk.send(f"HEAD http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n")
            answer = talk.answer("HEAD")
            assert (answer.status, answer.error) == (502, "connection_refused")
            assert talk.rest() == b"", "no body for HEAD"
