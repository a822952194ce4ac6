"""ssl_multicert.config: what certificates there are, and for whom. Called by the package's `parse`.

A certificate is shown to those who ask for a name in it; `dest_ip` says to whom else it is shown: to all others (`*`),
or to those who come to an address. Whoever none is for is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.config.dialects.ats.keywords import MULTICERT
from ferryman.config.dialects.ats.records import Records
from ferryman.config.dialects.ats.values import address, integer, truth
from ferryman.config.place import At, Mistake, RawLine, Word
from ferryman.config.source import Diagnostics, Mark, Source

_FIELD: Final = re.compile(r'([A-Za-z_]+)=("[^"]*"?|\S*)|(\S+)')


@dataclass(frozen=True, slots=True)
class Line:
    """One of them: native entries of `certificates`. `host` is that of `dest_ip`, "" for none; `port` is 0 for any."""

    mark: Mark
    entries: tuple[At, ...]
    host: str = ""
    port: int = 0
    tickets: bool = True


def read(source: Source, records: Records, diagnostics: Diagnostics) -> list[Line]:
    """The lines of a file; faulty ones are left out."""
    found: list[Line] = []
    for number, text in enumerate(source.text.split("\n"), start=1):
        line = RawLine(source.name, number, text.rstrip("\r"))
        if not line.text.strip() or line.text.lstrip().startswith("#"):
            continue
        try:
            found.append(_line(line, source, records, diagnostics))
        except Mistake as mistake:
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    return found


def _line(line: RawLine, source: Source, records: Records, diagnostics: Diagnostics) -> Line:
    fields: dict[str, Word] = {}
    for found in _FIELD.finditer(line.text):
        if found[3]:
            raise Mistake(line.mark(*found.span()), f"{found[0]!r} has no =", "such as ssl_cert_name=a.pem")
        name = Word(found[1], line.mark(*found.span(1)))
        if MULTICERT.wanted(name, name.text, diagnostics):
            fields[name.text] = Word(found[2].strip('"'), line.mark(*found.span(2)))
    whole = line.mark(len(line.text) - len(line.text.lstrip()), len(line.text.rstrip()))
    if "ssl_cert_name" not in fields:
        raise Mistake(whole, "which certificate?", "add ssl_cert_name=FILE")
    host, port = _destination(fields["dest_ip"]) if "dest_ip" in fields else ("", 0)
    entries = _entries(fields, os.path.dirname(source.name), records)
    tickets = truth(fields["ssl_ticket_enabled"]) if "ssl_ticket_enabled" in fields else True
    return Line(whole, tuple(entries), host, port, tickets)


def _destination(word: Word) -> tuple[str, int]:
    if word.text == "*":
        return "*", 0
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?", word.text)
    plain = re.fullmatch(r"([^:]*):([0-9]+)", word.text)
    if (found := bracketed or plain) is None:
        return str(address(word)), 0
    return str(address(word, found[1])), integer(Word(found[2], word.mark), 1, 65535) if found[2] else 0


def _entries(fields: dict[str, Word], folder: str, records: Records) -> list[At]:
    certificates = records.folder("ssl.server.cert.path", folder)
    keys = records.folder("ssl.server.private_key.path", certificates)
    staples = records.folder("ssl.ocsp.response.path", folder)
    name, key, ocsp = (fields.get(f"ssl_{kind}_name") for kind in ("cert", "key", "ocsp"))
    assert name is not None
    names = _files(name)
    shut = _files(key) if key is not None else []
    if key is not None and len(shut) != len(names):
        raise Mistake(key, f"{len(names)} certificates and {len(shut)} keys", "name as many of them, in the same order")
    entries = []
    for number, file in enumerate(names):
        entry: dict[str, object] = {"file": At(os.path.join(certificates, file), name.mark)}
        if key is not None:
            entry["key"] = At(os.path.join(keys, shut[number]), key.mark)
        if ocsp is not None:
            entry["ocsp"] = At(os.path.join(staples, (_files(ocsp) * len(names))[number]), ocsp.mark)
        entries.append(At(entry, name.mark))
    return entries


def _files(word: Word) -> list[str]:
    files = [part for part in word.text.split(",") if part]
    if not files:
        raise Mistake(word, "no file is named")
    return files


@dataclass(frozen=True, slots=True)
class Choice:
    """Certificates in the order in which they are looked at, of which the first is shown to all others unless `strict`.

    `host`: the address that clients have to have come to; "": any.
    """

    entries: tuple[At, ...]
    strict: bool
    host: str = ""


def choices(lines: Sequence[Line], inside: str, port: int) -> list[Choice]:
    """For a port: those for single addresses first. `inside`: the only address that it listens at, if there is one."""
    rest = tuple(entry for line in lines for entry in line.entries)
    usual = next((line for line in lines if line.host == "*"), None)
    single = [line for line in lines if line.host not in ("", "*") and line.port in (0, port)]
    single.sort(key=lambda line: not line.port)  # an address with the port comes before one without
    if inside:
        fitting = next((line for line in single if line.host == inside), None)
        return [_choice(fitting or usual, rest, "")]
    hosts = list(dict.fromkeys(line.host for line in single))
    special = [_choice(next(line for line in single if line.host == host), rest, host) for host in hosts]
    return [*special, _choice(usual, rest, "")]


def _choice(first: Line | None, rest: tuple[At, ...], host: str) -> Choice:
    if first is None:
        return Choice(rest, True, host)
    return Choice((*first.entries, *(entry for entry in rest if entry not in first.entries)), False, host)
