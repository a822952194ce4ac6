"""stunnel's options, and what ferryman makes of each: the tables this dialect looks into.

A row is: names, what becomes of them, the values they take, and a note for people. Read by reader.py, by the reference
documentation and by its test. Names are those of stunnel 5.68, whose case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics

YES: Final = "yes"  # does what it does in stunnel
QUIET: Final = "quiet"  # accepted without a word: leaving it out changes nothing an operator could notice
INERT: Final = "inert"  # accepted with a warning: it has no effect
NOT_YET: Final = "not yet"  # refused by name


@dataclass(frozen=True, slots=True)
class Keyword:
    """One option. `values`: words it may have, "#" for a number; (): any text."""

    name: str
    support: str
    values: tuple[str, ...]
    note: str = ""


class Table:
    """Options by name in lower case. `what` is how messages call one of them."""

    def __init__(self, what: str, rows: str) -> None:
        self.what = what
        self.rows: dict[str, Keyword] = {}
        for row in filter(None, map(str.strip, rows.splitlines())):
            names, support, values, note = (cell.strip() for cell in (row + "|||").split("|")[:4])
            for name in names.split():
                self.rows[name.lower()] = Keyword(name, support, tuple(values.split()), note)

    def __iter__(self) -> Iterator[Keyword]:
        return iter(self.rows.values())

    def wanted(self, option: Word, value: Word, diagnostics: Diagnostics) -> Keyword | None:
        """The row of an option that is to be read. If it is not to be, what there is to say of it is said.

        Raises Mistake when it has a value that it cannot have, or is not supported.
        """
        row = self.rows[option.text.lower()]
        _check(row, value)
        if value.text.lower() in HARMLESS.get(row.name, ()):
            return None
        if row.support == NOT_YET:
            raise Mistake(option, f"'{row.name}' is stunnel's, not supported by ferryman yet", row.note)
        if row.support == INERT:
            message = f"'{row.name}' has no effect here"
            if not any(message == finding.message for finding in diagnostics.found):
                diagnostics.warning(option.mark, message, row.note)
        return row if row.support == YES else None


def unknown(option: Word, in_service: bool) -> Mistake:
    """What to say of an option that is not in the table it was looked for in."""
    name = option.text.lower()
    if in_service and name in GLOBAL.rows:
        message = f"'{GLOBAL.rows[name].name}' is no option of a service"
        return Mistake(option, message, "write it before the first [service]")
    if name in _ELSEWHERE:
        return Mistake(option, f"{option.text!r} is no option of stunnel here", _ELSEWHERE[name])
    rows = SERVICE.rows if in_service else {**GLOBAL.rows, **SERVICE.rows}
    close = nearest(name, rows)
    for lower, row in rows.items():
        close = close.replace(repr(lower), repr(row.name))
    return Mistake(option, f"unknown option {option.text!r}", close)


def _check(row: Keyword, value: Word) -> None:
    """Raises Mistake for a value that stunnel would not take either."""
    text = value.text.lower()
    if not row.values or text in (each.lower() for each in row.values):
        return
    if "#" in row.values:
        if re.fullmatch(r"\+?[0-9]{1,9}", text):
            return
        raise Mistake(value, f"'{row.name}' is a number, not {value.text!r}", "")
    raise Mistake(value, f"'{row.name}' is {' or '.join(row.values)}, not {value.text!r}", nearest(text, row.values))


GLOBAL: Final = Table(
    "global option",
    """
    chroot | yes | | needs root; files that are read at the start are named as without it
    pid | yes | | empty: none; within `chroot` if there is one
    output | yes | | a file, /dev/stdout, /dev/stderr
    syslog | yes | yes no | to /dev/log, by default; no message gets lost for want of a socket there
    foreground | yes | yes quiet no | `no`, which is the default, counts for `ferryman start` only
    log | inert | append overwrite | files are added to
    compression | inert | | nothing is compressed
    fips | not yet | yes no | have the machine's OpenSSL in FIPS mode (openssl.cnf)
    engine engineCtrl engineDefault | not yet | | write keys into files; there are no engines
    RNDbytes | quiet | # |
    RNDfile EGD | quiet | |
    RNDoverwrite | quiet | yes no |
    """,
)

SERVICE: Final = Table(
    "option",
    """
    accept | yes | | several; a port is one of all IPv4 addresses, `:::PORT` of all addresses; names of services
    connect | yes | | several; a port is one of localhost; names are resolved again and again
    client | yes | yes no |
    cert key | yes | | PEM
    CAfile | yes | | with verify 3, 4 and verifyPeer: of the peers themselves
    CApath | yes | | only that of the system, /etc/ssl/certs
    CRLfile | yes | | of servers only
    checkHost | yes | | of clients once, of servers several
    checkIP | yes | | of clients once, of servers several
    verify | yes | 0 1 2 3 4 |
    verifyChain verifyPeer requireCert | yes | yes no |
    sni | yes | | of clients a name, of servers SERVICE:PATTERN
    protocol | yes | | connect (of clients), proxy (of servers)
    protocolHost protocolUsername protocolPassword | yes | | of connect
    protocolAuthentication | yes | basic ntlm | basic; ntlm is refused
    protocolDomain | inert | | it is NTLM's
    protocolHeader | yes | | `Proxy-Authorization: Basic …` only
    failover | yes | prio rr |
    TIMEOUTbusy TIMEOUTconnect TIMEOUTidle TIMEOUTclose | yes | # |
    sslVersion | yes | all SSLv2 SSLv3 TLSv1 TLSv1.1 TLSv1.2 TLSv1.3 | 1.2 and 1.3
    sslVersionMin sslVersionMax | yes | all SSLv3 TLSv1 TLSv1.1 TLSv1.2 TLSv1.3 | 1.2 and 1.3
    ciphers ciphersuites curves curve | yes | | without them OpenSSL's own
    options | yes | | NO_TLSv1_2, NO_TLSv1_3, NO_TICKET; of others it is said that they have no effect
    securityLevel | yes | 0 1 2 3 4 5 |
    sessionResume | yes | yes no |
    local | yes | | an address
    transparent | yes | none no source yes destination both | see `ferryman transparent`
    socket | yes | | SO_KEEPALIVE, `r:SO_BINDTODEVICE`; TCP_NODELAY is always on
    debug | yes | | a level; before the first service with a facility
    service | yes | | as the name in the log
    setuid setgid | yes | | before the first service; not as owners of Unix sockets
    include | yes | | of a folder all files, in the order of their names

    delay | quiet | yes no |
    renegotiation | quiet | yes no |
    logId | quiet | sequential unique thread process |
    stack sessionCacheSize session sessionCacheTimeout | quiet | # |

    retry | inert | yes no | it concerns `exec` without `accept`
    reset | inert | yes no | what fails ends in a reset
    sessiond | inert | | sessions are resumed on this machine only
    ticketKeySecret ticketMacSecret | inert | | keys of tickets are made here, and replaced now and then
    OCSPflag | inert | |
    OCSPnonce | inert | yes no |

    exec execArgs | not yet | | let the program listen, for example by systemd's sockets, and write `connect`
    pty | not yet | yes no | it is about `exec`
    libwrap | not yet | yes no | convert to native configuration, whose rules know the client's address
    ident | not yet | | convert to native configuration, whose rules know the client's address
    redirect | not yet | | clients without a good certificate are refused
    OCSP | not yet | | nobody is asked whether a certificate is still good; take CRLfile
    OCSPaia | not yet | yes no | nobody is asked whether a certificate is still good; take CRLfile
    CRLpath | not yet | | `cat` the files of that folder into one, and write CRLfile
    CAengine | not yet | | write the certificates into a file, and CAfile
    checkEmail | not yet | | write checkHost, or verifyPeer with the certificate itself
    PSKidentity PSKsecrets | not yet | | give both sides certificates, and write verifyPeer
    engineId engineNum | not yet | | write keys into files; there are no engines
    config | not yet | | sslVersionMin, ciphers, ciphersuites, curves and options say most of it
    """,
)

HARMLESS: Final = {
    "fips": ("no",),
    "libwrap": ("no",),
    "pty": ("no",),
    "OCSPaia": ("no",),
    "retry": ("no",),
    "reset": ("yes",),
    "log": ("append",),
    "OCSP": ("",),
    "CRLpath": ("",),
}
"""Values that ask for nothing."""

_ELSEWHERE: Final = {
    **dict.fromkeys(("iconactive", "iconerror", "iconidle", "taskbar"), "it is one of Windows; remove it"),
    **dict.fromkeys(("provider", "providerparameter", "castore", "setenv"), "it is one of later stunnels; remove it"),
    "ocsprequire": "it is one of later stunnels; nobody is asked whether a certificate is still good",
    "timeoutocsp": "it is one of later stunnels; nobody is asked whether a certificate is still good",
}
