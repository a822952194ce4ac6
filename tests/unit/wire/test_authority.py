"""Hosts and ports as clients write them, and the spellings that are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.wire.authority import format_authority, parse_authority, parse_host

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("DVM-ns.Apps.Example", "dvm-ns.apps.example"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_sip.example", "_sip.example"),
        ("3com.com", "3com.com"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("10.0.0.255", "10.0.0.255"),
        ("10.0.0.255.", "10.0.0.255"),
        ("::1", "::1"),
        ("2001:DB8:0:0::0001", "2001:db8::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        (LONGEST, LONGEST),
        (f"{LONGEST}.", LONGEST),
    ],
)
def test_hosts_get_one_spelling(text: str, host: str) -> None:
    assert parse_host(text) == host
    assert parse_host(host) == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty host"),
        (".", "empty label"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a..", "empty label"),
        ("a" * 64, "longer than 63"),
        (f"{LONGEST}e", "longer than 253"),
        ("a." * 150, "longer than 253"),
        ("bücher.example", "not ASCII"),
        ("b\xc3\xbccher.example", "not ASCII"),
        ("a b", "a byte that no name has"),
        ("a%2eb", "a byte that no name has"),
        ("a\0b", "a byte that no name has"),
        ("a\nb", "a byte that no name has"),
        ("example.com\n", "a byte that no name has"),
        ("user@example.com", "a byte that no name has"),
        ("*", "a byte that no name has"),
        ("127.1", "four numbers"),
        ("2130706433", "four numbers"),
        ("0x7f000001", "four numbers"),
        ("0x7f.0.0.1", "four numbers"),
        ("a.0x", "four numbers"),
        ("0177.0.0.1", "four numbers"),
        ("256.0.0.1", "four numbers"),
        ("1.2.3.4.5", "four numbers"),
        ("example.1", "four numbers"),
        ("::1%lo", "no IPv6"),
        ("::1\0", "no IPv6"),
        ("::g", "no IPv6"),
        (":\xe9:", "no IPv6"),
        ("1:2", "no IPv6"),
    ],
)
def test_what_is_no_host_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("Example.com:443", "example.com", 443),
        ("example.com:1", "example.com", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ("[::]:80", "::", 80),
    ],
)
def test_authorities(text: str, host: str, port: int) -> None:
    assert parse_authority(text) == (host, port)
    assert parse_authority(text, 80) == (host, port)
    assert parse_authority(format_authority(host, port)) == (host, port)


@pytest.mark.parametrize(("text", "host"), [("example.com", "example.com"), ("[::1]", "::1")])
def test_a_default_port(text: str, host: str) -> None:
    assert parse_authority(text, 80) == (host, 80)
    with pytest.raises(ValueError, match="no port"):
        parse_authority(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty host"),
        (":443", "an empty host"),
        ("example.com:", "no port"),
        ("[::1]:", "no port"),
        ("example.com:0", "from 1 to 65535"),
        ("example.com:65536", "from 1 to 65535"),
        ("example.com:999999", "from 1 to 65535"),
        ("example.com:0443", "from 1 to 65535"),
        ("example.com:+443", "from 1 to 65535"),
        ("example.com:４４３", "from 1 to 65535"),
        ("example.com:443\n", "from 1 to 65535"),
        ("example.com:https", "from 1 to 65535"),
        ("example.com:443/", "from 1 to 65535"),
        ("example.com/:443", "a byte that no name has"),
        ("u:p@example.com:443", "user information"),
        ("u@example.com:443", "user information"),
        ("example.com:443@evil.example", "user information"),
        ("::1:443", "without brackets"),
        ("a:1:2", "without brackets"),
        ("[::1:443", "brackets that"),
        ("::1]:443", "brackets that"),
        ("[::1]]:443", "brackets that"),
        ("[[::1]:443", "IPv6"),
        ("[]:443", "brackets that"),
        ("[", "brackets that"),
        ("]", "brackets that"),
        ("[example.com]:443", "brackets that"),
        ("[1.2.3.4]:443", "brackets that"),
        ("[::1%25lo]:443", "no IPv6"),
        ("[v1.x:y]:443", "no IPv6"),
        (f"{'a.' * 150}a:443", "longer than 253"),
    ],
)
def test_what_is_no_authority_is_refused(text: str, reason: str) -> None:
    for default in (0, 80):
        with pytest.raises(ValueError, match=reason):
            parse_authority(text, default)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[\[\]:@.a-f0-9x%]{0,30}", fullmatch=True)))
def test_any_text_gives_a_clean_host_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_authority(text, 80)
    except ValueError:
        return
    assert 0 < port < 65536
    assert parse_authority(format_authority(host, port)) == (host, port)
    assert not set(host) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.:")
