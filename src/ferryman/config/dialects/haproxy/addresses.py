"""What stands after the address of a `bind`, a `server` or a `default-server` (HAProxy manual, 5.1 and 5.2).

Called by proxy_lines.py. Addresses themselves are read by the native schema, which knows the same grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy import origin, proxying, tls
from ferryman.config.dialects.haproxy.expressions import known
from ferryman.config.dialects.haproxy.keywords import HTTP, INERT, YES, Table
from ferryman.config.dialects.haproxy.keywords_address import BIND, SERVER
from ferryman.config.dialects.haproxy.quantities import integer, seconds
from ferryman.config.dialects.haproxy.tokens import expand
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_INIT_METHODS: Final = ("last", "libc", "none")


def read_bind(arguments: Arguments, environment: Mapping[str, str], diagnostics: Diagnostics) -> list[dict[str, At]]:
    """A `bind` line: for each of its addresses the address, and what was said of all of them. Raises Mistake."""
    word = arguments.need("an address such as *:443")
    options: dict[str, At] = {}
    while (keyword := arguments.take()) is not None:
        values = _values(keyword, arguments, BIND, diagnostics)
        match keyword.text:
            case "maxconn" | "backlog":
                options[keyword.text] = integer(values[0])
            case "v4v6" | "v6only":
                options["v6only"] = At(keyword.text == "v6only", keyword.mark)
            case _ if keyword.text in tls.KEYWORDS:
                options = tls.added(options, tls.setting(keyword, values, diagnostics))
            case "namespace":
                options["namespace"] = At(values[0].text, values[0].mark)
            case "accept-proxy" | "transparent":
                options[keyword.text] = At(True, keyword.mark)
    return [{"address": address, **options} for address in _addresses(word, environment)]


def _addresses(word: Word, environment: Mapping[str, str]) -> list[At]:
    """The parts of a list of addresses, each with its place if the list was written plainly."""
    plain = len(word.text) == word.mark.length
    found: list[At] = []
    offset = 0
    for part in word.text.split(","):
        mark = word.mark
        if plain:
            mark = Mark(mark.file, mark.line, mark.column + offset, len(part))
        if not part:
            raise Mistake(word, f"there is nothing before or after a comma in {word.text!r}", "write *:80,*:443")
        found.append(At(expand(part, environment), mark))
        offset += len(part) + 1
    return found


def read_server(arguments: Arguments, diagnostics: Diagnostics) -> dict[str, At]:
    """What follows a server's address, by keyword. Raises Mistake."""
    found: dict[str, At] = {}
    while (keyword := arguments.take()) is not None:
        values = _values(keyword, arguments, SERVER, diagnostics)
        if (told := proxying.read(keyword, values)) is not None:
            found |= told
        elif keyword.text in tls.KEYWORDS:
            found.update(tls.setting(keyword, values, diagnostics))
        elif keyword.text == "source":
            found["source"] = origin.read(values[0], arguments)
        elif keyword.text == "usesrc":
            raise Mistake(keyword, "'usesrc' stands after 'source ADDRESS'", "write source 0.0.0.0 usesrc clientip")
        elif SERVER.rows[keyword.text].support == YES:
            name, value = _setting(keyword, values)
            found[name] = value
        elif keyword.text == "init-addr":
            _check_init_addr(values[0])
    return found


def _setting(keyword: Word, values: list[Word]) -> tuple[str, At]:
    match keyword.text:
        case "check" | "check-ssl" | "backup" | "disabled":
            return keyword.text, At(True, keyword.mark)
        case "no-check" | "no-check-ssl" | "no-backup":
            return keyword.text.removeprefix("no-"), At(False, keyword.mark)
        case "enabled":
            return "disabled", At(False, keyword.mark)
        case "inter" | "fastinter" | "downinter":
            value = seconds(values[0])
            if not value.value:
                raise Mistake(values[0], f"{keyword.text} cannot be 0", "")
            return keyword.text, value
        case "rise" | "fall":
            return keyword.text, integer(values[0], 1)
        case "port":
            return keyword.text, integer(values[0], 1, 65535)
        case "weight":
            return keyword.text, integer(values[0], 0, 256)
        case "maxconn" | "maxqueue":
            return keyword.text, integer(values[0])
        case "on-marked-down":
            if values[0].text != "shutdown-sessions":
                raise Mistake(values[0], f"unknown action {values[0].text!r}", "there is shutdown-sessions")
            return keyword.text, At(True, keyword.mark)
        case "sni":
            known(values[0])
            return keyword.text, At(values[0].text, keyword.mark)
    return keyword.text, At(values[0].text, values[0].mark)


def _values(keyword: Word, arguments: Arguments, table: Table, diagnostics: Diagnostics) -> list[Word]:
    """The arguments of one keyword, after saying what becomes of it. Raises Mistake."""
    row = table.find(keyword)
    if row.support in (INERT, HTTP):
        note = row.note or "it needs HTTP mode"
        diagnostics.warning(keyword.mark, f"{keyword.text!r} has no effect here", note)
    return [arguments.need(f"a value for {keyword.text!r}") for _ in range(int(row.where))]


def _check_init_addr(word: Word) -> None:
    for method in word.text.split(","):
        if method not in _INIT_METHODS:
            message = f"init-addr {method!r} is HAProxy's, not supported by ferryman yet"
            raise Mistake(word, message, f"there are {', '.join(_INIT_METHODS)}")
