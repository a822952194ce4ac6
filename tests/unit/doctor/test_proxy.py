"""The proxy: what each answer to CONNECT means, in which order is asked, and with what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, PLACES, Server, head, proxy, to_the_end

from ferryman.doctor.answer import Foreign, Head, parse_head
from ferryman.doctor.path import Path
from ferryman.doctor.proxy import examine, facts, judge, nowhere, other_ports
from ferryman.doctor.tunnel import Dialer, Reply, Tunnel

Start = Callable[..., Server]
OK = b"HTTP/1.1 200 OK\r\n\r\n"
WANTED = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'


def replied(text: str) -> Reply:
    found = parse_head(text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert isinstance(found, Head)
    return Reply("answer", found)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (replied("HTTP/1.1 200 OK"), ""),
        (replied("HTTP/1.1 204 x"), ""),
        (replied("HTTP/1.1 407 x\nProxy-Authenticate: Negotiate\nProxy-Authenticate: NTLM"), "OTHER_AUTH_ONLY"),
        (replied("HTTP/1.1 407 x"), "OTHER_AUTH_ONLY"),
        (replied("HTTP/1.1 407 x\nProxy-Authenticate: Negotiate, bAsIc realm=x"), "BAD_CREDENTIALS"),
        (replied("HTTP/1.1 401 x\nWWW-Authenticate: Basic"), "NONSTANDARD_AUTH"),
        (replied("HTTP/1.1 403 x"), "DEST_BLOCKED"),
        (replied("HTTP/1.1 429 x"), "PROXY_BUSY"),
        (replied("HTTP/1.1 503 x\nRetry-After: 3"), "PROXY_BUSY"),
        (replied("HTTP/1.1 503 x\nX-Squid-Error: ERR_DNS_FAIL 0"), "UPSTREAM_NAME"),
        (replied("HTTP/1.1 503 x\nX-Squid-Error: ERR_CONNECT_FAIL 111"), "UPSTREAM_REFUSED"),
        (replied("HTTP/1.1 503 x\nX-Squid-Error: ERR_CONNECT_FAIL 110"), "UPSTREAM_FAILED"),
        (replied("HTTP/1.1 502 x\nProxy-Status: p; error=connection_refused"), "UPSTREAM_REFUSED"),
        (replied("HTTP/1.1 502 x\nProxy-Status: p; error=dns_timeout"), "UPSTREAM_NAME"),
        (replied("HTTP/1.1 504 x"), "UPSTREAM_FAILED"),
        (replied("HTTP/1.1 405 x"), "NOT_A_PROXY"),
        (replied("HTTP/1.1 501 x"), "NOT_A_PROXY"),
        (replied("HTTP/1.1 400 x"), "NOT_A_PROXY"),
        (replied("HTTP/1.1 400 x\nVia: 1.1 squid"), "CONNECT_REFUSED"),
        (replied("HTTP/1.1 302 x\nLocation: /login"), "CONNECT_REFUSED"),
        (Reply("foreign", foreign=Foreign.TLS), "PROXY_WANTS_TLS"),
        (Reply("foreign", foreign=Foreign.HTTP2), "HTTP2_ONLY"),
        (Reply("foreign", foreign=Foreign.OTHER, data=b"SSH"), "NOT_HTTP"),
        (Reply("silent"), "NO_ANSWER"),
        (Reply("closed"), "CLOSED_WITHOUT_ANSWER"),
        (Reply("reset"), "CLOSED_WITHOUT_ANSWER"),
    ],
)
def test_what_an_answer_means(reply: Reply, code: str) -> None:
    found, said = judge(reply, proxy(3128, user="walter:secret"), True)
    assert found == code
    assert bool(said) == bool(code)
    assert "secret" not in said


class Asked:
    """A proxy that answers by what it is asked."""

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        self.heads: list[str] = []
        self._answer = answer

    def __call__(self, tunnel: Tunnel) -> None:
        self.heads.append(head(tunnel).decode())
        if said := self._answer(self.heads[-1]):
            tunnel.send(said, PATIENCE)
        assert to_the_end(tunnel) == b""

    @property
    def forms(self) -> list[str]:
        """The word before the credentials, of each request."""
        return [text.partition("Proxy-Authorization: ")[2].partition(" ")[0] for text in self.heads]


def examined(there: Server, port: int = 443, user: str = "walter:right") -> tuple[list[str], bool, str]:
    known = proxy(there.port, user=user)
    found = examine(Path("dvm.test", port, known), known, Dialer(PATIENCE), PLACES)
    there.close()
    return [row.verdict.code if row.verdict else row.state for row in found.checks], found.opens, found.form


def test_credentials_are_kept_until_they_are_asked_for(server: Start) -> None:
    asked = Asked(lambda text: OK if "basic" in text else WANTED)
    assert examined(server(asked)) == (["ok"], True, "basic")
    assert asked.forms == ["", "basic"]


def test_nobody_asks_for_them(server: Start) -> None:
    asked = Asked(lambda text: OK)
    assert examined(server(asked)) == (["OPEN_PROXY", "ok"], True, "")
    assert asked.forms == [""]


def test_the_other_spelling_is_tried(server: Start) -> None:
    asked = Asked(lambda text: OK if "Basic" in text else WANTED)
    assert examined(server(asked)) == (["CASE_SENSITIVE_SCHEME", "ok"], True, "Basic")
    assert asked.forms == ["", "basic", "Basic"]


def test_wrong_ones_are_tried_in_both_spellings(server: Start) -> None:
    asked = Asked(lambda text: WANTED)
    assert examined(server(asked)) == (["BAD_CREDENTIALS"], False, "")
    assert asked.forms == ["", "basic", "Basic"]


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "PORT_BLOCKED"),
        (b"HTTP/1.1 503 No\r\n\r\n", "PORT_BLOCKED"),
        (b"HTTP/1.1 403 No\r\n\r\n", "DEST_BLOCKED"),
        (b"HTTP/1.1 410 Gone\r\n\r\n", "DEST_BLOCKED"),
    ],
)
def test_port_443_tells_whether_it_is_the_port(other: bytes, code: str, server: Start) -> None:
    asked = Asked(lambda text: other if "CONNECT dvm.test:443 " in text else b"HTTP/1.1 403 No\r\n\r\n")
    assert examined(server(asked), 6443, user="") == ([code], False, "")


def test_a_strange_status_at_both_ports_is_not_about_ports(server: Start) -> None:
    asked = Asked(lambda text: b"HTTP/1.1 410 Gone\r\n\r\n")
    assert examined(server(asked), 6443, user="") == (["CONNECT_REFUSED"], False, "")


def test_other_ports(server: Start) -> None:
    there = server(Asked(lambda text: b"HTTP/1.1 403 No\r\n\r\n" if ":30443 " in text else OK))
    known = proxy(there.port)
    rows = other_ports(Path("dvm.test", 443, known, ports=(30443, 6443)), known, Dialer(PATIENCE), "", PLACES)
    assert [row.verdict.code if row.verdict else row.state for row in rows] == ["PORT_BLOCKED", "ok"]
    assert "acl SSL_ports port 30443" in rows[0].remedy
    (row,) = other_ports(Path("dvm.test", 443, known), known, Dialer(PATIENCE), "", PLACES)
    assert row.state == "skipped"


def test_a_name_that_cannot_exist_is_asked_for_twice_where_nothing_comes(server: Start) -> None:
    silent = [True]

    def answer(text: str) -> bytes:
        return b"" if silent and silent.pop() else OK

    asked = Asked(answer)
    there = server(asked)
    reply, name = nowhere(Dialer(PATIENCE), proxy(there.port), "", 0.0)
    there.close()
    assert reply.opened
    assert name.endswith(".invalid")
    assert [f"CONNECT {name}:443 " in text for text in asked.heads] == [True, True]


def test_what_an_answer_is_evidence_of() -> None:
    text = "HTTP/1.1 407 x\nServer: a\nDate: b\nProxy-Authenticate: NTLM\nProxy-Authenticate: Negotiate"
    assert facts(replied(text)) == {
        "answer": "HTTP/1.1 407 x", "Server": "a", "Proxy-Authenticate": "NTLM, Negotiate",
    }  # fmt: skip
    assert facts(Reply("foreign", data=b"SSH", seconds=0.5)) == {"answer": "foreign after 0.50 s", "bytes": "SSH"}
