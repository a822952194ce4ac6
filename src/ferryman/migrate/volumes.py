"""What is moved where: SOURCE and DEST of a command line as values. Looks at folders; makes those of destinations.

The *contents* of a source go to its destination, whether or not a slash ends it: a volume's root to a volume's root.
One SOURCE without a name goes to DEST itself; named ones (NAME=PATH), and several, each to DEST/NAME.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.config.render import printable
from ferryman.migrate import MigrationError

SINGLE: Final = "volume"
"""What a volume without a name is called."""
LONGEST: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Volume:
    """`path` is absolute. `single`: it has no name of its own, and the whole destination to itself."""

    name: str
    path: str
    single: bool = False


def check_name(name: str) -> str:
    """Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a volume: up to {LONGEST} letters, digits and ._-, a letter first")
    return name


def parse(texts: Sequence[str]) -> list[Volume]:
    """Folders as a command line names them: PATH or NAME=PATH. Raises ValueError.

    Text that could be either is a path if there is such a folder.
    """
    volumes: list[Volume] = []
    for text in texts:
        found = _NAMED.fullmatch(text)
        if found is not None and not os.path.isdir(text):
            volumes.append(Volume(check_name(found[1]), os.path.abspath(found[2])))
        elif len(texts) == 1:
            volumes.append(Volume(SINGLE, os.path.abspath(text), single=True))
        else:
            path = os.path.abspath(text)
            try:
                volumes.append(Volume(check_name(os.path.basename(path)), path))
            except ValueError:
                raise ValueError(f"give the volume at {text} a name of its own: NAME={text}") from None
    names = [volume.name for volume in volumes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two volumes are called {name}; give them names of their own: NAME=PATH")
    return volumes


def destination(volume: Volume, folder: str) -> str:
    """Where a volume goes below DEST."""
    folder = os.path.abspath(folder)
    return folder if volume.single else os.path.join(folder, volume.name)


def check_source(volume: Volume) -> None:
    """Raises MigrationError if it cannot be read as a folder."""
    if not os.path.exists(volume.path):
        raise MigrationError(f"there is no {shown(volume.path)}")
    if not os.path.isdir(volume.path):
        raise MigrationError(f"{shown(volume.path)} is no folder; a volume is a folder with all that is below it")
    if not os.access(volume.path, os.R_OK | os.X_OK):
        raise MigrationError(f"{shown(volume.path)} cannot be read: permission denied")


def check_apart(source: str, target: str) -> None:
    """Raises MigrationError if one is the other, or within it."""
    one, other = os.path.realpath(source), os.path.realpath(target)
    if one == other:
        raise MigrationError(f"{shown(source)} is source and destination at once")
    if os.path.commonpath([one, other]) in (one, other):
        raise MigrationError(f"{shown(source)} and {shown(target)}: one is within the other")


def prepare_target(path: str) -> list[str]:
    """Make a destination's folder. Those that were not there before, the innermost first. Raises MigrationError."""
    if any(ord(c) < 32 or c == "%" for c in path):
        # rsyncd.conf(5) has neither line breaks nor a way to write a plain % in a path
        raise MigrationError(f"{shown(path)}: a destination's path cannot have control characters or % in it")
    missing, above = list[str](), path
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise MigrationError(f"cannot make the folder {shown(path)}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise MigrationError(f"cannot write to {shown(path)}: permission denied")
    return missing


def remove_empty(folders: Iterable[str]) -> None:
    """Of what `prepare_target` has made, whatever nobody has put anything into."""
    for folder in sorted(folders, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def shown(path: str) -> str:
    """A path for messages, on one line that steers no terminal."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return printable(text.replace("\n", "\\n"))
