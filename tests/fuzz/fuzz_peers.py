"""What a peer answers the doctor is a value or one of its own exceptions, and steers no terminal, whatever it is.

That is: heads of HTTP (what is said of a prefix holds for the whole), certificates, a server's side of TLS, greetings.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import zlib

import driver

from ferryman.doctor import answer, certificate
from ferryman.doctor.answer import Head
from ferryman.doctor.farend import _certificate
from ferryman.doctor.greeting import greet
from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Cut

CONTEXT, _ = _certificate("dvm.apps.test")
HEADS = [
    b"HTTP/1.1 407 Authentication Required\r\nProxy-Authenticate: Basic realm=\"a, b\", N\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.0 200\nVia: \x1b[2J\n\nrest",
    b"HTTP/2 503 \x9b2J\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"\x15\x03\x01\0\2\2\x28",
    b"\0\0\x12\4\0\0\0\0\0" + bytes(18),
]  # fmt: skip
GREETINGS = [b"@RSYNCD: 31.0 sha512 md5\n@ERROR: no\x1b\n", b"HTTP/1.1 400 Bad\r\n\r\n<html>", b"\xff\xfe\n"]


class Script:
    """Both a tunnel and a stream that says what is in it, a piece at a time, and then ends."""

    def __init__(self, data: bytes) -> None:
        self._pieces = [data[at : at + 700] for at in range(0, len(data), 700)]

    def send(self, data: bytes, seconds: float) -> None:
        return

    write = send

    def receive(self, seconds: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    read = receive


def der() -> bytes:
    """A certificate, as a handshake in memory shows it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="dvm.apps.test")
    back, forth = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = CONTEXT.wrap_bio(back, forth, server_side=True)
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            back.write(outgoing.read())
            incoming.write(forth.read())
    return client.getpeercert(binary_form=True) or b""


DER = der()
SEEDS = [
    *HEADS,
    *GREETINGS,
    DER,
    DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"),
    b"\x16\x03\x03\0\x31\2\0\0\x2d\3\3" + bytes(32) + b"\0\x13\x01\0\0\5\0\x2b\0\2\3\4",
]


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    whole = answer.parse_head(data)
    for end in sorted(rng.randrange(len(data) + 1) for _ in range(8)):
        early = answer.parse_head(data[:end])
        assert early is None or early == whole, "what is said of a prefix holds for the whole"
    if isinstance(whole, Head):
        assert whole.line.isprintable()
        assert 0 < whole.length <= min(len(data), answer.MAX_HEAD)
        assert all(each.isprintable() for each in answer.schemes(whole))
        assert (answer.body_length(whole) or 0) >= 0
    assert answer.shown(data).isprintable()
    facts = certificate.look(data).facts()
    assert all(each.isprintable() for each in facts.values())
    stream = TlsStream(client_context(), "dvm.apps.test")
    try:
        stream.handshake(Script(data), 1.0)  # type: ignore[arg-type]
    except TlsFault as fault:
        said = str(fault)
        assert said.isprintable()
    else:
        raise AssertionError("nobody can answer a hello that was not heard")
    try:
        greeting = greet(Script(data), "", 0.01)  # type: ignore[arg-type]
    except Cut:
        raise AssertionError("a greeting that ends is one of its kinds") from None
    assert greeting.line.isprintable()
    assert greeting.after.isprintable()


if __name__ == "__main__":
    driver.main(one, SEEDS)
