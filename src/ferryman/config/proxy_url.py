"""URLs of proxies to go through: text to a checked value, or ValueError with what to write instead.

Used by the model and by the dialects. Messages never show credentials. What other programs quietly do with such a URL
(ignore the scheme, take a missing port for a service name, send no password) is an error here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from ferryman.config.values import parse_connect_address
from ferryman.plan import Address

SCHEMES: Final = ("http", "https", "socks5")
_OTHER_NAMES: Final = {"socks5h": "socks5", "socks": "socks5", "connect": "http", "tls": "https"}
_DEFAULT_PORTS: Final = {"http": 3128, "https": 443, "socks5": 1080}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=%-]")  # RFC 3986 section 3.2.1, without ":"
_LONGEST: Final = 255  # bytes of a user's name or password, RFC 1929 section 2


class ProxyUrl(NamedTuple):
    """`user` and `password` are decoded, both or neither of them empty."""

    scheme: str
    address: Address
    user: str
    password: str

    def __repr__(self) -> str:
        return f"ProxyUrl({written(self)})"


def parse_proxy_url(text: str) -> ProxyUrl:
    """Read `http://user:password@host:3128`, `https://…`, `socks5://…`. Raises ValueError."""
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("the URL of a proxy is one word; write a blank in a password as %20")
    found = _SCHEME.fullmatch(text)
    if found is None:
        rest = text.rpartition("@")[2] or "proxy.example:3128"
        raise ValueError(f"the URL of a proxy begins with its scheme; write http://{rest}, https:// or socks5://")
    scheme, rest = found[1].lower(), found[2]
    if scheme not in SCHEMES:
        meant = _OTHER_NAMES.get(scheme, "")
        raise ValueError(f"there is no proxy of scheme {scheme}; " + (f"write {meant}://" if meant else _all_schemes()))
    userinfo, at, place = rest.rpartition("@")
    if at:
        _refuse_raw(userinfo)
    place, slash, path = _cut(place)
    if path or slash not in ("", "/"):
        raise ValueError(f"nothing follows the port of a proxy; remove what begins with {slash}")
    user, password = _credentials(userinfo) if at else ("", "")
    return ProxyUrl(scheme, _address(scheme, place), user, password)


def written(url: ProxyUrl) -> str:
    """The URL without its credentials."""
    return f"{url.scheme}://{url.address}"


def check_credential(text: str, what: str) -> None:
    """Refuse what no protocol can carry, or what would end a line of a head. Raises ValueError."""
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError(f"the {what} has a control character in it; line breaks and the like cannot be sent")
    if what == "user" and ":" in text:
        raise ValueError("the user has a colon in it, which would be taken for the end of the name")
    if len(text.encode()) > _LONGEST:
        raise ValueError(f"the {what} is longer than {_LONGEST} bytes")


def _all_schemes() -> str:
    return f"there are {', '.join(f'{name}://' for name in SCHEMES)}"


def _cut(text: str) -> tuple[str, str, str]:
    """What stands before the first of "/", "?" and "#", that character, and what follows it."""
    found = re.search(r"[/?#]", text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _refuse_raw(userinfo: str) -> None:
    """Characters that a user or password has to be escaped for."""
    if _ESCAPE.search(userinfo):
        raise ValueError("a % in a user or password begins an escape such as %40; write a plain % as %25")
    for part in userinfo.split(":", 1):
        if raw := _NOT_PLAIN.search(part.replace(":", "")):
            raise ValueError(f"a raw {raw[0]} in a user or password ends the URL elsewhere; write {quote(raw[0], '')}")


def _credentials(userinfo: str) -> tuple[str, str]:
    name, _, secret = userinfo.partition(":")
    try:
        user, password = (unquote_to_bytes(part).decode() for part in (name, secret))
    except UnicodeDecodeError:
        raise ValueError("the user or the password is not UTF-8 once its % escapes are decoded") from None
    if not user:
        raise ValueError("a user's name is missing before the @; write http://user:password@…, or nothing before it")
    if not password:
        raise ValueError("there is a user without a password, which no proxy takes; write user:password@…")
    check_credential(user, "user")
    check_credential(password, "password")
    return user, password


def _address(scheme: str, place: str) -> Address:
    """Raises ValueError."""
    example = f"{scheme}://proxy.example:{_DEFAULT_PORTS[scheme]}"
    if not place or place.startswith(":"):
        raise ValueError(f"the URL names no host; write {example}")
    host, colon, port = place.rpartition(":")
    if not colon or "]" in port:
        raise ValueError(f"the URL says no port; write {scheme}://{place}:{_DEFAULT_PORTS[scheme]}")
    if not port:
        raise ValueError(f"the URL says no port; write {scheme}://{place}{_DEFAULT_PORTS[scheme]}")
    if ":" in host and not host.startswith("["):
        raise ValueError(f"an IPv6 address stands in brackets; write {scheme}://[{host}]:{port}")
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{port!r} is not a port; write a number from 1 to 65535, and escape what is special "
                         "in a password (%40 for @, %2F for /)")  # fmt: skip
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\[\]@/]+", host):
        raise ValueError(f"{host!r} is no host; write {example}")
    address = parse_connect_address(f"{host}:{port}")
    if address.family not in ("inet", "inet6", "name"):
        raise ValueError(f"{host!r} is no host; write {example}")
    return address
