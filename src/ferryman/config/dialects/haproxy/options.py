"""`option`, `timeout` and `stats` lines of a proxy (HAProxy manual, 4.2). Called by proxy_lines.py."""

from __future__ import annotations

from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import checking
from ferryman.config.dialects.haproxy.keywords import HTTP, INERT, OPTIONS, QUIET, STATS, TIMEOUTS, YES
from ferryman.config.dialects.haproxy.proxy import LogFormat, Proxy
from ferryman.config.dialects.haproxy.quantities import integer, seconds
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_NOT_NEGATED: Final = (*checking.OPTIONS, "forwardfor", "httplog", "httpslog", "originalto", "tcpka", "tcplog")
_FREE: Final = ("forwardfor", "http-restrict-req-hdr-names", "httplog", "originalto", "redispatch")
"""Options that take arguments of their own."""


def fits(proxy: Proxy, where: str, keyword: str, word: Word, diagnostics: Diagnostics) -> bool:
    """May the keyword stand in this section? If not it is ignored, with a warning as in HAProxy."""
    if proxy.letter in where:
        return True
    side = "listens nowhere" if proxy.kind == "backend" else "has no servers"
    if proxy.kind == "defaults":
        raise Mistake(word, f"{keyword!r} cannot stand in a defaults section", "")
    diagnostics.warning(word.mark, f"{keyword!r} is ignored: {proxy} {side}", "move it, or remove it")
    return False


def option(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`option NAME` and `no option NAME`. Raises Mistake."""
    word = arguments.take()
    if word is None:
        raise Mistake(arguments.start, "'option' needs the name of an option", "such as option tcplog")
    row = OPTIONS.find(word, "option")
    arguments.keyword = keyword = f"option {row.name}"
    if arguments.negated and row.name in _NOT_NEGATED:
        raise Mistake(word, f"'no {keyword}' is not known: this option cannot be taken back", "")
    if not fits(proxy, row.where, keyword, word, diagnostics):
        return
    if row.name == "redispatch" and not arguments.negated and (number := arguments.take()) is not None:
        proxy.put(keyword, At(integer(number, -1000, 1000).value, word.mark))
    elif row.name in ("tcplog", "httplog", "httpslog"):
        proxy.put("log-format", At(LogFormat(row.name), word.mark))
        if row.name == "httplog" and (clf := arguments.take()) is not None and clf.text != "clf":
            raise Mistake(clf, f"unexpected {clf.text!r} after {keyword!r}", "")
    elif row.name in checking.OPTIONS:
        checking.option(proxy, row.name, word, arguments)
    elif row.support == YES:
        proxy.put(keyword, At(not arguments.negated, word.mark))
    elif row.support == HTTP and not arguments.negated:
        proxy.http[keyword] = (row.where, word.mark)
    elif row.support == HTTP:
        proxy.http.pop(keyword, None)
    elif row.support == INERT and not arguments.negated:
        diagnostics.warning(word.mark, f"{keyword!r} has no effect here", row.note)
    if row.name not in _FREE:
        arguments.end()


def timeout(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`timeout NAME TIME`. Raises Mistake."""
    word = arguments.sub(row.name for row in TIMEOUTS)
    row = TIMEOUTS.find(word, "timeout")
    keyword = arguments.keyword
    value = seconds(arguments.need("a time"))
    arguments.end()
    if row.support == QUIET or not fits(proxy, row.where, keyword, word, diagnostics):
        return
    if keyword in proxy.own:
        before = proxy.settings[keyword].mark
        diagnostics.warning(word.mark, f"{keyword!r} overrides the one at {before}", "keep one of them")
    proxy.put(keyword, value)


def stats(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`stats NAME …`; any of them switches the page on. Raises Mistake."""
    names = [row.name for row in STATS]
    name = STATS.find(arguments.sub(names), "stats").name
    page = proxy.stats
    page.place = page.place or arguments.whole
    match name:
        case "auth":
            word = arguments.need("a user and a password, user:password")
            user, _, password = word.text.partition(":")
            page.users[user] = At(password, word.mark)
        case "hide-version":
            page.settings["hide_version"] = At(True, arguments.whole)
        case "realm":
            word = arguments.need("a text")
            page.settings["realm"] = At(word.text, word.mark)
        case "refresh":
            page.settings["refresh"] = seconds(arguments.need("a time"), "s")
        case "scope":
            word = arguments.need("the name of a proxy")
            page.scope.append(At(proxy.name if word.text == "." else word.text, word.mark))
        case "show-desc":
            words = arguments.rest()
            if words:
                page.settings["title"] = At(" ".join(word.text for word in words), words[0].mark)
        case "uri":
            word = arguments.need("the beginning of a URI")
            page.settings["uri"] = At(word.text, word.mark)
        case "show-node" | "show-legends" | "show-modules":
            arguments.take()
    if left := arguments.rest():
        diagnostics.warning(left[0].mark, f"{left[0].text!r} is ignored after 'stats {name}'", "")
