"""The reference of the trafficserver dialect, made from its tables.

    python -m ferryman.config.dialects.ats.reference > docs/reference/trafficserver.md

Used by hand, and by the test that holds the page to the tables.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.ats import keywords
from ferryman.config.dialects.ats.keywords import Table

_INTRODUCTION: Final = """# Traffic Server's sni.yaml, key by key

<!-- Made from the tables: python -m ferryman.config.dialects.ats.reference > docs/reference/trafficserver.md -->

`ferryman run sni.yaml` takes the layer 4 of Apache Traffic Server 9 and 10 as it stands: TLS connections are led by the
name that clients ask for, untouched (tunnel_route), decrypted (forward_route), or decrypted and encrypted again
(partial_blind_route). Beside sni.yaml these files count: records.config or records.yaml, ssl_multicert.config,
ip_allow.yaml. Name them all, or their folder; a sni.yaml that is named alone is read with those that lie beside it.
What a key means is in Traffic Server's own documentation; this page says what becomes of it here.

| | |
|---|---|
| **yes** | does what it does in Traffic Server |
| accepted | accepted without a word: leaving it out changes nothing that could be noticed |
| no effect | accepted with a warning: it has no effect |
| not yet | refused by name |

What differs from Traffic Server on purpose:

- There is no HTTP: who asks for a name that leads nowhere is refused, as are ports without TLS. An sni.yaml of which no
  entry leads anywhere is an error.
- A mistake does not end the reading, and none is passed over: unknown keys are errors.
- A dot at the end of a name changes nothing, neither in `fqdn` nor in what clients ask for.
- `fqdn` has a `*` in front only, as in Traffic Server 10, or none.
- A destination computed with `$1` is guarded: it does not lead to this machine, the local link or the metadata of
  clouds, unless an `apply: out` rule of ip_allow.yaml allows it.
- `connect_ports` counts for ports that a connection says, and not for those that sni.yaml itself names, as in Traffic
  Server 10.
- `apply: out` rules are held against addresses in sni.yaml; of names that resolve to such an address there is a warning
  at most.
- PERMISSIVE is as DISABLED: nothing is logged of certificates that would not have been good.
- With partial_blind_route the server is offered what the client offers, and the client gets what the server chose.
- TLS 1.0 and 1.1 are not spoken.
- Whoever is refused by `ip_allow` of sni.yaml is so without an alert.
- Without records.config, port 443 is listened on, with a warning.
"""
_SUPPORT: Final = {
    keywords.YES: "**yes**",
    keywords.QUIET: "accepted",
    keywords.INERT: "no effect",
    keywords.NOT_YET: "not yet",
}
_PAGES: Final[tuple[tuple[str, Table], ...]] = (
    ("sni.yaml", keywords.SNI),
    ("server_ports", keywords.PORT),
    ("ssl_multicert.config", keywords.MULTICERT),
    ("records.config, records.yaml", keywords.RECORDS),
)
_IP_ALLOW: Final = """## ip_allow.yaml

| | | |
|---|---|---|
| `apply: in` | **yes** | refuses whom a rule denies all methods, and whom no rule knows |
| `apply: out` | **yes** | see above |
| `ip_addrs` | **yes** | addresses, networks, ranges |
| `action` | **yes** | allow, deny, set_allow, set_deny |
| `methods` | **yes** | ALL, and of `apply: out` CONNECT; others are HTTP's |
| `ip_categories` | not yet | |
"""


def markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for title, table in _PAGES:
        shown = [row for row in table if row.support != keywords.QUIET]
        rows = "\n".join(f"| `{_short(row.name)}` | {_SUPPORT[row.support]} | {row.note} |" for row in shown)
        parts.append(f"## {title}\n\n| | | |\n|---|---|---|\n{rows}\n")
        if quiet := [f"`{_short(row.name)}`" for row in table if row.support == keywords.QUIET]:
            parts.append(f"Accepted: {', '.join(quiet)}.\n")
    parts.append("All other records are accepted too, and one warning names what they are about.\n")
    return "\n".join([*parts, _IP_ALLOW])


def _short(name: str) -> str:
    return name.removeprefix("proxy.config.")


if __name__ == "__main__":
    print(markdown(), end="")
