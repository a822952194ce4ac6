"""Ways through other proxies: every form of them, what contradicts itself, and which way a target takes."""

from __future__ import annotations

import pytest
from tests.unit.config.findings import backend, connect, loaded, said, with_connect

from ferryman.plan import Address, Hop, Through

A = Hop("http", Address("name", "a", 3128))
B = Hop("socks5", Address("inet6", "fd00::1", 1080))


def through(text: str) -> Through:
    return connect(f"via: [{{through: {text}}}]").via[0].through


@pytest.mark.parametrize(
    ("text", "chains"),
    [
        ("'http://a:3128'", ((A,),)),
        ("direct", ((),)),
        ("['http://a:3128', direct]", ((A,), ())),
        ("[['http://a:3128', 'socks5://[fd00::1]:1080']]", ((A, B),)),
        ("['http://a:3128', ['socks5://[fd00::1]:1080', {url: 'http://a:3128'}], direct]", ((A,), (B, A), ())),
        ("{url: 'http://a:3128'}", ((A,),)),
    ],
)
def test_forms(text: str, chains: tuple[tuple[Hop, ...], ...]) -> None:
    assert through(text).chains == chains
    assert backend(f"servers: 'x:1', via: {text}").via == Through(chains)


def test_a_hop_with_everything() -> None:
    found = through("{url: 'https://p.example:443', user: u, password: 'p:w', server_name: q.example, verify: true}")
    assert found.chains == (
        (Hop("https", Address("name", "p.example", 443), "u", "p:w", server_name="q.example"),),
    )  # fmt: skip
    assert through("{url: 'http://p:1', credentials: client}").chains[0][0].pass_credentials


def test_no_password_is_shown() -> None:
    found = through("'http://u:hush@p:1'")
    assert found.chains[0][0].password == "hush"
    assert "hush" not in f"{found!r} {found.chains[0][0]}"


def test_exceptions_leave_a_proxy_out() -> None:
    found = through("[[{url: 'http://a:3128', except: [.internal, 10.0.0.0/8]}, 'socks5://[fd00::1]:1080'], direct]")
    (first, _), _ = found.chains
    assert found.chains_for("www.example.org", 443) == ((first, B), ())
    assert found.chains_for("x.internal", 443) == ((B,), ())
    alone = through("[{url: 'http://a:3128', except: 10.0.0.0/8}, direct]")
    assert alone.chains_for("10.1.2.3", 443) == ((),)
    others = through("['socks5://[fd00::1]:1080', {url: 'http://a:3128', except: 10.0.0.0/8}, 'http://b:1']")
    assert others.chains_for("10.1.2.3", 443) == ((),), "directly, and by no other proxy either"
    assert len(others.chains_for("11.1.2.3", 443)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{url: 'http://p:1', user: u}", "`user` without `password`; add `password:`"),
        ("{url: 'http://p:1', password: hush}", "`password` without `user`; add `user:`"),
        ("{url: 'http://u:hush@p:1', user: v}", "credentials stand in the URL and beside it; remove one of them"),
        ('{url: "http://p:1", user: u, password: "hu\\nsh"}', "the password has a control character in it; "
         "line breaks and the like cannot be sent"),
        ("{url: 'socks5://p:1', credentials: client}", "SOCKS has no Proxy-Authorization to send on; "
         "remove `credentials:`"),
        ("{url: 'http://u:hush@p:1', credentials: client}", "the client's credentials or its own: which are meant?; "
         "remove one"),
        ("{url: 'http://p:1', verify: false}", "`verify` is about TLS, which http does not speak; "
         "remove it, or write https://p:1"),
        ("{url: 'https://p:1', ca: /nonexistent}", "cannot read /nonexistent: No such file or directory"),
        ("{url: 'http://p:1', except: 'a b'}", 'this is no host name; a "*" stands only at the front, '
         "with a dot after it"),
    ],
)  # fmt: skip
def test_contradictions(text: str, message: str) -> None:
    found = with_connect(f"via: [{{through: [{text}, direct]}}]")
    assert found.plan is None
    assert said(found) == [f"error: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "at least 1 item"),
        ("[[]]", "write it as an alternative by itself"),
        ("[['http://a:1', direct]]", "write it as an alternative by itself"),
        ("5", "must be a mapping, not 5"),
        ("{user: u}", "url is missing"),
        ("'p:hush@proxy:3128'", "begins with its scheme; write http://proxy:3128"),
        ("[direct, 'http://u:hush%0a@p:1']", "control character"),
    ],
)
def test_what_is_no_way(text: str, message: str) -> None:
    found = with_connect(f"via: [{{through: {text}}}]")
    assert len(said(found)) == 1
    assert message in said(found)[0]
    assert "hush" not in said(found)[0]


def test_warnings() -> None:
    found = with_connect("via: [{through: [direct, {url: 'https://p:1', verify: false}, direct]}]")
    assert said(found) == [
        "warning: whoever sits in between can read the credentials and pose as this proxy",
        "warning: this way is already in the list; remove one of them",
    ]


def test_servers_that_no_proxy_leads_to() -> None:
    text = "listeners: {web: {bind: '*:1', to: app}}\nbackends: {app: {via: 'http://p:1', servers: %s}}"
    assert said(loaded(text % "unix@/run/x")) == [
        "error: no proxy leads to unix@/run/x, which is on this machine; move it to a backend without `via`"
    ]
    assert said(loaded(text % "[{address: 'a:1', check: true}]")) == []
