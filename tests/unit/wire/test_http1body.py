"""The end of a chunked body: found at the same byte however it is cut, and not found where two readers could differ."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire.http1 import BadHead
from ferryman.wire.http1body import MAX_SIZE_LINE, MAX_TRAILERS, ChunkReader

SIMPLE = b"5\r\nhello\r\n0\r\n\r\n"
GOOD: list[tuple[bytes, bytes]] = [  # body, content
    (SIMPLE, b"hello"),
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"05\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    (b'5;a=b;c="d e"\r\nhello\r\n0 ; last\r\n\r\n', b"hello"),
    (b"4\r\n\r\n0\r\r\n0\r\n\r\n", b"\r\n0\r"),
    (b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n"),
    (b"0\r\nA: b\r\nX:\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\nDigest: x \xe9\r\n\r\n", b"hello"),
]


def feed_all(pieces: list[bytes]) -> tuple[int, bytes, bool]:
    """Bytes of the body, its content, whether it has ended."""
    reader, taken, content = ChunkReader(), 0, b""
    for piece in pieces:
        if reader.finished:
            break
        size = reader.feed(piece)
        assert size == len(piece) or reader.finished
        taken += size
        content += b"".join(piece[start:end] for start, end in reader.spans)
    return taken, content, reader.finished


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(("body", "content"), GOOD)
def test_the_end_and_the_content(body: bytes, content: bytes) -> None:
    for rest in (b"", b"\r\n", b"GET / HTTP/1.1\r\n", SIMPLE):
        assert feed_all([body + rest]) == (len(body), content, True)


@pytest.mark.parametrize(("body", "content"), GOOD)
def test_every_prefix_is_not_over_and_every_cut_changes_nothing(body: bytes, content: bytes) -> None:
    for end in range(len(body)):
        taken, _, finished = feed_all([body[:end]])
        assert (taken, finished) == (end, False)
        assert feed_all([body[:end], body[end:] + b"GET"]) == (len(body), content, True)
    assert feed_all([body[at : at + 1] for at in range(len(body))]) == (len(body), content, True)
    assert ChunkReader().feed(memoryview(body + b"x")) == len(body)
    assert ChunkReader().feed(bytearray(body + b"x")) == len(body)


SIZE = "a chunk whose size is none"
AFTER = "no CR LF after a chunk"
TRAILER = "a trailer of a chunked body that is no field"
LONG = "a line in a chunked body that is too long, or content longer than its chunk"
BAD: list[tuple[bytes, str]] = [
    (b"\r\n", SIZE),
    (b"5\nhello", SIZE),
    (b"-5\r\n", SIZE),
    (b"+5\r\n", SIZE),
    (b"0x5\r\n", SIZE),
    (b" 5\r\n", SIZE),
    (b"5 \r\n", SIZE),
    (b"5_0\r\n", SIZE),
    (b"g\r\n", SIZE),
    (b"1" * 16 + b"\r\n", SIZE),
    (b";a\r\n", SIZE),
    (b"5,a\r\n", SIZE),
    (b"5;a\rb\r\n", SIZE),
    (b"5;a\nb\r\n", SIZE),
    (b"5;a\0\r\n", SIZE),
    (b"5\r\r\nhello", SIZE),
    (b"5;" + b"a" * MAX_SIZE_LINE, LONG),
    (b"5\r\nhello!\r\n", LONG),
    (b"5\r\nhello\n0\r\n\r\n", AFTER),
    (b"5\r\nhello\r0\r\n\r\n", LONG),
    (b"0\r\n\n", TRAILER),
    (b"0\r\nA\r\n\r\n", TRAILER),
    (b"0\r\n A: b\r\n\r\n", TRAILER),
    (b"0\r\nA : b\r\n\r\n", TRAILER),
    (b"0\r\nA: b\n\r\n", TRAILER),
    (b"0\r\nA: b\rc\r\n\r\n", TRAILER),
    (b"0\r\nA: \0\r\n\r\n", TRAILER),
    (b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS // 6 + 1), LONG),
    (b"0\r\nA: " + b"b" * MAX_TRAILERS, LONG),
]


@pytest.mark.parametrize(("body", "reason"), BAD, ids=range(len(BAD)))
def test_what_is_refused(body: bytes, reason: str) -> None:
    pieces = [[body], [body[at : at + 1] for at in range(len(body))]]
    for way in pieces:
        with pytest.raises(BadHead) as refusal:
            feed_all(way)
        assert (refusal.value.status, refusal.value.reason) == (400, reason)


def test_the_longest_lines() -> None:
    line = b"0;" + b"a" * (MAX_SIZE_LINE - 4) + b"\r\n"
    trailer = b"A: " + b"b" * (MAX_TRAILERS - 7) + b"\r\n\r\n"
    body = line + trailer
    assert len(body) == MAX_SIZE_LINE + MAX_TRAILERS
    assert feed_all([body + b"x"]) == (len(body), b"", True)


def test_a_big_chunk_is_not_kept() -> None:
    reader = ChunkReader()
    assert reader.feed(b"fffffffffffffff\r\n" + bytes(1000)) == 1017
    assert reader.spans == [(17, 1017)]
    assert reader.feed(bytes(70000)) == 70000
    assert reader.spans == [(0, 70000)]
    assert not reader.finished


def test_nothing_may_follow_the_end() -> None:
    reader = ChunkReader()
    reader.feed(SIMPLE)
    with pytest.raises(AssertionError):
        reader.feed(b"x")


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_any_chunks_come_out_as_they_went_in(chunks: list[bytes], data: st.DataObject) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert feed_all([*cut(body, cuts), b"rest"]) == (len(body), b"".join(chunks), True)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([body for body, _ in GOOD]), st.data())
def test_damage_is_judged_the_same_however_it_is_cut(good: bytes, data: st.DataObject) -> None:
    body = bytearray(good)
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    answers = []
    for pieces in ([bytes(body)], cut(bytes(body), cuts)):
        try:
            answers.append(str(feed_all(pieces)))
        except BadHead as refusal:
            answers.append(refusal.reason)
    assert answers[0] == answers[1]
