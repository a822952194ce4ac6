"""The reference page docs/reference/stunnel.md, made from the tables, so that it says what the code does.

`python -m ferryman.config.dialects.stunnel.reference > docs/reference/stunnel.md`; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.stunnel import keywords
from ferryman.config.dialects.stunnel.keywords import Keyword, Table

_INTRODUCTION: Final = """# stunnel.conf

<!-- made by python -m ferryman.config.dialects.stunnel.reference; do not edit -->

ferryman reads stunnel 5.68's configuration file as it is: `ferryman check stunnel.conf`, `ferryman run stunnel.conf`.
A [guide](../guides/stunnel.md) shows it at work. What an option means is in stunnel's own manual, stunnel(8); this page
says what becomes of it here.

| | |
|---|---|
| **yes** | does what it does in stunnel |
| accepted | accepted without a word: leaving it out changes nothing that could be noticed |
| no effect | accepted with a warning: it has no effect |
| not yet | refused by name |

What differs from stunnel on purpose:

- A mistake does not end the reading, and none is passed over.
- What stunnel starts with, to refuse every connection later, is an error: `connect` with a word that is neither a port
  nor a service, or with an IPv6 address in brackets; `protocol = connect` without `protocolHost`, or with one that says
  no port; an empty `protocolPassword`.
- TLS 1.0 and 1.1 are not spoken. Without `ciphers`, `ciphersuites` and `curves` those of OpenSSL are offered.
- `verifyPeer` (and `verify` 3 and 4) takes the certificates in CAfile themselves: another one with the same key is
  refused, and one that has expired is not. They are read at the start and with every reload. Of clients' certificates
  the CA, or the certificate if it has signed itself, has to be in CAfile as well.
- `checkHost` of a server looks at the names in a client's certificate (subjectAltName), and not at its common name.
- `CRLfile` has to have a list of every CA on the way to a client's certificate.
- A server that is named by its address is asked for no name (SNI).
- Clients with `transparent = destination` are not led to this machine, the local link or the metadata of clouds.
- `TIMEOUTconnect` is for all addresses of a name together; the next is tried after a quarter of a second already.
- Where a proxy (`protocol = connect`) refuses, the next `connect` is tried. Proxies get a `Via` header.
- `TIMEOUTclose = 0` waits for one second, so that what is under way still arrives.
- Connections are logged as a line each when they end, if `debug` is 5 (notice, the default) or more; no level adds what
  is said with proxies. Passwords are logged at no level.
- Names in `connect` are resolved again and again, with and without `delay`.
- inetd mode, a file without a [service], is refused.
"""
_SUPPORT: Final = {
    keywords.YES: "**yes**",
    keywords.QUIET: "accepted",
    keywords.INERT: "no effect",
    keywords.NOT_YET: "not yet",
}


def markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for title, table in (("Global options", keywords.GLOBAL), ("Options of services", keywords.SERVICE)):
        rows = "\n".join(f"| `{row.name}` | {_SUPPORT[row.support]} | {_note(row)} |" for row in _shown(table))
        parts.append(f"## {title}\n\n| | | |\n|---|---|---|\n{rows}\n")
        quiet = ", ".join(f"`{row.name}`" for row in table if row.support == keywords.QUIET)
        parts.append(f"Accepted: {quiet}.\n")
    parts.append(
        "What stands before the first [service] counts for all of them, as far as it is an option of services.\n"
    )
    return "\n".join(parts)


def _shown(table: Table) -> list[Keyword]:
    return [row for row in table if row.support != keywords.QUIET]


def _note(row: Keyword) -> str:
    harmless = keywords.HARMLESS.get(row.name, ())
    fine = f"fine: {', '.join(f'`{value}`' for value in harmless)}" if any(harmless) else ""
    return "; ".join(filter(None, (row.note, fine)))


if __name__ == "__main__":
    print(markdown(), end="")
