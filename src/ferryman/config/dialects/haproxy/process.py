"""The `global` sections (HAProxy manual, 3): a `Process` gathers them and yields the native `global`.

Driven by reader.py, one line at a time, since `setenv` counts for the lines that follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import logs, tls
from ferryman.config.dialects.haproxy.keywords import INERT, Keyword
from ferryman.config.dialects.haproxy.keywords_global import GLOBAL, SOCKET, TUNE
from ferryman.config.dialects.haproxy.quantities import integer, one_of, seconds
from ferryman.config.dialects.haproxy.tokens import expand
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_NEGATED: Final = ("busy-polling", "insecure-fork-wanted", "log", "numa-cpu-mapping", "set-dumpable", "strict-limits")


@dataclass(slots=True)
class Process:
    """What the `global` sections said. `environment` is the dialect's own copy, which `setenv` changes."""

    diagnostics: Diagnostics
    environment: dict[str, str]
    settings: dict[str, object] = field(default_factory=dict)
    sockets: list[At] = field(default_factory=list)
    logs: list[logs.LogLine] = field(default_factory=list)
    log_tag: At | None = None
    hostname: At | None = None
    tls: tls.Defaults = field(default_factory=tls.Defaults)

    def read(self, arguments: Arguments) -> None:
        """One line. Raises Mistake."""
        word = arguments.words[0]
        if word.text == "no":
            arguments = self._negated(arguments)
            word = arguments.words[0]
        if word.text.startswith("tune."):
            self._tune(word, arguments)
            return
        row = GLOBAL.find(word)
        if row.name in HANDLERS:
            HANDLERS[row.name](self, arguments)
            arguments.end()
        else:
            self._accept(row, word)

    def tree(self) -> dict[str, object]:
        """The native `global`."""
        tree = dict(self.settings)
        if self.sockets:
            tree["runtime_sockets"] = list(self.sockets)
        if self.logs:
            tree["log"] = self.log_trees(self.log_tag)
        return tree

    def log_trees(self, tag: At | None) -> list[At]:
        """The native targets, with a tag of a proxy's own perhaps."""
        return [line.tree(tag, self.hostname) for line in self.logs]

    def _accept(self, row: Keyword, word: Word) -> None:
        if row.support == INERT:
            self.diagnostics.warning(word.mark, f"{row.name!r} has no effect here", row.note)

    def _negated(self, arguments: Arguments) -> Arguments:
        word = arguments.need("a keyword to negate")
        if word.text not in _NEGATED:
            raise Mistake(word, f"'no' cannot stand before {word.text!r}", f"only before {', '.join(_NEGATED)}")
        return Arguments(arguments.words[1:], negated=True)

    def _tune(self, word: Word, arguments: Arguments) -> None:
        name = word.text.removeprefix("tune.")
        if name not in TUNE:
            raise Mistake(word, f"unknown keyword {word.text!r}", nearest(word.text, [f"tune.{name}" for name in TUNE]))
        arguments.need("a value")
        if not name.startswith("ssl."):
            self.diagnostics.warning(word.mark, f"{word.text!r} has no effect here", "it tunes HAProxy's own works")

    def put(self, key: str, value: At) -> None:
        """Set what may be said once; HAProxy, too, keeps what was said first."""
        before = self.settings.setdefault(key, value)
        if before is not value and isinstance(before, At):
            self.diagnostics.warning(value.mark, f"{key} is set already, at {before.mark}: this is ignored", "")


def _text(key: str) -> Callable[[Process, Arguments], None]:
    def read(process: Process, arguments: Arguments) -> None:
        word = arguments.need("a value")
        process.put(key, At(word.text, word.mark))

    return read


def _number(key: str, least: int, most: int) -> Callable[[Process, Arguments], None]:
    def read(process: Process, arguments: Arguments) -> None:
        process.put(key, integer(arguments.need("a number"), least, most))

    return read


def _identity(key: str) -> Callable[[Process, Arguments], None]:
    def read(process: Process, arguments: Arguments) -> None:
        word = arguments.need("a number")
        integer(word)
        process.put(key, At(word.text, word.mark))

    return read


def _daemon(process: Process, arguments: Arguments) -> None:
    process.settings["daemon"] = At(True, arguments.start)


def _hard_stop_after(process: Process, arguments: Arguments) -> None:
    process.settings["drain_timeout"] = seconds(arguments.need("a time"))


def _log(process: Process, arguments: Arguments) -> None:
    if arguments.negated:
        process.logs.clear()
        return
    target = arguments.peek()
    address = expand(target.text, process.environment) if target else ""
    process.logs.append(logs.read(arguments, address, in_global=True))


def _log_tag(process: Process, arguments: Arguments) -> None:
    word = arguments.need("a tag")
    process.log_tag = At(word.text, word.mark)


def _log_send_hostname(process: Process, arguments: Arguments) -> None:
    word = arguments.take()
    process.hostname = At(word.text if word else "", word.mark if word else arguments.start)


def _setenv(process: Process, arguments: Arguments) -> None:
    name, value = arguments.need("a name and a value"), arguments.take()
    text = value.text if value else ""
    if arguments.keyword == "presetenv":
        process.environment.setdefault(name.text, text)
    else:
        process.environment[name.text] = text


def _unsetenv(process: Process, arguments: Arguments) -> None:
    for word in arguments.rest():
        process.environment.pop(word.text, None)


def _resetenv(process: Process, arguments: Arguments) -> None:
    kept = {word.text for word in arguments.rest()}
    for name in [name for name in process.environment if name not in kept]:
        del process.environment[name]


def _stats(process: Process, arguments: Arguments) -> None:
    match arguments.sub(("socket", "timeout", "maxconn", "bind-process")).text:
        case "socket":
            process.sockets.append(_socket(process, arguments))
        case "timeout":
            process.settings["runtime_timeout"] = seconds(arguments.need("a time"))
        case _:
            arguments.need("a value")
            process.diagnostics.warning(arguments.start, f"{arguments.keyword!r} has no effect here", "")


def _socket(process: Process, arguments: Arguments) -> At:
    word = arguments.need("a path or an address")
    address = expand(word.text, process.environment)
    settings: dict[str, object] = {"address": At(address, word.mark)}
    while (keyword := arguments.take()) is not None:
        row = SOCKET.find(keyword)
        value = arguments.need(f"a value for {keyword.text!r}")
        match row.name:
            case "mode":
                settings["mode"] = At(value.text.removeprefix("0").rjust(3, "0"), value.mark)
            case "user" | "group":
                settings[row.name] = At(value.text, value.mark)
            case "uid" | "gid":
                integer(value)
                settings["user" if row.name == "uid" else "group"] = At(value.text, value.mark)
            case "level":
                settings["level"] = one_of(value, ("user", "operator", "admin"))
            case _:
                process._accept(row, keyword)
    return At(settings, arguments.whole)


def _base(process: Process, arguments: Arguments) -> None:
    word = arguments.need("a folder")
    setattr(process.tls, arguments.keyword.replace("-", "_"), word.text)


def _ssl_default(process: Process, arguments: Arguments) -> None:
    """`ssl-default-bind-ciphers` and the like."""
    _, _, side, what = arguments.keyword.split("-")
    settings = process.tls.bind if side == "bind" else process.tls.server
    if what == "options":
        settings.update(tls.of_options([arguments.need("an option"), *arguments.rest()], process.diagnostics))
    else:
        word = arguments.need("a value")
        settings[what] = At(word.text, word.mark)


def _ssl_server_verify(process: Process, arguments: Arguments) -> None:
    process.tls.verify_servers = one_of(arguments.need("none or required"), ("none", "required")).value == "required"


HANDLERS: Final[dict[str, Callable[[Process, Arguments], None]]] = {
    "ca-base": _base,
    "chroot": _text("chroot"),
    "crt-base": _base,
    "daemon": _daemon,
    "gid": _identity("group"),
    "group": _text("group"),
    "hard-stop-after": _hard_stop_after,
    "log": _log,
    "log-send-hostname": _log_send_hostname,
    "log-tag": _log_tag,
    "maxconn": _number("max_connections", 0, 2**31 - 1),
    "nbthread": _number("workers", 1, 1024),
    "node": _text("node"),
    "pidfile": _text("pidfile"),
    "presetenv": _setenv,
    "resetenv": _resetenv,
    "setenv": _setenv,
    **{
        f"ssl-default-{side}-{what}": _ssl_default
        for side in ("bind", "server")
        for what in ("ciphers", "ciphersuites", "curves", "options")
    },
    "ssl-server-verify": _ssl_server_verify,
    "stats": _stats,
    "uid": _identity("user"),
    "unsetenv": _unsetenv,
    "user": _text("user"),
}
"""Each takes what it knows; whatever is left of the line is a mistake."""
