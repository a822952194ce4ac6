"""Hellos made by hand, and recorded ones cut anew: what the tests of the hello reader feed it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

RECORDED = {
    path.stem: bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    for path in sorted(Path(__file__).with_name("hellos").glob("*.hex"))
}
"""The streams in hellos/, by file name. Every one is a single record."""


def vector(prefix: int, *parts: bytes) -> bytes:
    """The parts behind their common length in `prefix` bytes, as TLS writes lists."""
    body = b"".join(parts)
    return len(body).to_bytes(prefix, "big") + body


def numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, body)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, *(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, *(vector(1, name) for name in names)))


def versions(*values: int) -> bytes:
    return extension(43, vector(1, numbers(values)))


def groups(*values: int) -> bytes:
    return extension(10, vector(2, numbers(values)))


def sigalgs(*values: int) -> bytes:
    return extension(13, vector(2, numbers(values)))


def keyshares(*shares: tuple[int, int]) -> bytes:
    """Key shares as (group, bytes of key)."""
    return extension(51, vector(2, *(numbers([group]) + vector(2, bytes(size)) for group, size in shares)))


def hello(
    *extensions: bytes,
    version: int = 0x0303,
    session: bytes = bytes(32),
    ciphers: Iterable[int] = (0x1301, 0x1302),
    compression: bytes = b"\0",
    rest: bytes | None = None,
) -> bytes:
    """A ClientHello message with its handshake header. `rest` stands in for the whole list of extensions."""
    body = numbers([version]) + bytes(range(32)) + vector(1, session) + vector(2, numbers(ciphers))
    body += vector(1, compression) + (vector(2, *extensions) if rest is None else rest)
    return b"\x01" + vector(3, body)


def record(payload: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + numbers([version]) + vector(2, payload)


def records(message: bytes, cuts: Sequence[int] = ()) -> bytes:
    """The message in records that end at the given places in it."""
    ends = [*sorted(set(cuts) - {0, len(message)}), len(message)]
    return b"".join(record(message[start:end]) for start, end in zip([0, *ends], ends, strict=False))
