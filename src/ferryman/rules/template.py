"""Where a connection goes that says so itself: a host and a port with facts in them, such as "{sni}:443".

Compiled once by config, evaluated per connection by dataplane. Pure; judges nothing: what comes out is a name or an
address that somebody else has to allow, to resolve and to guard.

    {sni}  {sni-N}           the name that the client asks for in TLS, whole or without its last N labels
    {local_address} {local_port}         where the client connected to
    {original_address} {original_port}   where it wanted to go before it was sent here (transparent listeners)
    {proxy_port}             the port that the client connected to, as a PROXY header has it
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ferryman.rules.facts import ABSENT, Facts, Missing

_PIECE: Final = re.compile(r"\{([a-z_]+)(?:-([1-9][0-9]?))?\}")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_LONGEST: Final = 253  # characters of a name (RFC 1035 section 2.3.4)


class TemplateError(ValueError):
    """What is wrong with the text of a template."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A fact, or text if `fact` is "". `less`: labels that are left out at the end of a name."""

    text: str
    fact: str = ""
    less: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """`str` gives the text it was read from."""

    host: tuple[Piece, ...]
    port: tuple[Piece, ...]
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def facts(self) -> frozenset[str]:
        """Names of the facts in it."""
        return frozenset(piece.fact for piece in self.host + self.port if piece.fact)

    def evaluate(self, facts: Facts) -> tuple[str, int] | str:
        """Host (lower case, no brackets) and port; or why there are none, in words."""
        host, port = _filled(self.host, facts), _filled(self.port, facts)
        if isinstance(host, Missing) or isinstance(port, Missing):
            missing = sorted(fact for fact in self.facts if isinstance(_FACTS[fact](facts), Missing))
            return f"the destination {self.text} needs what this connection does not have: {', '.join(missing)}"
        host = host.lower().rstrip(".")
        if not _is_host(host):
            return f"{_shown(host)} is no host name"
        if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
            return f"{_shown(port)} is no port"
        return host, int(port)


def parse(text: str) -> Template:
    """Raises TemplateError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port:
        raise TemplateError(f'{text!r} has no host and port; such as "{{sni}}:443"')
    bracketed = host.startswith("[") and host.endswith("]")
    return Template(_pieces(host[1:-1] if bracketed else host), _pieces(port), text)


def _pieces(text: str) -> tuple[Piece, ...]:
    pieces, end = [], 0
    for found in _PIECE.finditer(text):
        if found.start() > end:
            pieces.append(Piece(text[end : found.start()]))
        fact, less = found[1], int(found[2] or 0)
        if fact not in _FACTS or (less and fact != "sni"):
            raise TemplateError(f"there is no {found[0]}; there are {', '.join(f'{{{name}}}' for name in _FACTS)}")
        pieces.append(Piece(found[0], fact, less))
        end = found.end()
    if end < len(text):
        pieces.append(Piece(text[end:]))
    if any("{" in piece.text or "}" in piece.text for piece in pieces if not piece.fact):
        raise TemplateError(f"{text!r} has braces around what is no fact; such as {{sni}} or {{local_port}}")
    return tuple(pieces)


def _filled(pieces: tuple[Piece, ...], facts: Facts) -> str | Missing:
    filled = []
    for piece in pieces:
        if not piece.fact:
            filled.append(piece.text)
            continue
        value = _FACTS[piece.fact](facts)
        if isinstance(value, Missing):
            return value
        if piece.less:
            labels = value.rstrip(".").split(".")
            value = ".".join(labels[: -piece.less])
        filled.append(value)
    return "".join(filled)


def _is_host(host: str) -> bool:
    """A name of letters, digits, - and _ in labels of 1 to 63, or an address. Whoever resolves it has the last word."""
    if ":" in host:
        return not host.strip("0123456789abcdef:.")
    return len(host) <= _LONGEST and all(_LABEL.match(label) for label in host.split("."))


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def _sni(facts: Facts) -> str | Missing:
    hello = facts.hello
    if isinstance(hello, Missing):
        return hello
    return hello.sni or ABSENT


def _text(value: int | Missing) -> str | Missing:
    return value if isinstance(value, Missing) else str(value)


_FACTS: Final[dict[str, Callable[[Facts], str | Missing]]] = {
    "sni": _sni,
    "local_address": lambda facts: facts.local_address,
    "local_port": lambda facts: str(facts.local_port),
    "original_address": lambda facts: facts.original_address,
    "original_port": lambda facts: _text(facts.original_port),
    "proxy_port": lambda facts: ABSENT if isinstance(facts.proxy_tlvs, Missing) else str(facts.local_port),
}
