"""Out through other proxies: HTTP and SOCKS5 ones, in a row, as alternatives, with their credentials and refusals."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import programs
import pytest
from ferry import PATIENCE, Ferry, free_port, until
from origin import Origin
from servers import EchoServer
from squid import Squid
from squid import folder as squid_folder
from talk import Talk, basic

PASSWORD = "se:cr:et-väl"
IN_URL = "se%3Acr%3Aet-v%C3%A4l"
HASH = "$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1"
ALLOW = 'egress_allow: [127.0.0.1, 127.0.0.0/8, "::1", localhost, nowhere.example]'


def address(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


class Site:
    """A ferryman whose listeners go out through others: another ferryman, Squid, tinyproxy."""

    def __init__(self, run: Callable[..., Ferry], folder: Path, end: ExitStack) -> None:
        self.echo, self.origin, self.six = EchoServer(), Origin(), EchoServer("::1")
        for server in (self.echo, self.origin, self.six):
            end.callback(server.close)
        self.upstream, self.second, self.spare = free_port(), free_port(), free_port()
        nobody = end.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        self.liar = end.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.liar.settimeout(PATIENCE)
        self.dead = address(nobody)
        self.above = run(f"""
global: {{workers: 1}}
listeners:
  upstream:
    bind: ["127.0.0.1:{self.upstream}", "[::1]:{self.upstream}"]
    connect: {{{ALLOW}, users: {{bob: "{HASH}"}}}}
  second: {{bind: "127.0.0.1:{self.second}", connect: {{{ALLOW}}}}}
  spare:
    bind: 127.0.0.1:{self.spare}
    connect: {{{ALLOW}, access: [{{action: deny, when: {{target_port: {self.six.port}}}}}, {{action: allow}}]}}
""")
        self.squid = f"127.0.0.1:{free_port()}"
        text = f"http_port {self.squid}\nhttp_access allow localhost"
        end.callback(Squid(end.enter_context(squid_folder()), text, int(self.squid.rpartition(":")[2])).close)
        self.tinyproxy = programs.tinyproxy(folder, "BasicAuth tiny pAss0word")
        end.callback(self.tinyproxy.stop)
        known, wrong = f"bob:{IN_URL}@", "bob:wrong@"
        upstream = f"127.0.0.1:{self.upstream}"
        self.ways = {
            "http": f'"http://{known}{upstream}"',
            "socks5": f'"socks5://{known}{upstream}"',
            "six": f'"http://{known}[::1]:{self.upstream}"',
            "beside": f'{{url: "http://{upstream}", user: bob, password: "{PASSWORD}"}}',
            "name": f'"http://{known}localhost:{self.upstream}"',
            "row": f'[["http://127.0.0.1:{self.second}", "socks5://{known}{upstream}", "http://127.0.0.1:{self.spare}"]]',
            "squid": f'"http://{self.squid}"',
            "tinyproxy": f'"http://tiny:p%41ss0word@{self.tinyproxy.address}"',
            "wrong": f'"http://{wrong}{upstream}"',
            "wrong_socks5": f'"socks5://{wrong}{upstream}"',
            "bare": f'"http://{upstream}"',
            "client": f'{{url: "http://{upstream}", credentials: client}}',
            "failover": f'["http://{self.dead}", ["http://127.0.0.1:{self.second}", "http://{self.dead}"], "{known}"]',
            "judged": f'["http://127.0.0.1:{self.spare}", "http://127.0.0.1:{self.second}", direct]',
            "last_direct": f'["http://{self.dead}", direct]',
            "liar": f'"http://{address(self.liar)}"',
            "dead": f'["http://{self.dead}", "socks5://{self.dead}"]',
            "except": f'{{url: "http://{self.dead}", except: [localhost, "127.0.0.1:{self.echo.port}"]}}',
        }
        self.ways["failover"] = self.ways["failover"].replace(f'"{known}"', f'"http://{known}{upstream}"')
        self.ports = {name: free_port() for name in self.ways}
        text = "".join(
            f"""
  {name}:
    bind: 127.0.0.1:{self.ports[name]}
    connect: {{{ALLOW}, via: [{{through: {way}}}]}}"""
            for name, way in self.ways.items()
        )
        self.backend = free_port()
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:{text}
  backend: {{bind: "127.0.0.1:{self.backend}", to: through}}
backends:
  through:
    servers: ["{self.echo.address}"]
    retries: 0
    via: ["http://{self.dead}", "http://{known}{upstream}"]
""")

    def talk(self, way: str) -> Talk:
        return Talk(self.ports[way])


@pytest.fixture(scope="module")
def site(
    run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack
) -> Site:
    return Site(run_shared_ferry, tmp_path_factory.mktemp("peers"), at_the_end)


def echoes(talk: Talk, target: str) -> None:
    """A tunnel through it works, with bytes sent ahead."""
    talk.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nahead")
    answer = talk.answer("CONNECT")
    assert answer.status == 200, answer
    assert talk.exactly(5) == b"ahead"
    talk.send(b"x" * 100_000)
    assert talk.exactly(100_000) == b"x" * 100_000


ALL = ["http", "socks5", "six", "beside", "name", "row", "squid", "tinyproxy", "failover", "last_direct", "except"]


@pytest.mark.parametrize("way", ALL)
def test_a_tunnel_through(site: Site, way: str) -> None:
    with site.talk(way) as talk:
        echoes(talk, site.echo.address)
        if way not in ("squid", "tinyproxy"):  # which end both directions with the first
            talk.send(b"last words")
            talk.end()
            assert talk.rest() == b"last words"


@pytest.mark.parametrize("way", ["http", "socks5", "row", "squid", "tinyproxy", "failover", "last_direct"])
def test_plain_requests_through(site: Site, way: str) -> None:
    with site.talk(way) as talk:
        for path in ("/say/one", "/chunks/30000", "/say/two"):
            talk.send(f"GET http://{site.origin.address}{path} HTTP/1.1\r\nHost: {site.origin.address}\r\n\r\n")
            answer = talk.answer()
            assert answer.status == 200, answer
        assert answer.body == b"two"
    assert not site.origin.received[-1].all("proxy-authorization")


def test_a_target_with_an_ipv6_address_and_one_with_a_name(site: Site) -> None:
    for way in ("http", "socks5"):
        with site.talk(way) as talk:
            echoes(talk, site.six.address)
        with site.talk(way) as talk:
            echoes(talk, f"localhost:{site.echo.port}")


def test_a_name_is_left_to_the_upstream_proxy(site: Site) -> None:
    with site.talk("http") as talk:
        answer = talk.connect("nowhere.invalid:443")
        assert (answer.status, answer.error) == (502, "http_request_denied")
        assert "received-status=502" in answer.get("proxy-status")
    assert site.above.line(lambda line: line.get("target") == "nowhere.invalid:443")["error"] == "dns_error"


def test_socks5_clients_through_an_http_proxy(site: Site) -> None:
    with site.talk("http") as talk:
        talk.send(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01" + site.echo.port.to_bytes(2, "big") + b"ahead")
        assert talk.exactly(2) == b"\x05\x00"
        assert talk.exactly(10)[:2] == b"\x05\x00"
        assert talk.exactly(5) == b"ahead"


def test_the_log_says_which_way_without_credentials(site: Site) -> None:
    with site.talk("http") as talk:
        echoes(talk, site.echo.address)
    line = site.ferry.line(lambda line: line["listener"] == "http" and line["code"] == "--")
    assert line["via"] == f"http://127.0.0.1:{site.upstream}"
    for secret in (PASSWORD, IN_URL, "pAss0word", basic("bob", PASSWORD).rpartition(" ")[2]):
        assert secret not in site.ferry.log
        assert base64.b64encode(secret.encode()).decode() not in site.ferry.log


# credentials


def test_wrong_credentials_of_ours_are_not_asked_of_the_client(site: Site) -> None:
    with site.talk("wrong") as talk:
        answer = talk.connect(site.echo.address)
        assert (answer.status, answer.get("proxy-authenticate")) == (502, "")
        assert "received-status=407" in answer.get("proxy-status")
    with site.talk("wrong") as talk:
        talk.send(f"GET http://{site.origin.address}/say/x HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = talk.answer()
        assert (answer.status, answer.get("proxy-authenticate")) == (502, "")
        assert "received-status=407" in answer.get("proxy-status")
    with site.talk("wrong_socks5") as talk:
        assert talk.connect(site.echo.address).status == 502
    with site.talk("bare") as talk:
        assert talk.connect(site.echo.address).status == 502


def test_the_clients_credentials_are_passed_on_where_it_says_so(site: Site) -> None:
    credentials = basic("bob", PASSWORD)
    with site.talk("client") as talk:
        answer = talk.connect(site.echo.address)
        assert answer.status == 407
        assert answer.get("proxy-authenticate").startswith('Basic realm="ferryman"'), "the upstream's own challenge"
        assert talk.connect(site.echo.address, credentials).status == 200
    with site.talk("client") as talk:
        request = f"GET http://{site.origin.address}/say/x HTTP/1.1\r\nHost: x\r\n"
        talk.send(f"{request}\r\n")
        assert talk.answer().status == 407
        talk.send(f"{request}{credentials}\r\n\r\n")
        assert (talk.answer().body, talk.sock.fileno() > 0) == (b"x", True)


# failure


def test_a_refusal_is_passed_on_with_its_status_and_no_other_proxy_is_asked(site: Site) -> None:
    with site.talk("judged") as talk:
        answer = talk.connect(site.six.address)
        assert (answer.status, answer.error) == (403, "http_request_denied")
        assert "received-status=403" in answer.get("proxy-status")
        assert "403 Forbidden" in answer.body.decode()


def test_a_refusal_of_squid_is_passed_on(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with site.talk("squid") as talk:
            answer = talk.connect(address(nobody))
    assert (answer.status, answer.error) == (503, "http_request_denied")
    assert "received-status=503" in answer.get("proxy-status")


def test_when_no_proxy_can_be_reached_the_last_ones_reason_is_told(site: Site) -> None:
    with site.talk("dead") as talk:
        answer = talk.connect(site.echo.address)
        assert (answer.status, answer.error) == (502, "connection_refused")
        assert f"proxy {site.dead}" in answer.body.decode()
    with site.talk("dead") as talk:
        talk.send(f"GET http://{site.origin.address}/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert talk.answer().status == 502


def test_exceptions_go_directly_and_all_else_does_not(site: Site) -> None:
    with site.talk("except") as talk:
        echoes(talk, f"localhost:{site.echo.port}")
    with site.talk("except") as talk:
        assert talk.connect(site.origin.address).status == 502


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "connection_terminated"),
        (b"HTTP/1.1 200 OK\r\n", "connection_terminated"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, "http_protocol_error"),
        (b"\x05\xff", "http_protocol_error"),
    ],
)
def test_a_proxy_that_does_not_answer_as_one(site: Site, answer: bytes, error: str) -> None:
    with site.talk("liar") as talk:
        talk.send("CONNECT nowhere.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        connection, _ = site.liar.accept()
        with connection:
            assert connection.recv(4096).startswith(b"CONNECT nowhere.example:443 HTTP/1.1\r\nHost: nowhere")
            with suppress(ConnectionError):  # it need not read all of it
                connection.sendall(answer)
        refused = talk.answer("CONNECT")
    assert (refused.status, refused.error) == (502, error)


# backends


def test_servers_of_a_backend_are_reached_through_proxies(site: Site) -> None:
    with Talk(site.backend) as talk:
        talk.send(b"plain bytes")
        assert talk.exactly(11) == b"plain bytes"
    site.above.line(lambda line: line.get("target") == site.echo.address and line.get("user") == "bob")
    until(lambda: site.ferry.listener("backend")["counts"]["sessions_now"] == 0, "the connection to end")
