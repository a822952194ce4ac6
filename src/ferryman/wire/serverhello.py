"""A TLS server's first flight, as far as it can be read by others: which certificate it shows, up to TLS 1.2.

`parse` is called by the data plane with what it has peeked at of a server's answer, where a rule wants to know the
names in the certificate. From TLS 1.3 on everything after the ServerHello is encrypted. Nothing is verified here, not
even that the flight answers the hello that was sent; names are read by wire.certificate. No length is told, since no
caller takes these bytes: the client is to have them.

Messages come in records and records in segments, and both kinds of cut are put together again (RFC 5246 section 6.2.1).
The answer for a prefix of the stream is NEED_MORE or what it is for the whole stream: what comes first counts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

MAX_STREAM: Final = 65535
"""The longest flight taken, in bytes of the stream. Chains in use have 2 to 10 KiB."""

MAX_RECORDS: Final = 64
"""The most records that a flight may be cut into: `parse` begins anew at every call, and servers use one to four."""


class Outcome(enum.Enum):
    """The answers of `parse` that carry no value; compare with `is`."""

    NEED_MORE = "a server's first flight may begin here, and more bytes are needed"
    NOT_TLS = "these bytes are not TLS"
    ENCRYPTED = "TLS 1.3: the certificate is not for others to see"
    NO_CERTIFICATE = "the server shows none: it resumes a session, or knows the client by other means"
    ALERT = "the server refuses"


@dataclass(frozen=True, slots=True)
class Malformed:
    """TLS, but no acceptable first flight. The reason is fixed text and never quotes the peer."""

    reason: str


class Certificate(NamedTuple):
    """What a server shows."""

    version: int  # 0x0300 to 0x0303
    leaf: bytes  # the server's own certificate, X.509 in DER, not looked into
    chain: int  # how many certificates came, this one included


class _FieldError(Exception):
    """Carries a Malformed out of the readers of single messages; it does not leave this module."""


_RECORD: Final = Struct(">BBxH").unpack_from  # type, major version, length
_MAX_RECORD: Final = 16384

_CHANGE_CIPHER_SPEC: Final = 20
_ALERT: Final = 21
_HANDSHAKE: Final = 22

_SERVER_HELLO: Final = 2
_CERTIFICATE: Final = 11
_OTHERS: Final = frozenset({4, 12, 13, 14})
"""What may stand where the certificate would: NewSessionTicket, ServerKeyExchange, CertificateRequest, Done."""

_VERSIONS: Final = 0x002B


def parse(data: bytes | bytearray | memoryview) -> Certificate | Outcome | Malformed:
    """Read the first flight at the start of a stream, which is known as far as `data` goes. Never raises."""
    answer = _parse(data[:MAX_STREAM])
    if answer is Outcome.NEED_MORE and len(data) >= MAX_STREAM:
        return Malformed("a first flight longer than 64 KiB")
    return answer


def _parse(data: bytes | bytearray | memoryview) -> Certificate | Outcome | Malformed:
    messages, end = _reassemble(data)
    try:
        if messages and messages[0] != _SERVER_HELLO:
            return Malformed("a handshake message other than a ServerHello")
        hello = _message(messages, 0)
        if hello is None:
            return end
        version = _version(hello)
        if version is None:
            return Outcome.ENCRYPTED
        start = 4 + len(hello)
        if messages[start : start + 1] and messages[start] != _CERTIFICATE:
            if messages[start] in _OTHERS:
                return Outcome.NO_CERTIFICATE
            return Malformed("a handshake message that cannot follow a ServerHello")
        body = _message(messages, start)
        if body is None:
            if end is _RESUMED and len(messages) == start:
                return Outcome.NO_CERTIFICATE
            return end
        chain = _chain(body)
    except _FieldError as error:
        return Malformed(str(error))
    return Certificate(version, chain[0], len(chain)) if chain else Outcome.NO_CERTIFICATE


_End = Outcome | Malformed
_RESUMED: Final = Malformed("a change of ciphers inside a handshake message")


def _reassemble(data: bytes | bytearray | memoryview) -> tuple[bytes, _End]:
    """The handshake messages in the records so far, and why there are no more of them."""
    messages = bytearray()
    at = count = 0
    while True:
        header = bytes(data[at : at + 5])
        if header[:1] not in (b"", b"\x16", b"\x15", b"\x14") or header[1:2] not in (b"", b"\x03"):
            return bytes(messages), Malformed("a record of another kind or version") if at else Outcome.NOT_TLS
        if len(header) < 5:
            return bytes(messages), Outcome.NEED_MORE
        kind, _, size = _RECORD(header)
        if kind == _ALERT:
            return bytes(messages), Outcome.ALERT
        if kind == _CHANGE_CIPHER_SPEC:
            return bytes(messages), _RESUMED
        if not 0 < size <= _MAX_RECORD:
            return bytes(messages), Malformed("a record that is empty or longer than one may be")
        count += 1
        if count > MAX_RECORDS:
            return bytes(messages), Malformed("a flight in too many records")
        messages += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(data) < at:
            return bytes(messages), Outcome.NEED_MORE


def _message(messages: bytes, start: int) -> bytes | None:
    """The body of the message that starts there; None: it is not complete."""
    if len(messages) < start + 4:
        return None
    size = int.from_bytes(messages[start + 1 : start + 4], "big")
    if size > MAX_STREAM:
        raise _FieldError("a handshake message longer than 64 KiB")
    end = start + 4 + size
    return messages[start + 4 : end] if len(messages) >= end else None


def _version(hello: bytes) -> int | None:
    """The version that a ServerHello chooses (RFC 5246 section 7.4.1.3); None: TLS 1.3 or later."""
    if len(hello) < 38 or hello[34] > 32 or len(hello) < 38 + hello[34]:
        raise _FieldError("a ServerHello that is too short, or a session id that is too long")
    at = 38 + hello[34]  # version, random, session id, cipher, compression
    if at != len(hello):
        if int.from_bytes(hello[at : at + 2], "big") != len(hello) - at - 2:
            raise _FieldError("an extension list that does not end with the hello")
        at += 2
    while at < len(hello):
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        at += 4 + size
        if at > len(hello):
            raise _FieldError("an extension that runs past the hello")
        if kind == _VERSIONS:
            return None  # only TLS 1.3 has it, RFC 8446 section 4.2.1
    version = hello[0] << 8 | hello[1]
    if not 0x0300 <= version <= 0x0303:
        raise _FieldError("a version that is none of TLS")
    return version


def _chain(body: bytes) -> list[bytes]:
    """The certificates of a Certificate message (RFC 5246 section 7.4.2)."""
    certificates: list[bytes] = []
    if int.from_bytes(body[:3], "big") != len(body) - 3:
        raise _FieldError("a certificate list that does not end with its message")
    at = 3
    while at < len(body):
        end = at + 3 + int.from_bytes(body[at : at + 3], "big")
        if end > len(body) or end <= at + 3:
            raise _FieldError("a certificate that is empty or runs past its list")
        certificates.append(body[at + 3 : end])
        at = end
    return certificates
