"""Messages between both ends."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.migrate import claim


@given(st.binary())
def test_fuzz_anything_is_a_message_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(claim.parse(raw), dict)


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_what_is_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        claim.parse(raw)


def test_question_and_answer() -> None:
    async def answer(message: claim.Message) -> claim.Message:
        return {"got": message}

    async def dialogue(path: str) -> None:
        server = await claim.serve(path, answer)
        async with server:
            assert await claim.ask(path, {"a": 1}) == {"got": {"a": 1}}
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"nonsense\n")
            assert await reader.read() == b"", "no message, no answer"
            writer.close()
            await writer.wait_closed()
        with pytest.raises(claim.Silence):
            await claim.ask(path + "x", {})

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(dialogue(f"{folder}/s"))


def test_what_the_other_end_says_is_fit_for_a_terminal() -> None:
    assert claim.refusal({"error": "no\n\x1b]0;taken over\x07"}) == "no??]0;taken over?"
    assert len(claim.refusal({"error": "x" * 60_000})) < 1000
    assert claim.refusal({"error": ["x"]}) == "['x']"
    assert claim.refusal({"password": "x"}) == ""


def test_a_password_that_no_program_can_be_given() -> None:
    assert claim.password({"password": "aB3-_"}) == "aB3-_"
    for wrong in ("", "a\0b", "\ud800", "a b", "x" * 1000, None, 7):
        with pytest.raises(ValueError, match="no password"):
            claim.password({"password": wrong})


def test_who_says_nothing_gives_way() -> None:
    async def answer(message: claim.Message) -> claim.Message:
        return {"got": message}

    async def crowd(path: str) -> None:
        async with await claim.serve(path, answer), asyncio.timeout(20):
            silent = [await asyncio.open_unix_connection(path) for _ in range(claim._MOST + 5)]
            assert await claim.ask(path, {"a": 1}) == {"got": {"a": 1}}
            with contextlib.suppress(ConnectionError):
                assert await silent[0][0].read() == b"", "it is closed long before its time is up"
            for _, writer in silent:
                writer.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(crowd(f"{folder}/s"))
