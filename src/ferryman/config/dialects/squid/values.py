"""Values of ACLs, type by type, into native tests. Called by acl.py, with the words that follow type and options.

Native tests always name their method, since the two languages' defaults differ. Raises Mistake at a value that is none.
Source: the `acl` section of Squid's documented squid.conf.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ferryman.config.dialects.squid.quantities import integer
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

Words = Sequence[Word]
Flags = Sequence[str]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ADDRESS: Final = re.compile(r"(?P<low>[^-/]+)(?:-(?P<high>[^-/]+))?(?:/(?P<mask>.+))?")
_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_DAYS: Final = {"S": "Sun", "M": "Mon", "T": "Tue", "W": "Wed", "H": "Thu", "F": "Fri", "A": "Sat"}
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2})-([0-9]{1,2}):([0-9]{1,2})")
_STEPS: Final = {"SslBump1": "1", "SslBump2": "2", "SslBump3": "3"}
_METHODS: Final = frozenset(
    (
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"),
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT"),
        *("CHECKOUT", "CHECKIN", "UNCHECKOUT", "VERSION-CONTROL", "BASELINE-CONTROL", "MKWORKSPACE", "MKACTIVITY"),
        *("UPDATE", "LABEL", "MERGE"),
    )
)
"""Those that Squid knows."""
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
"""POSIX character classes, which Python's expressions lack, as what stands between brackets."""


class Alternatives(Protocol):
    """An ACL that is being read: one more value, one more way to hold."""

    always: bool
    parts: list[object]

    def add(self, fact: str, method: str, patterns: Sequence[At], ignore_case: bool = False) -> None: ...


Reader = Callable[[Alternatives, Words, Flags, Diagnostics], None]


def is_address(text: str) -> bool:
    """Is it the address of a host, perhaps in brackets?"""
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _addresses(fact: str) -> Reader:
    def read(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
        asked = "target_host" if "-n" in flags else fact  # -n: only targets that are given as addresses
        for word in words:
            if word.text == "all":
                acl.always = True
            elif word.text == "ipv6":
                acl.parts.append({"not": {asked: {"cidr": [At("0.0.0.0/0", word.mark)]}}})
            elif word.text == "ipv4":
                acl.add(asked, "cidr", [At("0.0.0.0/0", word.mark)])
            else:
                acl.add(asked, "cidr", [At(str(network), word.mark) for network in _networks(word, diagnostics)])

    return read


def _networks(word: Word, diagnostics: Diagnostics) -> list[Network]:
    """The networks that `address`, `address/mask`, `low-high` or `low-high/mask` stands for."""
    found = _ADDRESS.fullmatch(word.text)
    if found is None:
        raise Mistake(word, f"{word.text!r} is no address", "such as 10.0.0.0/8, fd00::/8 or 10.0.0.1-10.0.0.9")
    low = _address(word, found["low"])
    high = _address(word, found["high"]) if found["high"] else low
    if low.version != high.version:
        raise Mistake(word, f"the range {word.text} is from IPv4 to IPv6, or back")
    prefix = _prefix(word, found["mask"], low.max_prefixlen) if found["mask"] else low.max_prefixlen
    first = ipaddress.ip_network(f"{low}/{prefix}", strict=False)
    last = ipaddress.ip_network(f"{high}/{prefix}", strict=False)
    if first.network_address != low or last.network_address != high:
        hint = f"write {first}" if low == high else ""
        diagnostics.warning(word.mark, f"the mask hides a part of the address {word.text}", hint)
    ends = first.network_address, last.broadcast_address
    try:
        return list(ipaddress.summarize_address_range(*ends))
    except ValueError:
        raise Mistake(word, f"the range {word.text} ends before it begins") from None


def _address(word: Word, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        if re.search("[g-zG-Z]", text):
            message = f"names in place of addresses, such as {text!r}, are Squid's, not supported by ferryman yet"
            raise Mistake(word, message, "write the address") from None
        raise Mistake(word, f"{text!r} is no address", "such as 10.0.0.0/8 or fd00::/8") from None
    if "%" in text:
        raise Mistake(word, f"{text!r} names an interface, which no client's address does", "leave it out")
    return found


def _prefix(word: Word, mask: str, longest: int) -> int:
    try:
        if "." in mask:
            return ipaddress.ip_network(f"0.0.0.0/{mask}").prefixlen
        if re.fullmatch("[0-9]{1,3}", mask) and int(mask) <= longest:
            return int(mask)
    except ValueError:
        pass  # said below
    raise Mistake(word, f"{mask!r} is no mask", f"it is 0 to {longest}")


def _domains(fact: str) -> Reader:
    """`.example.org` is the name and all below it, `example.org` the name alone."""

    def read(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
        asked = "sni" if "--client-requested" in flags else fact
        for word in words:
            name = word.text.removeprefix(".")
            if asked != "target_host" and name == "none":
                message = f"{name!r}, the absence of a name, is Squid's, not supported by ferryman yet"
                raise Mistake(word, message)
            if _HOST.fullmatch(name):
                below = [At(f"*.{name}", word.mark)] if word.text.startswith(".") else []
                acl.add(asked, "name", [At(name, word.mark), *below])
                continue
            if not is_address(name):
                message = f"{word.text!r} is no name that a host can have: it never holds"
                diagnostics.warning(word.mark, message, "write a name such as .apps.example.org")
            acl.add(asked, "is", [At(name.removeprefix("[").removesuffix("]").lower(), word.mark)])

    return read


def _expressions(fact: str) -> Reader:
    def read(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
        asked = "sni" if "--client-requested" in flags else fact
        ignore_case = "-i" in flags
        for word in words:
            if word.text in ("-i", "+i"):
                ignore_case = word.text == "-i"
            else:
                acl.add(asked, "regex", [At(_expression(word.text), word.mark)], ignore_case)

    return read


def _expression(text: str) -> str:
    return re.sub(r"\[:(\w+):\]", lambda found: _CLASSES.get(found[1], found[0]), text)


def _ports(fact: str) -> Reader:
    def read(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
        for word in words:
            first, dash, last = word.text.partition("-")
            low = integer(word, 0, 65535, first).value
            high = integer(word, 0, 65535, last).value if dash else low
            assert isinstance(low, int)
            assert isinstance(high, int)
            if high < low:
                raise Mistake(word, f"the ports {word.text} run backwards", f"write {high}-{low}")
            acl.add(fact, "integer", [At(f"{low}-{high}" if dash else str(low), word.mark)])

    return read


def _users(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    if any(word.text == "REQUIRED" for word in words):
        acl.parts.append({"user": {"found": True}})
        for word in words:
            if word.text != "REQUIRED":
                diagnostics.warning(word.mark, f"{word.text!r} counts for nothing beside REQUIRED, which is every user")
    elif words:
        acl.add("user", "is", [At(word.text, word.mark) for word in words], "-i" in flags)


def _methods(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    """Squid reads the methods it knows in any case, and all others as they stand."""
    for word in words:
        known = word.text.upper() in _METHODS
        acl.add("method", "is", [At(word.text.upper() if known else word.text, word.mark)], ignore_case=known)


def _protocols(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    acl.add("protocol", "is", [At("http", word.mark) for word in words if word.text.upper() == "HTTP"])


def _steps(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    for word in words:
        if word.text not in _STEPS:
            raise Mistake(word, f"there is no step {word.text!r}", nearest(word.text, _STEPS) or "such as SslBump1")
        acl.add("step", "integer", [At(_STEPS[word.text], word.mark)])


def _times(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    """Letters for days, then a time, each perhaps without the other; Squid's end belongs to the time."""
    days: list[str] = []
    for number, word in enumerate(words):
        if not word.text[0].isdigit():
            days = _weekdays(word)
            following = words[number + 1 : number + 2]
            if not following or not following[0].text[0].isdigit():
                acl.add("time", "schedule", [At(",".join(days), word.mark)])
        else:
            acl.add("time", "schedule", [At(f"{','.join(days)} {_clock(word)}".strip(), word.mark)])
            days = []


def _weekdays(word: Word) -> list[str]:
    for letter in word.text:
        if letter not in _DAYS and letter != "D":
            hint = "they are S M T W H F A, from Sunday on, and D: Monday to Friday"
            raise Mistake(word, f"{letter!r} is no day", hint)
    return [_DAYS[letter] for letter in word.text.replace("D", "MTWHF")]


def _clock(word: Word) -> str:
    found = _CLOCK.fullmatch(word.text)
    if found is None:
        raise Mistake(word, f"{word.text!r} is no time of day", "such as 08:00-17:00")
    hour, minute, last_hour, last_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, last_hour * 60 + last_minute
    if max(minute, last_minute) > 59 or begin >= 24 * 60 or end > 24 * 60:
        raise Mistake(word, f"{word.text!r} is no time of day", "such as 08:00-17:00")
    if end < begin:
        raise Mistake(word, f"the time {word.text} ends before it begins", "write one up to 24:00 and one from 00:00")
    end = min(end + 1, 24 * 60)
    return f"{hour:02}:{minute:02}-{end // 60:02}:{end % 60:02}"


def _nothing(acl: Alternatives, words: Words, flags: Flags, diagnostics: Diagnostics) -> None:
    """What the values mean is settled elsewhere, or does not matter."""


READERS: Final[dict[str, Reader]] = {
    "src": _addresses("client_address"),
    "dst": _addresses("target_address"),
    "localip": _addresses("local_address"),
    "dstdomain": _domains("target_host"),
    "dstdom_regex": _expressions("target_host"),
    "port": _ports("target_port"),
    "localport": _ports("local_port"),
    "myportname": _nothing,
    "method": _methods,
    "proto": _protocols,
    "proxy_auth": _users,
    "proxy_auth_regex": _expressions("user"),
    "ssl::server_name": _domains("server_name"),
    "ssl::server_name_regex": _expressions("server_name"),
    "at_step": _steps,
    "time": _times,
    "squid_error": _nothing,
}
