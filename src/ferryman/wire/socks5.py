"""SOCKS5 (RFC 1928) with user and password (RFC 1929), both sides, for CONNECT only.

Called by the data plane: as a server for the clients of an explicit proxy, as a client towards upstream proxies. The
parsers are given what has come and answer the value and the bytes it took, or None when more is needed; they raise
BadSocks at the first byte that proves a fault. No message is longer than 513 bytes.

A dialogue: greeting, method; user and password, verdict, where the method asks for it; request, reply; then the tunnel.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final, NamedTuple

from ferryman.wire.authority import parse_host

VERSION: Final = 5

NO_AUTHENTICATION: Final = 0
USER_PASSWORD: Final = 2
NO_ACCEPTABLE: Final = 255

SUCCEEDED: Final = 0
GENERAL_FAILURE: Final = 1
NOT_ALLOWED: Final = 2
NETWORK_UNREACHABLE: Final = 3
HOST_UNREACHABLE: Final = 4
REFUSED: Final = 5
TTL_EXPIRED: Final = 6
COMMAND_NOT_SUPPORTED: Final = 7
ADDRESS_TYPE_NOT_SUPPORTED: Final = 8

_CONNECT: Final = 1
_IPV4: Final = 1
_NAME: Final = 3
_IPV6: Final = 4
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

Bytes = bytes | bytearray | memoryview


class BadSocks(Exception):  # noqa: N818  it says what is bad, and that is all it is
    """A message that is refused. The reason is fixed text; `answer` is what to send before closing, perhaps nothing."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class SocksRequest(NamedTuple):
    """Whom a client wants to be connected to, as wire.authority.parse_host gives a host."""

    host: str
    port: int


# --- the server's side ---


def parse_greeting(data: Bytes) -> tuple[tuple[int, ...], int] | None:
    """The methods of authentication that a client offers; there may be none."""
    if not data:
        return None
    if data[0] != VERSION:
        raise BadSocks("SOCKS4" if data[0] == 4 else "not SOCKS5")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    return tuple(data[2 : 2 + data[1]]), 2 + data[1]


def method_reply(method: int) -> bytes:
    """The answer to a greeting."""
    return bytes((VERSION, method))


def parse_userpass(data: Bytes) -> tuple[tuple[str, str], int] | None:
    """User and password (RFC 1929), not empty and without control characters; what is not UTF-8 is Latin-1."""
    if not data:
        return None
    if data[0] != 1:
        raise BadSocks("SOCKS5 credentials of an unknown version", userpass_reply(False))
    texts = []
    at = 1
    for _ in range(2):
        if len(data) <= at:
            return None
        end = at + 1 + data[at]
        if end == at + 1:
            raise BadSocks("an empty SOCKS5 user or password", userpass_reply(False))
        if len(data) < end:
            return None
        text = _text(bytes(data[at + 1 : end]))
        if _CONTROL.search(text):
            raise BadSocks("a control character in a SOCKS5 user or password", userpass_reply(False))
        texts.append(text)
        at = end
    return (texts[0], texts[1]), at


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def userpass_reply(right: bool) -> bytes:
    """The verdict on user and password; after a negative one the connection has to be closed."""
    return b"\x01\x00" if right else b"\x01\x01"


def parse_request(data: Bytes) -> tuple[SocksRequest, int] | None:
    """What a client asks for (RFC 1928 section 4). A name that is an address is taken for one."""
    if len(data) > 0 and data[0] != VERSION:
        raise BadSocks("a SOCKS5 request of another version", reply(GENERAL_FAILURE))
    if len(data) > 1 and data[1] != _CONNECT:
        raise BadSocks("a SOCKS5 command other than CONNECT", reply(COMMAND_NOT_SUPPORTED))
    if len(data) > 2 and data[2] != 0:
        raise BadSocks("a SOCKS5 request whose reserved byte is not 0", reply(GENERAL_FAILURE))
    if len(data) > 3 and data[3] not in (_IPV4, _NAME, _IPV6):
        raise BadSocks("a SOCKS5 address of an unknown type", reply(ADDRESS_TYPE_NOT_SUPPORTED))
    end = _address_end(data)
    if end is None or len(data) < end:
        return None
    if data[3] == _NAME:
        try:
            host = parse_host(str(data[5:end], "latin-1"))
        except ValueError as error:
            raise BadSocks(str(error), reply(GENERAL_FAILURE)) from None
    else:
        host = inet_ntop(AF_INET if data[3] == _IPV4 else AF_INET6, bytes(data[4:end]))
    if len(data) < end + 2:
        return None
    port = data[end] << 8 | data[end + 1]
    if not port:
        raise BadSocks("port 0", reply(GENERAL_FAILURE))
    return SocksRequest(host, port), end + 2


def _address_end(data: Bytes) -> int | None:
    """Where the address of a request or reply ends whose type is known; None: that is not known yet."""
    if len(data) < 5:
        return None
    return 8 if data[3] == _IPV4 else 20 if data[3] == _IPV6 else 5 + data[4]


def reply(code: int) -> bytes:
    """The answer to a request (RFC 1928 section 6). The address bound for it, of no use to a client, is left 0."""
    return bytes((VERSION, code, 0, _IPV4)) + bytes(6)


# --- the client's side ---


def greeting(with_credentials: bool) -> bytes:
    """Offer to go without authentication, and with user and password if there are some."""
    return bytes((VERSION, 2, NO_AUTHENTICATION, USER_PASSWORD) if with_credentials else (VERSION, 1, 0))


def parse_method(data: Bytes) -> tuple[int, int] | None:
    """The method that a server chose; NO_ACCEPTABLE: none."""
    if data and data[0] != VERSION:
        raise BadSocks("no SOCKS5 server")
    return (data[1], 2) if len(data) > 1 else None


def userpass(user: str, password: str) -> bytes:
    """Raises ValueError unless both have 1 to 255 bytes in UTF-8."""
    message = b"\x01"
    for text in (user, password):
        raw = text.encode()
        if not 1 <= len(raw) <= 255:
            raise ValueError("a user and a password for SOCKS5 have 1 to 255 bytes")
        message += bytes((len(raw),)) + raw
    return message


def parse_userpass_reply(data: Bytes) -> tuple[bool, int] | None:
    """Whether user and password are right."""
    if data and data[0] != 1:
        raise BadSocks("SOCKS5 credentials of an unknown version")
    return (data[1] == 0, 2) if len(data) > 1 else None


def request(host: str, port: int) -> bytes:
    """Ask for a connection; a name is left to the server to resolve. `host` as wire.authority.parse_host gives it."""
    for family, kind in ((AF_INET, _IPV4), (AF_INET6, _IPV6)):
        try:
            address = bytes((kind,)) + inet_pton(family, host)
            break
        except OSError:
            continue
    else:
        raw = host.encode("ascii")
        address = bytes((_NAME, len(raw))) + raw
    return bytes((VERSION, _CONNECT, 0)) + address + port.to_bytes(2, "big")


def parse_reply(data: Bytes) -> tuple[int, int] | None:
    """The code that a server answers; SUCCEEDED: the tunnel begins after these bytes.

    A failure is answered from its first two bytes: nothing of use follows, and some servers send no more.
    """
    if data and data[0] != VERSION:
        raise BadSocks("a SOCKS5 reply of another version")
    if len(data) < 2:
        return None
    if data[1] != SUCCEEDED:
        return data[1], 2
    if len(data) > 3 and data[3] not in (_IPV4, _NAME, _IPV6):
        raise BadSocks("a SOCKS5 address of an unknown type")
    end = _address_end(data)
    return None if end is None or len(data) < end + 2 else (SUCCEEDED, end + 2)
