"""The trafficserver dialect: layer 4 of Apache Traffic Server 9 and 10, whose heart is sni.yaml.

    kinds, files ──┬── tree ── sni        entries: who is led where, and how
                   ├── records ── ports   records.config or records.yaml; server_ports
                   ├── multicert          ssl_multicert.config
                   └── tree ── ipallow    ip_allow.yaml
                             │
                      limits, outbound, native ── Document

keywords.py are the tables at the heart; reference.py makes the documentation from them. Called by config.load. Reads no
files but those that the text names, and those that Traffic Server would read with a sni.yaml that is given alone.
Semantics are those of 9.2 where it differs from 10 in nothing, else of what the file at hand is for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.dialects.ats import files, ipallow, kinds, multicert, ports, sni
from ferryman.config.dialects.ats.native import Settings, build
from ferryman.config.dialects.ats.records import Records
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

NAME: Final = "trafficserver"


def recognise(source: Source) -> int:
    """How sure it is that this text is one of Traffic Server's: 0 to 100."""
    kind = kinds.kind(source)
    if not kind:
        return 0
    return 40 if kinds.is_bare(source) else 80 if kind == kinds.OTHER else 95


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read all files as one configuration. Every mistake goes to `diagnostics`; what is faulty is left out."""
    given: dict[str, list[Source]] = {}
    for source in sources:
        given.setdefault(kinds.kind(source) or kinds.SNI, []).append(source)
    _check_given(given, diagnostics)
    names = given.get(kinds.SNI) or list(sources)
    alone = all(kind == kinds.SNI or all(map(kinds.is_bare, found)) for kind, found in given.items())
    place = Mark(names[0].name, 1, 1) if names else Mark("", 1, 1)
    found = _beside(names[0], diagnostics) if alone and names else []
    for source in found:
        given.setdefault(kinds.kind(source), []).append(source)
    if found:
        message = f"also read, as they are beside it: {', '.join(os.path.basename(each.name) for each in found)}"
        diagnostics.warning(place, message, "name all files to choose others")
    settings = _read(given, os.path.dirname(place.file), diagnostics)
    if settings.entries:
        settings.ports = ports.read(settings.records, place, diagnostics)
    settings.records.say_idle()
    marks: dict[Path, Mark] = {}
    data = split(build(settings, diagnostics), marks) if settings.ports else {}
    assert isinstance(data, dict)
    marks.setdefault((), place)
    return Document(NAME, data, marks)


def _read(given: Mapping[str, Sequence[Source]], folder: str, diagnostics: Diagnostics) -> Settings:
    records = Records(diagnostics)
    for source in given.get(kinds.RECORDS, ()):
        records.read_lines(source)
    for source in given.get(kinds.RECORDS_YAML, ()):
        records.read_tree(source)
    rules = ipallow.Rules()
    for source in given.get(kinds.IP_ALLOW, ()):
        ipallow.read(source, rules, diagnostics)
    lines = [each for source in given.get(kinds.MULTICERT, ()) for each in multicert.read(source, records, diagnostics)]
    entries = [each for source in given.get(kinds.SNI, ()) for each in sni.read(source, diagnostics)]
    return Settings(entries, records, lines, rules, folder)


def _check_given(given: Mapping[str, Sequence[Source]], diagnostics: Diagnostics) -> None:
    others = [source for source in given.get(kinds.OTHER, ()) if not kinds.is_bare(source)]
    if others:
        names = ", ".join(os.path.basename(source.name) for source in others)
        message = f"not read, since {'they are' if len(others) > 1 else 'it is'} about HTTP, the cache or logs: {names}"
        diagnostics.warning(Mark(others[0].name, 1, 1), message, "of Traffic Server ferryman does layer 4")
    if all(kinds.is_bare(source) for source in given.get(kinds.SNI, ())):
        first = next((source for found in given.values() for source in found), None)
        message = "there is no sni.yaml with an entry, which says where connections lead"
        diagnostics.error(Mark(first.name, 1, 1) if first else None, message, "name it as well")


def _beside(source: Source, diagnostics: Diagnostics) -> list[Source]:
    """What Traffic Server reads with a sni.yaml, as far as it is there."""
    if not os.path.basename(source.name) or not os.path.isfile(source.name):
        return []
    found = [files.beside(source, files.RECORDS, diagnostics)]
    records = Records(Diagnostics())
    if found[0] is not None:
        (records.read_tree if kinds.kind(found[0]) == kinds.RECORDS_YAML else records.read_lines)(found[0])
    for name, usual in (
        ("ssl.server.multicert.filename", "ssl_multicert.config"),
        ("cache.ip_allow.filename", "ip_allow.yaml"),
    ):
        found.append(files.beside(source, [records.text(name, usual)], diagnostics))
    return [each for each in found if each is not None]
