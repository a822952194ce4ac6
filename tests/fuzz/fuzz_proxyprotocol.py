"""However a PROXY header is cut, its reader gives one answer and raises nothing but BadHeader; what it takes is clean.

That is: a prefix answers None or the answer of the whole, no more than 4096 bytes are ever wanted, what follows changes
nothing, and a header that was read is written and read again as the same.
"""

from __future__ import annotations

import driver

from ferryman.wire import proxyprotocol as pp
from ferryman.wire.proxyprotocol import BadHeader


def ask(data: bytes) -> object:
    try:
        return pp.parse(data)
    except BadHeader as bad:
        return bad.reason


def one(data: bytes) -> None:
    final = ask(data)
    assert final is not None or len(data) < pp.LONGEST
    decided = False
    for end in range(min(len(data), 700)):
        answer = ask(data[:end])
        assert answer is not None or not decided
        decided = decided or answer is not None
        assert answer is None or answer == final
    if not isinstance(final, tuple):
        return
    header, length = final
    assert 0 < length <= min(len(data), pp.LONGEST)
    assert ask(data[:length]) == ask(data[:length] + b"\r\n\0") == final
    if header.source is None or header.source[0] == "unix":
        return
    tlvs = tuple((kind, value) for kind, value in header.tlvs if kind != pp.CRC32C)
    again = ask(pp.v2(header.source, header.destination, tlvs))
    assert isinstance(again, tuple) or len(data) > 4000
    if isinstance(again, tuple):
        read = again[0]
        assert (read.source, read.destination, read.tlvs, read.ssl) == (
            header.source, header.destination, tlvs, header.ssl
        )  # fmt: skip


FOUR = ("192.0.2.1", 56324), ("192.0.2.2", 443)
SIX = ("2001:db8::1", 56324), ("2001:db8::2", 443)
SSL = pp.ssl_value(pp.Ssl(7, 0, ((pp.SSL_VERSION, b"TLSv1.3"), (pp.SSL_CN, b"client"))))
SEEDS = [
    pp.v1(*FOUR) + b"GET",
    pp.v1(*SIX),
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    pp.local(),
    pp.v2(*FOUR),
    pp.v2(*SIX, ((pp.AUTHORITY, b"a.example"), (pp.ALPN, b"h2"))),
    pp.v2(*FOUR, ((pp.SSL, SSL), (pp.NOOP, b"abc"), (pp.UNIQUE_ID, b"0" * 32)), checksum=True) + b"\x16\x03\x01",
    pp.v2(("unix", 0), ("unix", 0), ((pp.NETNS, b"blue"),)),
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
