"""Health checks of haproxy.cfg: the options, their rules, and what a server says of its own."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import backend, findings


def check_of(*lines: str, server: str = "server s 192.0.2.1:80 check") -> dict[str, object]:
    """The native check of the one server, without its time-outs."""
    made: dict[str, object] = backend(*lines, server)["servers"][0]["check"]
    made.pop("timeout")
    return made


@pytest.mark.parametrize(
    ("lines", "http"),
    [
        (["option httpchk"], {"method": "OPTIONS", "version": "1.0"}),
        (["option httpchk /up"], {"method": "OPTIONS", "version": "1.0", "uri": "/up"}),
        (["option httpchk GET /up HTTP/1.1"], {"method": "GET", "version": "1.1", "uri": "/up"}),
        (
            ["option httpchk GET /up HTTP/1.1\\r\\nHost:\\ www.example\\r\\nX-A:\\ b"],
            {"method": "GET", "version": "1.1", "uri": "/up", "host": "www.example", "headers": {"X-A": "b"}},
        ),
        (
            ["option httpchk", "http-check send meth HEAD uri /x ver HTTP/1.1 hdr host h hdr Connection close"],
            {"method": "HEAD", "version": "1.1", "uri": "/x", "host": "h"},
        ),
        (
            ["option httpchk", "http-check comment c", "http-check expect comment c status 200,300-302"],
            {"method": "OPTIONS", "version": "1.0", "status": "200,300-302"},
        ),
        (
            ["option httpchk", "http-check expect ! status 404,500-999"],
            {"method": "OPTIONS", "version": "1.0", "status": "100-403,405-499"},
        ),
        (
            ["option httpchk", "http-check expect rstatus ^20[04]"],
            {"method": "OPTIONS", "version": "1.0", "status": "200,204"},
        ),
    ],
)
def test_http(lines: list[str], http: dict[str, object]) -> None:
    assert check_of(*lines) == {"http": http}


def test_saying_and_expecting() -> None:
    assert check_of(
        "option tcp-check",
        "tcp-check comment redis",
        "tcp-check connect",
        "tcp-check send PING\\r\\n comment c",
        "tcp-check expect comment c string +PONG",
        "tcp-check expect rstring ^[+]",
        "tcp-check send-binary 0a0B",
        "tcp-check expect binary 00ff",
        "tcp-check expect string /x/",
    ) == {
        "steps": [
            {"send": "PING\r\n"},
            {"expect": "+PONG"},
            {"expect": "/^[+]/"},
            {"send_hex": "0a0B"},
            {"expect_hex": "00ff"},
            {"expect_hex": "2f782f"},
        ]
    }
    assert check_of("option tcp-check") == {}


def test_the_last_option_holds_and_rules_of_the_others_are_ignored() -> None:
    lines = ["option httpchk", "option tcp-check", "tcp-check send x", "http-check expect status 200"]
    (found,) = findings(*lines, "server s h:1 check", section="backend b")
    assert "'http-check' rules of backend 'b' are ignored without 'option httpchk'" in found


NONE = {"verify": False, "server_name": "none", "alpn": "none"}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("ssl verify none check", {}),
        ("ssl verify none sni str(a.example) check", {}),
        ("ssl verify none sni ssl_fc_sni check", {"tls": NONE}),
        ("ssl verify none check check-sni x.example", {"tls": {**NONE, "server_name": "x.example"}}),
        ("ssl verify none check check-alpn h2,http/1.1", {"tls": {**NONE, "alpn": ["h2", "http/1.1"]}}),
        ("ssl verify none check no-check-ssl", {"tls": False}),
        ("verify none check check-ssl", {"tls": NONE}),
        ("ssl verify none check port 99", {"address": "192.0.2.1:99"}),
        ("ssl verify none check port 99 check-ssl", {"address": "192.0.2.1:99", "tls": NONE}),
    ],
)
def test_tls(server: str, expected: dict[str, object]) -> None:
    assert check_of(server=f"server s 192.0.2.1:80 {server}") == expected


@pytest.mark.parametrize(
    ("connect", "expected"),
    [
        ("default", {}),
        ("linger", {"tls": False, "send_proxy": False}),
        ("ssl send-proxy", {"send_proxy": True}),
        ("ssl sni a.example send-proxy", {"tls": {**NONE, "server_name": "a.example"}, "send_proxy": True}),
        ("port 99 addr 192.0.2.9", {"address": "192.0.2.9:99", "send_proxy": False}),
    ],
)
def test_a_connect_says_all_of_it(connect: str, expected: dict[str, object]) -> None:
    server = "server s 192.0.2.1:80 ssl verify none send-proxy check"
    assert check_of("option tcp-check", f"tcp-check connect {connect}", server=server) == expected


def test_time_outs_of_answers() -> None:
    tree = backend("timeout check 9s", "option httpchk", "server s h:1 check", "server t h:2 check inter 500ms")
    first, second = (server["check"] for server in tree["servers"])
    assert (first["timeout"], first["answer_timeout"]) == (1.0, 9.0)
    assert (second["timeout"], second["answer_timeout"]) == (0.5, 9.0)
    assert "answer_timeout" not in backend("timeout check 9s", "server s h:1 check")["servers"][0]["check"]


def test_a_hello() -> None:
    assert check_of("option ssl-hello-chk") == {"tls": "hello"}
    (found,) = findings("option ssl-hello-chk", "server s h:1 ssl verify none check", section="backend b")
    assert "'option ssl-hello-chk' for a server that is checked over TLS is not supported" in found


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (["option httpchk GET / HTTP/2"], "'HTTP/2' in a check is HAProxy's, not supported"),
        (["option httpchk GET / HTTP/1.0\\r\\n\\r\\nbody"], "a body in 'option httpchk' is HAProxy's"),
        (["option httpchk GET / HTTP/1.0 x"], "unexpected 'x'"),
        (["no option httpchk"], "'no option httpchk' is not known"),
        (["tcp-check"], "'tcp-check' needs a second word"),
        (["tcp-check sned x"], "unknown keyword 'tcp-check sned'; did you mean 'send'?"),
        (["tcp-check send-lf x"], "'tcp-check send-lf' is HAProxy's, not supported by ferryman yet"),
        (["tcp-check send"], "'tcp-check send' needs a text"),
        (["tcp-check send a b"], "unexpected 'b'"),
        (["tcp-check send x", "tcp-check connect"], "'tcp-check connect' behind other steps"),
        (["tcp-check connect via-socks4"], "'tcp-check connect via-socks4' is HAProxy's"),
        (["tcp-check connect prt 5"], "unknown keyword 'prt'"),
        (["tcp-check expect ! string x"], "'tcp-check expect ! string' is HAProxy's"),
        (["tcp-check expect rbinary 00"], "'tcp-check expect rbinary' is HAProxy's"),
        (["http-check expect string x"], "'http-check expect string' is HAProxy's"),
        (["http-check expect status abc"], "'abc' is no list of statuses"),
        (["http-check expect ! status 100-999"], "no status is good"),
        (["http-check send body x"], "'http-check send body' is HAProxy's"),
        (["http-check send hdr X %[date]"], "'http-check send hdr … %[date]' is HAProxy's"),
        (["tcp-check send-binary 5"], "'5' is not hexadecimal"),
        (["tcp-check expect rstring ("], "'(' is no regular expression"),
        (["http-check send uri /", "http-check send uri /"], "a second 'http-check send' is HAProxy's"),
        (["http-check disable-on-404"], "'http-check disable-on-404' is HAProxy's"),
    ],
)
def test_what_is_refused(lines: list[str], finding: str) -> None:
    found = [one for one in findings(*lines, section="backend b") if "error" in one]
    assert len(found) == 1
    assert finding in found[0]
