"""http_port lines. Called by settings.py; native.py makes a listener of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.keywords import PORT
from ferryman.config.dialects.squid.quantities import integer, joined_size
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(slots=True)
class Port:
    """One http_port. `title` is what Squid calls it, `name` what the listener is called."""

    title: str
    name: str
    place: Mark
    bind: At
    bumps: bool = False  # ssl-bump
    keepalive: At | None = None
    ca: At | None = None
    key: At | None = None
    cache: At | None = None
    static: At | None = None  # generate-host-certificates=off


def usual(place: Mark) -> Port:
    """The port of Squid's own squid.conf."""
    return Port("3128", "3128", place, At("[::]:3128", place))


def read(arguments: Arguments, ports: Sequence[Port], diagnostics: Diagnostics) -> Port:
    """A line. Raises Mistake."""
    word = arguments.need("a port, or an address and a port")
    port = Port(word.text, "", arguments.whole, _bind(word))
    for option in arguments.rest():
        name, _, value = option.text.partition("=")
        if PORT.wanted(option, name, value, diagnostics):
            _option(port, option, name, value)
    port.name = _STRANGE.sub("", port.title) or "http_port"
    taken = {other.name for other in ports}
    number = 2
    while port.name in taken:
        port.name = f"{_STRANGE.sub('', port.title)}-{number}"
        number += 1
    return port


def _bind(word: Word) -> At:
    """A port alone is one of every address, IPv6 and IPv4."""
    host, _, text = word.text.rpartition(":")
    number = integer(word, 1, 65535, text).value
    host = {"": "[::]", "localhost": "127.0.0.1"}.get(host, host)
    return At(f"{host}:{number}", word.mark)


def _option(port: Port, option: Word, name: str, value: str) -> None:
    mark = option.mark
    match name:
        case "ssl-bump":
            port.bumps = True
        case "name":
            port.title = value
        case "tcpkeepalive":
            port.keepalive = At(True, mark)
        case "tls-cert" | "cert":
            port.ca = At(_path(option, value), mark)
        case "tls-key" | "key":
            port.key = At(_path(option, value), mark)
        case "dynamic_cert_mem_cache_size":
            port.cache = joined_size(option, value)
        case _:
            if value not in ("", "on", "off"):
                raise Mistake(option, f"{name!r} is on or off, not {value!r}")
            port.static = At(True, mark) if value == "off" else None


def _path(option: Word, value: str) -> str:
    if not value:
        raise Mistake(option, f"{option.text!r} names no file", f"write {option.text}/path/to/file.pem")
    return value
