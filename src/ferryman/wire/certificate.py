"""The names in an X.509 certificate (RFC 5280), for rules about the server that shows it.

Called by the data plane with what wire.serverhello found, or what TLS gave. It is a reader of DER (X.690) that goes
straight to the subject and to subjectAltName and skips the rest. It verifies nothing: a name here is a claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final

_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_OCTETS: Final = 0x04
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87

_COMMON_NAME: Final = bytes((0x55, 4, 3))
_SUBJECT_ALT_NAME: Final = bytes((0x55, 29, 17))
_TEXT: Final = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
"""Types of string in a subject, and how they are written."""

MAX_NAMES: Final = 1000
"""The most names read; the rest is left out."""


def certificate_names(der: bytes) -> tuple[str, ...]:
    """Common name, DNS names and IP addresses, in this order, in lower case, each once; `*.` is kept.

    A name that is not printable ASCII without spaces and commas is left out: no rule could mean it, and what is joined
    by commas would be read as several. What is no certificate has no names.
    """
    found: dict[str, None] = {}
    try:
        for name in _names(der):
            if name.isascii() and name.isprintable() and name and " " not in name and "," not in name:
                found.setdefault(name.lower().removesuffix("."))
                if len(found) >= MAX_NAMES:
                    break
    except ValueError:
        return ()
    return tuple(found)


def is_for(der: bytes, name: str) -> bool:
    """Do clients take this certificate for this name or address (as inet_ntop writes it), in lower case?

    Alternative names alone count, and `*` only as the whole leftmost label (RFC 9525 section 6.3).
    """
    try:
        names = {each.lower().removesuffix(".") for each in _alternatives(_fields(der))}
    except ValueError:
        return False
    return name in names or f"*.{name.partition('.')[2]}" in names


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    return [(tag, value) for tag, value in _elements(_only(_only(der))) if tag != _VERSION]


def _names(der: bytes) -> Iterator[str]:
    fields = _fields(der)
    if len(fields) < 6 or fields[4][0] != _SEQUENCE:  # serial number, signature, issuer, validity, subject, key
        raise ValueError("a certificate without the fields that it must have")
    yield from _common_names(fields[4][1])
    yield from _alternatives(fields)


def _alternatives(fields: list[tuple[int, bytes]]) -> Iterator[str]:
    for tag, value in fields[6:]:
        if tag == _EXTENSIONS:
            for _, extension in _elements(_only(value)):
                parts = list(_elements(extension))  # name, perhaps whether it is critical, content
                if len(parts) > 1 and parts[0] == (_OID, _SUBJECT_ALT_NAME) and parts[-1][0] == _OCTETS:
                    yield from _alternative_names(_only(parts[-1][1]))


def _common_names(subject: bytes) -> Iterator[str]:
    for _, group in _elements(subject):
        for _, attribute in _elements(group):
            parts = list(_elements(attribute))
            if len(parts) == 2 and parts[0] == (_OID, _COMMON_NAME) and parts[1][0] in _TEXT:
                yield parts[1][1].decode(_TEXT[parts[1][0]], "replace")


def _alternative_names(names: bytes) -> Iterator[str]:
    for tag, value in _elements(names):
        if tag == _DNS_NAME:
            yield value.decode("latin-1")
        elif tag == _IP_ADDRESS and len(value) in (4, 16):
            yield inet_ntop(AF_INET if len(value) == 4 else AF_INET6, value)


def _only(data: bytes) -> bytes:
    """What is in the sequence that these bytes begin with."""
    for tag, value in _elements(data):
        if tag == _SEQUENCE:
            return value
        break
    raise ValueError("no sequence where a certificate has one")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that stand one after the other: tag and content."""
    at = 0
    while at < len(data):
        if data[at] & 0x1F == 0x1F or at + 1 >= len(data):
            raise ValueError("a tag that no certificate has, or one at the very end")
        size, start = data[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7F
            if not 1 <= size & 0x7F <= 4:
                raise ValueError("a length that no certificate has")
            size = int.from_bytes(data[at + 2 : start], "big")
        if start + size > len(data):
            raise ValueError("an element that runs past its end")
        yield data[at], data[start : start + size]
        at = start + size
