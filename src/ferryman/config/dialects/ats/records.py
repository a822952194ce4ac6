"""records.config (of Traffic Server 9) and records.yaml (of 10): settings by name, whichever file they come from.

Called by the package's `parse`. Names are those of records.config; of a name that is set twice the last one counts.
"""

from __future__ import annotations

import os
import re
from typing import Final

from ferryman.config.dialects.ats.keywords import HARMLESS, RECORDS, family
from ferryman.config.dialects.ats.values import integer, truth
from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, RawLine, Word
from ferryman.config.source import Diagnostics, Mark, Source
from ferryman.config.yamltree import Mapping, Sequence, documents

_LINE: Final = re.compile(r"[ \t]*(CONFIG|LOCAL)[ \t]+(\S+)[ \t]+(INT|STRING|FLOAT|COUNTER)(?:[ \t]+(.*?))?[ \t]*\r?")
_RENAMED: Final = {
    "proxy.config.ssl.TLSv1_3.enabled": "proxy.config.ssl.TLSv1_3",
    "proxy.config.ssl.client.TLSv1_3.enabled": "proxy.config.ssl.client.TLSv1_3",
    "proxy.config.ssl.origin_session_cache.enabled": "proxy.config.ssl.origin_session_cache",
    "proxy.config.exec_thread.autoconfig.enabled": "proxy.config.exec_thread.autoconfig",
    "proxy.config.tunnel.prewarm.enabled": "proxy.config.tunnel.prewarm",
}
"""Names of records.yaml that are others in records.config, where what follows them was a name of its own."""


class Records:
    """What is set. `given`: there was such a file at all; `modern`: it was a records.yaml."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._values: dict[str, Word] = {}
        self._idle: dict[str, Word] = {}
        self.given = False
        self.modern = False
        self.mark: Mark | None = None

    def read_lines(self, source: Source) -> None:
        """A records.config."""
        self.given = True
        self.mark = self.mark or Mark(source.name, 1, 1)
        for number, text in enumerate(source.text.split("\n"), start=1):
            line = RawLine(source.name, number, text)
            if not text.strip() or text.lstrip().startswith("#"):
                continue
            found = _LINE.fullmatch(text)
            if found is None:
                hint = "such as CONFIG proxy.config.http.server_ports STRING 443:ssl"
                self._diagnostics.error(line.mark(0, len(text.rstrip())), "this is no record", hint)
                continue
            name = Word(found[2].replace("proxy.local.", "proxy.config."), line.mark(*found.span(2)))
            value = found[4] or ""
            if found[3] != "STRING" and not re.fullmatch(r"-?(0x[0-9A-Fa-f]+|[0-9.]+)[KMGT]?", value):
                self._diagnostics.error(name.mark, f"{name.text} is {found[3]}, and {value!r} is no number")
                continue
            place = line.mark(*found.span(4)) if found[4] else name.mark
            self._put(name, Word("" if value == "NULL" else value, place))

    def read_tree(self, source: Source) -> None:
        """A records.yaml, of perhaps several documents."""
        self.given = self.modern = True
        self.mark = self.mark or Mark(source.name, 1, 1)
        for tree in documents(source, self._diagnostics):
            root = tree.values.get("records", tree.values.get("ts")) if isinstance(tree, Mapping) else None
            if isinstance(root, Mapping):
                self._flatten("proxy.config", root)
            else:
                self._diagnostics.error(tree.mark, "a records.yaml is a mapping", "begin with `records:`")

    def _flatten(self, prefix: str, tree: Mapping) -> None:
        for key, value in tree.values.items():
            name = f"{prefix}.{key}"
            match value:
                case Mapping():
                    self._flatten(name, value)
                case Sequence():
                    self._diagnostics.error(value.mark, f"{name} takes one value")
                case Word():
                    self._put(Word(_RENAMED.get(name, name), _key_mark(tree, key)), value)

    def _put(self, name: Word, value: Word) -> None:
        row = RECORDS.rows.get(name.text)
        if row is None and family(name.text) is None:
            message = f"there is no record {name.text!r}"
            self._diagnostics.warning(name.mark, message, nearest(name.text, RECORDS.rows) or "it has no effect")
        elif row is None:
            self._idle[name.text] = name
        elif value.text in HARMLESS.get(name.text, ()):
            return
        else:
            try:
                if RECORDS.wanted(name, name.text, self._diagnostics):
                    self._values[name.text] = value
            except Mistake as mistake:
                self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)

    def say_idle(self) -> None:
        """One warning for all settings that are about HTTP, the cache, logs and the like."""
        if not self._idle:
            return
        families = sorted({family(name) or "" for name in self._idle})
        first = next(iter(self._idle.values()))
        count = len(self._idle)
        message = f"{count} setting{'s have' if count > 1 else ' has'} no effect here: {', '.join(families)}"
        self._diagnostics.warning(first.mark, message, "ferryman carries connections, and looks at no HTTP in them")

    def word(self, name: str) -> Word | None:
        """The value of proxy.config.NAME; None: it is not set, or to nothing."""
        value = self._values.get(f"proxy.config.{name}")
        return value if value is not None and value.text else None

    def text(self, name: str, default: str = "") -> str:
        value = self.word(name)
        return value.text if value is not None else default

    def number(self, name: str, default: int) -> int:
        value = self.word(name)
        try:
            return integer(value) if value is not None else default
        except Mistake as mistake:
            self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)
            return default

    def enabled(self, name: str, default: bool) -> bool:
        value = self.word(name)
        try:
            return truth(value) if value is not None else default
        except Mistake as mistake:
            self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)
            return default

    def folder(self, name: str, base: str) -> str:
        """The folder that proxy.config.NAME is. `base` is that of the configuration, which is the usual one; another
        relative one is beside it, or in it."""
        text = self.text(name)
        if not text:
            return base
        if os.path.isabs(text):
            return text
        if os.path.normpath(base).endswith(os.sep + os.path.normpath(text)):
            return base
        return os.path.join(base, text)


def _key_mark(tree: Mapping, key: str) -> Mark:
    return tree.keys[key].mark
