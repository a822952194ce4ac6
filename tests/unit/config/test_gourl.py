"""URLs as Go's net/url has them, each case known from its behaviour, where it differs from what one would think."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config.gourl import GoUrl, GoUrlError, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://u:p@10.0.0.1:3128", GoUrl("http", "", "u", "p", "10.0.0.1:3128")),
        ("http://u:p%40x@10.0.0.1:3128", GoUrl("http", "", "u", "p@x", "10.0.0.1:3128")),
        ("HTTPS://proxy:1/", GoUrl("https", "", None, None, "proxy:1", "/")),
        ("http://proxy", GoUrl("http", host="proxy")),
        ("http://proxy:", GoUrl("http", host="proxy:")),
        ("proxy:3128", GoUrl("proxy", opaque="3128")),
        ("user:word@proxy:3128", GoUrl("user", opaque="word@proxy:3128")),
        ("proxy", GoUrl(path="proxy")),
        ("//proxy:3128", GoUrl(host="proxy:3128")),
        ("///proxy:3128", GoUrl(path="///proxy:3128")),
        ("http:///x", GoUrl("http", path="/x")),
        ("", GoUrl()),
        ("*", GoUrl(path="*")),
        ("http://u@h:1", GoUrl("http", "", "u", None, "h:1")),
        ("http://u:@h:1", GoUrl("http", "", "u", "", "h:1")),
        ("http://:p@h:1", GoUrl("http", "", "", "p", "h:1")),
        ("http://u:a@b:c@h:1", GoUrl("http", "", "u", "a@b:c", "h:1")),
        ("http://u:12/34@h:1", GoUrl("http", "", None, None, "u:12", "/34@h:1")),
        ("http://u:12#34@h:1", GoUrl("http", host="u:12", fragment="34@h:1")),
        ("http://u:12?34@h:1", GoUrl("http", host="u:12", query="34@h:1")),
        ("http://h:1/?", GoUrl("http", host="h:1", path="/")),
        ("http://u:%0a@h:1", GoUrl("http", "", "u", "\n", "h:1")),
        ("http://u:%ff@h:1", GoUrl("http", "", "u", "\udcff", "h:1")),
        ("http://u:%C3%BC@h:1", GoUrl("http", "", "u", "ü", "h:1")),
        ("http://[fd00::1]:3128", GoUrl("http", host="[fd00::1]:3128")),
        ("http://[fe80::1%25eth0]:1", GoUrl("http", host="[fe80::1%eth0]:1")),
        ("http://fd00::1:3128", GoUrl("http", host="fd00::1:3128")),
        ("http://h:99999999", GoUrl("http", host="h:99999999")),
        ("h+x-1.y:z", GoUrl("h+x-1.y", opaque="z")),
    ],
)
def test_what_is_read(text: str, expected: GoUrl) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1:3128", "first path segment"),
        ("1user:word@proxy:3128", "first path segment"),
        (":3128", "missing protocol scheme"),
        ("http://u:50%@h:1", "invalid URL escape"),
        ("http://u:%zz@h:1", "invalid URL escape"),
        ("http://%41:1", "invalid URL escape"),
        ("http://u:p q@h:1", "invalid userinfo"),
        ("http://u:p\\q@h:1", "invalid userinfo"),
        ("http://u:ü@h:1", "invalid userinfo"),
        ("http://u:word/x@h:1", "invalid port"),
        ("http://h:port", "invalid port"),
        ("http://[::1", "missing ']'"),
        ("http://[::1]x", "invalid port"),
        ("http://a b:1", "invalid character"),
        ("http://a^b:1", "invalid character"),
        ("http://h:1\n", "control character"),
        ("http://h:1/%", "invalid URL escape"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(GoUrlError, match=reason) as caught:
        parse(text)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "port"),
    [("http://h:1", "1"), ("http://h", ""), ("http://[::1]", ""), ("http://[::1]:2", "2"), ("x:1", "")],
)
def test_the_port(text: str, port: str) -> None:
    assert parse(text).port == port


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(parse("http://u:secret@h:1"))


_PIECES = st.lists(
    st.sampled_from(
        ["http", "//", ":", "@", "/", "?", "#", "%", "%41", "%0a", "[", "]", "::1", "u", "p", "1", " ", "é", "\\"]
    )
)


@given(_PIECES.map("".join) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        url = parse(text)
    except GoUrlError:
        return
    if url.user is None:
        assert url.password is None
    if url.host:
        assert "//" in text
        assert "/" not in url.host
        assert "@" not in url.host
    if url.opaque:
        assert url.scheme
        assert not url.host
