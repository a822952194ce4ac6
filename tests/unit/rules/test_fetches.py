"""Each fact: its value, when it is absent, and when it is not known yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest

from ferryman.rules.expression import parse
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts, Missing, Value
from ferryman.rules.fetches import FETCHES
from ferryman.wire import clienthello


@dataclass(frozen=True)
class Hello:
    record_version: int = 0x0301
    version: int = 0x0303
    sni: str | None = "WWW.example.org"
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    versions: tuple[int, ...] = (0x0304, 0x0303)
    ciphers: tuple[int, ...] = (0x1301, 0xC02F)
    groups: tuple[int, ...] = (0x11EC, 0x001D)
    keyshares: tuple[int, ...] = (0x11EC,)
    sigalgs: tuple[int, ...] = (0x0403,)
    ech: str = "none"


EMPTY = Hello(sni=None, alpn=(), versions=(), ciphers=(), groups=(), keyshares=(), sigalgs=())


def ask(text: str, hello: Hello | Missing = UNKNOWN, data: bytes = b"", final: bool = False) -> Value | Missing:
    facts = Facts(
        "192.0.2.7",
        40000,
        "198.51.100.1",
        443,
        listener="web",
        hello=hello,
        data=data,
        final=final,
        time=1700000000.7,
        captures=["seen", None],
        usable_servers={"pool": 2},
    )
    return parse(text).evaluate(facts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("client_address", "192.0.2.7"),
        ("client_port", 40000),
        ("local_address", "198.51.100.1"),
        ("local_port", 443),
        ("listener", "web"),
        ("always_true", True),
        ("always_false", False),
        ("text(a)", "a"),
        ("integer(-3)", -3),
        ("boolean(0)", False),
        ("usable_servers(pool)", 2),
        ("usable_servers(other)", ABSENT),
        ("capture(0)", "seen"),
        ("capture(1)", ABSENT),
        ("capture(2)", ABSENT),
        ("date", 1700000000),
        ("wait_end", UNKNOWN),
    ],
)
def test_what_needs_no_bytes(text: str, expected: Value | Missing) -> None:
    assert ask(text) == expected


@pytest.mark.parametrize(
    ("text", "value", "empty"),
    [
        ("sni", "WWW.example.org", ABSENT),
        ("hello_type", 1, 1),
        ("tls_version", "3.3", "3.3"),
        ("tls_versions", "3.4,3.3", ABSENT),
        ("alpn", "h2,http/1.1", ABSENT),
        ("ciphers", b"\x13\x01\xc0\x2f", ABSENT),
        ("groups", b"\x11\xec\x00\x1d", ABSENT),
        ("keyshare_groups", b"\x11\xec", ABSENT),
        ("sigalgs", b"\x04\x03", ABSENT),
        ("ech", "none", "none"),
    ],
)
def test_the_hello(text: str, value: Value, empty: Value | Missing) -> None:
    assert ask(text, Hello()) == value
    assert ask(text, EMPTY) == empty
    assert ask(text, UNKNOWN) is UNKNOWN
    assert ask(text, UNKNOWN, final=True) is ABSENT
    assert ask(text, ABSENT) is ABSENT


def test_a_parsed_hello_has_the_fields_that_rules_read() -> None:
    hello = clienthello.ClientHello(0x301, 0x303, "a", (), "outer", False, 9, b"\x13\x01", b"", b"", b"", b"")
    facts = replace(Facts("::1", 1, "::1", 2), hello=hello)
    values = [
        parse(name).evaluate(facts)
        for name, fetch in FETCHES.items()
        if fetch.needs == "bytes" and not fetch.parameters
    ]
    assert "outer" in values
    assert b"\x13\x01" in values


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("length", b"abc", 3),
        ("payload(1,2)", b"abc", b"bc"),
        ("payload(1,0)", b"abc", b"bc"),
        ("payload(3,0)", b"abc", b""),
        ("payload(2,2)", b"abc", UNKNOWN),
        ("payload_lv(0,1)", b"\x02abc", b"ab"),
        ("payload_lv(0,1)", b"\x04abc", UNKNOWN),
        ("payload_lv(0,1)", b"", UNKNOWN),
        ("payload_lv(0,1)", b"\x00abc", ABSENT),
        ("payload_lv(0,1,+1)", b"\x02abc", b"bc"),
        ("payload_lv(1,1,0)", b"a\x02bc", b"a\x02"),
        ("payload_lv(0,1,-9)", b"\x02abc", ABSENT),
    ],
)
def test_raw_bytes(text: str, data: bytes, expected: Value | Missing) -> None:
    assert ask(text, data=data) == expected


RDP = b"\x03\x00\x00\x2f\x2a\xe0\x00\x00\x00\x00\x00Cookie: mstshash=alice\r\n\x01\x00"


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("rdp_cookie", RDP, "alice"),
        ("rdp_cookie(MSTSHASH)", RDP, "alice"),
        ("rdp_cookie(other)", RDP, ABSENT),
        ("rdp_cookie", RDP[:11] + b"Cookie: none\r\n", ABSENT),
        ("rdp_cookie", RDP[:11] + b"Cookies", ABSENT),
    ],
)
def test_rdp_cookie(text: str, data: bytes, expected: Value | Missing) -> None:
    assert ask(text, data=data) == expected


def test_rdp_cookie_is_unknown_until_its_line_is_complete() -> None:
    assert {ask("rdp_cookie", data=RDP[:end]) for end in range(RDP.index(b"\n") + 1)} == {UNKNOWN}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", UNKNOWN),
        (b"GE", UNKNOWN),
        (b"GET /a", UNKNOWN),
        (b"GET / HTTP/1.1\r\n", True),
        (b"CONNECT a:1 HTTP/1.0\nHost", True),
        (b"\x16\x03\x01", False),
        (b"GET \x00\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"EHLO there\r\n", False),
        (b"A" * 40, False),
    ],
)
def test_proto_http(data: bytes, expected: Value | Missing) -> None:
    assert ask("proto_http", data=data) == expected
    assert ask("proto_http", data=data, final=True) == (expected is True)


def test_wait_end_is_true_in_the_end() -> None:
    assert ask("wait_end", final=True) is True


def test_every_fact_is_documented() -> None:
    assert all(fetch.text for fetch in FETCHES.values())


def test_facts_of_an_explicit_proxy_are_absent_elsewhere() -> None:
    own = [name for name, fetch in FETCHES.items() if fetch.needs == "target"]
    assert own
    assert [name for name in own if ask(name) is not ABSENT] == []


def test_facts_of_an_explicit_proxy() -> None:
    facts = Facts(
        "192.0.2.7", 40000, "198.51.100.1", 3128,
        user="alice", method="CONNECT", protocol="connect", target_host="www.example.org", target_port=443,
        target_addresses=("192.0.2.1", "2001:db8::1"), server_names=UNKNOWN, step=1,
    )  # fmt: skip

    def value(name: str) -> Value | Missing:
        return parse(name).evaluate(facts)

    assert [value(name) for name in ("user", "method", "protocol", "target_host", "target_port", "step")] == [
        "alice", "CONNECT", "connect", "www.example.org", 443, 1,
    ]  # fmt: skip
    assert value("target_address") == "192.0.2.1,2001:db8::1"
    assert value("server_name") == "www.example.org"
    facts.hello = Hello(sni="other.example")
    assert value("server_name") == "other.example"
    facts.hello = EMPTY
    assert value("server_name") == "www.example.org"
    facts.server_names = ("a.example", "*.b.example")
    assert value("server_name") == "a.example,*.b.example"
    facts.target_addresses = UNKNOWN
    assert value("target_address") is UNKNOWN


def test_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC+3")  # three hours behind
    time.tzset()
    try:
        assert ask("time") == "Tue 19:13"
    finally:
        monkeypatch.undo()
        time.tzset()


def behind_a_proxy(**changes: object) -> Facts:
    ssl = b"\x01\0\0\0\0" + b"\x21\0\x07TLSv1.3" + b"\x22\0\x02me"
    facts = Facts("203.0.113.9", 5000, "198.51.100.1", 443, peer_address="10.0.0.1", peer_port=40000)
    facts.proxy_tlvs = {2: b"a.example", 5: b"id-1", 0x20: ssl, 0xEA: b"\x01vpce", 0x30: b"n\xff"}
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("client_address", "203.0.113.9"),
        ("client_port", 5000),
        ("peer_address", "10.0.0.1"),
        ("peer_port", 40000),
        ("proxied", True),
        ("proxy_authority", "a.example"),
        ("proxy_unique_id", "id-1"),
        ("proxy_tlv(0xEA)", b"\x01vpce"),
        ("proxy_tlv(234)", b"\x01vpce"),
        ("proxy_tlv(0xEB)", ABSENT),
        ("proxy_tlv(0x20,0x22)", b"me"),
        ("proxy_tlv(0x20,0x23)", ABSENT),
        ("proxy_tlv(0x30,0x22)", ABSENT),
        ("proxy_tlv(0x20)|length", 20),
    ],
)
def test_what_a_proxy_header_says(text: str, value: Value | Missing) -> None:
    expression = parse(text)
    assert expression.evaluate(behind_a_proxy()) == value
    assert parse(str(expression)) == expression
    due = behind_a_proxy(header_due=True, proxy_tlvs=ABSENT)
    if text.startswith("peer"):
        assert expression.evaluate(due) == value
    else:
        assert expression.evaluate(due) is UNKNOWN


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("peer_address", "192.0.2.7"),
        ("peer_port", 40000),
        ("proxied", False),
        ("proxy_authority", ABSENT),
        ("proxy_unique_id", ABSENT),
        ("proxy_tlv(2)", ABSENT),
        ("proxy_tlv(2,3)", ABSENT),
    ],
)
def test_without_a_proxy_header(text: str, value: Value | Missing) -> None:
    assert ask(text) == value


class Tls:
    """What rules.facts.Tls says."""

    version, cipher, alpn, resumed = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2", True
    certificate, fingerprint = b"DER", "ab" * 32
    subject = (("C", "DE"), ("O", "Fähre, GmbH"), ("CN", " a;b "), ("CN", "#x"))
    issuer = (("CN", "root"),)
    names = ("a.example", "192.0.2.7")


class Anonymous(Tls):
    alpn, certificate, fingerprint = "", b"", ""
    subject = issuer = ()
    names = ()


@pytest.mark.parametrize(
    ("text", "agreed", "anonymous", "untouched"),
    [
        ("tls_terminated", True, True, False),
        ("tls_agreed_version", "TLSv1.3", "TLSv1.3", ABSENT),
        ("tls_agreed_alpn", "h2", ABSENT, ABSENT),
        ("tls_cipher", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", ABSENT),
        ("tls_resumed", True, True, ABSENT),
        ("client_cert", True, False, False),
        ("client_cert_subject", r"CN=\#x,CN=\ a\;b\ ,O=Fähre\, GmbH,C=DE", ABSENT, ABSENT),
        ("client_cert_subject(cn)", " a;b ", ABSENT, ABSENT),
        ("client_cert_subject(OU)", ABSENT, ABSENT, ABSENT),
        ("client_cert_issuer", "CN=root", ABSENT, ABSENT),
        ("client_cert_names", "a.example,192.0.2.7", ABSENT, ABSENT),
        ("client_cert_fingerprint", "ab" * 32, ABSENT, ABSENT),
    ],
)
def test_what_a_handshake_has_come_to(
    text: str, agreed: Value, anonymous: Value | Missing, untouched: Value | Missing
) -> None:
    facts = Facts("192.0.2.7", 40000, "198.51.100.1", 443)
    outcomes = [parse(text).evaluate(replace(facts, tls=tls)) for tls in (Tls(), Anonymous(), ABSENT, UNKNOWN)]
    assert outcomes == [agreed, anonymous, untouched, UNKNOWN]
