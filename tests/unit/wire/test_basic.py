"""Basic credentials, in the spellings of clients, and what is none."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.wire.basic import basic_authorization, basic_credentials, challenge


def encoded(credentials: bytes) -> str:
    return base64.b64encode(credentials).decode()


@pytest.mark.parametrize(
    ("value", "user", "password"),
    [
        (f"basic {encoded(b'alice:secret')}", "alice", "secret"),  # as stunnel writes it
        (f"Basic {encoded(b'alice:secret')}", "alice", "secret"),
        (f"BASIC   {encoded(b'alice:secret')}", "alice", "secret"),
        (f"Basic {encoded(b'alice:se:cr:et')}", "alice", "se:cr:et"),
        (f"Basic {encoded(b'alice::')}", "alice", ":"),
        (f"Basic {encoded(b'alice:x').rstrip('=')}", "alice", "x"),
        (f"Basic {encoded(b'alice:xy').rstrip('=')}", "alice", "xy"),
        (f"Basic {encoded('älice:schlüssel'.encode())}", "älice", "schlüssel"),
        (f"Basic {encoded('älice:schlüssel'.encode('latin-1'))}", "älice", "schlüssel"),
        (f"Basic {encoded(b'a b: c ')}", "a b", " c "),
    ],
)
def test_credentials_are_read(value: str, user: str, password: str) -> None:
    assert basic_credentials(value) == (user, password)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        f"Basic{encoded(b'a:b')}",
        f"Basic\t{encoded(b'a:b')}",
        f" Basic {encoded(b'a:b')}",
        f"Bearer {encoded(b'a:b')}",
        f"Basic {encoded(b'alice')}",
        f"Basic {encoded(b'alice:')}",
        f"Basic {encoded(b':secret')}",
        f"Basic {encoded(b'alice:secret')}, Basic {encoded(b'alice:secret')}",
        f"Basic {encoded(b'alice:x')[:-1]}",
        f"Basic {encoded(b'alice:xy')}=",
        f"Basic {encoded(b'alice:xy')}====",
        f"Basic {encoded(b'alice:xyz').replace('=', '')}x",
        "Basic YTpi*",
        "Basic YTp\u00ff",
        "Basic YTpjZ",
        "Basic YTpjZB==x",
        f"Basic {encoded(b'alice:sec') + encoded(b'ret')}\n",
        *(f"Basic {encoded(b'alice:sec' + byte + b'ret')}" for byte in (b"\r", b"\n", b"\0", b"\t", b"\x7f")),
        f"Basic {encoded(b'al' + bytes([0]) + b'ice:secret')}",
    ],
)
def test_what_is_no_credentials(value: str) -> None:
    assert basic_credentials(value) is None


@given(
    st.text(st.characters(exclude_characters=":", exclude_categories=("Cc", "Cs")), min_size=1),
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1),
)
def test_what_is_written_is_read(user: str, password: str) -> None:
    assert basic_credentials(basic_authorization(user, password)) == (user, password)


@pytest.mark.parametrize(("user", "password"), [("a:b", "c"), ("a\r\n", "c"), ("a", "c\n"), ("a", "\0")])
def test_what_cannot_be_carried(user: str, password: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent") as failure:
        basic_authorization(user, password)
    assert password not in str(failure.value).split("cannot")[0].split()


def test_the_challenge_quotes_its_realm() -> None:
    assert challenge("ferryman") == ("Proxy-Authenticate", 'Basic realm="ferryman", charset="UTF-8"')
    assert challenge('a"b\\c')[1] == 'Basic realm="a\\"b\\\\c", charset="UTF-8"'
