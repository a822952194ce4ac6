"""URLs of proxies: every form that other programs misread is read right, or refused with what to write instead."""

from __future__ import annotations

import pytest

from ferryman.config.proxy_url import ProxyUrl, check_credential, parse_proxy_url, written
from ferryman.plan import Address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://u:p@10.0.0.1:3128", ProxyUrl("http", Address("inet", "10.0.0.1", 3128), "u", "p")),
        ("http://u:p%40x@10.0.0.1:3128", ProxyUrl("http", Address("inet", "10.0.0.1", 3128), "u", "p@x")),
        ("https://proxy.example:443/", ProxyUrl("https", Address("name", "proxy.example", 443), "", "")),
        ("HTTP://proxy:3128", ProxyUrl("http", Address("name", "proxy", 3128), "", "")),
        ("socks5://[fd00::1]:1080", ProxyUrl("socks5", Address("inet6", "fd00::1", 1080), "", "")),
        ("http://u:a:b:c@proxy:1", ProxyUrl("http", Address("name", "proxy", 1), "u", "a:b:c")),
        ("http://u:%25%2F%23%3F%22@proxy:1", ProxyUrl("http", Address("name", "proxy", 1), "u", '%/#?"')),
        ("http://j%C3%B6rg:%C3%A9@proxy:1", ProxyUrl("http", Address("name", "proxy", 1), "jörg", "é")),
        ("http://u:p%20q@proxy:1", ProxyUrl("http", Address("name", "proxy", 1), "u", "p q")),
    ],
)
def test_what_is_read(text: str, expected: ProxyUrl) -> None:
    assert parse_proxy_url(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxy:3128", "write http://proxy:3128"),
        ("10.0.0.1:3128", "write http://10.0.0.1:3128"),
        ("u:hush@proxy:3128", "write http://proxy:3128"),
        ("http://proxy", "says no port; write http://proxy:3128"),
        ("https://proxy:", "says no port; write https://proxy:443"),
        ("http://[fd00::1]", r"says no port; write http://\[fd00::1\]:3128"),
        ("http://fd00::1:3128", r"in brackets; write http://\[fd00::1\]:3128"),
        ("http://[fd00::zz]:3128", "no host"),
        ("http://:3128", "no host"),
        ("http://", "no host"),
        ("http://u:p@:3128", "no host"),
        ("http://a_b!c:3128", "neither an address nor a host name"),
        ("http://unix@/run/x:1", "raw|nothing follows|no port"),
        ("ftp://proxy:21", "there are http://, https://, socks5://"),
        ("socks5h://proxy:1080", "write socks5://"),
        ("http://proxy:0", "not a port"),
        ("http://proxy:65536", "not a port"),
        ("http://proxy:http", "not a port"),
        ("http://proxy:3128/path", "nothing follows the port"),
        ("http://proxy:3128?x", "nothing follows the port"),
        ("http://hush@proxy:3128", "without a password"),
        ("http://hush:@proxy:3128", "without a password"),
        ("http://:hush@proxy:3128", "name is missing"),
        ("http://u:hu@sh@proxy:3128", "raw @ .* write %40"),
        ("http://u:hu/sh@proxy:3128", "raw / .* write %2F"),
        ("http://u:hu#sh@proxy:3128", "raw # .* write %23"),
        ("http://u:hu?sh@proxy:3128", r"raw \? .* write %3F"),
        ("http://u:hu%sh@proxy:3128", "plain % as %25"),
        ('http://u:hu"sh@proxy:3128', 'raw " .* write %22'),
        ("http://u:hu\\sh@proxy:3128", "write %5C"),
        ("http://u:hu%0d%0ash@proxy:3128", "password has a control character"),
        ("http://u%0a:hush@proxy:3128", "user has a control character"),
        ("http://u:hush%00@proxy:3128", "control character"),
        ("http://u%3Av:hush@proxy:3128", "user has a colon"),
        ("http://u:hush%ff@proxy:3128", "not UTF-8"),
        ("http://u:hu sh@proxy:3128", "one word"),
        (f"http://u:{'hush' * 64}@proxy:3128", "longer than 255 bytes"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_proxy_url(text)
    assert "hush" not in str(refused.value)


def test_written_without_credentials() -> None:
    assert written(parse_proxy_url("http://u:p@[::1]:3128")) == "http://[::1]:3128"


def test_credentials_from_elsewhere() -> None:
    check_credential("any: thing/é", "password")
    with pytest.raises(ValueError, match="colon"):
        check_credential("a:b", "user")


def test_the_password_is_not_shown() -> None:
    assert repr(parse_proxy_url("http://walter:hunter2@proxy:3128")) == "ProxyUrl(http://proxy:3128)"
