"""`source` of a backend or a server (HAProxy manual, 4.2 source, 5.2 source). Called while lines are read."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.place import At, Mistake, Word

_ANY: Final = ("", "*", "0.0.0.0", "::")
_PREFIX: Final = re.compile(r"(?:ipv4|ipv6|tcp4|tcp6|tcp)@")
_CLIENT: Final = {"clientip": "address", "client": "port"}


def read(address: Word, arguments: Arguments) -> At:
    """What follows `source`, as the native setting; None says what is said without it. Raises Mistake."""
    host, port = _address(address)
    tree: dict[str, object] = {}
    if host not in _ANY or port:
        tree["address"] = At(host.replace("*", "") or "0.0.0.0", address.mark)
    if port:
        tree["port"] = At(port, address.mark)
    while (word := arguments.peek()) is not None and word.text in ("usesrc", "interface"):
        arguments.take()
        value = arguments.need(f"a value for {word.text!r}")
        if word.text == "interface":
            tree["interface"] = At(value.text, value.mark)
        else:
            _use(value, tree)
    return At(tree or None, address.mark)


def _use(word: Word, tree: dict[str, object]) -> None:
    """`usesrc`: whose address servers see. What stands before it is then for health checks alone."""
    if word.text in _CLIENT:
        tree["client"] = At(_CLIENT[word.text], word.mark)
    elif word.text.startswith("hdr_ip("):
        message = "'usesrc hdr_ip' is HAProxy's, not supported by ferryman yet"
        raise Mistake(word, message, "it needs HTTP mode; there are client, clientip, and an address")
    else:
        host, port = _address(word)
        tree["address"], tree["foreign"] = At(host, word.mark), At(True, word.mark)
        tree.pop("port", None)
        if port:
            tree["port"] = At(port, word.mark)


def _address(word: Word) -> tuple[str, int]:
    """ADDRESS[:PORT]; port 0: any. Raises Mistake."""
    text = _PREFIX.sub("", word.text)
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, ""
    if "-" in port:
        message = "'source' with a range of ports is HAProxy's, not supported by ferryman yet"
        raise Mistake(word, message, "without ports the kernel chooses them, for each destination anew")
    if port and not (port.isdigit() and int(port) < 65536):
        raise Mistake(word, f"{port!r} is no port", "")
    host = host.removeprefix("[").removesuffix("]")
    if host not in _ANY:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            message = f"'source {word.text}' names a host, which is not supported by ferryman yet"
            raise Mistake(word, message, "write its address") from None
    return host, int(port or 0)
