"""The haproxy dialect: haproxy.cfg as it stands, for TCP mode and the statistics page.

    tokens ── reader ──┬── process (global) ─────────────────────┐
              blocks   └── proxy_lines ── options, rules, addresses ── native, serving ── Document
                                    acl, expressions, logs, quantities

keywords*.py are the tables at the heart; reference.py makes the documentation from them. Called by config.load.
Semantics are those of HAProxy 2.6 to 3.x; what is HAProxy's but not ours yet is refused by name. Reads no files but
those that `acl … -f` names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.dialects.haproxy.keywords import PROXY
from ferryman.config.dialects.haproxy.keywords_global import GLOBAL
from ferryman.config.dialects.haproxy.logs import TCP_FORMAT
from ferryman.config.dialects.haproxy.native import build
from ferryman.config.dialects.haproxy.reader import Reader
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

NAME: Final = "haproxy"

_SECTION: Final = re.compile(
    r"""^[ \t]* (?: global | defaults (?:[ \t]+[\w.:-]+)* | (?:frontend|backend|listen) [ \t]+ [\w.:-]+ [^\n{]*? )
    [ \t]* (?:\#.*)? \r? $""",
    re.MULTILINE | re.VERBOSE,
)
_KEYWORD: Final = re.compile(r"^[ \t]+([a-z][\w-]*)(?=[ \t\r]|$)", re.MULTILINE)


def recognise(source: Source) -> int:
    """How sure it is that this text is HAProxy's: 0 to 100."""
    found = _SECTION.search(source.text)
    if found is None:
        return 0
    keywords = _KEYWORD.findall(source.text, found.end())
    known = sum(word in PROXY.rows or word in GLOBAL.rows for word in keywords)
    if not keywords:
        return 60
    return 95 if known * 2 > len(keywords) else 40


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read all sources as one configuration. Every mistake goes to `diagnostics`; faulty lines are left out."""
    variables = {"HAPROXY_TCP_LOG_FMT": TCP_FORMAT, **environment}
    reader = Reader(diagnostics, variables)
    reader.read(sources)
    marks: dict[Path, Mark] = {}
    data = split(build(reader.process, reader.proxies, diagnostics), marks)
    assert isinstance(data, dict)
    if sources:
        marks.setdefault((), Mark(sources[0].name, 1, 1))
    return Document(NAME, data, marks)
