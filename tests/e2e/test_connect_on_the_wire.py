"""CONNECT, byte for byte: what is taken, what is refused with which status, and what the answers look like."""

from __future__ import annotations

import base64
import json
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ferry import PATIENCE, Ferry, free_port
from servers import EchoServer
from talk import Answer, Talk, basic

pytestmark = pytest.mark.twin

PASSWORD = "se:cr:et-väl"
HASH = "$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1"


class Proxy:
    """The ports of its listeners, and servers behind it."""

    def __init__(self, run: Callable[..., Ferry]) -> None:
        self.open, self.asks, self.quick, self.small, self.narrow, self.pages = (free_port() for _ in range(6))
        self.hasty = free_port()
        self.echo = EchoServer()
        self.six = EchoServer("::1")
        self.first = EchoServer(greeting=b"220 server speaks first\r\n")
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:
  open:
    bind: 127.0.0.1:{self.open}
    connect: {{egress_allow: [127.0.0.1, "::1", localhost]}}
  hasty: {{bind: "127.0.0.1:{self.hasty}", connect: {{egress_allow: [127.0.0.1], connect_timeout: 400ms}}}}
  asks:
    bind: 127.0.0.1:{self.asks}
    connect:
      egress_allow: [127.0.0.1]
      users: {{Alice: "{HASH}"}}
      realm: the wire
  quick: {{bind: "127.0.0.1:{self.quick}", connect: {{egress_allow: [127.0.0.1], head_timeout: 300ms}}}}
  small: {{bind: "127.0.0.1:{self.small}", connect: {{egress_allow: [127.0.0.1], max_head: 16KiB}}}}
  narrow:
    bind: 127.0.0.1:{self.narrow}
    connect:
      protocols: connect
      egress_allow: [127.0.0.1]
      access: [{{action: deny, when: {{target_port: 25}}}}, {{action: allow, when: {{target_address: 127.0.0.1}}}}]
  pages: {{bind: "127.0.0.1:{self.pages}", pages: {{}}}}
""")

    def close(self) -> None:
        for server in (self.echo, self.six, self.first):
            server.close()


@pytest.fixture(scope="module")
def proxy(run_shared_ferry: Callable[..., Ferry]) -> Iterator[Proxy]:
    proxy = Proxy(run_shared_ferry)
    yield proxy
    proxy.close()


def refused(port: int, request: bytes | str) -> Answer:
    """The answer to something that is no request; what every refusal has in common."""
    with Talk(port) as talk:
        talk.send(request)
        answer = talk.answer("CONNECT")
        assert talk.rest() == b"", "the connection is closed after its answer"
    assert answer.get("connection") == "close"
    assert len(answer.body) == int(answer.get("content-length")) > 0
    assert "details=" in answer.get("proxy-status")
    return answer


def connect(target: str, *fields: str) -> str:
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields, "", ""])


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server whose queue is full: connections to it are not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for filler in fillers:
            filler.close()


# what is carried


def test_a_tunnel_is_granted_without_fields_or_body(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        answer = talk.connect(proxy.echo.address)
        assert answer.raw == b"HTTP/1.1 200 Connection established\r\n\r\n"
        talk.send(b"\x00\xff\r\n\r\n")
        assert talk.exactly(6) == b"\x00\xff\r\n\r\n"
        talk.end()
        assert talk.rest() == b"", "the end goes through as well"
    line = proxy.ferry.line(lambda line: line.get("target") == proxy.echo.address)
    assert (line["protocol"], line["bytes"], line["code"]) == ("connect", {"in": 6, "out": 6}, "--")


def test_bytes_sent_ahead_with_the_head_reach_the_server(proxy: Proxy) -> None:
    ahead = b"\x16\x03\x01" + bytes(range(256)) * 40
    with Talk(proxy.open) as talk:
        talk.send(connect(proxy.echo.address).encode() + ahead)
        assert talk.answer("CONNECT").status == 200
        assert talk.exactly(len(ahead)) == ahead


def test_a_server_may_speak_first(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        assert talk.connect(proxy.first.address).status == 200
        assert talk.line() == b"220 server speaks first\r\n"


def test_a_head_in_single_bytes_is_a_head(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        for byte in connect(proxy.echo.address):
            talk.send(byte)
        assert talk.answer("CONNECT").status == 200


def test_an_ipv6_address_comes_in_brackets(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        assert talk.connect(proxy.six.address).status == 200
        talk.send(b"six")
        assert talk.exactly(3) == b"six"
    assert refused(proxy.open, connect(f"::1:{proxy.six.port}")).status == 400


def test_a_name_is_resolved_here(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        assert talk.connect(f"LocalHost.:{proxy.echo.port}").status == 200
        talk.send(b"name")
        assert talk.exactly(4) == b"name"


def test_http_1_0_and_no_host_do_as_well(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        talk.send(f"CONNECT {proxy.echo.address} HTTP/1.0\r\n\r\n")
        assert talk.answer("CONNECT").status == 200


def test_a_host_field_that_says_otherwise_changes_nothing(proxy: Proxy) -> None:
    with Talk(proxy.open) as talk:
        talk.send(f"CONNECT {proxy.echo.address} HTTP/1.1\r\nHost: elsewhere.example:1\r\n\r\n")
        assert talk.answer("CONNECT").status == 200


# credentials


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_scheme_is_compared_without_case_and_the_password_may_have_colons(proxy: Proxy, scheme: str) -> None:
    with Talk(proxy.asks) as talk:
        assert talk.connect(proxy.echo.address, basic("Alice", PASSWORD, scheme)).status == 200


def test_a_407_asks_for_credentials_and_the_same_connection_takes_them(proxy: Proxy) -> None:
    with Talk(proxy.asks) as talk:
        answer = talk.connect(proxy.echo.address)
        assert (answer.status, answer.error) == (407, "http_request_denied")
        assert answer.get("proxy-authenticate") == 'Basic realm="the wire", charset="UTF-8"'
        assert answer.get("connection") == "keep-alive"
        assert talk.connect(proxy.echo.address, basic("Alice", PASSWORD)).status == 200


@pytest.mark.parametrize(
    "field",
    [
        "Proxy-Authorization: Basic !!!",
        "Proxy-Authorization: Basic",
        "Proxy-Authorization: Bearer abc",
        "Authorization: " + basic("Alice", PASSWORD).partition(": ")[2],
        basic("Alice", ""),
        basic("", PASSWORD),
        basic("alice", PASSWORD),
        basic("Alice", PASSWORD + "\r\nX-Injected: 1"),
        basic("Alice", PASSWORD + "\0"),
    ],
)
def test_what_are_no_credentials_is_answered_by_407(proxy: Proxy, field: str) -> None:
    with Talk(proxy.asks) as talk:
        assert talk.connect(proxy.echo.address, field).status == 407


def test_a_client_that_would_close_is_not_kept_after_407(proxy: Proxy) -> None:
    with Talk(proxy.asks) as talk:
        answer = talk.connect(proxy.echo.address, version="HTTP/1.0")
        assert (answer.status, answer.get("connection")) == (407, "close")
        assert talk.rest() == b""


# what is refused


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999999999999",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1:8o",
        "127.0.0.1:80:80",
        ":80",
        "user@127.0.0.1:80",
        "user:pw@127.0.0.1:80",
        "http://127.0.0.1:80",
        "/",
        "*",
        "[127.0.0.1]:80",
        "[::1:80",
        "[::1]",
        "0x7f.1:80",
        "2130706433:80",
        "127.1:80",
        "a" * 300 + ":80",
        ".".join(["a" * 60] * 5) + ":80",
        "a" * 64 + ".example:80",
        "a..b:80",
        "b\u00fccher.example:80",
        "xn--bcher-kva.example\0:80",
        "a%0d%0aX-Injected:80",
        "127.0.0.1%00:80",
    ],
)
def test_a_target_that_is_none_is_answered_by_400(proxy: Proxy, target: str) -> None:
    answer = refused(proxy.open, f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (answer.status, answer.error) == (400, "http_request_error")
    assert "injected" not in answer.raw.decode("latin-1").lower()


@pytest.mark.parametrize(
    "request_",
    [
        "CONNECT {0} HTTP/1.1\nHost: x\n\n",
        "CONNECT {0}\r\n\r\n",
        "CONNECT  {0} HTTP/1.1\r\n\r\n",
        "CONNECT {0} HTTP/1.1 \r\n\r\n",
        "CONNECT {0} http/1.1\r\n\r\n",
        "CONN\0ECT {0} HTTP/1.1\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nno colon\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nName : space\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nA: nul\0\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT {0} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    ],
)
def test_a_request_that_is_none_is_answered_by_400(proxy: Proxy, request_: str) -> None:
    before = proxy.echo.heard()
    assert refused(proxy.open, request_.format(proxy.echo.address)).status == 400
    assert proxy.echo.heard() == before


def test_only_connect_where_nothing_else_is_taken(proxy: Proxy) -> None:
    answer = refused(proxy.narrow, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (answer.status, answer.get("allow")) == (405, "CONNECT")
    assert refused(proxy.narrow, b"\x05\x01\x00").status == 400, "SOCKS5 is not taken either"


def test_a_rule_that_refuses_is_named_by_its_place_alone(proxy: Proxy) -> None:
    answer = refused(proxy.narrow, connect("127.0.0.1:25"))
    assert (answer.status, answer.error) == (403, "http_request_denied")
    assert re.search(r"refused by the rule at ferryman\.yaml:\d+\n", answer.body.decode())


def test_a_target_on_this_machine_is_refused_unless_allowed(proxy: Proxy) -> None:
    answer = refused(proxy.asks, connect(proxy.six.address, basic("Alice", PASSWORD)))
    assert (answer.status, answer.error) == (403, "destination_ip_prohibited")


@pytest.mark.parametrize("sent", ["", "CONNECT 127.0.0.1:1 HT", "CONNECT 127.0.0.1:1 HTTP/1.1\r\nA: b\r\n"])
def test_a_head_that_is_never_finished_is_answered_by_408(proxy: Proxy, sent: str) -> None:
    assert refused(proxy.quick, sent).status == 408


def test_an_endless_head_byte_by_byte_is_answered_by_408_in_time(proxy: Proxy) -> None:
    with Talk(proxy.quick) as talk:
        talk.sock.settimeout(0.001)
        talk.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nX: ")
        answered = False
        for _ in range(20_000):
            talk.send(b"x")
            try:
                answered = bool(talk.sock.recv(1, socket.MSG_PEEK))
                break
            except TimeoutError:
                continue
        assert answered
        talk.sock.settimeout(PATIENCE)
        assert talk.answer().status == 408


def test_what_is_too_long_is_answered_by_414_and_431(proxy: Proxy) -> None:
    assert refused(proxy.open, "CONNECT " + "a" * 9000).status == 414
    assert refused(proxy.small, "CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + "A: bbbbbbbbbb\r\n" * 2000).status == 431
    assert refused(proxy.open, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nA: " + "b" * 200_000).status == 431


def test_a_refusal_arrives_though_the_client_still_sends(proxy: Proxy) -> None:
    """Closing with bytes unread would send RST, which overtakes the answer."""
    with Talk(proxy.open) as talk:
        talk.send(b"CONNECT nowhere HTTP/1.1\r\n\r\n" + bytes(300_000))
        assert talk.answer("CONNECT").status == 400
        for _ in range(3):
            talk.send(bytes(100_000))
        talk.end()
        assert talk.rest() == b""


def test_a_connection_refused_is_502(proxy: Proxy) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        answer = refused(proxy.open, connect(f"127.0.0.1:{nobody.getsockname()[1]}"))
    assert (answer.status, answer.error) == (502, "connection_refused")


def test_a_name_without_address_is_502(proxy: Proxy) -> None:
    answer = refused(proxy.open, connect("nowhere.invalid:80"))
    assert (answer.status, answer.error) == (502, "dns_error")


def test_an_address_without_a_way_is_502(proxy: Proxy) -> None:
    answer = refused(proxy.hasty, connect("[2001:db8::1]:80"))
    assert answer.status in (502, 504), "the machine may have a way to nowhere"


def test_no_answer_from_the_server_is_504_and_never_200(proxy: Proxy) -> None:
    with silent_server() as port:
        answer = refused(proxy.hasty, connect(f"127.0.0.1:{port}"))
    assert (answer.status, answer.error) == (504, "connection_timeout")


def test_another_version_is_505(proxy: Proxy) -> None:
    assert refused(proxy.open, f"CONNECT {proxy.echo.address} HTTP/2.0\r\n\r\n").status == 505
    assert refused(proxy.open, f"CONNECT {proxy.echo.address} HTTP/1.2\r\n\r\n").status == 505


# plain HTTP, as far as heads are concerned


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: -1",
        "Content-Length: ",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "X: y\nTransfer-Encoding: chunked",
    ],
)
def test_bodies_that_two_readers_could_end_differently_are_refused(proxy: Proxy, fields: str) -> None:
    before = proxy.echo.heard()
    head = f"POST http://{proxy.echo.address}/ HTTP/1.1\r\nHost: {proxy.echo.address}\r\n{fields}\r\n\r\n"
    answer = refused(proxy.open, f"{head}0\r\n\r\nGET http://{proxy.echo.address}/smuggled HTTP/1.1\r\n\r\n")
    assert answer.status == 400
    assert proxy.echo.heard() == before, "the server has heard nothing of it"


def test_an_unknown_coding_and_a_scheme_for_connect_are_501(proxy: Proxy) -> None:
    head = f"POST http://{proxy.echo.address}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    assert refused(proxy.open, head).status == 501
    assert refused(proxy.open, "GET https://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").status == 501


# secrets


def test_credentials_are_in_no_log_status_or_metric(proxy: Proxy) -> None:
    right, wrong = basic("Alice", PASSWORD), basic("Alice", "gu:essed-secret")
    for field, expected in ((right, 200), (wrong, 407)):
        with Talk(proxy.asks) as talk:
            assert talk.connect(proxy.echo.address, field).status == expected
            status = json.dumps(proxy.ferry.status())
    with Talk(proxy.asks) as talk:
        talk.send(f"GET http://{proxy.echo.address}/ HTTP/1.1\r\nHost: x\r\n{wrong}\r\n{right}\r\n\r\n")
        assert talk.answer().status == 400
    proxy.ferry.line(lambda line: line["listener"] == "asks" and line.get("user") == "Alice")
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.pages}/metrics") as page:
        metrics = page.read().decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.pages}/") as page:
        metrics += page.read().decode()
    assert "asks" in metrics
    for text in (proxy.ferry.log, status, metrics):
        for field, password in ((right, PASSWORD), (wrong, "gu:essed-secret")):
            assert password not in text
            assert json.dumps(password)[1:-1] not in text
            assert field.rpartition(" ")[2] not in text
            assert base64.b64encode(password.encode()).decode() not in text
        assert HASH not in text
