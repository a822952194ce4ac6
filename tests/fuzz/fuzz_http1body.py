"""However a chunked body is cut, the reader finds one end and one content, or refuses it for one reason.

That is: it never raises but BadHead, takes every byte before the end and none after, and what it takes is read by
another reader (here, a plain one that knows the grammar and no cuts) as the same content with the same end.
"""

from __future__ import annotations

import random
import re
import zlib

import driver

from ferryman.wire.http1 import BadHead
from ferryman.wire.http1body import ChunkReader

Answer = tuple[int, bytes, bool] | str


def feed(data: bytes, ends: list[int]) -> Answer:
    reader, taken, content = ChunkReader(), 0, b""
    try:
        for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
            if reader.finished:
                break
            piece = memoryview(data)[start:end]
            size = reader.feed(piece)
            assert size == len(piece) or reader.finished
            taken += size
            content += b"".join(piece[first:last] for first, last in reader.spans)
    except BadHead as error:
        return error.reason
    return taken, content, reader.finished


def plainly(data: bytes) -> tuple[int, bytes] | None:
    """Where the body ends, and its content; None: it is none, or not all there."""
    at, content = 0, b""
    while (line := re.compile(rb"([0-9a-fA-F]+)[^\n]*\r\n").match(data, at)) is not None:
        size = int(line[1], 16)
        if not size:
            trailers = re.compile(rb"(?:[^\r\n][^\n]*\r\n)*\r\n").match(data, line.end())
            return None if trailers is None else (trailers.end(), content)
        at = line.end() + size + 2
        content += data[line.end() : at - 2]
        if data[at - 2 : at] != b"\r\n":
            return None
    return None


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    answer = feed(data, [])
    for _ in range(3):
        assert feed(data, sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))) == answer
    if not isinstance(answer, str) and answer[2]:
        assert plainly(data) == answer[:2]


SEEDS = [
    b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
    b"0\r\n\r\n",
    b'a;name="value"\r\n0123456789\r\n1\r\n\n\r\n0;x\r\nDigest: abc\r\nX:\r\n\r\n',
    b"4\r\n\r\n0\r\r\n0\r\n\r\n",
    b"100\r\n" + bytes(256) + b"\r\n2\r\nok\r\n000\r\n\r\n",
    b"fffffffffffffff\r\n" + bytes(50),
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
