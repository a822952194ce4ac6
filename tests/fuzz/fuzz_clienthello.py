"""However a stream is cut, the ClientHello reader never raises and never takes back or changes an answer.

That is: a prefix answers NEED_MORE or the answer of the whole, cuts into other records change nothing but the length,
what is said to be missing is missing, and a name that was read has only bytes that a name may have.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import driver

from ferryman.wire.clienthello import MAX_HELLO, ClientHello, Outcome, missing, parse

HELLOS = Path(__file__).parents[1] / "unit" / "wire" / "hellos"


def in_records(message: bytes, rng: random.Random) -> bytes:
    """The handshake message cut into a few records."""
    stream = b""
    while message:
        size = min(len(message), rng.choice((1, 2, 5, rng.randrange(1, 1000), MAX_HELLO)))
        stream += b"\x16\x03\x01" + size.to_bytes(2, "big") + message[:size]
        message = message[size:]
    return stream


def out_of_records(stream: bytes) -> bytes:
    message = b""
    while stream:
        end = 5 + int.from_bytes(stream[3:5], "big")
        message += stream[5:end]
        stream = stream[end:]
    return message


def check_cuts(data: bytes, rng: random.Random) -> None:
    final = parse(data)
    assert parse(memoryview(data)) == final
    ends = sorted({*range(min(12, len(data))), *(rng.randrange(len(data) + 1) for _ in range(12))})
    decided = False
    for end in ends:
        answer = parse(data[:end])
        if answer is Outcome.NEED_MORE:
            assert not decided
            assert missing(data[:end]) > 0
            assert not isinstance(final, ClientHello) or end + missing(data[:end]) <= final.length
        else:
            decided = True
            assert answer == final
            assert missing(data[:end]) == 0


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    check_cuts(data, rng)
    answer = parse(data)
    if not isinstance(answer, ClientHello):
        return
    assert answer.sni is None or (answer.sni.isascii() and answer.sni.isprintable() and " " not in answer.sni)
    assert 2 * len(answer.ciphers) == len(answer.raw_ciphers)
    assert 2 * len(answer.versions + answer.groups + answer.sigalgs + answer.keyshares) <= len(data)
    framed = in_records(out_of_records(data[: answer.length]), rng)
    again = parse(framed)
    assert isinstance(again, ClientHello)
    assert again == answer._replace(length=len(framed), record_version=0x0301)
    check_cuts(framed, rng)


def seeds() -> list[bytes]:
    """The recorded hellos, each as it came and cut into records."""
    rng = random.Random(0)
    recorded = [bytes.fromhex("".join(path.read_text().splitlines()[1:])) for path in sorted(HELLOS.glob("*.hex"))]
    return recorded + [in_records(stream[5:], rng) for stream in recorded]


SEEDS = seeds()

if __name__ == "__main__":
    driver.main(one, SEEDS)
