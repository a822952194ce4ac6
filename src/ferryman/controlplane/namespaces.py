"""Network namespaces by name (ip-netns(8)): doing something in another one.

A thread enters it and ends when it is done (setns(2) concerns the calling thread alone), so nothing else of the process
ever leaves its own. A socket stays in the namespace it was made in, whoever uses it. Needs CAP_SYS_ADMIN. Makes no
namespaces and removes none.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FOLDER: Final = "/run/netns"
_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def exists(name: str) -> bool:
    """Is there a namespace of this name?"""
    return os.path.exists(f"{FOLDER}/{name}")


def within(name: str, function: Callable[[], T]) -> T:
    """What `function` gives when it runs in this namespace. Raises OSError where that cannot be entered."""
    visit = _Visit(name, function)
    visit.start()
    visit.join()
    if visit.failure is not None:
        raise visit.failure
    return visit.found[0]


class _Visit(threading.Thread, Generic[T]):
    def __init__(self, name: str, function: Callable[[], T]) -> None:
        super().__init__(name=f"in {name}")
        self._namespace = name
        self._function = function
        self.found: list[T] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            enter(self._namespace)
            self.found.append(self._function())
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever waits for it
            self.failure = failure


def enter(name: str) -> None:
    """Let the calling thread be in this namespace from now on. Raises OSError."""
    descriptor = os.open(f"{FOLDER}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"setns: {os.strerror(errno)}")
    finally:
        os.close(descriptor)
