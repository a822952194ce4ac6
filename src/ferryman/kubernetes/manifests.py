"""Manifests from files: YAML of many documents, JSON, lists, folders, standard input.

Called by the command line. A `Manifest` is one object with the place of every value; lists are taken apart. Says
nothing of what an object means: that is the business of whoever takes it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from ferryman.config.source import Diagnostics, Mark, Path, Source
from ferryman.kubernetes.documents import Json, Places, documents

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_DEEPEST: Final = 20  # steps down to an object in lists of lists
_LARGEST: Final = 256 * 1024 * 1024  # bytes of one file
PLACEHOLDER: Final = re.compile(r"<[^<>\s][^<>]*>|\$\{?[A-Za-z_]\w*\}?|\{\{[^{}]*\}\}|\[\.\.\.\]")
"""What documentation and templates write where a value belongs."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. `namespace` and `name` are empty where it has none; `path` is where it sits in its document."""

    api: str
    kind: str
    namespace: str
    name: str
    data: dict[str, Json]
    places: Places
    path: Path = ()

    @property
    def group(self) -> str:
        """The API group, without its version; empty for the core's."""
        return self.api.rpartition("/")[0]

    def mark(self, *path: str | int) -> Mark:
        """The place of a value, or of the nearest thing around it."""
        return self.places.value((*self.path, *path))

    def key(self, *path: str | int) -> Mark:
        """The place of the key of an entry, or of the nearest thing around it."""
        return self.places.key((*self.path, *path))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(slots=True)
class Reading:
    """What came of some texts. `lost` is why objects may be missing from it: of each text that was not understood."""

    manifests: list[Manifest] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    lost: list[str] = field(default_factory=list)

    def error(self, mark: Mark | None, message: str, hint: str = "") -> None:
        """Report something that keeps an object from being read."""
        self.diagnostics.error(mark, message, hint)
        self.lost.append(f"{mark}: {message}" if mark else message)


def read(paths: Sequence[str], stdin: BinaryIO) -> Reading:
    """All manifests of files, of standard input (`-`), of folders and those in them (what ends in one of _SUFFIXES)."""
    reading = Reading()
    for path in paths:
        try:
            for file in _files(path, reading):
                if (source := _text(file, stdin, reading)) is not None:
                    take(source, reading, named=file == path)
        except OSError as error:
            reading.error(None, f"cannot read {error.filename or path}: {error.strerror or error}")
    return reading


def take(source: Source, reading: Reading, named: bool = True) -> None:
    """Add the manifests of a text. `named`: somebody said that it has some; in a folder there may be others."""
    reading.sources.append(source)
    mistakes = Diagnostics()
    for found in documents(source, mistakes):
        if found.data is not None:
            reading.manifests.extend(_objects(found.data, found.places, (), reading, named))
    for mistake in mistakes.found:
        reading.error(mistake.mark, mistake.message, mistake.hint)


def _files(path: str, reading: Reading) -> Iterable[str]:
    if path == "-" or not stat.S_ISDIR(os.stat(path).st_mode):
        return [path]
    found: list[str] = []
    for folder, folders, files in os.walk(path, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(folder, name)
            for name in sorted(files, key=os.fsencode)
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        reading.error(None, f"the folder {path} holds no manifest", f"it should end in {', '.join(_SUFFIXES)}")
    return found


def _raise(error: OSError) -> None:
    raise error


def _text(path: str, stdin: BinaryIO, reading: Reading) -> Source | None:
    """The text of a file, as a source; None when it is none, which is reported."""
    if path == "-":
        name, raw = "<stdin>", stdin.read(_LARGEST + 1)
    else:
        name = path
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        reading.error(None, f"{name} is larger than {_LARGEST >> 20} MiB", "are these manifests?")
        return None
    return decoded(name, raw, reading)


def decoded(name: str, raw: bytes, reading: Reading) -> Source | None:
    """Bytes as a source; None when they are no text, which is reported."""
    try:
        return Source(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        begin = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[begin : error.start].decode(errors="replace")) + 1
        mark = Mark(name, raw.count(b"\n", 0, error.start) + 1, column, 1)
        reading.error(mark, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8")
    return None


def _objects(data: Json, places: Places, path: Path, reading: Reading, named: bool) -> Iterator[Manifest]:
    """The object in a document, or each of a list's."""
    if not isinstance(data, dict) or len(path) > _DEEPEST:
        reading.error(places.value(path), "a manifest is a mapping", "it begins with `apiVersion:`")
        return
    api, kind = data.get("apiVersion"), data.get("kind")
    if api is None and kind is None and not named:
        reading.diagnostics.warning(places.value(path), "this is no manifest: it has neither apiVersion nor kind")
        return
    for key, value in (("apiVersion", api), ("kind", kind)):
        if not isinstance(value, str) or not value:
            message = f"`{key}` is missing" if key not in data else f"`{key}` takes text"
            reading.error(places.value((*path, key)), f"this is no manifest: {message}")
            return
    assert isinstance(api, str)
    assert isinstance(kind, str)
    items = data.get("items")
    if kind.endswith("List") and (items is None or isinstance(items, list)):
        for index, item in enumerate(items or ()):
            if isinstance(item, dict) and kind != "List":  # the items of a typed list need not say what they are
                item = {"apiVersion": api, "kind": kind.removesuffix("List"), **item}
            yield from _objects(item, places, (*path, "items", index), reading, named=True)
        return
    yield from _one(data, api, kind, places, path, reading)


def _one(
    data: dict[str, Json], api: str, kind: str, places: Places, path: Path, reading: Reading
) -> Iterator[Manifest]:
    metadata = data.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        reading.error(places.value((*path, "metadata")), f"`metadata` of this {kind} takes a mapping")
        return
    names = {key: (metadata or {}).get(key) for key in ("namespace", "name")}
    for key, value in names.items():
        if value is not None and not isinstance(value, str):
            mark = places.value((*path, "metadata", key))
            reading.error(mark, f"`{key}` of this {kind} takes text", "quote what is meant as text")
            return
    yield Manifest(api, kind, str(names["namespace"] or ""), str(names["name"] or ""), data, places, path)
