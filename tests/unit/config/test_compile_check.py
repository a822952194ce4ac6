"""`check` of backends and servers: what traffic has, what a check says of its own, and what is refused."""

from __future__ import annotations

import pytest

from ferryman.config.load import Loaded, load
from ferryman.config.source import Source
from ferryman.plan import Check, Expect, ExpectStatus, Send

BACKEND = "listeners: {web: {bind: '*:1', to: app}}\nbackends: {app: {servers: [%s], %s}}"


def loaded(check: str, server: str = "name.example:8080", more: str = "keepalive: true") -> Loaded:
    servers = f"{{address: '{server}', check: {check}}}"
    return load([Source("f.yaml", BACKEND % (servers, more))], environment={})


def check_of(check: str, server: str = "name.example:8080", more: str = "keepalive: true") -> Check:
    done = loaded(check, server, more)
    assert done.plan is not None, [str(finding) for finding in done.diagnostics.found]
    found = done.plan.servers[0].check
    assert found is not None
    return found


def said(done: Loaded) -> list[str]:
    return [f"{one.severity}: {one.message}" for one in done.diagnostics.found]


ALL = "via: 'http://127.0.0.1:3128', send_proxy: v2, tls: {server_name: fixed.example, alpn: h2}"


def test_a_check_goes_the_way_of_traffic() -> None:
    done = loaded("true", more=ALL)
    assert done.plan is not None
    server = done.plan.servers[0]
    assert server.check is not None
    assert server.check.via == done.plan.backends[0].via is not None
    assert server.check.tls == server.tls is not None
    assert server.check.send_proxy == 2
    assert said(done) == []


def test_to_another_address_it_is_a_plain_connection() -> None:
    check = check_of("{address: '192.0.2.1:1'}", more=ALL)
    assert (check.via, check.tls, check.send_proxy) == (None, None, 0)
    check = check_of("{address: '192.0.2.1:1', via: true, tls: true, send_proxy: true}", more=ALL)
    assert check.via is not None
    assert check.tls is not None
    assert check.tls.server_name == "fixed.example"
    assert check.send_proxy == 2


def test_each_layer_can_be_left_out() -> None:
    done = loaded("{via: false, tls: false, send_proxy: false}", more=ALL)
    assert done.plan is not None
    assert done.plan.servers[0].check == Check()
    assert said(done) == ["warning: checks go another way than traffic, which goes through `via`"]


def test_a_name_of_its_own() -> None:
    check = check_of("{server_name: other.example}", more="tls: {server_name: received, verify: true}")
    assert check.tls is not None
    assert (check.tls.server_name, check.tls.verify) == ("other.example", True)


def test_tls_of_its_own_and_only_a_hello() -> None:
    check = check_of("{tls: {verify: true, min_version: 1.3}}")
    assert check.tls is not None
    assert check.tls.limits.min_version == "1.3"
    check = check_of("{tls: hello}")
    assert check.hello
    assert check.tls is not None
    assert not check.tls.verify


@pytest.mark.parametrize(
    ("http", "head", "ranges"),
    [
        ("true", "GET / HTTP/1.1\r\nHost: name.example:8080\r\nConnection: close\r\n\r\n", ((200, 399),)),
        ("/up", "GET /up HTTP/1.1\r\nHost: name.example:8080\r\nConnection: close\r\n\r\n", ((200, 399),)),
        ("{method: OPTIONS, uri: '*', version: 1.0, status: 204}", "OPTIONS * HTTP/1.0\r\n\r\n", ((204, 204),)),
        (
            "{host: h, headers: {X-A: b c}, status: '200, 300-310'}",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-A: b c\r\n\r\n",
            ((200, 200), (300, 310)),
        ),
    ],
)
def test_an_http_request(http: str, head: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert check_of(f"{{http: {http}}}").steps == (Send(head.encode()), ExpectStatus(ranges))


def test_over_tls_http_is_asked_for_by_the_name_and_never_version_2() -> None:
    check = check_of(
        "{http: true}", server="192.0.2.1:443", more="tls: {server_name: web.example, alpn: [h2, http/1.1]}"
    )
    assert isinstance(check.steps[0], Send)
    assert b"\r\nHost: web.example\r\n" in check.steps[0].data
    assert check.tls is not None
    assert check.tls.alpn == ("http/1.1",)


def test_what_is_said_and_expected() -> None:
    assert check_of(r'{send: "PING\r\n", expect: +PONG}').steps == (Send(b"PING\r\n"), Expect(b"+PONG"))
    assert check_of("{expect: '/^220 /'}").steps == (Expect(b"^220 ", regex=True),)
    steps = "{steps: [{expect_hex: '00ff'}, {send_hex: 0a 0B}, {send: é}, {expect: '/'}]}"
    assert check_of(steps).steps == (Expect(b"\0\xff"), Send(b"\n\x0b"), Send("é".encode()), Expect(b"/"))


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("{via: true}", "there are no proxies on the way to this server"),
        ("{server_name: x.example}", "without TLS a server is asked for no name"),
        ("{http: true, send: x}", "`send` beside `http`: which is meant?"),
        ("{steps: [{send: x}], expect: x}", "`expect` beside `steps`"),
        ("{tls: hello, http: true}", "behind `tls: hello` nothing can be said: there is no handshake"),
        ("{steps: [{}]}", "a step that says and expects nothing"),
        ("{steps: [{send: x, expect: y}]}", "a step says or expects one thing"),
        ("{http: {status: 99}}", "'99' is no list of statuses"),
        ("{http: {status: '300-200'}}", "'300-200' is no list of statuses"),
        ("{http: {uri: '/a b'}}", "cannot stand in the first line of a request"),
        (r'{http: {headers: {X: "a\r\nb"}}}', "is no header"),
        ("{http: {method: 'G T'}}", "is no HTTP method"),
        ("{expect: '/(/'}", "is no regular expression"),
        ("{steps: [{send_hex: abc}]}", "is not hexadecimal"),
    ],
)
def test_what_makes_no_sense_is_refused(check: str, problem: str) -> None:
    done = loaded(check)
    assert done.plan is None
    assert problem in " ".join(said(done))
