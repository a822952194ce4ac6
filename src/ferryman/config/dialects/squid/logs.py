"""access_log lines into native log targets. Called by settings.py.

Formats are only known by name: lines are JSON objects, with everything in them.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.acl import Acls
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

FORMATS: Final = ("squid", "common", "combined", "referrer", "useragent", "icap_squid")
_FACILITIES: Final = frozenset(
    ["auth", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"]
    + [f"local{number}" for number in range(8)]
)
_LEVELS: Final = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
_NOT_YET: Final = "is Squid's, not supported by ferryman yet"


def read(arguments: Arguments, formats: Container[str], acls: Acls, diagnostics: Diagnostics) -> At | None:
    """The native target; None: there is to be no log. Raises Mistake."""
    place = arguments.need("a place, or none")
    target = None if place.text == "none" else _target(place)
    for word in arguments.rest():
        name, equals, value = word.text.partition("=")
        if equals and name in ("buffer-size", "on-error", "rotate"):
            continue
        if equals and name != "logformat":
            raise Mistake(word, f"unknown option {name!r} of access_log", "there is logformat=")
        if (value if equals else name) in formats:
            message = f"the format {value if equals else name!r} has no effect here"
            diagnostics.warning(word.mark, message, "a line is a JSON object with all there is to say")
        elif equals:
            raise Mistake(word, f"there is no logformat {value!r} up to here")
        elif not all(term.always for term in acls.terms([word])):
            raise Mistake(word, f"a log of some connections only {_NOT_YET}", "remove the acls")
    return target


def _target(place: Word) -> At:
    kind, colon, rest = place.text.partition(":")
    if not colon and place.text.startswith("/"):
        kind, rest = "stdio", place.text
    match kind:
        case "stdio" | "daemon" | "file":
            if rest in ("/dev/stdout", "/dev/stderr"):
                return At(rest.removeprefix("/dev/"), place.mark)
            if not rest.startswith("/"):
                raise Mistake(place, f"{rest!r} is no whole path", "write stdio:/var/log/ferryman/access.log")
            return At(f"file:{rest}", place.mark)
        case "syslog":
            return At(_syslog(place, rest), place.mark)
        case "udp":
            return At(f"udp:{rest.removeprefix('//')}", place.mark)
        case "tcp":
            raise Mistake(place, f"a log over TCP {_NOT_YET}", "udp://HOST:PORT is")
    raise Mistake(place, f"{place.text!r} is no place for a log", "such as stdio:/var/log/ferryman/access.log")


def _syslog(place: Word, text: str) -> dict[str, object]:
    facility, _, level = text.removeprefix("LOG_").partition(".") if text else ("local4", "", "")
    level = level.removeprefix("LOG_")
    if facility not in _FACILITIES or (level and level not in _LEVELS):
        raise Mistake(place, f"{text!r} is no facility and level", "such as syslog:daemon.info")
    return {"target": "unix:/dev/log", "format": "local", "facility": facility, "tag": "squid"}
