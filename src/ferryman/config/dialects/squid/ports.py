"""http_port and https_port lines. Called by settings.py; native.py makes a listener of each.

Of an https_port clients speak TLS with the proxy itself, so its tls-cert is the proxy's own certificate; of an
http_port it is the CA for bumped connections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.keywords import PORT, TLS_PORT
from ferryman.config.dialects.squid.quantities import integer, joined_size
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(slots=True)
class Port:
    """One port. `title` is what Squid calls it, `name` what the listener is called."""

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
    tls: dict[str, At] | None = None  # of an https_port: the native `tls`, as far as options say
    client_ca: At | None = None
    client_optional: bool = False  # sslflags=CONDITIONAL_AUTH


def usual(place: Mark) -> Port:
    """The port of Squid's own squid.conf."""
    return Port("3128", "3128", place, At("[::]:3128", place))


def read(arguments: Arguments, ports: Sequence[Port], diagnostics: Diagnostics) -> Port:
    """A line. Raises Mistake."""
    word = arguments.need("a port, or an address and a port")
    secure = arguments.keyword == "https_port"
    port = Port(word.text, "", arguments.whole, _bind(word), tls={} if secure else None)
    for option in arguments.rest():
        name, _, value = option.text.partition("=")
        if port.tls is not None and name in TLS_PORT.rows:
            if TLS_PORT.wanted(option, name, value, diagnostics):
                _tls_option(port, port.tls, option, name, value)
        elif PORT.wanted(option, name, value, diagnostics):
            _option(port, option, name, value)
    if secure and port.ca is None:
        raise Mistake(word, "clients speak TLS with an https_port, which needs a certificate", "add tls-cert=FILE")
    port.name = _STRANGE.sub("", port.title) or arguments.keyword
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


def _tls_option(port: Port, tls: dict[str, At], option: Word, name: str, value: str) -> None:
    """What is said of the TLS between clients and the proxy."""
    mark = option.mark
    match name:
        case "tls-min-version":
            if value not in ("1.0", "1.1", "1.2", "1.3"):
                raise Mistake(option, f"there is no TLS {value!r}", "write 1.2 or 1.3")
            tls["min_version"] = At(value if value == "1.3" else "1.2", mark)
        case "cipher":
            tls["ciphers"] = At(value, mark)
        case "sslflags":
            for flag in re.split("[,:]", value):
                if flag not in ("CONDITIONAL_AUTH", "NO_DEFAULT_CA"):
                    raise Mistake(option, f"{flag!r} is Squid's, not supported by ferryman yet", "remove it")
                port.client_optional = port.client_optional or flag == "CONDITIONAL_AUTH"
        case _:  # either makes Squid ask clients for certificates
            port.client_ca = At(_path(option, value), mark)


def tls(port: Port) -> dict[str, object] | None:
    """The native `tls` of an https_port; None: of another."""
    if port.tls is None:
        return None
    assert port.ca is not None
    certificate: dict[str, object] = {"file": port.ca} if port.key is None else {"file": port.ca, "key": port.key}
    settings: dict[str, object] = {"certificates": [certificate], **port.tls}
    if port.client_ca is not None:
        demand = "optional" if port.client_optional else "required"
        settings["clients"] = {"certificate": demand, "ca": port.client_ca}
    return settings


def _path(option: Word, value: str) -> str:
    if not value:
        raise Mistake(option, f"{option.text!r} names no file", f"write {option.text}/path/to/file.pem")
    return value
