"""The token, and what is signed with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.doctor.pairing import PREFIX, TOLD, Token, ask, asked, parse_token, tell, told

TOKEN = Token(bytes(range(32)), bytes(16), "dvm.apps.test", 443, True)
NONCE = "0123456789abcdef" * 2


def test_a_token_comes_back_as_it_was() -> None:
    assert parse_token(f" {TOKEN.text()}\n") == TOKEN
    assert TOKEN.secret.hex() not in repr(TOKEN)


@pytest.mark.parametrize(
    "text", ["", "x", PREFIX, TOKEN.text()[:-5], TOKEN.text() + "A", TOKEN.text().replace(".", "")]
)
def test_a_damaged_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="token"):
        parse_token(text)


@given(st.text() | st.text().map(lambda rest: PREFIX + rest))
def test_fuzz_tokens(text: str) -> None:
    """A token, or ValueError."""
    try:
        token = parse_token(text)
    except ValueError:
        return
    assert parse_token(token.text()) == token


def test_questions_are_signed() -> None:
    line = ask(TOKEN.secret, "echo", NONCE)
    assert asked(TOKEN.secret, line + b"more") == ("echo", NONCE, len(line))
    assert asked(b"x" * 16, line) is None
    assert asked(TOKEN.secret, line.replace(b"echo", b"tell")) is None


@given(st.binary(max_size=300))
def test_fuzz_questions(data: bytes) -> None:
    """Nobody who does not know the secret asks anything."""
    assert asked(TOKEN.secret, data) is None


def test_answers_are_signed() -> None:
    answer = tell(TOKEN.secret, NONCE, dict.fromkeys(TOLD, "x") | {"hello": "y", "more": "z"})
    assert told(TOKEN.secret, NONCE, answer) == dict.fromkeys(TOLD, "x") | {"hello": "y"}
    assert told(TOKEN.secret, "f" * 32, answer) is None
    assert told(TOKEN.secret, NONCE, answer.replace(b"hello", b"hallo")) is None


@given(st.binary(max_size=200) | st.just(b'{"told": 1, "signed": 2}') | st.just(b"[" * 150))
def test_fuzz_answers(data: bytes) -> None:
    assert told(TOKEN.secret, NONCE, data) is None


@pytest.mark.parametrize("lie", [{}, {"hello": 7}, dict.fromkeys(TOLD), dict.fromkeys(TOLD[1:], "x")])
def test_a_far_end_that_tells_something_else(lie: dict[str, object]) -> None:
    assert told(TOKEN.secret, NONCE, tell(TOKEN.secret, NONCE, lie)) is None
