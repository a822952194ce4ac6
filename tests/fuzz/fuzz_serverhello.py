"""However a server's first flight is cut, its reader gives one answer and never raises; a name in it is clean.

That is: a prefix answers NEED_MORE or the answer of the whole, cuts into other records do not change a certificate, and
the reader of certificates gives printable ASCII names in lower case, or none.
"""

from __future__ import annotations

import random
import zlib

import driver

from ferryman.wire.certificate import certificate_names
from ferryman.wire.serverhello import MAX_STREAM, Certificate, Outcome, parse


def vector(prefix: int, body: bytes) -> bytes:
    return len(body).to_bytes(prefix, "big") + body


def record(message: bytes) -> bytes:
    return b"\x16\x03\x03" + vector(2, message)


def in_records(messages: bytes, rng: random.Random) -> bytes:
    """The messages cut into a few records."""
    cuts = sorted({rng.randrange(1, len(messages)) for _ in range(rng.randrange(5))})
    edges = [*range(0, len(messages), 16384), *cuts]
    starts = sorted(set(edges))
    return b"".join(
        record(messages[start:end]) for start, end in zip(starts, [*starts[1:], len(messages)], strict=True)
    )


def check_cuts(data: bytes, rng: random.Random) -> None:
    final = parse(data)
    assert parse(memoryview(data)) == final
    assert final is not Outcome.NEED_MORE or len(data) < MAX_STREAM
    decided = False
    for end in sorted({*range(min(12, len(data))), *(rng.randrange(len(data) + 1) for _ in range(20))}):
        answer = parse(data[:end])
        if answer is Outcome.NEED_MORE:
            assert not decided
        else:
            decided = True
            assert answer == final


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    check_cuts(data, rng)
    answer = parse(data)
    if isinstance(answer, Certificate) and len(answer.leaf) * answer.chain < 10000:
        ders = b"".join([vector(3, answer.leaf)] * answer.chain)
        flight = HELLO[:4] + answer.version.to_bytes(2, "big") + HELLO[6:] + b"\x0b" + vector(3, vector(3, ders))
        framed = in_records(flight, rng)
        assert parse(framed) == answer
        check_cuts(framed, rng)
    for der in (data, answer.leaf if isinstance(answer, Certificate) else DER):
        assert all(name.isascii() and name.isprintable() and name == name.lower() for name in certificate_names(der))


def element(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag,)) + (vector(1, body) if len(body) < 128 else b"\x82" + vector(2, body))


COMMON_NAME = element(0x30, element(0x31, element(0x30, element(6, b"\x55\4\3"), element(0x0C, b"a.example"))))
NAMES = element(0x30, element(0x82, b"*.b.example"), element(0x87, bytes((192, 0, 2, 7))), element(0x81, b"a@b"))
EXTENSIONS = element(0xA3, element(0x30, element(0x30, element(6, b"\x55\x1d\x11"), element(4, NAMES))))
EMPTY = element(0x30)
FIELDS = element(0xA0, element(2, b"\2")) + element(2, b"\1") + EMPTY * 3 + COMMON_NAME + EMPTY + EXTENSIONS
DER = element(0x30, element(0x30, FIELDS), EMPTY, element(3, b"\0"))

HELLO = b"\x02" + vector(3, b"\3\3" + bytes(32) + vector(1, bytes(32)) + b"\xc0\x2f\0" + vector(2, b"\xff\1\0\1\0"))
HELLO_13 = b"\x02" + vector(3, b"\3\3" + bytes(32) + b"\0\x13\1\0" + vector(2, b"\0\x2b\0\2\3\4"))
CHAIN = b"\x0b" + vector(3, vector(3, vector(3, DER) + vector(3, b"intermediate")))
CCS = b"\x14\3\3\0\1\1"

assert certificate_names(DER) == ("a.example", "*.b.example", "192.0.2.7"), (
    "a seed that is no certificate is of little use"
)

SEEDS = [
    record(HELLO) + record(CHAIN) + record(b"\x0e\0\0\0"),
    record(HELLO + CHAIN + b"\x0e\0\0\0"),
    record(HELLO[:30]) + record(HELLO[30:] + CHAIN[:100]) + record(CHAIN[100:]),
    record(HELLO_13) + CCS,
    record(HELLO) + CCS,
    b"\x15\3\3\0\2\2\x28",
    DER,
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
