"""The TLS ClientHello: what a client says about itself before anything is encrypted.

`parse` is called by the data plane with what it has peeked at, once per connection and again whenever more has come;
`missing` tells it how much more to wait for. Nothing here reads a socket, waits, or decides what a name may do.

A hello is one handshake message in one or more TLS records, which come in one or more TCP segments; both kinds of cut
are put together again here (RFC 8446 section 5.1). Framing errors (records, message type and length) are reported at
the first byte that proves them. The body of the hello is judged once all of it is there. Either way the answer for a
prefix of the stream is NEED_MORE or what it is for the whole stream.

The reader is strict where a lenient one could be shown another name than the server sees: a hello with a repeated
extension, with lengths that disagree, with an odd byte in its server name, or with anything after it in its last
record is Malformed. It does not judge what only the server cares about (which versions, ciphers or groups).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812  it is an exception
from typing import Final, Literal, NamedTuple

MAX_HELLO: Final = 16384
"""The longest hello taken, in bytes of handshake message with its 4-byte header. It is also the most that one record
may hold (RFC 8446 section 5.1), and no client in use comes near it."""

MAX_STREAM: Final = 6 * MAX_HELLO
"""The most bytes of the stream that such a hello can fill: every byte of it in a record of its own."""


class Outcome(enum.Enum):
    """The answers of `parse` that carry no value; compare with `is`."""

    NEED_MORE = "a ClientHello may begin here, and more bytes are needed"
    NOT_TLS = "these bytes do not begin a TLS handshake"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A TLS handshake that is no acceptable ClientHello. The reason is fixed text and never quotes the peer."""

    reason: str


class ClientHello(NamedTuple):
    """A complete ClientHello (RFC 8446 section 4.1.2). GREASE values (RFC 8701) are kept where the client put them.

    The lists that few rules ask for stay as they were on the wire until their property is read. A tuple, because one is
    made per connection: a frozen dataclass of as many fields takes 1.3 µs to make, this 0.3 µs of the 5 µs of `parse`.
    """

    record_version: int  # of the first record; says nothing in TLS 1.3
    version: int  # legacy_version: 0x0303 for TLS 1.2 and 1.3
    sni: str | None  # server name as sent, letter case included (RFC 6066 section 3); None: none was sent
    alpn: tuple[str, ...]  # protocol names (RFC 7301), their bytes as Latin-1: a GREASE name is not text
    ech: Literal["none", "outer", "inner"]
    """encrypted_client_hello (RFC 9849). "outer": `sni` is the public name of the provider, the real one is encrypted;
    or it is GREASE and `sni` is the real one. The two cannot be told apart without the provider's key. "inner": the
    decrypted hello that a split-mode front passes on to its backend server."""
    has_ticket: bool  # the session_ticket extension is there, with a ticket or without (RFC 5077)
    length: int  # bytes of the stream from its start to the end of the hello, record headers included
    raw_ciphers: bytes
    raw_versions: bytes
    raw_groups: bytes
    raw_keyshares: bytes
    raw_sigalgs: bytes

    @property
    def ciphers(self) -> tuple[int, ...]:
        """The cipher suites, in the client's order."""
        return _numbers(self.raw_ciphers)

    @property
    def versions(self) -> tuple[int, ...]:
        """supported_versions (RFC 8446 section 4.2.1); empty in a hello for TLS 1.2 and older."""
        return _numbers(self.raw_versions)

    @property
    def groups(self) -> tuple[int, ...]:
        """supported_groups (RFC 8446 section 4.2.7)."""
        return _numbers(self.raw_groups)

    @property
    def keyshares(self) -> tuple[int, ...]:
        """The groups for which a key share was sent (RFC 8446 section 4.2.8)."""
        return _numbers(self.raw_keyshares)

    @property
    def sigalgs(self) -> tuple[int, ...]:
        """signature_algorithms (RFC 8446 section 4.2.3)."""
        return _numbers(self.raw_sigalgs)

    @property
    def has_ec_ext(self) -> bool:
        """Whether the supported_groups extension is there, whose list is never empty."""
        return bool(self.raw_groups)


class _FieldError(Exception):
    """Carries a Malformed out of the readers of single fields; it does not leave this module."""


_SINGLE_RECORD: Final = Struct(">BHHI").unpack_from  # type, version, length; message type and length
_RECORD: Final = Struct(">BBxH").unpack_from  # type, major version, length
_PAIR: Final = Struct(">HH").unpack_from
_SHORT: Final = Struct(">H").unpack_from

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1 << 24
_NAME_BYTES: Final = bytes(range(0x21, 0x7F))

# Extension types, as they are on the wire.
_SERVER_NAME: Final = 0x0000
_GROUPS: Final = 0x000A
_SIGALGS: Final = 0x000D
_ALPN: Final = 0x0010
_TICKET: Final = 0x0023
_VERSIONS: Final = 0x002B
_KEYSHARES: Final = 0x0033
_ECH: Final = 0xFE0D


def parse(data: bytes | bytearray | memoryview) -> ClientHello | Outcome | Malformed:
    """Read the ClientHello at the start of a stream.

    `data` is the stream from its first byte, as far as it is known. Never raises, whatever the bytes are.
    A first byte other than 22 (so also an SSLv2 hello) or a second one other than 3 is NOT_TLS.
    """
    if len(data) >= 9:  # nearly every hello comes in a record of its own: that costs no loop and one copy
        kind, record_version, size, message = _SINGLE_RECORD(data)
        whole = message == _CLIENT_HELLO + size - 4 and size <= MAX_HELLO
        if whole and kind == _HANDSHAKE and record_version >> 8 == 3:
            end = 5 + size
            if len(data) < end:
                return Outcome.NEED_MORE
            return _body(bytes(data[9:end]), record_version, end)
    framed = _reassemble(data)
    if not isinstance(framed, _Framed):
        return framed
    if framed.missing:
        return Outcome.NEED_MORE
    return _body(bytes(framed.message[4:]), data[1] << 8 | data[2], framed.length)


def missing(data: bytes | bytearray | memoryview) -> int:
    """The number of bytes that must come at least before a hello that begins with `data` is complete.

    For the low-water mark of the socket after NEED_MORE. Waiting for that many keeps the work linear also for a peer
    that sends single bytes, or records of one byte each: `parse` starts from the first byte at every call. It may
    mean that a framing error is reported a little later, never differently. 0 when `parse` would not answer NEED_MORE.
    """
    framed = _reassemble(data)
    return framed.missing if isinstance(framed, _Framed) else 0


@dataclass(frozen=True, slots=True)
class _Framed:
    """What the records seen so far hold of the handshake message."""

    message: bytearray
    length: int  # bytes of the stream they took
    missing: int  # bytes of the stream that are still needed at least; 0: the message is complete


def _reassemble(data: bytes | bytearray | memoryview) -> _Framed | Outcome | Malformed:
    """Take the handshake message out of its records; checks are made in the order of the bytes they rest on."""
    message = bytearray()
    total = 0  # length of the message, once its header is there
    position = 0
    while len(data) - position >= 5:
        kind, major, size = _RECORD(data, position)
        if kind != _HANDSHAKE or major != 3:
            return _no_record(position)
        if size == 0:
            return Malformed("an empty handshake record")
        if size > MAX_HELLO:
            return Malformed("a record longer than a record may be")
        position += 5
        record_end = len(message) + size
        message += data[position : position + size]
        position += size
        if not total:
            if message and message[0] != 1:
                return Malformed("a handshake message other than a ClientHello")
            if len(message) >= 4:
                total = 4 + int.from_bytes(message[1:4], "big")
                if total > MAX_HELLO:
                    return Malformed("a hello longer than 16 KiB")
        if total and record_end > total:
            return Malformed("something follows the hello in its record")
        if len(message) < record_end:
            next_header = 5 if record_end < max(total, 4) else 0
            return _Framed(message, position, max(record_end, total, 4) - len(message) + next_header)
        if record_end == total:
            return _Framed(message, position, 0)
    header = bytes(data[position:])
    if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
        return _no_record(position)
    return _Framed(message, position, 5 - len(header) + max(total, 4) - len(message))


def _no_record(position: int) -> Outcome | Malformed:
    """What is not a handshake record of TLS: a foreign protocol at the start of the stream, an error later on."""
    return Malformed("a record of another kind or version inside the hello") if position else Outcome.NOT_TLS


def _body(body: bytes, record_version: int, length: int) -> ClientHello | Malformed:
    """The hello after its handshake header (RFC 8446 section 4.1.2)."""
    try:
        at = 35 + body[34]  # version and random: 34 bytes; then the session id
        if body[34] > 32:
            return Malformed("a session id longer than 32 bytes")
        (size,) = _SHORT(body, at)
        at += 2
        ciphers = body[at : at + size]
        at += size
        if size < 2 or size & 1:
            return Malformed("a cipher list of no or half a cipher")
        size = body[at]
        at += 1 + size
        if size < 1:
            return Malformed("no compression method")
        extensions = _extensions(body, at) if at != len(body) else {}  # before TLS 1.3 a hello may end here
        get = extensions.get
        name, alpn, shares, ech = get(_SERVER_NAME), get(_ALPN), get(_KEYSHARES), get(_ECH)
        versions, groups, sigalgs = get(_VERSIONS), get(_GROUPS), get(_SIGALGS)
        return ClientHello(
            record_version,
            body[0] << 8 | body[1],
            None if name is None else _server_name(name),
            () if alpn is None else _protocols(alpn),
            "none" if ech is None else _ech(ech),
            _TICKET in extensions,
            length,
            ciphers,
            b"" if versions is None else _list(versions, versions[0], 1),
            b"" if groups is None else _list(groups, _SHORT(groups)[0], 2),
            b"" if shares is None else _share_groups(shares),
            b"" if sigalgs is None else _list(sigalgs, _SHORT(sigalgs)[0], 2),
        )
    except (IndexError, StructError):  # all of it was there, so a length inside it is wrong
        return Malformed("a field that runs past the hello")
    except _FieldError as error:
        return Malformed(str(error))


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """The extensions by type, from the length of their list at `at` to the end of the hello."""
    extensions: dict[int, bytes] = {}
    end = len(body)
    if at + 2 + _SHORT(body, at)[0] != end:
        raise _FieldError("an extension list that does not end with the hello")
    at += 2
    count = 0
    while at < end:
        kind, size = _PAIR(body, at)
        at += 4
        extensions[kind] = body[at : at + size]
        at += size
        count += 1
    if at != end:
        raise _FieldError("an extension that runs past the hello")
    if count != len(extensions):
        raise _FieldError("an extension twice")  # RFC 8446 section 4.2
    return extensions


def _server_name(data: bytes) -> str | None:
    """The host_name of a server_name extension (RFC 6066 section 3).

    Names of other types, of which none is defined, are skipped: they must begin with a length, too.
    """
    name: bytes | None = None
    end = 2 + _SHORT(data)[0]
    at = 2
    while at < end:
        (size,) = _SHORT(data, at + 1)
        entry = data[at + 3 : at + 3 + size]
        if data[at] == 0:
            if name is not None:
                raise _FieldError("two server names")
            name = entry
        at += 3 + size
    if at != end or end != len(data) or end == 2:
        raise _FieldError("a server name list whose lengths disagree")
    if name is None:
        return None
    if not 1 <= len(name) <= 255:
        raise _FieldError("a server name that is empty or longer than 255 bytes")
    if name.translate(None, _NAME_BYTES):
        raise _FieldError("a server name with a byte that no name has")
    return name.decode("ascii")


def _protocols(data: bytes) -> tuple[str, ...]:
    """The list of an application_layer_protocol_negotiation extension (RFC 7301 section 3.1)."""
    names: list[str] = []
    end = len(data)
    at = 2
    while at < end:
        after = at + 1 + data[at]
        names.append(data[at + 1 : after].decode("latin-1"))
        at = after
    if at != end or end != 2 + _SHORT(data)[0] or not names or "" in names:
        raise _FieldError("an ALPN list that is empty or whose lengths disagree")
    return tuple(names)


def _ech(data: bytes) -> Literal["outer", "inner"]:
    """The kind of an encrypted_client_hello extension (RFC 9849 section 5); what it carries is not looked into."""
    if data == b"\x01":
        return "inner"
    if data[:1] == b"\x00":
        return "outer"
    raise _FieldError("an encrypted_client_hello extension of no known kind")


def _share_groups(data: bytes) -> bytes:
    """The groups of a key_share extension (RFC 8446 section 4.2.8), two bytes each; there may be none."""
    groups = b""
    end = len(data)
    at = 2
    while at < end:
        groups += data[at : at + 2]
        at += 4 + _SHORT(data, at + 2)[0]
    if at != end or end != 2 + _SHORT(data)[0]:
        raise _FieldError("a key share list whose lengths disagree")
    return groups


def _list(data: bytes, size: int, start: int) -> bytes:
    """A list of 16-bit numbers from `start` on, which must not be empty; `size` is what its length field says."""
    if size < 2 or size & 1 or start + size != len(data):
        raise _FieldError("a list of numbers that is empty or whose lengths disagree")
    return data[start:]


def _numbers(raw: bytes) -> tuple[int, ...]:
    return Struct(f">{len(raw) // 2}H").unpack(raw)
