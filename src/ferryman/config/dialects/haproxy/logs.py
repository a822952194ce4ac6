"""`log` lines into native log targets (HAProxy manual, 3.1 and 4.2 `log`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy.quantities import integer, one_of
from ferryman.config.place import At, Mistake, Word

# fmt: off
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)
# fmt: on
LEVELS: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FORMATS: Final = ("local", "rfc3164", "rfc5424", "priority", "short", "timed", "iso", "raw")
_NOT_YET: Final = ("ring@", "tcp@", "tcp4@", "tcp6@", "backend@", "sockpair@")
TCP_FORMAT: Final = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"
"""What tcplog stands for; HAProxy offers it to files as $HAPROXY_TCP_LOG_FMT."""


@dataclass(slots=True)
class LogLine:
    """One target. `settings` None: those of `global`."""

    place: At
    settings: dict[str, object] | None = None

    def tree(self, tag: At | None, hostname: At | None) -> At:
        """The native target. `tag` and `hostname` are those of all; hostname "": this machine's, None: not sent."""
        settings: dict[str, object] = dict(self.settings or {})
        settings["tag"] = tag or "haproxy"
        if hostname is not None and hostname.value:
            settings["hostname"] = hostname
        if "format" not in settings:
            settings["format"] = "local" if hostname is None else "rfc3164"
        return At(settings, self.place.mark)


def read(arguments: Arguments, address: str, in_global: bool) -> LogLine:
    """A `log` line; `address` is its first argument with variables expanded. Raises Mistake."""
    target = arguments.need("a target and a facility")
    place = At(target.text, target.mark)
    if target.text == "global" and not in_global:
        arguments.end()
        return LogLine(place)
    if target.text == "global":
        raise Mistake(target, "'log global' stands in proxies: here the targets themselves belong", "")
    settings: dict[str, object] = {"target": At(_target(target, address), target.mark)}
    word = arguments.need("a facility")
    while word.text in ("len", "format", "sample", "profile"):
        value = arguments.need(f"a word after {word.text!r}")
        if word.text == "len":
            settings["length"] = integer(value, 80, 65535)
        elif word.text == "format":
            settings["format"] = one_of(value, FORMATS)
        else:
            raise Mistake(word, f"'log … {word.text}' is HAProxy's, not supported by ferryman yet", "")
        word = arguments.need("a facility")
    settings["facility"] = one_of(word, FACILITIES)
    for key in ("max_level", "min_level"):
        if (level := arguments.take()) is not None:
            settings[key] = one_of(level, LEVELS)
    arguments.end()
    return LogLine(place, settings)


def _target(word: Word, address: str) -> str:
    """The native name of a target."""
    if address.startswith(_NOT_YET):
        raise Mistake(word, f"the log target {word.text!r} is HAProxy's, not supported by ferryman yet", "")
    if address in ("stdout", "stderr") or address.startswith("fd@"):
        return address
    if address.startswith(("/", "unix@")):
        return f"unix:{address.removeprefix('unix@')}"
    for prefix in ("udp@", "udp4@", "udp6@", "ipv4@", "ipv6@"):
        address = address.removeprefix(prefix)
    return f"udp:{address}"
