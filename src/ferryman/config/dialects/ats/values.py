"""Values of several of Traffic Server's files: networks, numbers, ports, truths. Raises Mistake at a word that is none.

Source: the manual's pages on sni.yaml, ip_allow.yaml and records.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NUMBER: Final = re.compile(r"(-?[0-9]{1,15})([KMGT]?)")
_FRACTION: Final = re.compile(r"-1|[0-9]{1,9}(\.[0-9]{1,9})?")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TRUE: Final = ("1", "true", "on", "yes")
_FALSE: Final = ("0", "false", "off", "no")


def integer(word: Word, low: int = -(1 << 62), high: int = 1 << 62) -> int:
    """A number, perhaps with a unit: K, M, G or T, powers of 1024. Hexadecimal with 0x."""
    found = _NUMBER.fullmatch(word.text)
    if found is None:
        raise Mistake(word, f"{word.text!r} is not a number")
    number = int(found[1]) * _UNITS[found[2]]
    if not low <= number <= high:
        raise Mistake(word, f"{word.text} is out of range; it is {low} to {high}")
    return number


def fraction(word: Word) -> float:
    """A decimal fraction; -1 may stand for no limit."""
    if not _FRACTION.fullmatch(word.text):
        raise Mistake(word, f"{word.text!r} is not a number")
    return float(word.text)


def truth(word: Word) -> bool:
    if word.text.lower() not in _TRUE + _FALSE:
        raise Mistake(word, f"{word.text!r} is neither on nor off")
    return word.text.lower() in _TRUE


def choice(word: Word, known: Iterable[str]) -> str:
    """One of some words, in any case."""
    names = tuple(known)
    if word.text.upper() not in names:
        hint = nearest(word.text.upper(), names) or f"there are {', '.join(names)}"
        raise Mistake(word, f"{word.text!r} is none of the values", hint)
    return word.text.upper()


def port_range(word: Word) -> tuple[int, int]:
    """`443`, or `8080-8086`."""
    first, dash, last = word.text.partition("-")
    low = integer(Word(first.strip(), word.mark), 1, 65535)
    high = integer(Word(last.strip(), word.mark), 1, 65535) if dash else low
    if high < low:
        raise Mistake(word, f"the ports {word.text} run backwards", f"write {high}-{low}")
    return low, high


def port_ranges(word: Word) -> list[tuple[int, int]] | None:
    """`443 8000-8010`, with blanks or commas between; None: `*`, which is any."""
    if "*" in word.text.split():
        return None
    return [port_range(Word(part, word.mark)) for part in re.split(r"[\s,]+", word.text) if part]


def address(word: Word, text: str = "") -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, perhaps in brackets. `text`: the part of the word that it is."""
    text = text or word.text
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise Mistake(word, f"{text!r} is no address", "such as 10.0.0.1, 10.0.0.0/8 or 10.0.0.1-10.0.0.9") from None


def networks(word: Word) -> list[At]:
    """`10.0.0.0/8,192.168.10.1-192.168.10.4`: native networks, each at the place of the word."""
    parts = [part for part in re.split(r"[\s,]+", word.text) if part]
    if not parts:
        raise Mistake(word, "no address is named", "such as 10.0.0.0/8")
    return [At(str(network), word.mark) for part in parts for network in spans(word, part)]


def spans(word: Word, part: str) -> list[Network]:
    """The networks that one address, network or range stands for."""
    if "/" in part:
        host, _, prefix = part.partition("/")
        host = f"{host}.0.0.0" if host.isdigit() else host  # 0/0
        low = address(word, host)
        if not prefix.isascii() or not prefix.isdigit() or int(prefix[:4]) > low.max_prefixlen:
            raise Mistake(word, f"{prefix!r} is no length of a prefix", f"it is 0 to {low.max_prefixlen}")
        return [ipaddress.ip_network(f"{low}/{int(prefix)}", strict=False)]
    first, dash, last = part.partition("-")
    low = address(word, first)
    if dash and last.isdigit() and low.version == 4:  # 192.168.10.1-4
        last = f"{first.rpartition('.')[0]}.{last}"
    high = address(word, last) if dash else low
    if low.version != high.version:
        raise Mistake(word, f"the range {part} is from IPv4 to IPv6, or back")
    try:
        return list(ipaddress.summarize_address_range(low, high))
    except ValueError:
        raise Mistake(word, f"the range {part} ends before it begins") from None


def is_address(text: str) -> bool:
    """Is it the address of a host, perhaps in brackets?"""
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
