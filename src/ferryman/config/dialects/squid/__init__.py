"""The squid dialect: squid.conf as it stands, for a forward proxy: CONNECT, plain HTTP, credentials, ssl_bump, peers.

    tokens ── reader ── settings ──┬── acl, values, lists       who may go where
                                   ├── ports, bumping, auth     http_port, ssl_bump, auth_param
                                   ├── peers, logs, quantities  cache_peer, access_log, times and sizes
                                   └── native, lint ── Document

keywords.py are the tables at the heart; reference.py makes the documentation from them. Called by config.load.
Semantics are those of Squid 5 to 7; what is Squid's but not ours yet is refused by name; caching is no error but has no
effect. Reads no files but those that the text includes or names for values of ACLs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.dialects.squid.keywords import DIRECTIVES, TYPES
from ferryman.config.dialects.squid.native import build
from ferryman.config.dialects.squid.reader import Reader
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

NAME: Final = "squid"

_LINE: Final = re.compile(r"^[ \t]*([A-Za-z_][\w.]*)[ \t]+(\S+)(?:[ \t]+(\S+))?", re.MULTILINE)


def recognise(source: Source) -> int:
    """How sure it is that this text is Squid's: 0 to 100. Most of its directives have names like no other program's."""
    lines = [line for line in _LINE.findall(source.text) if not line[1].startswith("=")]
    own = sum(name in DIRECTIVES.rows and "_" in name for name, _, _ in lines)
    acls = sum(name == "acl" and second in TYPES.rows for name, _, second in lines)  # HAProxy has some like these
    if not own:
        return 0
    return 95 if (own + acls) * 2 >= len(lines) else 40


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read all sources as one configuration. Every mistake goes to `diagnostics`; faulty lines are left out."""
    reader = Reader(diagnostics)
    reader.read(sources)
    place = Mark(sources[0].name, 1, 1) if sources else Mark("", 1, 1)
    marks: dict[Path, Mark] = {}
    data = split(build(reader.settings, place, diagnostics), marks)
    assert isinstance(data, dict)
    marks.setdefault((), place)
    return Document(NAME, data, marks)
