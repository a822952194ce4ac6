"""Health checks: `option httpchk`, `tcp-check` and `ssl-hello-chk`, the rules of both, and what a server says itself.

Called by options.py and proxy_lines.py while lines are read, by serving.py for each server (HAProxy manual, 4.2 and
5.2). Rules that go beyond one connection, one request and plain expectations are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import tls
from ferryman.config.dialects.haproxy.proxy import Proxy
from ferryman.config.dialects.haproxy.quantities import integer
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

OPTIONS: Final = ("httpchk", "ssl-hello-chk", "tcp-check")
"""The kinds of checks; the last one named holds."""

_CHECK: Final = {
    "inter": "interval",
    "fastinter": "fast_interval",
    "downinter": "down_interval",
    "rise": "rise",
    "fall": "fall",
}
_INTERVAL: Final = 2.0  # seconds between checks unless `inter` says otherwise
_TCP: Final = ("comment", "connect", "expect", "send", "send-binary")
_TCP_NOT_YET: Final = ("send-binary-lf", "send-lf", "set-var", "set-var-fmt", "unset-var")
_HTTP: Final = ("comment", "connect", "expect", "send")
_HTTP_NOT_YET: Final = ("disable-on-404", "send-state", "set-var", "set-var-fmt", "unset-var")
_CONNECT_FLAGS: Final = ("default", "linger", "send-proxy", "ssl")
_CONNECT_VALUES: Final = ("addr", "alpn", "comment", "port", "sni")
_CONNECT_NOT_YET: Final = ("proto", "via-socks4")
_STATUSES: Final = range(100, 1000)


# lines


def option(proxy: Proxy, name: str, word: Word, arguments: Arguments) -> None:
    """`option httpchk …`, `option tcp-check` or `option ssl-hello-chk`. Raises Mistake."""
    proxy.put("check kind", At(name, word.mark))
    if name == "httpchk":
        words = arguments.rest()
        proxy.put("httpchk", At(_request_line(words), word.mark))


def _request_line(words: list[Word]) -> dict[str, At]:
    """`[METHOD] URI [VERSION]`; headers may hide behind the version."""
    if len(words) > 3:
        raise Mistake(words[3], f"unexpected {words[3].text!r} after 'option httpchk'", "")
    keys = ("uri",) if len(words) == 1 else ("method", "uri", "version")
    found = {key: At(word.text, word.mark) for key, word in zip(keys, words, strict=False)}
    if "version" in found:
        first, *lines = str(found["version"].value).split("\r\n")
        found["version"] = _version(Word(first, words[2].mark))
        headers = {}
        for line in filter(None, lines):
            name, colon, value = line.partition(":")
            if not colon:
                raise Mistake(words[2], "a body in 'option httpchk' is HAProxy's, not supported by ferryman yet", "")
            headers[name] = At(value.strip(), words[2].mark)
        found |= _headers(headers)
    return found


def _version(word: Word) -> At:
    if word.text not in ("HTTP/1.0", "HTTP/1.1"):
        raise Mistake(word, f"{word.text!r} in a check is HAProxy's, not supported by ferryman yet", "write HTTP/1.1")
    return At(word.text.removeprefix("HTTP/"), word.mark)


def _headers(headers: Mapping[str, At]) -> dict[str, At]:
    found: dict[str, At] = {}
    others = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
    for name, value in headers.items():
        if name.lower() == "host":
            found["host"] = value
    if others:
        found["headers"] = At(others, next(iter(others.values())).mark)
    return found


def rule(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """A `tcp-check` or `http-check` line. Raises Mistake."""
    family = arguments.keyword
    known, not_yet = (_TCP, _TCP_NOT_YET) if family == "tcp-check" else (_HTTP, _HTTP_NOT_YET)
    word = arguments.sub(known + not_yet)
    if word.text in not_yet:
        raise _not_yet(word, arguments.keyword)
    if word.text == "comment":
        arguments.need("a text")
        arguments.end()
        return
    steps = proxy.settings[family].value if family in proxy.own else []
    assert isinstance(steps, list)
    taken = {step.value[0] for step in steps}
    if word.text == "connect" and steps:
        raise Mistake(word, f"{arguments.keyword!r} behind other steps is HAProxy's, not supported by ferryman yet", "")
    if family == "http-check" and word.text in taken:
        raise Mistake(word, f"a second '{arguments.keyword}' is HAProxy's, not supported by ferryman yet", "")
    match word.text, family:
        case "connect", _:
            found: object = _connect(arguments)
        case "send", "http-check":
            found = _http_send(arguments)
        case "send", _:
            found = At({"send": _text(arguments)}, word.mark)
        case "send-binary", _:
            found = At({"send_hex": _bytes(_text(arguments))}, word.mark)
        case _:
            found = _expect(family, word, arguments)
    arguments.end()
    proxy.put(family, At([*steps, At((word.text, found), word.mark)], word.mark))


def _not_yet(word: Word, what: str, hint: str = "") -> Mistake:
    return Mistake(word, f"{what!r} is HAProxy's, not supported by ferryman yet", hint)


def _text(arguments: Arguments) -> At:
    word = arguments.need("a text")
    if (following := arguments.peek()) is not None and following.text == "comment":
        arguments.take()
        arguments.need("a text")
    return At(word.text, word.mark)


def _bytes(at: At) -> At:
    try:
        bytes.fromhex(str(at.value))
    except ValueError:
        raise Mistake(at.mark, f"{at.value!r} is not hexadecimal", "write two digits for each byte") from None
    return at


def _compiled(word: Word) -> re.Pattern[str]:
    try:
        return re.compile(word.text)
    except re.error as error:
        raise Mistake(word, f"{word.text!r} is no regular expression: {error}", "") from None


def _connect(arguments: Arguments) -> dict[str, At]:
    found: dict[str, At] = {}
    while (word := arguments.take()) is not None:
        if word.text in _CONNECT_FLAGS:
            found[word.text] = At(True, word.mark)
        elif word.text in _CONNECT_VALUES:
            value = arguments.need(f"a value for {word.text!r}")
            found[word.text] = integer(value, 1, 65535) if word.text == "port" else At(value.text, value.mark)
        elif word.text in _CONNECT_NOT_YET:
            raise _not_yet(word, f"{arguments.keyword} {word.text}")
        else:
            raise Mistake(word, f"unknown keyword {word.text!r} after {arguments.keyword!r}", "")
    return found


def _http_send(arguments: Arguments) -> dict[str, At]:
    found: dict[str, At] = {}
    headers: dict[str, At] = {}
    while (word := arguments.take()) is not None:
        match word.text:
            case "meth" | "uri":
                value = arguments.need(f"a value for {word.text!r}")
                found["method" if word.text == "meth" else "uri"] = At(value.text, value.mark)
            case "ver":
                found["version"] = _version(arguments.need("a version"))
            case "hdr":
                name, value = arguments.need("the name of a header"), arguments.need("the value of a header")
                if "%" in value.text:
                    raise _not_yet(value, f"http-check send hdr … {value.text}", "write a plain text")
                headers[name.text] = At(value.text, value.mark)
            case "comment":
                arguments.need("a text")
            case "uri-lf" | "body" | "body-lf":
                raise _not_yet(word, f"http-check send {word.text}")
            case _:
                raise Mistake(word, f"unknown keyword {word.text!r} after 'http-check send'", "")
    return found | _headers(headers)


def _expect(family: str, word: Word, arguments: Arguments) -> At:
    """For tcp-check a native step, for http-check a list of statuses."""
    kind = arguments.need("what is expected")
    while kind.text == "comment":
        arguments.need("a text")
        kind = arguments.need("what is expected")
    inverse = kind.text == "!"
    if inverse:
        kind = arguments.need("what is expected")
    pattern = arguments.need("what is expected")
    if family == "http-check" and kind.text in ("status", "rstatus"):
        return At(_statuses(kind.text, pattern, inverse), pattern.mark)
    if family == "http-check" or inverse or kind.text not in ("string", "rstring", "binary"):
        raise _not_yet(kind, f"{family} expect {'! ' if inverse else ''}{kind.text}")
    if kind.text == "binary":
        return At({"expect_hex": _bytes(At(pattern.text, pattern.mark))}, word.mark)
    if kind.text == "rstring":
        _compiled(pattern)
        return At({"expect": At(f"/{pattern.text}/", pattern.mark)}, word.mark)
    if pattern.text.startswith("/"):  # which might be taken for a regular expression
        return At({"expect_hex": At(pattern.text.encode().hex(), pattern.mark)}, word.mark)
    return At({"expect": At(pattern.text, pattern.mark)}, word.mark)


def _statuses(kind: str, pattern: Word, inverse: bool) -> str:
    """As native ranges."""
    try:
        if kind == "rstatus":
            expression = _compiled(pattern)
            found = {status for status in _STATUSES if expression.search(str(status))}
        else:
            found = set()
            for part in pattern.text.split(","):
                low, dash, high = part.partition("-")
                found.update(range(int(low), int(high if dash else low) + 1))
    except ValueError:
        raise Mistake(pattern, f"{pattern.text!r} is no list of statuses", "such as 200,300-310") from None
    good = [status for status in _STATUSES if (status in found) != inverse]
    if not good:
        raise Mistake(pattern, f"no status is good with {pattern.text!r}", "")
    runs = [[status for _, status in run] for _, run in groupby(enumerate(good), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


# what it comes to


def warn_of_ignored(proxy: Proxy, diagnostics: Diagnostics) -> None:
    """Rules without their option do nothing, as in HAProxy."""
    for family, name in (("tcp-check", "tcp-check"), ("http-check", "httpchk")):
        if family in proxy.own and proxy.value("check kind") != name:
            message = f"{family!r} rules of {proxy} are ignored without 'option {name}'"
            diagnostics.warning(proxy.settings[family].mark, message, f"add `option {name}`")


def check(
    proxy: Proxy, server: Mapping[str, At], secure: At | None, defaults: tls.Defaults, diagnostics: Diagnostics
) -> dict[str, object]:
    """The native `check` of a server. `secure`: its native `tls`, where it has one.

    With `timeout check` the connection has the shorter of connect time-out and interval, and what follows that
    time-out; without it the interval bounds the whole check.
    """
    tree: dict[str, object] = {key: server[keyword] for keyword, key in _CHECK.items() if keyword in server}
    interval = server["inter"] if "inter" in server else At(_INTERVAL, server["check"].mark)
    bounds = [interval]
    connect = proxy.settings.get("timeout connect")
    answer = proxy.settings.get("timeout check")
    if connect is not None and connect.value and answer is not None and answer.value:
        bounds.append(connect)
    tree["timeout"] = min(bounds, key=lambda bound: float(str(bound.value)))
    kind = proxy.value("check kind")
    opening, said = _rules(proxy, kind, server["check"])
    if (address := _address(server, opening or {})) is not None:
        tree["address"] = address
    _add_layers(tree, server, secure, opening, defaults, diagnostics)
    if kind == "ssl-hello-chk":
        if "tls" in tree or (secure is not None and address is None):
            message = "'option ssl-hello-chk' for a server that is checked over TLS is not supported"
            diagnostics.error(proxy.settings["check kind"].mark, message, "leave it out: there is a whole handshake")
        tree["tls"] = At("hello", proxy.settings["check kind"].mark)
    tree |= said
    if answer is not None and answer.value and (said or tree.get("tls") or (secure is not None and "tls" not in tree)):
        tree["answer_timeout"] = answer
    return tree


def _rules(proxy: Proxy, kind: object, place: At) -> tuple[dict[str, At] | None, dict[str, object]]:
    """The options of a `connect`, None without one, and what the native check says and expects."""
    family = {"httpchk": "http-check", "tcp-check": "tcp-check"}.get(str(kind))
    rules = proxy.settings[family].value if family in proxy.settings else []
    assert isinstance(rules, list)
    opening = next((step.value[1] for step in rules if step.value[0] == "connect"), None)
    said = [step.value for step in rules if step.value[0] != "connect"]
    if family == "tcp-check":
        return opening, {"steps": [step for _, step in said]} if said else {}
    if family is None:
        return None, {}
    line = proxy.settings["httpchk"]
    assert isinstance(line.value, dict)
    http = {"method": At("OPTIONS", line.mark), "version": At("1.0", line.mark), **line.value}
    for what, found in said:
        if what == "send":
            http |= found
        else:
            http["status"] = found
    return opening, {"http": At(http, line.mark)}


def _address(server: Mapping[str, At], opening: Mapping[str, At]) -> At | None:
    """Where to check if not at the server itself: its `addr`, its `port`, or both, unless `connect` says so."""
    told = {key: server[key] for key in ("addr", "port") if key in server} | {
        key: opening[key] for key in ("addr", "port") if key in opening
    }
    if "port" not in told:
        return told.get("addr")
    place = told["addr"] if "addr" in told else server["address"]
    host, colon, port = str(place.value).rpartition(":")
    if not colon or "]" in port or "addr" in told:
        host = str(place.value)
    return At(f"{host}:{told['port'].value}", told["port"].mark)


def _add_layers(
    tree: dict[str, object],
    server: Mapping[str, At],
    secure: At | None,
    opening: Mapping[str, At] | None,
    defaults: tls.Defaults,
    diagnostics: Diagnostics,
) -> None:
    """PROXY header and TLS, where these are not as with traffic."""
    elsewhere = "address" in tree
    bare = opening is not None and "default" not in opening
    header = server.get("check-send-proxy")
    wanted = server.get("check-ssl")
    if bare:
        assert opening is not None
        header = opening.get("send-proxy", At(False, server["check"].mark)) if _sends(server) or opening else None
        wanted = opening.get("ssl", At(False, server["check"].mark))
    elif opening is not None:
        header, wanted = opening.get("send-proxy", header), opening.get("ssl", wanted)
    if header is not None and (header.value or (bare and _sends(server))):
        tree["send_proxy"] = header
    on = bool(wanted.value) if wanted is not None else secure is not None and not elsewhere
    if not on:
        if secure is not None and not elsewhere:
            tree["tls"] = wanted or At(False, server["check"].mark)
        return
    own = _tls(server, secure, opening or {}, wanted or server["check"], defaults, diagnostics)
    if elsewhere or own != secure:
        tree["tls"] = own


def _sends(server: Mapping[str, At]) -> bool:
    return any(key.startswith("proxy ") and at.value for key, at in server.items())


def _tls(
    server: Mapping[str, At],
    secure: At | None,
    opening: Mapping[str, At],
    place: At,
    defaults: tls.Defaults,
    diagnostics: Diagnostics,
) -> At | None:
    """The TLS of a check: the server's, but asking for the name that is for checks, or a fixed one that traffic has."""
    line = {**server, "ssl": server["ssl"] if secure is not None else At(True, place.mark)}
    name, alpn = opening.get("sni", server.get("check-sni")), opening.get("alpn", server.get("check-alpn"))
    if name is not None:
        line["sni"] = At(f"str({name.value})", name.mark)
    elif "sni" in line and not str(line["sni"].value).startswith("str("):
        del line["sni"]
    if alpn is not None:
        line["alpn"] = At([part for part in str(alpn.value).split(",") if part], alpn.mark)
    return tls.server(line, defaults, Diagnostics() if secure is not None else diagnostics)  # it has said so before
