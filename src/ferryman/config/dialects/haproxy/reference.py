"""The reference of the haproxy dialect, made from its tables.

    python -m ferryman.config.dialects.haproxy.reference > docs/reference/haproxy.md

Used by hand, and by the test that holds the page to the tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ferryman.config.dialects.haproxy import keywords, keywords_address, keywords_global
from ferryman.config.dialects.haproxy.expressions import CONVERTERS, CONVERTERS_NOT_YET, FETCHES
from ferryman.config.dialects.haproxy.keywords import Keyword, Table

_INTRODUCTION: Final = """# haproxy.cfg, keyword by keyword

<!-- Made from the tables: python -m ferryman.config.dialects.haproxy.reference > docs/reference/haproxy.md -->

`ferryman run haproxy.cfg` takes the file as it stands: TCP mode, and HTTP mode for a frontend that shows the statistics
page. What a keyword means is in HAProxy's own manual; this page says what becomes of it here.

| | |
|---|---|
| **yes** | does what it does in HAProxy |
| accepted | accepted without a word: leaving it out changes nothing that could be noticed |
| no effect | accepted with a warning: it has no effect |
| HTTP only | belongs to HTTP mode: in TCP mode it has no effect, with a warning as in HAProxy |
| not yet | refused by name |
| removed | HAProxy itself has it no more; the message says what took its place |

What differs from HAProxy on purpose:

- A rule that needs the client's first bytes waits for them even without `tcp-request inspect-delay`, for five seconds.
- After a refused connection `option redispatch` finds another server with `balance source` as well.
- Numbers are numbers: `maxconn x` is an error, not 0. So is a condition with nothing behind `if`.
- Connection rules that need what the client sends, which HAProxy takes as never true, are errors.
- A mistake does not end the reading: all of them are reported at once.
"""
_SUPPORT: Final = {
    keywords.YES: "**yes**",
    keywords.QUIET: "accepted",
    keywords.INERT: "no effect",
    keywords.HTTP: "HTTP only",
    keywords.NOT_YET: "not yet",
    keywords.REMOVED: "removed",
}
_PAGES: Final[tuple[tuple[str, str, Table], ...]] = (
    ("Sections", "", keywords.SECTIONS),
    ("global", "", keywords_global.GLOBAL),
    ("stats socket", "", keywords_global.SOCKET),
    ("Proxies: defaults, frontend, listen, backend", "", keywords.PROXY),
    ("option", "option ", keywords.OPTIONS),
    ("timeout", "timeout ", keywords.TIMEOUTS),
    ("stats", "stats ", keywords.STATS),
    ("tcp-request", "tcp-request ", keywords.RULES),
    ("Actions of tcp-request", "", keywords.ACTIONS),
    ("bind", "", keywords_address.BIND),
    ("server and default-server", "", keywords_address.SERVER),
)


def markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for title, prefix, table in _PAGES:
        rows = "\n".join(_row(prefix, row) for row in table)
        parts.append(f"## {title}\n\n| keyword | | |\n|---|---|---|\n{rows}\n")
    parts.append(_more())
    return "\n".join(parts)


def _row(prefix: str, row: Keyword) -> str:
    note = row.note.replace("|", "\\|")
    return f"| `{prefix}{row.name}` | {_SUPPORT[row.support]} | {note} |"


def _more() -> str:
    tune = _list(f"tune.{name}" for name in sorted(keywords_global.TUNE))
    fetches = "\n".join(f"| `{name}` | `{native}` |" for name, native in FETCHES.items())
    return f"""## tune

No effect, with a warning: {tune}

## Facts (sample fetches)

| HAProxy | ferryman |
|---|---|
{fetches}

All others are refused by name.

## Converters

**yes**: {_list(CONVERTERS)}

not yet: {_list(sorted(CONVERTERS_NOT_YET))}

## ACLs

Methods `-m` str, beg, end, sub, dir, dom, reg, len, found, int, ip, bool, bin; flags `-i`, `-f`, `-M`, `-n`, `-u`,
`--`. Predefined: TRUE, FALSE, HTTP, LOCALHOST, RDP_COOKIE, REQ_CONTENT, WAIT_END. Regular expressions are Python's,
which read almost all of PCRE but no POSIX classes such as `[:alnum:]`. Names in IP patterns are not resolved.
"""


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(markdown(), end="")
