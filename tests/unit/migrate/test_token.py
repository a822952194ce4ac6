"""Tokens: text to a value and back; damage is found, and never shown."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.migrate import token
from ferryman.migrate.token import Token

GOOD = Token(("192.0.2.7:6443", "[2001:db8::7]:6443"), "5e" * 32, bytes(range(32)), "dvm.example.org")
TOKENS = st.builds(
    Token,
    st.lists(st.from_regex(r"\A([a-z0-9.-]{1,20}|\[[0-9a-f:]{2,20}\]):[0-9]{1,5}\Z"), min_size=1, max_size=4).map(
        tuple
    ),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.binary(min_size=32, max_size=32),
    st.from_regex(r"\A[A-Za-z0-9.-]{0,40}\Z"),
)


@given(TOKENS)
def test_there_and_back(made: Token) -> None:
    assert token.parse(made.text()) == made


def test_it_is_one_word_and_survives_being_broken_into_lines() -> None:
    text = GOOD.text()
    assert text.isascii()
    assert not set(text) & set(" \t\n\"'$&|;<>")
    assert token.is_token(text)
    assert token.parse("\n".join(text[n : n + 40] for n in range(0, len(text), 40)) + "\n") == GOOD


def test_every_cut_is_noticed() -> None:
    text = GOOD.text()
    for end in range(len(text)):
        with pytest.raises(ValueError, match="token"):
            token.parse(text[:end])


@given(st.integers(0, len(GOOD.text()) - 1), st.sampled_from("AQaz09-_"))
def test_another_character_is_noticed(at: int, character: str) -> None:
    text = GOOD.text()
    changed = text[:at] + character + text[at + 1 :]
    if changed != text:
        with contextlib.suppress(ValueError):
            assert token.parse(changed) == GOOD, "only bits that base64 does not use may differ"


@given(st.one_of(st.text(), st.text().map(lambda text: token.PREFIX + text)))
def test_fuzz_anything_is_a_token_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert token.parse(token.parse(text).text()).addresses


def test_secrets_are_shown_nowhere() -> None:
    assert "secret" not in repr(GOOD)
    with pytest.raises(ValueError, match="damaged") as caught:
        token.parse(GOOD.text()[:-6])
    assert GOOD.text()[10:40] not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["unix@/run/docker.sock", "", "host", "\x1b[2J:1", "host:1\n", "a b:1", "${HOME}:1"]
)
def test_it_names_places_on_the_network_only(address: str) -> None:
    with pytest.raises(ValueError, match="another version"):
        token.parse(Token((address,), GOOD.fingerprint, GOOD.secret).text())
    with pytest.raises(ValueError, match="another version"):
        token.parse(Token(GOOD.addresses, GOOD.fingerprint, GOOD.secret, "\x1b[2J").text())
