"""URLs as Go's net/url takes them apart, which is what reads `stunnel_tcp_proxy`: text in, parts or an error out.

Called by dialects.mtc, which says what follows. Pure; knows no proxies and judges nothing. What is right by RFC 3986
and what Go makes of it differ: a word before a colon is a scheme, and what follows it without a slash is opaque.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HEX: Final = "0123456789abcdefABCDEF"
_USERINFO: Final = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")
_HOST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"-]")
_PORT: Final = re.compile(r"(:[0-9]*)?")


class GoUrlError(ValueError):
    """Go's error. It is without the URL, which Go's own messages have in them, password and all."""


@dataclass(frozen=True, slots=True)
class GoUrl:
    """What url.Parse gives, as far as it matters. `password` None: none is set, which is not the same as an empty one.

    Text is decoded as Go does, byte by byte; what is no UTF-8 then is kept as surrogates (PEP 383).
    """

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str = ""  # and the port, as it is written
    path: str = ""
    query: str = ""
    fragment: str = ""

    @property
    def port(self) -> str:
        """What Go's Port() gives: "" where there is none, or it is no number."""
        before, colon, after = self.host.rpartition(":")
        return after if colon and after.isascii() and after.isdigit() and "]" not in after and before else ""


def parse(text: str) -> GoUrl:
    """url.Parse. Raises GoUrlError."""
    body, _, fragment = text.partition("#")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in body):
        raise GoUrlError("invalid control character in URL")
    decoded = _unescaped(fragment)
    if body == "*":
        return GoUrl(path="*", fragment=decoded)
    scheme, rest = _scheme(body)
    rest, query = (rest[:-1], "") if rest.endswith("?") and rest.count("?") == 1 else _cut(rest, "?")
    if not rest.startswith("/"):
        if scheme:
            return GoUrl(scheme, opaque=rest, query=query, fragment=decoded)
        if ":" in rest.partition("/")[0]:
            raise GoUrlError("first path segment in URL cannot contain colon")
    user, password, host = None, None, ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        user, password, host = _authority(authority)
    return GoUrl(scheme, "", user, password, host, _unescaped(rest), query, decoded)


def _cut(text: str, at: str) -> tuple[str, str]:
    before, _, after = text.partition(at)
    return before, after


def _scheme(text: str) -> tuple[str, str]:
    """(scheme in lower case or "", what follows)."""
    if text.startswith(":"):
        raise GoUrlError("missing protocol scheme")
    before, colon, after = text.partition(":")
    if colon and _SCHEME.fullmatch(before):
        return before.lower(), after
    return "", text


def _authority(text: str) -> tuple[str | None, str | None, str]:
    """(user, password, host); the last @ ends what is about the user."""
    info, at, place = text.rpartition("@")
    host = _host(place)
    if not at:
        return None, None, host
    if not _USERINFO.fullmatch(info):
        raise GoUrlError("invalid userinfo")
    name, colon, secret = info.partition(":")
    return _unescaped(name), _unescaped(secret) if colon else None, host


def _host(text: str) -> str:
    if text.startswith("["):
        inner, bracket, port = text.rpartition("]")
        if not bracket:
            raise GoUrlError("missing ']' in host")
        zone = inner.find("%25")
        _check_port(port)
        if zone >= 0:
            _check_host(inner[:zone])
            return _unescaped(inner[:zone]) + _unescaped(inner[zone:]) + bracket + port
    elif ":" in text:
        _check_port(text[text.rindex(":") :])
    _check_host(text)
    return _unescaped(text)


def _check_port(text: str) -> None:
    if not _PORT.fullmatch(text):
        raise GoUrlError("invalid port after host")


def _check_host(text: str) -> None:
    """Only what is not ASCII may be escaped in a host, and the % of a zone."""
    at = 0
    while at < len(text):
        if text[at] == "%":
            escape = text[at : at + 3]
            if (
                len(escape) == 3
                and escape[1] in _HEX
                and escape[2] in _HEX
                and escape[1] in "01234567"
                and escape != "%25"
            ):
                raise GoUrlError(f'invalid URL escape "{escape}"')
            at += 3
        elif text[at].isascii() and not _HOST.match(text[at]):
            raise GoUrlError("invalid character in host name")
        else:
            at += 1


def _unescaped(text: str) -> str:
    raw = bytearray()
    at = 0
    while at < len(text):
        if text[at] == "%":
            if len(text) < at + 3 or text[at + 1] not in _HEX or text[at + 2] not in _HEX:
                raise GoUrlError("invalid URL escape: a % that no two hexadecimal digits follow")
            raw.append(int(text[at + 1 : at + 3], 16))
            at += 3
        else:
            raw += text[at].encode("utf-8", "surrogatepass")
            at += 1
    return raw.decode("utf-8", "surrogateescape") if b"%" in text.encode("utf-8", "replace") else text
