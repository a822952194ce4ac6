"""IP networks as patterns, and a table of them that is quick to ask.

Used by rules.match for `cidr` and by config.conditions for a warning. Text in, numbers out: nothing is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_aton, inet_ntoa, inet_pton
from typing import Final, NamedTuple

_IPV4: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){0,3}\Z")


class Network(NamedTuple):
    """`free`: how many low bits do not matter; `number`: the address without them."""

    version: int  # 4 or 6
    free: int
    number: int


def network(pattern: str) -> Network:
    """Read `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`, or a plain address. Raises ValueError.

    IPv4 may be abbreviated as inet_aton(3) has it, and HAProxy with it: 127.1 is 127.0.0.1, and 10/8 is 0.0.0.10/8.
    """
    host, slash, mask = pattern.partition("/")
    version = 6 if ":" in host else 4
    try:
        packed = inet_pton(AF_INET6, host) if version == 6 else inet_aton(host) if _IPV4.match(host) else b""
    except (OSError, UnicodeError):
        packed = b""
    if not packed:
        raise ValueError(f'"{host}" is no IP address')
    free = _free_bits(mask, version) if slash else 0
    return Network(version, free, int.from_bytes(packed, "big") >> free)


def _free_bits(mask: str, version: int) -> int:
    """The number of bits that a prefix length or a netmask leaves free."""
    width = 32 if version == 4 else 128
    if version == 4 and "." in mask:
        try:
            inverted = 0xFFFFFFFF ^ int.from_bytes(inet_pton(AF_INET, mask), "big")
        except (OSError, UnicodeError):
            raise ValueError(f'"{mask}" is no netmask') from None
        if inverted & inverted + 1:
            raise ValueError(f'"{mask}" is no netmask: its ones are not all in front')
        return inverted.bit_length()
    if not re.fullmatch("[0-9]{1,3}", mask) or int(mask) > width:
        raise ValueError(f'"{mask}" is no prefix length for IPv{version} (0 to {width})')
    return width - int(mask)


_Table = tuple[tuple[int, frozenset[int]], ...]  # by free bits


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks by the length of their prefix: one look-up for each length that occurs, however many there are."""

    four: _Table = ()
    six: _Table = ()

    @staticmethod
    def of(networks: Iterable[Network]) -> Networks:
        tables: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for version, free, number in networks:
            tables[version].setdefault(free, set()).add(number)
        four, six = (tuple((free, frozenset(numbers)) for free, numbers in sorted(tables[v].items())) for v in (4, 6))
        return Networks(four, six)

    def hold(self, address: str) -> bool:
        """Is this numeric address in one of them? False for any other text.

        As in HAProxy's manual (7.1.6), IPv4 networks hold ::ffff:a.b.c.d, ::a.b.c.d and 2002:a.b.c.d::/48 as well, and
        an IPv4 address is in the networks that hold its ::ffff: form.
        """
        try:
            if ":" not in address:
                number = int.from_bytes(inet_pton(AF_INET, address), "big")
                return _within(self.four, number) or (bool(self.six) and _within(self.six, 0xFFFF << 32 | number))
            number = int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]), "big")
        except (OSError, UnicodeError, ValueError):  # ValueError: a zero byte inside
            return False
        if _within(self.six, number):
            return True
        if number >> 32 in (0, 0xFFFF):
            return _within(self.four, number & 0xFFFFFFFF)
        return number >> 112 == 0x2002 and _within(self.four, number >> 80 & 0xFFFFFFFF)

    def lists(self, address: str) -> bool:
        """Is this numeric address one of them by itself, not as one among others?"""
        table, family = (self.six, AF_INET6) if ":" in address else (self.four, AF_INET)
        try:
            number = int.from_bytes(inet_pton(family, address.partition("%")[0]), "big")
        except (OSError, UnicodeError, ValueError):
            return False
        return any(free == 0 and number in numbers for free, numbers in table)


def _within(table: _Table, number: int) -> bool:
    for free, numbers in table:  # noqa: SIM110  any() over a generator takes twice as long
        if number >> free in numbers:
            return True
    return False


def abbreviated(pattern: str) -> tuple[str, str] | None:
    """For an IPv4 network in short form that is not the one it looks like: what it is, and what it looks like.

    10/8 looks like 10.0.0.0/8 and is 0.0.0.10/8.
    """
    host, slash, mask = pattern.partition("/")
    dots = host.count(".")
    if not slash or ":" in host or dots == 3:
        return None
    likely = f"{host}{'.0' * (3 - dots)}/{mask}"
    meant = network(pattern)
    if meant == network(likely):
        return None
    return f"{inet_ntoa(inet_aton(host))}/{mask}", likely
