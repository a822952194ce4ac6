"""Addresses that nobody should be carried to because a name in a request says so.

Called by the data plane with resolved addresses, before any is connected to. Text in, a reason out; what is allowed all
the same is the caller's matter. Without this guard whoever may use a proxy can talk to its own machine, to its
neighbours on the link, and to the service that hands a cloud machine its credentials.

An IPv6 address that stands for an IPv4 one is judged as that: the connection ends there.
"""

from __future__ import annotations

from collections.abc import Collection
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
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

_NAMES: Final = {
    "localhost": "a loopback name",  # RFC 6761 section 6.3
    "metadata.google.internal": "a cloud metadata name",
    "metadata.goog": "a cloud metadata name",
    "instance-data.ec2.internal": "a cloud metadata name",
}


def prohibited(address: str, port: int, own: Collection[tuple[str, int]]) -> str:
    """Why this numeric address must not be connected to, in a few words; "" if nothing is against it.

    `own` are addresses and ports that this program listens on, without wildcards (the caller puts in the machine's
    addresses for those), spelled as inet_ntop(3) does. An address that is none is prohibited, too.
    """
    text = address.partition("%")[0]
    try:
        packed = inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, UnicodeError, ValueError):  # ValueError: a zero byte inside
        return "no IP address"
    inner = packed if len(packed) == 4 else _embedded(packed)
    reason = (_four(inner) if inner else "") or ("" if len(packed) == 4 else _six(packed))
    if reason:
        return reason
    spellings = {inet_ntop(AF_INET if len(each) == 4 else AF_INET6, each) for each in (packed, inner) if each}
    if any((spelling, port) in own for spelling in spellings):
        return "a listener of this proxy"
    return ""


def prohibited_name(host: str) -> str:
    """As `prohibited`, for a host in lower case that is resolved elsewhere: only what is written can be judged."""
    if reason := _NAMES.get(host) or ("a loopback name" if host.endswith(".localhost") else ""):
        return reason
    reason = prohibited(host, 0, ())
    return "" if reason == "no IP address" else reason


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
