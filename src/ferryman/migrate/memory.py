"""What a migration remembers on disk, so that --resume can go on after a crash or a reboot.

One folder for each migration, which only its owner can enter: it has keys and credentials in it. It is removed once
the migration is complete. Written whole or not at all; whoever works with it holds a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from ferryman.migrate import MigrationError

Role = Literal["migrate", "serve"]
_FILE: Final = "state.json"
_VERSION: Final = 1
_MOST: Final = 1 << 62
T = TypeVar("T")


def default_place() -> str:
    """Where migrations are remembered unless --state says otherwise."""
    if os.geteuid() == 0:
        return "/var/lib/ferryman/migrations"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "ferryman", "migrations")


@dataclass(slots=True)
class Memory:
    """One migration's. `data` is what its role keeps; `save` after it has changed."""

    folder: str
    role: Role
    data: dict[str, Any] = field(repr=False)
    begun: float
    runtime: str = ""
    _lock: int = -1

    @property
    def name(self) -> str:
        return os.path.basename(self.folder)

    def described(self) -> str:
        """What people tell it from others by: since when, of what, and where to."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.begun))
        about = str(self.data.get("about", ""))
        return f"begun {since}" + (f", {about}" if about else "")

    def save(self) -> None:
        """Raises MigrationError."""
        whole = {
            "version": _VERSION, "role": self.role, "begun": self.begun, "runtime": self.runtime, "data": self.data,
        }  # fmt: skip
        path = os.path.join(self.folder, _FILE)
        try:
            with open(f"{path}.new", "w", encoding="utf-8", opener=private) as file:
                json.dump(whole, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
        except OSError as error:
            raise MigrationError(f"cannot remember the migration in {path}: {error.strerror}") from None

    def make_runtime(self) -> str:
        """A fresh folder for what lasts as long as this process; that of a process that was killed is removed.

        Its path is short, as Unix sockets are made in it. Raises MigrationError.
        """
        self.remove_runtime()
        place = os.environ.get("XDG_RUNTIME_DIR", "")
        try:
            if not _is_ours(place):  # of another user after `su`, who could put something else in our folder's place
                place = tempfile.gettempdir()
            self.runtime = tempfile.mkdtemp(prefix="ferryman-migrate-", dir=place)
        except OSError as error:
            raise MigrationError(f"cannot make a folder in {place}: {error.strerror}") from None
        self.save()
        return self.runtime

    def remove_runtime(self) -> None:
        if self.runtime and os.path.basename(self.runtime).startswith("ferryman-migrate-"):
            shutil.rmtree(self.runtime, ignore_errors=True)

    def forget(self) -> None:
        """The migration is complete, or nobody wants it any more."""
        self.remove_runtime()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Others may work with it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def begin(place: str, role: Role, data: dict[str, Any]) -> Memory:
    """A migration that was not there before. Raises MigrationError."""
    folder = os.path.join(place, secrets.token_hex(4))
    try:
        os.makedirs(folder, mode=0o700)
    except OSError as error:
        raise MigrationError(
            f"cannot remember migrations in {place}: {error.strerror}; --state names a place"
        ) from None
    memory = Memory(folder, role, data, time.time())
    memory._lock = _locked(folder)
    memory.save()
    return memory


def find(place: str, role: Role, name: str) -> Memory:
    """The unfinished one of this name; "": the only one there is. Raises MigrationError."""
    if name:
        if os.path.basename(name) != name or not os.path.isfile(os.path.join(place, name, _FILE)):
            raise MigrationError(f"there is no unfinished migration {name} in {place}")
        found = _read(os.path.join(place, name))
    else:
        there = [one for one in unfinished(place) if one.role == role]
        if not there:
            raise MigrationError(f"there is no unfinished migration in {place}")
        if len(there) > 1:
            names = "; ".join(f"{one.name}, {one.described()}" for one in there)
            raise MigrationError(
                f"there are several unfinished migrations; name one, as in --resume {there[0].name}: {names}"
            )
        found = there[0]
    if found.role != role:
        verb = "ferryman migrate serve" if found.role == "serve" else "ferryman migrate"
        raise MigrationError(f"migration {found.name} belongs to the other end: {verb} --resume {found.name}")
    found._lock = _locked(found.folder)
    return found


def unfinished(place: str) -> Iterator[Memory]:
    """All there are, the oldest first."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return
    except OSError as error:
        raise MigrationError(f"cannot read {place}: {error.strerror}") from None
    found = [_read(os.path.join(place, name)) for name in names if os.path.isfile(os.path.join(place, name, _FILE))]
    yield from sorted(found, key=lambda one: one.begun)


def restored(kind: type[T], data: object) -> T:
    """A dataclass from what was written of it. Raises TypeError where that is of another version, or damaged."""
    if not isinstance(data, dict):
        raise TypeError(kind)
    hints = get_type_hints(kind)
    made = kind(
        **{
            name: tuple(value) if isinstance(value, list) and get_origin(hints.get(name)) is tuple else value
            for name, value in data.items()
        }
    )
    for name, hint in hints.items():
        if not _fits(getattr(made, name), hint):
            raise TypeError(name)
    return made


def _fits(value: object, hint: Any) -> bool:
    """Is it of this type? Numbers are of a size that can be computed with."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in of
    if origin is UnionType:
        return any(_fits(value, each) for each in of)
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_fits(each, of[0]) for each in value)
    if hint in (int, float):
        return type(value) in (int, hint) and -_MOST < value < _MOST  # type: ignore[operator]
    return isinstance(value, hint)


def _read(folder: str) -> Memory:
    path = os.path.join(folder, _FILE)
    try:
        if not (_is_ours(folder) and _is_ours(path)):
            raise MigrationError(f"{path} is another user's, or others can write to it: it is not followed")
        with open(path, encoding="utf-8") as file:
            whole = json.load(file)
        if whole["version"] != _VERSION:
            raise MigrationError(f"{path} was written by another version of ferryman")
        role, data = whole["role"], whole["data"]
        if role not in ("migrate", "serve") or not isinstance(data, dict):
            raise ValueError(role)
        return Memory(folder, role, data, float(whole["begun"]), str(whole["runtime"]))
    except OSError as error:
        raise MigrationError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise MigrationError(f"{path} is damaged; remove {folder} and begin anew, which finds what was moved") from None


def _is_ours(path: str) -> bool:
    """Whether it is there, and nobody else can change it. Raises OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode)


def _locked(folder: str) -> int:
    """A descriptor that holds the lock. Raises MigrationError."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise MigrationError(f"migration {os.path.basename(folder)} is running already") from None
    return lock


def private(path: str, flags: int) -> int:
    """An `opener` for files of which nobody else may know the contents."""
    return os.open(path, flags, 0o600)
