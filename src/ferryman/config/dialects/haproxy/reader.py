"""Line by line through the sources: conditional blocks, sections, and which `defaults` a section inherits from.

HAProxy manual, 2.4 (conditional blocks) and 4 (sections). Called by the package's `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy.acl import NAME
from ferryman.config.dialects.haproxy.blocks import Blocks
from ferryman.config.dialects.haproxy.keywords import PROXY, REMOVED, SECTIONS, YES
from ferryman.config.dialects.haproxy.process import Process
from ferryman.config.dialects.haproxy.proxy import Proxy, new_proxy
from ferryman.config.dialects.haproxy.proxy_lines import Lines
from ferryman.config.dialects.haproxy.tokens import words
from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, RawLine, Word
from ferryman.config.source import Diagnostics, Source

_FIRST: Final = re.compile(r"[ \t]*([^ \t\r#]+)")


class Reader:
    """Reads the lines of all sources, in order, into `process` and `proxies`."""

    def __init__(self, diagnostics: Diagnostics, environment: dict[str, str]) -> None:
        self.diagnostics = diagnostics
        self.process = Process(diagnostics, environment)
        self.lines = Lines(diagnostics, environment)
        self.proxies: list[Proxy] = []
        self._defaults: list[Proxy] = []
        self._current: Process | Proxy | None = None
        self._skipping = False  # the lines of a section that was refused
        self._blocks = Blocks(diagnostics)

    def read(self, sources: Sequence[Source]) -> None:
        for source in sources:
            self._current, self._skipping = None, False
            for number, text in enumerate(source.text.split("\n"), start=1):
                self._line(RawLine(source.name, number, text.rstrip("\r")))
            self._blocks.end()

    def _line(self, line: RawLine) -> None:
        found = _FIRST.match(line.text)
        if found is None:
            return
        try:
            if found[1].startswith("."):
                self._blocks.directive(found[1], line, self.process.environment)
            elif not self._blocks.skipped and (parts := words(line, self.process.environment)):
                self._words(parts)
        except Mistake as mistake:
            if isinstance(self._current, Proxy):
                self._current.faulty.add(found[1])
            self.diagnostics.error(mistake.mark, mistake.message, mistake.hint)

    def _words(self, parts: list[Word]) -> None:
        if parts[0].text in SECTIONS.rows:
            self._current, self._skipping = None, True  # until the section proves good
            self._section(parts)
            return
        if self._current is None:
            if not self._skipping:
                self._out_of_section(parts[0])
            return
        arguments = Arguments(parts)
        if isinstance(self._current, Process):
            self._current.read(arguments)
        else:
            self.lines.read(self._current, arguments)

    def _out_of_section(self, word: Word) -> None:
        self._skipping = True  # once is enough
        near = nearest(word.text, SECTIONS.names(YES))
        if word.text in PROXY.rows:
            near = near or "write `global`, `defaults`, `frontend NAME`, `backend NAME` or `listen NAME` above it"
        raise Mistake(word, f"{word.text!r} stands in no section", near)

    def _section(self, parts: list[Word]) -> None:
        row = SECTIONS.rows[parts[0].text]
        if row.support == REMOVED:
            raise Mistake(parts[0], f"the section {row.name!r} is gone from HAProxy", row.note)
        if row.support != YES:
            raise Mistake(parts[0], f"the section {row.name!r} is HAProxy's, not supported by ferryman yet", row.note)
        if row.name == "global":
            if len(parts) > 1:
                raise Mistake(parts[1], f"unexpected {parts[1].text!r} after 'global'", "")
            self._current, self._skipping = self.process, False
            return
        self._proxy(parts)

    def _proxy(self, parts: list[Word]) -> None:
        kind = parts[0].text
        rest = parts[1:]
        name = Word("", parts[0].mark)
        if rest and not (kind == "defaults" and rest[0].text == "from"):
            name = rest.pop(0)
        if kind != "defaults" and not name.text:
            raise Mistake(parts[0], f"{kind!r} needs a name", f"such as {kind} web")
        if name.text and not NAME.fullmatch(name.text):
            raise Mistake(name, f"{name.text!r} cannot be a name", "letters, digits and -_.: may be in it")
        inherited = self._inherited(kind, rest)
        if kind == "defaults":
            proxy = new_proxy(kind, name, inherited, self.diagnostics)
            self._defaults.append(proxy)
        else:
            self._refuse_taken(kind, name)
            proxy = new_proxy(kind, name, inherited, self.diagnostics)
            self.proxies.append(proxy)
        self._current, self._skipping = proxy, False

    def _inherited(self, kind: str, rest: list[Word]) -> Proxy | None:
        """The defaults of a section: those named after `from`, or the last ones above it (a defaults has none)."""
        if not rest:
            return self._defaults[-1] if self._defaults and kind != "defaults" else None
        if rest[0].text != "from" or len(rest) != 2:
            hint = "write the address after `bind` on a line of its own" if kind in ("listen", "frontend") else ""
            raise Mistake(rest[0], f"unexpected {rest[0].text!r} after the name of the section", hint)
        named = [defaults for defaults in self._defaults if defaults.name == rest[1].text]
        if not named:
            near = nearest(rest[1].text, [defaults.name for defaults in self._defaults if defaults.name])
            raise Mistake(rest[1], f"there are no defaults {rest[1].text!r} above this", near)
        if len(named) > 1:
            places = " and ".join(str(defaults.place) for defaults in named)
            raise Mistake(rest[1], f"which defaults {rest[1].text!r}? They are at {places}", "rename one of them")
        return named[0]

    def _refuse_taken(self, kind: str, name: Word) -> None:
        """A frontend and a backend may share a name, everything else may not."""
        for other in self.proxies:
            if other.name == name.text and {kind, other.kind} != {"frontend", "backend"}:
                message = f"there is a {other.kind} {name.text!r} already, at {other.place}"
                raise Mistake(name, message, "rename one of them")
