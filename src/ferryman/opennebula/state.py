"""Which bridges are to have a proxy, remembered over flushes and reboots; and the one lock of all who change them.

Called by driver and daemons. A JSON file, replaced as a whole; whoever writes it holds the lock. Nothing of it is
needed for what runs: that is in nftables and in the kernel.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from ferryman.errors import StartError
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.names import RUN, STATE

PATIENCE: Final = 30.0
"""Seconds to wait for the lock."""
_LOCK: Final = f"{RUN}/lock"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Bridge:
    """What a bridge is to have. Without endpoints it is remembered, and nothing is made for it."""

    networks: tuple[str, ...] = ()  # names or ids
    uplinks: tuple[str, ...] = ()  # (): guessed
    vlan: int | None = None
    openvswitch: bool = False
    endpoints: tuple[Endpoint, ...] = ()  # as last written
    boot: str = ""  # since which boot of the host all of it has been there; "": not yet


@dataclass(frozen=True, slots=True)
class State:
    """`names`: what each name of a remote last stood for."""

    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def put(self, bridges: Mapping[str, Bridge]) -> State:
        return replace(self, bridges={**self.bridges, **bridges})

    def without(self, *bridges: str) -> State:
        return replace(self, bridges={name: each for name, each in self.bridges.items() if name not in bridges})


def read(path: str = STATE) -> State:
    """What is remembered. Raises StartError where the file is there and cannot be used."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _unusable(path, str(error)) from None
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise _unusable(path, f"it is of format {data['format']}, and this ferryman knows {_FORMAT}")
        names = {str(name): str(address) for name, address in data["names"].items()}
        return State({str(name): _bridge(each) for name, each in data["bridges"].items()}, names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(path, f"it is damaged ({error!r})") from None


def write(state: State, path: str = STATE) -> None:
    """Remember it. Raises StartError; then the file is as it was."""
    data = {
        "format": _FORMAT,
        "bridges": {name: asdict(each) for name, each in state.bridges.items()},
        "names": dict(state.names),
    }
    new = f"{path}.new"
    try:
        _folder(path, 0o755)
        with open(new, "w", encoding="utf-8") as file:
            file.write(json.dumps(data, indent=1) + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise StartError(f"cannot write {error.filename or path}: {error.strerror}") from None


def boot() -> str:
    """What the kernel calls the time since it started."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


@contextmanager
def locked(seconds: float = PATIENCE, path: str = _LOCK) -> Iterator[None]:
    """Be the only one who changes anything. Raises StartError saying who is, where that takes too long."""
    try:
        _folder(path, 0o711)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot open {error.filename}: {error.strerror}; are you root?") from None
    try:
        deadline = time.monotonic() + seconds
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 4096, 0).decode(errors="replace").strip() or "somebody"
                raise StartError(f"{holder} has been changing the proxies for {seconds:g} s ({path}); try again")
            time.sleep(0.02)
        with suppress(OSError):  # a full disk: only who waits would have liked to know
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({' '.join(sys.argv)[:200]})\n".encode(errors="replace"), 0)
        yield
    finally:
        os.close(descriptor)


def _folder(path: str, mode: int) -> None:
    """The folder of a file, whatever the umask is."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, mode)


def _lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _bridge(data: Any) -> Bridge:
    vlan = data["vlan"]
    return Bridge(
        tuple(str(each) for each in data["networks"]),
        tuple(str(each) for each in data["uplinks"]),
        None if vlan is None else int(vlan),
        bool(data["openvswitch"]),
        tuple(Endpoint(int(one["port"]), str(one["address"]), int(one["remote_port"])) for one in data["endpoints"]),
        str(data["boot"]),
    )


def _unusable(path: str, why: str) -> StartError:
    return StartError(
        f"{path} cannot be used: {why}; remove it, then run `ferryman tproxy up` for each bridge that has a proxy"
    )
