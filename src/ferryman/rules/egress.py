"""Addresses that nobody should be carried to because a name in a request says so.

Called by the data plane with resolved addresses, before any is connected to. Text in, a reason out; what is allowed all
the same is the caller's matter. Without this guard whoever may use a proxy can talk to its own machine, to its
neighbours on the link, and to the service that hands a cloud machine its credentials.

An IPv6 address that stands for an IPv4 one is judged as that: the connection ends there. Whether this program listens
there itself is dataplane.ownaddresses' matter.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_aton, inet_ntop, inet_pton
from typing import Final

_METADATA: Final = {
    inet_pton(AF_INET6 if ":" in address else AF_INET, address): "a cloud metadata address"
    for address in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS ECS, credentials of a task
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure, host agent
        "192.0.0.192",  # Oracle, older
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS, credentials of a pod
        "fd20:ce::254",  # Google
    )
}

_LOOPBACK_NAME: Final = ("a loopback name", "127.0.0.1")  # RFC 6761 section 6.3
_METADATA_NAME: Final = ("a cloud metadata name", "169.254.169.254")
_NAMES: Final = {
    "localhost": _LOOPBACK_NAME,
    "metadata.google.internal": _METADATA_NAME,
    "metadata.goog": _METADATA_NAME,
    "instance-data.ec2.internal": _METADATA_NAME,
}


def prohibited(address: str) -> str:
    """Why this numeric address must not be connected to, in a few words; "" if nothing is against it.

    An address that is none is prohibited, too.
    """
    packed = _packed(address)
    if not packed:
        return "no IP address"
    inner = packed if len(packed) == 4 else _embedded(packed)
    return (_four(inner) if inner else "") or ("" if len(packed) == 4 else _six(packed))


def prohibited_name(host: str) -> tuple[str, str]:
    """As `prohibited`, for a host in lower case that is resolved elsewhere: only what is written can be judged.

    The reason, and the address that the host stands for wherever that is. What other programs take for an address is
    one here as well (inet_aton(3)): 127.1, 2130706433, 0x7f.1.
    """
    if found := _NAMES.get(host) or (_LOOPBACK_NAME if host.endswith(".localhost") else None):
        return found
    address = host
    if not _packed(host):
        try:
            address = inet_ntop(AF_INET, inet_aton(host))
        except (OSError, UnicodeError, ValueError):
            return "", host
    return prohibited(address), address


def spellings(address: str) -> set[str]:
    """This numeric address as inet_ntop(3) writes it, and the IPv4 one that it stands for."""
    packed = _packed(address)
    inner = _embedded(packed) if len(packed) == 16 else None
    return {inet_ntop(AF_INET if len(each) == 4 else AF_INET6, each) for each in (packed, inner) if each}


def _packed(address: str) -> bytes:
    """b"": it is none."""
    text = address.partition("%")[0]
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, UnicodeError, ValueError):  # ValueError: a zero byte inside
        return b""


def _four(packed: bytes) -> str:
    """RFC 6890, for IPv4."""
    if packed in _METADATA:
        return _METADATA[packed]
    first = packed[0]
    if first == 127:
        return "a loopback address"
    if first == 0:
        return "an unspecified address"  # all of 0.0.0.0/8: Linux takes 0.0.0.0 for itself
    if first == 169 and packed[1] == 254:
        return "a link-local address"
    if 224 <= first <= 239:
        return "a multicast address"
    if packed == b"\xff\xff\xff\xff":
        return "the broadcast address"
    return ""


def _six(packed: bytes) -> str:
    """RFC 6890, for IPv6."""
    if packed in _METADATA:
        return _METADATA[packed]
    if packed == bytes(16):
        return "an unspecified address"
    if packed == bytes(15) + b"\x01":
        return "a loopback address"
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return "a link-local address"
    if packed[0] == 0xFF:
        return "a multicast address"
    return ""


def _embedded(packed: bytes) -> bytes | None:
    """The IPv4 address that an IPv6 one stands for: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP."""
    head = packed[:12]
    if head[:10] == bytes(10) and head[10:] in (b"\0\0", b"\xff\xff"):  # RFC 4291 section 2.5.5
        compatible = head == bytes(12)
        return None if compatible and packed[12:] in (bytes(4), b"\0\0\0\1") else packed[12:]
    if head == bytes(8) + b"\xff\xff\0\0":  # RFC 2765
        return packed[12:]
    if head == b"\0\x64\xff\x9b" + bytes(8) or head[:6] == b"\0\x64\xff\x9b\0\1":  # RFC 6052, RFC 8215
        return packed[12:]
    if head[:2] == b"\x20\x02":  # RFC 3056
        return packed[2:6]
    if head[:4] == b"\x20\x01\0\0":  # RFC 4380: the client's address is inverted
        return bytes(byte ^ 0xFF for byte in packed[12:])
    if head[8:] in (b"\0\0\x5e\xfe", b"\2\0\x5e\xfe"):  # RFC 5214
        return packed[12:]
    return None
