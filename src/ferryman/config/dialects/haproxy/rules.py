"""`acl`, `tcp-request`, `use_backend` and `use-server` lines (HAProxy manual, 4.2 and 7). Called by proxy_lines.py."""

from __future__ import annotations

import re
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import proxying
from ferryman.config.dialects.haproxy.acl import Condition
from ferryman.config.dialects.haproxy.expressions import sample
from ferryman.config.dialects.haproxy.keywords import ACTIONS, RULES
from ferryman.config.dialects.haproxy.proxy import Proxy
from ferryman.config.dialects.haproxy.quantities import integer, seconds
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_ORDER: Final = ("connection", "session", "content")
_ACTIONS: Final = {"accept": "accept", "reject": "reject", "silent-drop": "drop"}


def acl(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`acl NAME EXPRESSION …`. Raises Mistake."""
    _refuse_in_defaults(proxy, arguments)
    name = arguments.need("a name and a test")
    proxy.scope.define(name, arguments.rest())


def tcp_request(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`tcp-request KIND ACTION [if …]`. Raises Mistake."""
    _refuse_in_defaults(proxy, arguments)
    kind = RULES.find(arguments.sub(row.name for row in RULES), "tcp-request").name
    if kind == "inspect-delay":
        word = arguments.need("a time")
        proxy.put(kind, At(seconds(word).value, arguments.whole))
        return
    if kind != "content" and not proxy.listens:
        raise Mistake(arguments.start, f"{arguments.keyword!r} cannot stand in a backend", "move it to the frontend")
    if proxy.kind == "backend":
        message = f"{arguments.keyword!r} in a backend is HAProxy's, not supported by ferryman yet"
        raise Mistake(arguments.start, message, "move it to the frontends that lead here")
    _rule(proxy, kind, arguments, diagnostics)


def _rule(proxy: Proxy, kind: str, arguments: Arguments, diagnostics: Diagnostics) -> None:
    word = arguments.need("an action")
    plain = Word(re.sub(r"\(.*", "", word.text), word.mark)
    action = ACTIONS.find(plain, arguments.keyword).name
    arguments.keyword += f" {action}"
    if action == "expect-proxy":
        if kind != "connection":
            raise Mistake(word, f"'expect-proxy' cannot stand in 'tcp-request {kind}'", "write tcp-request connection")
        proxying.expect(proxy, word, arguments)
        _warn_of_order(proxy, kind, arguments, diagnostics)
        return
    entry: dict[str, object] = {"action": At(_ACTIONS.get(action, action), word.mark)}
    reads: Word | None = None
    if action == "capture":
        if kind != "content":
            raise Mistake(word, f"'capture' cannot stand in 'tcp-request {kind}'", "write tcp-request content capture")
        reads = _capture(proxy, entry, arguments)
    elif action == "silent-drop" and (option := arguments.peek()) is not None and option.text == "rst-ttl":
        raise Mistake(option, "'silent-drop rst-ttl' is HAProxy's, not supported by ferryman yet", "")
    condition = proxy.scope.condition(arguments.rest(), arguments.keyword)
    if condition is not None:
        entry["when"] = condition.tree
        proxy.rules.tests |= condition.names
        reads = reads or condition.reads
    if reads is not None and kind != "content":
        message = f"{reads.text!r} is not known yet in 'tcp-request {kind}', where nothing has been read"
        raise Mistake(reads, f"{message}; HAProxy takes it as never true", "move the rule to 'tcp-request content'")
    _warn_of_order(proxy, kind, arguments, diagnostics)
    proxy.rules.reads |= reads is not None
    getattr(proxy.rules, kind).append(At(entry, arguments.whole))


def _capture(proxy: Proxy, entry: dict[str, object], arguments: Arguments) -> Word | None:
    """`capture EXPRESSION len N`; the word that reads what the client sends, if it does."""
    word = arguments.need("an expression")
    expression = sample(word, proxy.name)
    entry["fact"] = At(expression.text, word.mark)
    keyword = arguments.take()
    if keyword is None or keyword.text != "len":
        raise Mistake(keyword or word, "a capture needs to know how many characters to keep", "write len 100 after it")
    entry["length"] = integer(arguments.need("a number after len"), 1, 65535)
    return word if expression.needs == "bytes" else None


def _warn_of_order(proxy: Proxy, kind: str, arguments: Arguments, diagnostics: Diagnostics) -> None:
    position = _ORDER.index(kind)
    if position < proxy.rules.last:
        message = f"'tcp-request {kind}' still comes before the 'tcp-request {_ORDER[proxy.rules.last]}' rules above it"
        diagnostics.warning(arguments.whole, message, "move it up")
    proxy.rules.last = max(position, proxy.rules.last)


def use_backend(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`use_backend NAME [if …]`, `use_backend %[EXPRESSION] [if …]`. Raises Mistake."""
    word = arguments.need("the name of a backend")
    to, reads = word.text, None
    if "%[" in to:
        expression = _computed(word)
        shown = sample(expression, proxy.name)
        to = f"%[{shown.text}]"
        reads = expression if shown.needs == "bytes" else None
    entry: dict[str, object] = {"to": At(to, word.mark)}
    condition = proxy.scope.condition(arguments.rest(), "use_backend")
    if condition is not None:
        entry["when"] = condition.tree
        proxy.rules.tests |= condition.names
        reads = reads or condition.reads
    proxy.rules.reads |= reads is not None
    proxy.rules.routes.append(At(entry, arguments.whole))


def _computed(word: Word) -> Word:
    """The expression of a computed name."""
    found = re.fullmatch(r"%(?:\{[^}]*\})?\[(.*)\]", word.text, re.DOTALL)
    if found is None or "%[" in found[1]:
        message = f"{word.text!r}: a name around or between %[…] is HAProxy's, not supported by ferryman yet"
        raise Mistake(word, message, "name backends as the expression has it")
    mark, at = word.mark, found.start(1)
    if mark.length == len(word.text):
        mark = Mark(mark.file, mark.line, mark.column + at, len(found[1]))
    return Word(found[1], mark)


def use_server(proxy: Proxy, arguments: Arguments, diagnostics: Diagnostics) -> None:
    """`use-server NAME if …`. Raises Mistake."""
    word = arguments.need("the name of a server")
    condition: Condition | None = proxy.scope.condition(arguments.rest(), "use-server")
    if condition is None:
        raise Mistake(arguments.whole, "'use-server' needs a condition", "write if or unless after the server's name")
    if "%[" in word.text:
        raise Mistake(word, "a computed server is HAProxy's, not supported by ferryman yet", "")
    proxy.server_tests |= condition.names
    proxy.server_rules.append(At({"to": At(word.text, word.mark), "when": condition.tree}, arguments.whole))


def _refuse_in_defaults(proxy: Proxy, arguments: Arguments) -> None:
    if proxy.kind != "defaults":
        return
    if proxy.name:
        message = f"{arguments.keyword!r} in a defaults section is HAProxy's, not supported by ferryman yet"
        raise Mistake(arguments.start, message, "write it in each proxy")
    raise Mistake(arguments.start, f"{arguments.keyword!r} cannot stand in a defaults section without a name", "")
