"""Text to plan: which dialect is it, what does it say, is it right? The one entrance to configuration for all others.

`read` fetches text, `load` turns it into a plan. Neither prints; whoever calls shows the diagnostics (config.render).
"""

from __future__ import annotations

import copy
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ferryman.config import dialects
from ferryman.config.dialects.native import resolve
from ferryman.config.nearest import nearest
from ferryman.config.source import OVERRIDES, Diagnostic, Diagnostics, Document, Mark, Path, Source
from ferryman.errors import ConfigError

if TYPE_CHECKING:
    from ferryman.config.model import Configuration
    from ferryman.plan import Plan

_SUFFIXES: Final = (".cfg", ".conf", ".config", ".yaml", ".yml")
_OPENNEBULA: Final = re.compile(r"^:tproxy\w*:", re.MULTILINE)
_LARGEST: Final = 16 * 1024 * 1024  # bytes of one file


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of some sources. `configuration` and `plan` are None when there are errors.

    `sources` is what to show places from: those given, and one for the overrides.
    """

    document: Document
    configuration: Configuration | None
    plan: Plan | None
    diagnostics: Diagnostics
    sources: tuple[Source, ...] = ()


def load(
    sources: Sequence[Source],
    dialect: str | None = None,
    overrides: Sequence[tuple[str, str]] = (),
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read configuration text, as `dialect` if given, into a plan. Raises nothing for bad text.

    `overrides` are pairs such as ("global.user", "root"); `environment` is os.environ unless given.
    """
    from ferryman.config.compile import compile_plan  # pydantic takes its time to load
    from ferryman.config.validate import salvage, validate

    diagnostics = Diagnostics()
    shown = (*sources, Source(OVERRIDES, "\n".join(f"{path}={value}" for path, value in overrides)))
    name = dialect or _choose(sources, diagnostics)
    document = Document(name or "", {})
    configuration: Configuration | None = None
    plan: Plan | None = None
    if name and dialect not in (None, *dialects.DIALECTS):
        diagnostics.error(None, f"unknown dialect {name!r}", f"there are {', '.join(dialects.DIALECTS)}")
    elif name and sources:
        document = dialects.module(name).parse(sources, diagnostics, os.environ if environment is None else environment)
        if document.data or not diagnostics.errors:
            document = _override(document, overrides, diagnostics)
            found = Diagnostics()
            configuration = validate(document, found)
            if configuration is not None:
                plan = compile_plan(document, configuration, found)
            elif (rest := salvage(document)) is not None:
                others = Diagnostics()
                compile_plan(*rest, others)
                found.found += [finding for finding in others.found if finding.severity == "error"]
            _add_news(diagnostics, found)
    _sort(diagnostics, shown)
    if diagnostics.errors:
        configuration = plan = None
    return Loaded(document, configuration, plan, diagnostics, shown)


def read(paths: Sequence[str], stdin: BinaryIO | None = None) -> list[Source]:
    """The text of files, of folders (what in them ends in one of _SUFFIXES, in byte order), of standard input (`-`).

    Raises ConfigError naming every one that cannot be read.
    """
    diagnostics = Diagnostics()
    found: list[Source] = []
    for path in paths:
        try:
            for file in _files(path, diagnostics):
                found += _read_one(file, stdin, diagnostics)
        except OSError as error:
            diagnostics.error(None, f"cannot read {error.filename or path}: {error.strerror or error}")
    if not paths:
        diagnostics.error(None, "no configuration was named", "name a file, a folder, or - for standard input")
    if diagnostics.errors:
        raise ConfigError(diagnostics)
    return found


def _files(path: str, diagnostics: Diagnostics) -> list[str]:
    if path == "-" or not stat.S_ISDIR(os.stat(path).st_mode):
        return [path]
    names = [name for name in os.listdir(path) if name.endswith(_SUFFIXES) and not name.startswith(".")]
    files = [os.path.join(path, name) for name in sorted(names, key=os.fsencode)]
    files = [file for file in files if os.path.isfile(file)]
    if not files:
        diagnostics.error(None, f"the folder {path} holds no configuration", f"it should end in {', '.join(_SUFFIXES)}")
    return files


def _read_one(path: str, stdin: BinaryIO | None, diagnostics: Diagnostics) -> list[Source]:
    if path == "-":
        name, raw = "<stdin>", (stdin or sys.stdin.buffer).read(_LARGEST + 1)
    else:
        name = path
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        diagnostics.error(None, f"{name} is larger than {_LARGEST >> 20} MiB", "is it a configuration?")
    elif b"\0" in raw:
        diagnostics.error(None, f"{name} is binary, not text")
    else:
        try:
            return [Source(name, raw.decode("utf-8-sig"))]
        except UnicodeDecodeError as error:
            line_start = raw.rfind(b"\n", 0, error.start) + 1
            column = len(raw[line_start : error.start].decode(errors="replace")) + 1
            mark = Mark(name, raw.count(b"\n", 0, error.start) + 1, column, 1)
            diagnostics.error(mark, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8")
    return []


def _choose(sources: Sequence[Source], diagnostics: Diagnostics) -> str | None:
    """The one dialect of all sources; those without a word in them go with the others."""
    chosen: dict[str, str] = {}
    unknown: list[str] = []
    for source in sources:
        scores = {name: dialects.module(name).recognise(source) for name in dialects.DIALECTS}
        best = max(scores, key=lambda name: scores[name])
        if scores[best]:
            chosen[source.name] = best
        elif _OPENNEBULA.search(source.text):
            message = "this is an OpenNebulaNetwork.conf, whose bridges are not in it"
            diagnostics.error(Mark(source.name, 1, 1), message, "see `ferryman tproxy --help`, and `tproxy check`")
            unknown.append("")
        elif any(line.strip() and not line.strip().startswith("#") for line in source.text.splitlines()):
            unknown.append(source.name)
    for name in filter(None, unknown):
        diagnostics.error(
            Mark(name, 1, 1),
            "this is no configuration in a known dialect",
            f"say --as {' or --as '.join(dialects.DIALECTS)}",
        )
    if len(set(chosen.values())) > 1:
        which = ", ".join(f"{name} is {of}" for name, of in chosen.items())
        diagnostics.error(None, f"all files must be of one dialect, but {which}", "convert one with `ferryman convert`")
    if not chosen and not unknown:
        places = ", ".join(source.name for source in sources) or "the configuration"
        diagnostics.error(None, f"{places} is empty", "the shortest one has a listener with `bind` and `servers`")
    return next(iter(chosen.values())) if len(set(chosen.values())) == 1 and not unknown else None


def _override(document: Document, overrides: Sequence[tuple[str, str]], diagnostics: Diagnostics) -> Document:
    """The document with values put in their place, each marked as standing in the source OVERRIDES."""
    data = copy.deepcopy(document.data)
    marks, keys = dict(document.marks), dict(document.keys)
    for number, (written, value) in enumerate(overrides, start=1):
        mark = Mark(OVERRIDES, number, 1, len(written))
        paths = _each(data, written)
        if not paths:
            diagnostics.warning(mark, f"{OVERRIDES} {written}: nothing here has that", "")
        for dotted in paths:
            path = _put(data, dotted, _scalar(value), mark, diagnostics)
            if path:
                marks = {of: at for of, at in marks.items() if of[: len(path)] != path}
                marks[path] = Mark(OVERRIDES, number, len(written) + 2, len(value))
                keys = {of: at for of, at in keys.items() if of[: len(path)] != path}
                keys[path] = mark
                for end in range(1, len(path)):  # sections that came with it
                    if path[:end] not in marks:
                        marks[path[:end]] = keys[path[:end]] = mark
    return Document(document.dialect, data, marks, keys)


def _each(data: dict[str, object], dotted: str) -> list[str]:
    """The paths that one with a `*` stands for: those of all entries that have what follows the star."""
    before, star, after = dotted.partition(".*.")
    entries = data.get(before)
    if not star or not isinstance(entries, dict):
        return [] if star else [dotted]
    first = after.partition(".")[0]
    names = [name for name, entry in entries.items() if isinstance(entry, dict) and first in entry]
    return [f"{before}.{name}.{after}" for name in names]


def _scalar(text: str) -> object:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return resolve(text)


def _put(data: Any, dotted: str, value: object, mark: Mark, diagnostics: Diagnostics) -> Path:
    """Set the value at a dotted path; names may have dots in them. Returns () when there is no such place."""
    parts = dotted.split(".")
    path: Path = ()
    while parts:
        known = list(data) if isinstance(data, dict) else []
        taken = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 1)
        key: str | int = ".".join(parts[:taken])
        rest = parts[taken:]
        inside = ".".join(map(str, path)) or "the configuration"
        if isinstance(data, list) and str(key).isdigit() and int(key) < len(data):
            key = int(key)
        elif not isinstance(data, dict) or not key:
            diagnostics.error(mark, f"{OVERRIDES} {dotted}: there is no {key!r} in {inside}", "")
            return ()
        elif path in (("listeners",), ("backends",)) and key not in data:
            message = f"{OVERRIDES} {dotted}: there is no {key!r} in {inside}"
            names = ", ".join(map(str, data))
            diagnostics.error(mark, message, nearest(str(key), known) or (f"there are {names}" if names else ""))
            return ()
        path, parts = (*path, key), rest
        if not rest:
            data[key] = value
        elif isinstance(data, dict):
            data = data.setdefault(key, {})
        else:
            data = data[int(key)]
    return path


def _add_news(diagnostics: Diagnostics, found: Diagnostics) -> None:
    """Leave out what follows from a mistake that has already been reported at the same place, and what several
    listeners have in common."""
    faulty = {finding.mark for finding in diagnostics.found if finding.mark and finding.severity == "error"}
    diagnostics.found += [finding for finding in dict.fromkeys(found.found) if finding.mark not in faulty]


def _sort(diagnostics: Diagnostics, sources: Sequence[Source]) -> None:
    """By place, and each once: a dialect may come by the same line for several entries and listeners."""
    order = {source.name: number for number, source in enumerate(sources)}

    def place(finding: Diagnostic) -> tuple[int, int, int]:
        mark = finding.mark
        return (order.get(mark.file, len(order)), mark.line, mark.column) if mark else (-1, 0, 0)

    diagnostics.found = sorted(dict.fromkeys(diagnostics.found), key=place)
