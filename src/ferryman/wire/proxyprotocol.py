"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who the client of a proxy in front of us is.

Called by the data plane's proxyhead and dial and by health checks. `parse` is given the first bytes of a connection and
never changes its mind: the same bytes with more behind them get the same answer. It looks at nothing behind the header.
Whether a peer may send one at all is not decided here, and must not be guessed from the bytes: whoever may send a
header can claim to be anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import Final, NoReturn

LONGEST_V1: Final = 107
"""Bytes of the longest line of version 1 (section 2.1)."""
LONGEST: Final = 4096
"""Bytes of the longest header that is taken. Version 2 could say 64 KiB, which anybody could have us wait for; real
headers are a few hundred bytes long (a name, a certificate's subject), and nginx takes no more than this either."""

ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
NOOP: Final = 0x04
UNIQUE_ID: Final = 0x05
SSL: Final = 0x20
SSL_VERSION: Final = 0x21
SSL_CN: Final = 0x22
SSL_CIPHER: Final = 0x23
SSL_SIG_ALG: Final = 0x24
SSL_KEY_ALG: Final = 0x25
NETNS: Final = 0x30

CLIENT_SSL: Final = 0x01  # flags of an SSL TLV: the client speaks TLS,
CLIENT_CERT_CONN: Final = 0x02  # showed a certificate on this connection,
CLIENT_CERT_SESS: Final = 0x04  # or when the session began that this connection resumes

LONGEST_UNIQUE_ID: Final = 128

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1: Final = b"PROXY "
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_STREAM: Final = 1
_SIZES: Final = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # bytes of addresses
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_END: Final = re.compile(rb"[\r\n]")
_TLV: Final = Struct(">BH")
_SSL: Final = Struct(">BI")
_PORTS: Final = Struct(">HH")
_MAPPED: Final = bytes(10) + b"\xff\xff"

Endpoint = tuple[str, int]
"""An address as text, and a port; ("unix", 0) for a Unix socket."""
Tlvs = tuple[tuple[int, bytes], ...]


class BadHeader(Exception):  # noqa: N818  it says what is bad, and that is all it is
    """No PROXY header, or one that is refused. The reason is fixed text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ssl:
    """What an SSL TLV says of the client's TLS. `client`: CLIENT_ flags; `verify` is 0 for a verified certificate."""

    client: int
    verify: int
    tlvs: Tlvs = ()


@dataclass(frozen=True, slots=True)
class Header:
    """`source` and `destination` are None where the connection's own addresses count (LOCAL, UNKNOWN, UNSPEC, UDP)."""

    version: int
    source: Endpoint | None = None
    destination: Endpoint | None = None
    tlvs: Tlvs = field(default=())  # all but NOOP
    ssl: Ssl | None = None


def parse(data: bytes) -> tuple[Header, int] | None:
    """The header at the start of a connection and its length in bytes. None: more is needed. Raises BadHeader."""
    if data[:1] == b"\r":
        return _parse_v2(data)
    if data[: len(_V1)] != _V1[: len(data)]:
        _refuse("no PROXY header")
    found = _END.search(data, 0, LONGEST_V1)
    if found is None:
        if len(data) >= LONGEST_V1:
            _refuse("a line longer than 107 bytes")
        return None
    end = found.start()
    if data[end] == 10:
        _refuse("a line that does not end with CR LF")
    if end + 2 > LONGEST_V1:
        _refuse("a line longer than 107 bytes")
    if len(data) < end + 2:
        return None
    if data[end + 1] != 10:
        _refuse("a line that does not end with CR LF")
    return _line(data[:end]), end + 2


def _line(line: bytes) -> Header:
    """Version 1, section 2.1."""
    words = line.decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return Header(1)
    family = {"TCP4": AF_INET, "TCP6": AF_INET6}.get(words[1])
    if family is None:
        _refuse("an unknown protocol in a line of version 1")
    if len(words) != 6:
        _refuse("a line of version 1 without two addresses and two ports")
    hosts = []
    for word in words[2:4]:
        try:
            hosts.append(_text(inet_pton(family, word)))
        except (OSError, ValueError):
            _refuse("a bad address in a line of version 1")
    if not all(_PORT.fullmatch(word) and int(word) < 65536 for word in words[4:]):
        _refuse("a bad port in a line of version 1")
    return Header(1, (hosts[0], int(words[4])), (hosts[1], int(words[5])))


def _parse_v2(data: bytes) -> tuple[Header, int] | None:
    """Version 2, section 2.2."""
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        _refuse("no PROXY header")
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        _refuse("an unknown version or command")
    if len(data) < 16:
        return None
    local = data[12] == 0x20
    family, transport = data[13] >> 4, data[13] & 15
    length = 16 + int.from_bytes(data[14:16], "big")
    if length > LONGEST:
        _refuse("a header longer than 4096 bytes")
    if not local and (family not in _SIZES or transport > 2):
        _refuse("an unknown family or protocol")
    if not local and length < 16 + _SIZES[family]:
        _refuse("a header too short for its addresses")
    if len(data) < length:
        return None
    if local:  # the whole block is to be skipped, whatever it says of its family
        return Header(2), length
    source, destination = _endpoints(data, family) if transport == _STREAM else (None, None)
    tlvs, ssl = _read_tlvs(bytes(data[:length]), 16 + _SIZES[family])
    return Header(2, source, destination, tlvs, ssl), length


def _endpoints(data: bytes, family: int) -> tuple[Endpoint | None, Endpoint | None]:
    if family == _UNIX:
        return ("unix", 0), ("unix", 0)
    if family == _UNSPEC:
        return None, None
    size = 4 if family == _INET else 16
    ports = 16 + 2 * size
    source, destination = _PORTS.unpack_from(data, ports)
    return (_text(data[16 : 16 + size]), source), (_text(data[16 + size : ports]), destination)


def _text(address: bytes) -> str:
    """As text; an IPv4 address within IPv6 reads as itself, as it does when a connection is accepted."""
    if address[:12] == _MAPPED:
        address = address[12:]
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def _read_tlvs(header: bytes, at: int) -> tuple[Tlvs, Ssl | None]:
    tlvs: list[tuple[int, bytes]] = []
    ssl = None
    checked = False
    for kind, start, end in _each(header, at):
        value = header[start:end]
        if kind == NOOP:
            continue
        if kind == CRC32C:
            if checked or len(value) != 4:
                _refuse("a checksum that is none")
            checked = True
            if crc32c(header[:start] + bytes(4) + header[end:]) != int.from_bytes(value, "big"):
                _refuse("a wrong checksum")
        elif kind == SSL and ssl is None:
            ssl = _read_ssl(value)
        elif kind == UNIQUE_ID and len(value) > LONGEST_UNIQUE_ID:
            _refuse("a unique ID longer than 128 bytes")
        tlvs.append((kind, value))
    return tuple(tlvs), ssl


def _read_ssl(value: bytes) -> Ssl:
    """Section 2.2.6."""
    if len(value) < _SSL.size:
        _refuse("TLVs that do not fit")
    client, verify = _SSL.unpack_from(value)
    return Ssl(client, verify, tuple((kind, value[start:end]) for kind, start, end in _each(value, _SSL.size)))


def _each(block: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of each value in a row of TLVs that begins at `at` and ends with the block."""
    while at < len(block):
        if at + _TLV.size > len(block):
            _refuse("TLVs that do not fit")
        kind, length = _TLV.unpack_from(block, at)
        at += _TLV.size + length
        if at > len(block):
            _refuse("TLVs that do not fit")
        yield kind, at - length, at


def _refuse(reason: str) -> NoReturn:
    raise BadHeader(reason)


# --- the sender's side ---


def v1(source: Endpoint, destination: Endpoint) -> bytes:
    """A line. IPv4 beside IPv6 is written as IPv6; what has no IP address is UNKNOWN."""
    both = _same_family(source[0], destination[0])
    if both is None:
        return b"PROXY UNKNOWN\r\n"
    name = "TCP4" if len(both[0]) == 4 else "TCP6"
    family = AF_INET if len(both[0]) == 4 else AF_INET6
    hosts = " ".join(inet_ntop(family, packed) for packed in both)
    return f"PROXY {name} {hosts} {source[1]} {destination[1]}\r\n".encode("ascii")


def v2(
    source: Endpoint, destination: Endpoint, tlvs: Iterable[tuple[int, bytes]] = (), checksum: bool = False
) -> bytes:
    """A header of command PROXY. `tlvs` are written as they come; what has no IP address is of family UNSPEC.

    Raises ValueError if they are more than a header can be long.
    """
    both = _same_family(source[0], destination[0])
    kind = 0
    block = b""
    if both is not None:
        kind = (_INET if len(both[0]) == 4 else _INET6) << 4 | _STREAM
        block = both[0] + both[1] + _PORTS.pack(source[1], destination[1])
    block += b"".join([tlv(kind, value) for kind, value in tlvs])
    if checksum:
        block += tlv(CRC32C, bytes(4))
    if len(block) > 0xFFFF:
        raise ValueError("a header longer than 65551 bytes")
    header = _SIGNATURE + bytes((0x21, kind)) + len(block).to_bytes(2, "big") + block
    return header[:-4] + crc32c(header).to_bytes(4, "big") if checksum else header


def local() -> bytes:
    """The header of a connection that is the sender's own, such as a health check."""
    return _SIGNATURE + b"\x20\0\0\0"


def tlv(kind: int, value: bytes) -> bytes:
    """One TLV. Raises ValueError for a value longer than 65535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError("a value longer than 65535 bytes")
    return _TLV.pack(kind, len(value)) + value


def ssl_value(ssl: Ssl) -> bytes:
    """The value of an SSL TLV."""
    return _SSL.pack(ssl.client, ssl.verify) + b"".join([tlv(kind, value) for kind, value in ssl.tlvs])


def _same_family(source: str, destination: str) -> tuple[bytes, bytes] | None:
    """Both addresses packed, of one family; None: not both are IP addresses. A scope ("%eth0") is left out."""
    try:
        packed = [
            inet_pton(AF_INET6, host.partition("%")[0]) if ":" in host else inet_pton(AF_INET, host)
            for host in (source, destination)
        ]
    except (OSError, ValueError):  # of a Unix socket; ValueError: an abstract one
        return None
    if len(packed[0]) != len(packed[1]):
        packed = [_MAPPED + one if len(one) == 4 else one for one in packed]
    return packed[0], packed[1]


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC: Final = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, appendix B (Castagnoli's polynomial)."""
    table, value = _CRC, 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF
