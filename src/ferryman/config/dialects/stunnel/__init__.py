"""The stunnel dialect: stunnel.conf as it stands, with services of clients and of servers.

    keywords ── reader ──┬── process                  chroot, pid, where the log goes
                         ├── addresses, sockets       accept, connect; socket, local, transparent
                         ├── trust ── tls             certificates, whom the other side has to be
                         ├── protocol                 through other proxies (connect), PROXY headers
                         └── native ── Document

keywords.py are the tables at the heart; reference.py makes the documentation from them. Called by config.load.
Semantics are those of 5.68. Reads no files but those that the text includes, and the certificates of peers that
verifyPeer is to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.dialects.stunnel.keywords import GLOBAL, SERVICE
from ferryman.config.dialects.stunnel.native import build
from ferryman.config.dialects.stunnel.reader import Reader, lines
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

NAME: Final = "stunnel"

_SECTION: Final = re.compile(r"\s*\[[^\[\]]*\]\s*")
_OPTION: Final = re.compile(r"\s*([A-Za-z]+)\s*=")


def recognise(source: Source) -> int:
    """How sure it is that this text is stunnel's: 0 to 100. No other program has all lines like these."""
    found = [line.text for line in lines(source)]
    options = [match[1].lower() for text in found if (match := _OPTION.match(text))]
    own = sum(name in SERVICE.rows or name in GLOBAL.rows for name in options)
    sections = sum(_SECTION.fullmatch(text) is not None for text in found)
    if not own or own + sections < len(found) * 0.8:
        return 40 if sections and own * 2 >= len(options) > 0 and len(options) + sections == len(found) else 0
    return 95


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read all sources as one configuration. Every mistake goes to `diagnostics`; faulty lines are left out."""
    place = Mark(sources[0].name, 1, 1) if sources else Mark("", 1, 1)
    reader = Reader(place, diagnostics)
    reader.read(sources)
    if not reader.services and not diagnostics.errors and not reader.process.said:
        diagnostics.error(place, "there is no service", "write [NAME], accept = PORT and connect = HOST:PORT")
    marks: dict[Path, Mark] = {}
    data = split(build(reader, diagnostics), marks)
    assert isinstance(data, dict)
    marks.setdefault((), place)
    return Document(NAME, data, marks)
