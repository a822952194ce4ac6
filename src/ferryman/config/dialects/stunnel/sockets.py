"""`socket`, `local` and `transparent`: what is set on sockets, and where connections come from. Called by native.py."""

from __future__ import annotations

import ipaddress
from typing import Final

from ferryman.config.dialects.stunnel.reader import Options
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_FLAGS: Final = ("SO_DEBUG", "SO_DONTROUTE", "SO_KEEPALIVE", "SO_OOBINLINE", "SO_REUSEADDR", "TCP_NODELAY",
                 "IP_FREEBIND", "IPV6_V6ONLY")  # fmt: skip
_VALUES: Final = ("SO_LINGER", "SO_RCVBUF", "SO_SNDBUF", "SO_RCVLOWAT", "SO_SNDLOWAT", "SO_RCVTIMEO", "SO_SNDTIMEO",
                  "SO_BINDTODEVICE", "TCP_KEEPCNT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "IP_TOS", "IP_TTL",
                  "TCP_MAXSEG")  # fmt: skip
_YES: Final = ("1", "yes")
_NO: Final = ("0", "no")


def check(options: Options, diagnostics: Diagnostics) -> None:
    """Look at all `socket` lines, and say what has no effect. Raises Mistake."""
    for word in options.all("socket"):
        side, name, value = _parts(word)
        if name == "SO_BINDTODEVICE" and side != "r":
            message = "a device to listen on is stunnel's, not supported by ferryman yet"
            raise Mistake(word, message, "write accept with the address of that device")
        settled = name in ("TCP_NODELAY", "SO_REUSEADDR") and value in _YES
        if not settled and name not in ("SO_KEEPALIVE", "SO_BINDTODEVICE"):
            diagnostics.warning(word.mark, f"{name} has no effect here")


def keepalive(options: Options, sides: str) -> bool:
    """Whether TCP asks now and then if the other end is still there. `sides`: a, l, r."""
    found = [
        value for side, name, value in map(_parts, options.all("socket")) if side in sides and name == "SO_KEEPALIVE"
    ]
    return bool(found) and found[-1] in _YES


def origin(options: Options, transparent: bool) -> At | None:
    """The native `source`: where connections to servers come from. Raises Mistake."""
    local = options.last("local")
    devices = [word for word in options.all("socket") if _parts(word)[:2] == ("r", "SO_BINDTODEVICE")]
    tree: dict[str, object] = {}
    place = None
    if transparent:  # stunnel leaves `local` out then
        word = options.last("transparent")
        assert word is not None
        place, tree["client"] = word.mark, "address"
    elif local is not None and local.text:
        place, tree["address"] = local.mark, At(_address(local), local.mark)
    if devices:
        place = place or devices[-1].mark
        tree["interface"] = At(_parts(devices[-1])[2], devices[-1].mark)
    return At(tree, place) if place is not None else None


def _address(word: Word) -> str:
    try:
        return str(ipaddress.ip_address(word.text))
    except ValueError:
        message = f"{word.text!r} is no address: a name for it is stunnel's, not supported by ferryman yet"
        raise Mistake(word, message, "write the address") from None


def _parts(word: Word) -> tuple[str, str, str]:
    """Side, option and value of `a:NAME=VALUE`. Raises Mistake."""
    side, colon, rest = word.text.partition(":")
    name, equals, value = rest.partition("=")
    name, value = name.strip().upper(), value.strip().lower() if "BINDTODEVICE" not in rest else value.strip()
    if not colon or side not in ("a", "l", "r") or not equals:
        raise Mistake(word, f"{word.text!r} is no option of a socket", "write a:, l: or r:, then NAME=VALUE")
    if name not in (*_FLAGS, *_VALUES):
        raise Mistake(word, f"there is no option {name} of a socket", nearest(name, (*_FLAGS, *_VALUES)))
    if name in _FLAGS and value not in (*_YES, *_NO):
        raise Mistake(word, f"{name} is yes or no, not {value!r}", "")
    return side, name, value
