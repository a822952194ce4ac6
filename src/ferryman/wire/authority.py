"""Hosts and ports as a client of a proxy names them: strict, in one spelling.

Called by wire.http1 and wire.socks5 for what a client asks for, and by whoever reads the address of a proxy. Nothing is
resolved. A host that passes is safe in a log line, a header and a resolver: letters, digits, `-`, `_` and dots, or an
address. Names in other scripts must come as A-labels (`xn--…`, RFC 5890), as every client in use sends them.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

MAX_NAME: Final = 253
"""The longest host name, in bytes and without a dot at its end (RFC 1035 section 3.1 in text form)."""

_LABEL: Final = "[A-Za-z0-9_-]{1,63}"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_PORT: Final = re.compile("[1-9][0-9]{0,4}")


def parse_host(text: str) -> str:
    """A name in lower case without a dot at its end, or an address as inet_ntop(3) writes it. No brackets.

    Raises ValueError, whose text says what is wrong and never quotes the peer. IPv4 addresses are four decimal numbers
    only: `127.1`, `0x7f.1` or `2130706433` are addresses to a resolver, but look like names to a rule.
    """
    if _NAME.fullmatch(text):
        name = text.lower().removesuffix(".")
        last = name.rpartition(".")[2]
        if last[0].isdigit() and _NUMBER.fullmatch(last) and not _IPV4.fullmatch(name):
            raise ValueError("an IPv4 address that is not four numbers from 0 to 255")
        if len(name) > MAX_NAME:
            raise ValueError("a host name longer than 253 bytes")
        return name
    if ":" in text:
        try:
            packed = inet_pton(AF_INET6, text)
            # the mapped form of an IPv4 address is connected to as that one, so rules must see that one
            return inet_ntop(AF_INET, packed[12:]) if packed[:12] == _MAPPED else inet_ntop(AF_INET6, packed)
        except (OSError, UnicodeError, ValueError):  # ValueError: a zero byte inside
            raise ValueError("a host that is no IPv6 address") from None
    raise ValueError(_name_fault(text))


def _name_fault(text: str) -> str:
    if not text:
        return "an empty host"
    if not text.isascii():
        return "a host name that is not ASCII: names in other scripts come as A-labels (xn--...)"
    if re.search("[^A-Za-z0-9_.-]", text):
        return "a host name with a byte that no name has"
    if len(text) > MAX_NAME + 1:
        return "a host name longer than 253 bytes"
    return "a host name with an empty label or one longer than 63 bytes"


def parse_authority(text: str, default_port: int = 0) -> tuple[str, int]:
    """`host:port` (RFC 9112 section 3.2.3), IPv6 addresses in brackets, as `parse_host` gives the host.

    Without a port it is `default_port`, or an error if that is 0. User information is refused. Raises ValueError.
    """
    if "://" in text:
        raise ValueError("a URI where host:port belongs")
    host, colon, port = text.rpartition(":")
    if not colon or text[-1] == "]":
        host, port = text, ""
    if "@" in host or "@" in port:
        raise ValueError("user information in front of the host")
    if host[:1] == "[" or host[-1:] == "]":
        inside = host[1:-1]
        if host != f"[{inside}]" or ":" not in inside or "]" in inside:
            raise ValueError("brackets that do not hold an IPv6 address")
        host = inside
    elif ":" in host:
        raise ValueError("an IPv6 address without brackets, or more than one port")
    host = parse_host(host)
    if not port and default_port and not text.endswith(":"):
        return host, default_port
    if not port:
        raise ValueError("no port")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError("a port that is no number from 1 to 65535")
    return host, int(port)


def format_authority(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
