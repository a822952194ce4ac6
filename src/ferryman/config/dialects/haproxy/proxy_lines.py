"""The lines of a proxy section, keyword by keyword (HAProxy manual, 4.2). Driven by reader.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import checking, logs, options, origin, rules
from ferryman.config.dialects.haproxy.acl import NAME
from ferryman.config.dialects.haproxy.addresses import read_bind, read_server
from ferryman.config.dialects.haproxy.keywords import HTTP, INERT, PROXY
from ferryman.config.dialects.haproxy.proxy import LogFormat, Proxy
from ferryman.config.dialects.haproxy.quantities import integer
from ferryman.config.dialects.haproxy.tokens import expand
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics

_NO_DEFAULTS: Final = ("acl", "tcp-request")  # they say so themselves
_STRICT: Final = ("server", "default-server")  # in a frontend an error, where others are ignored
_ALGORITHMS: Final = re.compile(r"roundrobin|static-rr|leastconn|first|source|random(\([1-9][0-9]?\))?")
_HTTP_ALGORITHMS: Final = re.compile(r"uri|url_param|hdr(\(.*\))?|use_domain_only")
_ALGORITHMS_NOT_YET: Final = re.compile(r"hash|rdp-cookie(\(.*\))?|sticky|ss|log-hash.*")


@dataclass(frozen=True, slots=True)
class Lines:
    """Reads lines into proxies."""

    diagnostics: Diagnostics
    environment: Mapping[str, str]

    def read(self, proxy: Proxy, arguments: Arguments) -> None:
        """One line. Raises Mistake."""
        word = arguments.words[0]
        if word.text in ("no", "default"):
            word = arguments.need("a keyword to negate")
            if word.text not in ("option", "log") or arguments.words[0].text == "default":
                raise Mistake(arguments.start, f"'{arguments.words[0].text}' cannot stand before {word.text!r}", "")
            arguments = Arguments(arguments.words[1:], negated=True)
        row = PROXY.find(word)
        if row.name in _NO_DEFAULTS and proxy.kind == "defaults":
            pass
        elif row.name in _STRICT and proxy.kind == "frontend":
            raise Mistake(word, f"{row.name!r} cannot stand in a frontend", "write a backend, or `listen`")
        elif not options.fits(proxy, row.where, row.name, word, self.diagnostics):
            return
        if row.name in HANDLERS:
            HANDLERS[row.name](self, proxy, arguments)
        elif row.support == HTTP:
            if [w.text for w in arguments.words[1:3]] == ["use-service", "prometheus-exporter"]:
                proxy.metrics = True
            else:
                proxy.http.setdefault(row.name, (row.where, word.mark))
        elif row.support == INERT:
            self.diagnostics.warning(word.mark, f"{row.name!r} has no effect here", row.note)


def _number(keyword: str) -> Callable[[Lines, Proxy, Arguments], None]:
    def read(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
        proxy.put(keyword, integer(arguments.need("a number")))
        arguments.end()

    return read


def _retries(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    proxy.put("retries", integer(arguments.need("a number"), 0, 1000))
    arguments.end()


def _mode(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    word = arguments.need("tcp or http")
    if word.text == "health":
        raise Mistake(word, "'mode health' is gone from HAProxy", "ferryman answers /healthz on a statistics page")
    if word.text in ("log", "spop", "haterm"):
        raise Mistake(word, f"'mode {word.text}' is HAProxy's, not supported by ferryman yet", "")
    if word.text not in ("tcp", "http"):
        raise Mistake(word, f"unknown mode {word.text!r}", "there are tcp and http")
    arguments.end()
    proxy.put("mode", At(word.text, word.mark))


def _balance(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    word = arguments.take()
    if word is None:
        proxy.put("balance", At("roundrobin", arguments.start))
        return
    if (
        word.text in ("roundrobin", "static-rr", "leastconn", "first", "source")
        or word.text == "random"
        or re.fullmatch(r"random\([1-9][0-9]?\)", word.text)
    ):
        value = word.text
    elif _HTTP_ALGORITHMS.fullmatch(word.text):
        message = f"'balance {word.text}' needs HTTP mode: roundrobin is used instead"
        lines.diagnostics.warning(word.mark, message, "choose roundrobin, leastconn or source")
        value = "roundrobin"
    elif _ALGORITHMS_NOT_YET.fullmatch(word.text):
        raise Mistake(word, f"'balance {word.text}' is HAProxy's, not supported by ferryman yet", "")
    else:
        raise Mistake(word, f"unknown algorithm {word.text!r}", "such as roundrobin, leastconn, source or random")
    proxy.put("balance", At(value, word.mark))


def _hash_type(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    word = arguments.need("map-based or consistent")
    if word.text not in ("map-based", "consistent"):
        raise Mistake(word, f"unknown hash type {word.text!r}", "there are map-based and consistent")
    proxy.put("hash-type", At(word.text, word.mark))
    if (function := arguments.take()) is not None:
        if function.text not in ("sdbm", "djb2", "wt6", "crc32", "none"):
            raise Mistake(function, f"unknown hash function {function.text!r}", "")
        arguments.rest()


def _log(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    if arguments.negated:
        proxy.logs.clear()
        return
    target = arguments.peek()
    address = expand(target.text, lines.environment) if target else ""
    line = logs.read(arguments, address, in_global=False)
    if line.settings is not None or all(other.settings is not None for other in proxy.logs):
        proxy.logs.append(line)


def _log_format(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    word = arguments.take()
    if word is None:
        raise Mistake(arguments.start, "'log-format' needs a format", "")
    if (extra := arguments.peek()) is not None:
        raise Mistake(extra, "'log-format' takes one word", "put the format in quotes")
    proxy.put("log-format", At(LogFormat(template=word.text), word.mark))


def _text(keyword: str, what: str) -> Callable[[Lines, Proxy, Arguments], None]:
    def read(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
        word = arguments.need(what)
        arguments.end()
        proxy.put(keyword, At(word.text, word.mark))

    return read


def _id(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    word = arguments.need("a number")
    integer(word, 1)
    arguments.end()
    lines.diagnostics.warning(word.mark, "'id' has no effect here", PROXY.rows["id"].note)


def _disabled(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    proxy.put("disabled", At(arguments.keyword == "disabled", arguments.start))
    arguments.end()


def _bind(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    proxy.binds += read_bind(arguments, lines.environment, lines.diagnostics)


def _source(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    proxy.put("source", origin.read(arguments.need("an address"), arguments))
    arguments.end()


def _server(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    name = arguments.need("a name and an address")
    if not NAME.fullmatch(name.text):
        raise Mistake(name, f"{name.text!r} cannot be the name of a server", "letters, digits and -_.: may be in it")
    address = arguments.need("an address such as 192.0.2.7:443")
    place = At(expand(address.text, lines.environment), address.mark)
    options_ = read_server(arguments, lines.diagnostics)
    server = {**proxy.default_server, "name": At(name.text, name.mark), "address": place, **options_}
    server["line"] = At(None, arguments.whole)
    proxy.servers.append(server)


def _default_server(lines: Lines, proxy: Proxy, arguments: Arguments) -> None:
    proxy.default_server = {**proxy.default_server, **read_server(arguments, lines.diagnostics)}


Handler = Callable[[Lines, Proxy, Arguments], None]
_Part = Callable[[Proxy, Arguments, Diagnostics], None]


def _part(function: _Part) -> Handler:
    return lambda lines, proxy, arguments: function(proxy, arguments, lines.diagnostics)


HANDLERS: Final[dict[str, Handler]] = {
    "acl": _part(rules.acl),
    "backlog": _number("backlog"),
    "balance": _balance,
    "bind": _bind,
    "default-server": _default_server,
    "default_backend": _text("default_backend", "the name of a backend"),
    "disabled": _disabled,
    "enabled": _disabled,
    "hash-type": _hash_type,
    "http-check": _part(checking.rule),
    "id": _id,
    "log": _log,
    "log-format": _log_format,
    "log-tag": _text("log-tag", "a tag"),
    "maxconn": _number("maxconn"),
    "mode": _mode,
    "option": _part(options.option),
    "retries": _retries,
    "server": _server,
    "source": _source,
    "stats": _part(options.stats),
    "tcp-check": _part(checking.rule),
    "tcp-request": _part(rules.tcp_request),
    "timeout": _part(options.timeout),
    "use-server": _part(rules.use_server),
    "use_backend": _part(rules.use_backend),
}
