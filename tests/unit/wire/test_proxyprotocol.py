"""Headers of the PROXY protocol, read on every prefix, refused where they are bad, and written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire import proxyprotocol as pp
from ferryman.wire.proxyprotocol import BadHeader, Endpoint, Header, Ssl

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR: tuple[Endpoint, Endpoint] = ("192.0.2.1", 56324), ("192.0.2.2", 443)
SIX: tuple[Endpoint, Endpoint] = ("2001:db8::1", 56324), ("2001:db8::2", 443)
SSL = Ssl(7, 0, ((pp.SSL_VERSION, b"TLSv1.3"), (pp.SSL_CN, b"client"), (pp.SSL_CIPHER, b"TLS_AES_128_GCM_SHA256")))
TLVS = (
    (pp.AUTHORITY, b"api.example.org"),
    (pp.ALPN, b"h2"),
    (pp.UNIQUE_ID, b"0" * 32),
    (pp.SSL, pp.ssl_value(SSL)),
    (pp.NETNS, b"blue"),
    (0xEA, b"\x01vpce-1"),
)


def ask(data: bytes) -> object:
    try:
        return pp.parse(data)
    except BadHeader as bad:
        return bad.reason


def check_prefixes(data: bytes) -> object:
    """The answer; no prefix gives another one, and none is taken back."""
    final = ask(data)
    decided = False
    for end in range(len(data)):
        answer = ask(data[:end])
        assert answer is None or answer == final, f"another answer after {end} bytes"
        assert answer is not None or not decided, f"an answer was taken back after {end} bytes"
        decided = decided or answer is not None
    return final


def raw(kind: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes((command, kind)) + len(block).to_bytes(2, "big") + block


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", Header(1, *FOUR)),
        (b"PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 56324 443\r\n", Header(1, *SIX)),
        (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Header(1, ("255.255.255.255", 65535), ("0.0.0.0", 0))),
        (b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 443\r\n", Header(1, FOUR[0], SIX[1])),
        (b"PROXY UNKNOWN\r\n", Header(1)),
        (b"PROXY UNKNOWN ffff:: whatever it says 1 2\r\n", Header(1)),
        (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", Header(1)),
    ],
)
def test_lines(line: bytes, header: Header) -> None:
    assert check_prefixes(line) == (header, len(line))
    assert ask(line + b"\r\nGET / HTTP/1.1\r\n") == (header, len(line))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
        (b"\x16\x03\x01\x02\x00\x01", "no PROXY header"),
        (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "no PROXY header"),
        (b"PROXYTCP4", "no PROXY header"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", "does not end with CR LF"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx", "does not end with CR LF"),
        (b"PROXY " + b"x" * 200, "longer than 107"),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "longer than 107"),
        (b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", "unknown protocol"),
        (b"PROXY \r\n", "unknown protocol"),
        (b"PROXY TCP4\r\n", "without two addresses"),
        (b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", "without two addresses"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", "without two addresses"),
        (b"PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", "bad address"),
        (b"PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", "bad address"),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", "bad address"),
        (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", "bad address"),
        (b"PROXY TCP6 ::1%lo ::1 1 1\r\n", "bad address"),
        (b"PROXY TCP4 1.1.1.1\0 1.1.1.1 1 1\r\n", "bad address"),
        (b"PROXY TCP4 \xb2.1.1.1 1.1.1.1 1 1\r\n", "bad address"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", "bad port"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", "bad port"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", "bad port"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 \xb2\r\n", "bad port"),
        (SIGNATURE[:-1] + b"X", "no PROXY header"),
        (b"\r\n\r\nGET", "no PROXY header"),
        (SIGNATURE + b"\x11\x11\x00\x0c", "unknown version or command"),
        (SIGNATURE + b"\x22", "unknown version or command"),
        (raw(0x41, bytes(12)), "unknown family"),
        (raw(0x13, bytes(12)), "unknown family"),
        (raw(0x11, bytes(11)), "too short for its addresses"),
        (raw(0x21, bytes(35)), "too short for its addresses"),
        (raw(0x31, bytes(215)), "too short for its addresses"),
        (SIGNATURE + b"\x21\x11\xff\xff", "longer than 4096"),
        (SIGNATURE + b"\x20\x00\x0f\xf1", "longer than 4096"),
        (raw(0x11, bytes(12) + b"\x01\x00"), "TLVs that do not fit"),
        (raw(0x11, bytes(12) + b"\x01\x00\x02x"), "TLVs that do not fit"),
        (raw(0x11, bytes(12) + pp.tlv(pp.SSL, b"\1\0\0\0")), "TLVs that do not fit"),
        (raw(0x11, bytes(12) + pp.tlv(pp.SSL, b"\1\0\0\0\0\x21\x00\x09short")), "TLVs that do not fit"),
        (raw(0x11, bytes(12) + pp.tlv(pp.CRC32C, bytes(4))), "wrong checksum"),
        (raw(0x11, bytes(12) + pp.tlv(pp.CRC32C, bytes(3))), "checksum that is none"),
        (raw(0x11, bytes(12) + pp.tlv(pp.UNIQUE_ID, bytes(129))), "unique ID longer"),
    ],
)
def test_what_is_refused(line: bytes, reason: str) -> None:
    answer = check_prefixes(line)
    assert isinstance(answer, str), answer
    assert reason in answer


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("checksum", [False, True])
def test_version_2_is_read_as_it_was_written(ends: tuple[Endpoint, Endpoint], checksum: bool) -> None:
    data = pp.v2(*ends, TLVS, checksum)
    answer = check_prefixes(data)
    assert isinstance(answer, tuple)
    header, length = answer
    assert length == len(data)
    assert (header.source, header.destination) == ends
    assert header.tlvs[: len(TLVS)] == TLVS
    assert [kind for kind, _ in header.tlvs[len(TLVS) :]] == [pp.CRC32C] * checksum
    assert header.ssl == SSL
    assert ask(data + b"\x16\x03") == answer


def test_a_changed_bit_shows_in_the_checksum() -> None:
    data = pp.v2(*FOUR, ((pp.AUTHORITY, b"a.example"),), checksum=True)
    for at in (*range(16, len(data) - 7), *range(len(data) - 4, len(data))):
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        assert isinstance(ask(changed), str), f"a bit of byte {at}"


def test_the_checksum_may_stand_anywhere() -> None:
    written = pp.v2(*FOUR, ((pp.CRC32C, bytes(4)), (pp.AUTHORITY, b"a.example")))
    at = written.index(b"\x03\x00\x04") + 3
    data = written[:at] + pp.crc32c(written).to_bytes(4, "big") + written[at + 4 :]
    assert isinstance(check_prefixes(data), tuple)
    twice = pp.v2(*FOUR, ((pp.CRC32C, bytes(4)),), checksum=True)
    assert isinstance(check_prefixes(twice), str)


def test_the_checksum_is_castagnolis() -> None:
    assert pp.crc32c(b"123456789") == 0xE3069283
    assert pp.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


@pytest.mark.parametrize(
    "data",
    [
        raw(0x00, b"", 0x20),
        raw(0xFF, b"whatever", 0x20),
        raw(0x11, bytes(12), 0x20),
        raw(0x00, b""),
        raw(0x12, bytes(12)),
        raw(0x22, bytes(36)),
        raw(0x10, bytes(12)),
        raw(0x11, bytes(12) + pp.tlv(pp.NOOP, b"xyz"), 0x20),
    ],
)
def test_the_connections_own_addresses_count(data: bytes) -> None:
    assert check_prefixes(data) == (Header(2), len(data))


def test_a_client_on_a_unix_socket() -> None:
    data = raw(0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0") + pp.tlv(pp.AUTHORITY, b"x"))
    assert check_prefixes(data) == (Header(2, ("unix", 0), ("unix", 0), ((pp.AUTHORITY, b"x"),)), len(data))


def test_padding_is_left_out() -> None:
    data = pp.v2(*FOUR, ((pp.NOOP, b"abc"), (pp.AUTHORITY, b"x"), (pp.NOOP, b"")))
    assert check_prefixes(data) == (Header(2, *FOUR, ((pp.AUTHORITY, b"x"),)), len(data))


def test_the_longest_header() -> None:
    data = pp.v2(*FOUR, ((0xE0, bytes(pp.LONGEST - 16 - 12 - 3)),))
    assert len(data) == pp.LONGEST
    assert isinstance(check_prefixes(data), tuple)


@pytest.mark.parametrize(
    ("ends", "line", "kind"),
    [
        (FOUR, b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", 0x11),
        (SIX, b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", 0x21),
        ((FOUR[0], SIX[1]), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 443\r\n", 0x21),
        ((("fe80::1%eth0", 1), ("fe80::2", 2)), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n", 0x21),
        ((("unix", 0), FOUR[1]), b"PROXY UNKNOWN\r\n", 0x00),
        ((FOUR[0], ("/run/x.sock", 0)), b"PROXY UNKNOWN\r\n", 0x00),
        ((FOUR[0], ("\0name", 0)), b"PROXY UNKNOWN\r\n", 0x00),
        ((FOUR[0], ("", 0)), b"PROXY UNKNOWN\r\n", 0x00),
    ],
)
def test_what_is_written(ends: tuple[Endpoint, Endpoint], line: bytes, kind: int) -> None:
    assert pp.v1(*ends) == line
    assert pp.v2(*ends)[13] == kind
    assert isinstance(check_prefixes(pp.v2(*ends)), tuple)


def test_a_connection_of_ones_own() -> None:
    assert check_prefixes(pp.local()) == (Header(2), 16)


def test_what_is_too_long_to_write() -> None:
    with pytest.raises(ValueError, match="65535"):
        pp.tlv(pp.AUTHORITY, bytes(65536))
    with pytest.raises(ValueError, match="65551"):
        pp.v2(*FOUR, ((pp.AUTHORITY, bytes(60000)), (pp.ALPN, bytes(6000))))


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)),
    st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)),
    st.lists(st.tuples(st.sampled_from([1, 2, 0x30, 0xE0, 0xFF]), st.binary(max_size=40)), max_size=4),
    st.booleans(),
)
def test_any_addresses(source: Endpoint, destination: Endpoint, tlvs: list[tuple[int, bytes]], checksum: bool) -> None:
    line = check_prefixes(pp.v1(source, destination))
    block = check_prefixes(pp.v2(source, destination, tlvs, checksum))
    assert isinstance(line, tuple)
    assert isinstance(block, tuple)
    assert (line[0].source, line[0].destination) == (block[0].source, block[0].destination)
    assert line[0].source[1] == source[1]
    assert list(block[0].tlvs[: len(tlvs)]) == tlvs
