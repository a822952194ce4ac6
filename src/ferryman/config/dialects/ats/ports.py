"""`server_ports`: which ports are listened on, and how. Called by native.py, which makes a listener of each.

A descriptor is keywords with colons between, in any order and case; one of them is the number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.ats.keywords import PORT
from ferryman.config.dialects.ats.records import Records
from ferryman.config.dialects.ats.values import address, integer
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_PIECE: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]])+")
_LINE: Final = "CONFIG proxy.config.http.server_ports STRING 443:ssl 443:ssl:ipv6"


@dataclass(slots=True)
class Port:
    """One port that speaks TLS."""

    mark: Mark
    number: int = 0
    path: str = ""  # of a Unix socket
    ipv6: bool = False
    inside: str = ""  # ip-in
    outside: list[str] = field(default_factory=list)  # ip-out
    transparent: bool = False  # tr-in
    client_source: bool = False  # tr-out
    proxied: bool = False  # pp
    http2: bool = True
    http1: bool = True

    @property
    def nature(self) -> object:
        """What tells it from other ports, but for the family of its address: those alike share a listener."""
        ways = (self.transparent, self.client_source, self.proxied, self.http2, self.http1)
        return self.number, self.path, self.inside, tuple(self.outside), *ways

    @property
    def bind(self) -> At:
        """Where it listens, natively."""
        if self.path:
            return At(f"unix@{self.path}", self.mark)
        if self.inside:
            host = f"[{self.inside}]" if ":" in self.inside else self.inside
            return At(f"{host}:{self.number}", self.mark)
        if self.ipv6:
            return At({"address": f"[::]:{self.number}", "v6only": True}, self.mark)
        return At(f"*:{self.number}", self.mark)


def read(records: Records, place: Mark, diagnostics: Diagnostics) -> list[Port]:
    """The ports that speak TLS. `place` is where nothing better is known."""
    value = records.word("http.server_ports")
    if value is None:
        if records.given:
            where = records.mark or place
            message = "no port of Traffic Server's speaks TLS by default, and sni.yaml is about nothing else"
            diagnostics.error(where, message, f"add `{_LINE}`")
            return []
        message = "there is no records.config, so no port for TLS is given: 443 is listened on"
        diagnostics.warning(place, message, f"write one with `{_LINE}`")
        return [Port(place, 443), Port(place, 443, ipv6=True)]
    ports: list[Port] = []
    plain: list[str] = []
    faulty = False
    for found in re.finditer(r"[^\s,]+", value.text):
        at = Mark(value.mark.file, value.mark.line, value.mark.column + found.start(), len(found[0]))
        word = Word(found[0], at if value.mark.length >= len(value.text) else value.mark)
        try:
            port, secure = _read(word, diagnostics)
        except Mistake as mistake:
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
            faulty = True
            continue
        if secure:
            ports.append(port)
        else:
            plain.append(word.text)
    if plain:
        message = f"what speaks HTTP is left out: {', '.join(plain)}"
        diagnostics.warning(value.mark, message, "only TLS ports have a part in sni.yaml")
    if not ports and not faulty:
        diagnostics.error(value.mark, "no port speaks TLS, and sni.yaml is about nothing else", "such as 443:ssl")
    _bind(ports, records, diagnostics)
    return ports


def _bind(ports: list[Port], records: Records, diagnostics: Diagnostics) -> None:
    """Addresses that are said for all ports."""
    for name in ("incoming_ip_to_bind", "outgoing_ip_to_bind"):
        word = records.word(name)
        if word is None:
            continue
        try:
            addresses = [address(word, text) for text in word.text.replace(",", " ").split()]
        except Mistake as mistake:
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
            continue
        for port in ports:
            if name == "outgoing_ip_to_bind":
                if not port.outside and not port.client_source:
                    port.outside = [str(each) for each in addresses]
            elif not port.inside and not port.path and not port.transparent:
                port.inside = next((str(each) for each in addresses if (each.version == 6) == port.ipv6), "")


def _read(word: Word, diagnostics: Diagnostics) -> tuple[Port, bool]:
    """A descriptor, and whether it speaks TLS."""
    port = Port(word.mark)
    secure = False
    for piece in _PIECE.findall(word.text):
        name, equals, rest = piece.partition("=")
        if not equals and (found := re.fullmatch(r"(ip-in|ip-out|ip-resolve|proto|fd)(\[?.+)", piece, re.IGNORECASE)):
            name, rest = found[1], found[2]
        if piece.isdigit():
            port.number = integer(Word(piece, word.mark), 1, 65535)
        elif piece.startswith("/"):
            port.path = piece
        elif PORT.wanted(word, name.lower(), diagnostics):
            secure = _option(port, word, name.lower(), rest) or secure
    if not port.number and not port.path:
        raise Mistake(word, f"{word.text!r} has no number", "such as 443:ssl")
    if port.transparent and port.inside:
        raise Mistake(word, "ip-in and tr-in exclude each other", "remove one of them")
    if port.client_source and port.outside:
        raise Mistake(word, "ip-out and tr-out exclude each other", "remove one of them")
    return port, secure


def _option(port: Port, word: Word, name: str, value: str) -> bool:
    """True: it speaks TLS."""
    match name:
        case "ssl":
            return True
        case "ipv4":
            port.ipv6 = False
        case "ipv6":
            port.ipv6 = True
        case "ip-in":
            inside = address(word, value)
            port.inside, port.ipv6 = str(inside), inside.version == 6
        case "ip-out":
            port.outside.append(str(address(word, value)))
        case "pp":
            port.proxied = True
        case "tr-in" | "tr-out" | "tr-full":
            port.transparent = port.transparent or name != "tr-out"
            port.client_source = port.client_source or name != "tr-in"
        case "proto":
            words = set(value.lower().split(";"))
            port.http2 = bool(words & {"http2", "h2"})
            port.http1 = bool(words & {"http", "http/1.1", "http/1.0"})
            if unknown := words - {"http", "http2", "h2", "http/1.1", "http/1.0", "http3", "h3"}:
                raise Mistake(word, f"there is no protocol {min(unknown)!r}", "such as proto=http2;http")
    return False
