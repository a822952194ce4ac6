"""The reference of the squid dialect, made from its tables.

    python -m ferryman.config.dialects.squid.reference > docs/reference/squid.md

Used by hand, and by the test that holds the page to the tables.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.squid import keywords
from ferryman.config.dialects.squid.keywords import Table

_INTRODUCTION: Final = """# squid.conf, directive by directive

<!-- Made from the tables: python -m ferryman.config.dialects.squid.reference > docs/reference/squid.md -->

`ferryman run squid.conf` takes the file as it stands: a forward proxy for CONNECT and plain HTTP, with credentials,
ssl_bump and parents. What a directive means is in Squid's own documentation; this page says what becomes of it here.

| | |
|---|---|
| **yes** | does what it does in Squid |
| accepted | accepted without a word: leaving it out changes nothing that could be noticed |
| no effect | accepted with a warning: it has no effect |
| not cached | accepted with a warning: it is about a cache, and nothing is cached |
| not yet | refused by name |
| gone | Squid itself ignores it by now; accepted with a warning |

Some values ask for nothing, such as `icap_enable off` or `delay_pools 0`: of them nothing is said.

What differs from Squid on purpose:

- A mistake does not end the reading, and none is passed over: an unknown option of `cache_peer`, an `http_access` line
  without an ACL or a file of values that is missing are errors.
- `dstdomain` compares what the client asked for; addresses are not turned into names.
- `bump` always connects to the server first and shows a certificate like the server's, as `server-first` did.
- With `tls_outgoing_options cafile=` the system's certificates count no more; in Squid they do unless `default-ca=off`.
- Without `access_log` lines go to standard output; everywhere they are JSON objects, whatever the format says.
- Without `cache_effective_user` the user stays who started it; Squid becomes the user it was built for.
- Without `http_port` port 3128 is listened on, with a warning.
- `include` of a pattern that no file is like is a warning, not an error.
- There is no cache manager: the ACL `manager` never holds.
- Without Squid's `to_localhost` and `to_linklocal` in `http_access`, clients reach what this machine reaches; `ferryman
  check` says so, and `--egress-guard` keeps them from it whatever the file says.
"""
_SUPPORT: Final = {
    keywords.YES: "**yes**",
    keywords.QUIET: "accepted",
    keywords.INERT: "no effect",
    keywords.CACHE: "not cached",
    keywords.NOT_YET: "not yet",
    keywords.GONE: "gone",
}
_PAGES: Final[tuple[tuple[str, Table], ...]] = (
    ("http_port", keywords.PORT),
    ("https_port", keywords.TLS_PORT),
    ("acl", keywords.TYPES),
    ("auth_param basic", keywords.AUTH),
    ("cache_peer", keywords.PEER),
    ("tls_outgoing_options", keywords.TLS),
)


def markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for support in (keywords.YES, keywords.INERT, keywords.NOT_YET):
        rows = _rows(keywords.DIRECTIVES, support)
        parts.append(f"## Directives: {_SUPPORT[support].strip('*')}\n\n| directive | |\n|---|---|\n{rows}\n")
    for support in (keywords.CACHE, keywords.QUIET, keywords.GONE):
        names = ", ".join(f"`{row.name}`" for row in keywords.DIRECTIVES if row.support == support)
        parts.append(f"## Directives: {_SUPPORT[support]}\n\n{names}\n")
    for title, table in _PAGES:
        rows = "\n".join(f"| `{row.name}` | {_SUPPORT[row.support]} | {row.note} |" for row in table)
        parts.append(f"## {title}\n\n| | | |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _rows(table: Table, support: str) -> str:
    return "\n".join(f"| `{row.name}` | {_note(row)} |" for row in table if row.support == support)


def _note(row: keywords.Keyword) -> str:
    harmless = f"fine: {', '.join(f'`{value}`' for value in row.harmless)}" if row.harmless else ""
    return "; ".join(filter(None, (row.note, harmless)))


if __name__ == "__main__":
    print(markdown(), end="")
