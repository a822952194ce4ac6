"""`accept`, `connect` and `protocolHost`: addresses as stunnel cuts them, into native ones.

What follows the last colon is the port, a number or the name of a service; without a colon all of it is. Raises Mistake
at what stunnel would not find either, since what it does then (it starts, and refuses every connection) helps nobody.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from ferryman.config.place import At, Mistake, Word

_LOCAL: Final = {"localhost": "127.0.0.1", "localhost4": "127.0.0.1", "localhost6": "::1", "ip6-localhost": "::1"}


def listening(word: Word) -> At:
    """Of `accept`, as a native `bind`."""
    if word.text.startswith("/"):
        return At(f"unix@{word.text}", word.mark)
    host, port = _cut(word)
    if host is None or host in ("", "0.0.0.0"):
        return At(f"*:{port}", word.mark)
    host = _LOCAL.get(host.lower(), host)
    if not _is_address(host):
        raise Mistake(word, f"listening needs an address, and {host!r} is a name", f"write 127.0.0.1:{port}, or {port}")
    return At(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", word.mark)


def on_all(word: Word) -> bool:
    """Does this `accept` say nothing of an address?"""
    return ":" not in word.text and not word.text.startswith("/")


def connecting(word: Word) -> At:
    """Of `connect`, as the address of a native server."""
    if word.text.startswith("/"):
        return At(f"unix@{word.text}", word.mark)
    host, port = _cut(word)
    return At(written(host or "localhost", port), word.mark)


def written(host: str, port: int) -> str:
    """As native configuration has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cut_host(word: Word) -> str:
    """The name a server is asked for (SNI) where none is said: the host, or localhost."""
    host, colon, _ = word.text.rpartition(":")
    return host if colon else "localhost"


def _cut(word: Word) -> tuple[str | None, int]:
    """The host (None: there is none) and the port."""
    host, colon, port = word.text.rpartition(":")
    if not word.text:
        raise Mistake(word, "an address is missing", "write HOST:PORT")
    if host.startswith("["):
        inner = host.strip("[]")
        raise Mistake(
            word, "stunnel takes brackets for a part of the name, and finds no such host", f"write {inner}:{port}"
        )
    if not colon and "." in port and _is_address(port):
        raise Mistake(word, f"{port} says no port", f"write {port}:PORT")
    if re.search(r"\s", word.text):
        raise Mistake(word, f"{word.text!r} has a blank in it", "write HOST:PORT")
    return (host if colon else None), _port(word, port, bool(colon))


def _port(word: Word, text: str, after_host: bool) -> int:
    if text.isascii() and text.isdigit():
        if len(text) > 5 or not 1 <= int(text) <= 65535:
            raise Mistake(word, f"port {text} does not exist", "ports are 1 to 65535")
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError, ValueError):
        pass
    if after_host:
        raise Mistake(word, f"{text!r} is neither a port nor the name of a service", "write HOST:PORT")
    message = f"{text!r} is no host: a word without a port is the port, or the name of a service, of localhost"
    raise Mistake(word, message, f"write {text}:PORT")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
