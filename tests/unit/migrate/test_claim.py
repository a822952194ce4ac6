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
