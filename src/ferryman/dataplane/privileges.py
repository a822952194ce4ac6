"""Giving up what is no longer needed: root, the view of the file system, capabilities.

Used by workers (which keep nothing, or the right to use addresses that this machine does not have) and by the
supervisor (which keeps what binding ports and confining new workers needs). Linux only: prctl(2), capabilities(7).
Looks no names up: users and groups come as numbers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from typing import Final

NET_BIND_SERVICE: Final = 10
NET_ADMIN: Final = 12
NET_RAW: Final = 13
SYS_CHROOT: Final = 18

_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NAME: Final = 15
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def name_process(name: str) -> None:
    """What ps and top show (15 bytes at most)."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def title_process(title: str) -> None:
    """Make /proc/PID/cmdline this and nothing else, as programs that look for a process by its command line need it.

    Written over the arguments the process was started with. A last byte that is not zero tells the kernel that they
    are a title, which ends at its first zero (proc(5), setproctitle(3)). Raises OSError where there is no room.
    """
    with open("/proc/self/stat") as file:
        numbers = file.read().rpartition(")")[2].split()
    start, end = int(numbers[45]), int(numbers[46])  # arg_start and arg_end, fields 48 and 49 of proc(5)
    text = title.encode()
    if end - start < len(text) + 2:
        raise OSError(errno.ENOSPC, f"no room for the title {title}")
    ctypes.memset(start, 0, end - start - 1)
    ctypes.memmove(start, text, len(text))
    ctypes.memset(end - 1, 0x20, 1)
    name_process(title)


def foreign_addresses() -> tuple[int, ...]:
    """Which of our capabilities lets us use addresses that this machine does not have; (): none.

    One of two is enough (IP_TRANSPARENT, ip(7)). CAP_NET_RAW if there is the choice: the other could change routes.
    """
    permitted = _permitted()
    return next(((one,) for one in (NET_RAW, NET_ADMIN) if permitted >> one & 1), ())


def confine(chroot: str, uid: int | None, gid: int | None, keep: Iterable[int] = ()) -> None:
    """For a worker: enter the chroot, become the user. Of the capabilities it has those in `keep` remain, or all if it
    stays root. Raises OSError."""
    permitted = _permitted()
    kept = [capability for capability in keep if permitted >> capability & 1]
    if kept:
        _prctl(_PR_SET_KEEPCAPS, 1)
    if chroot:
        os.chroot(chroot)
        os.chdir("/")
    if gid is not None:
        if os.geteuid() == 0:
            os.setgroups([gid])
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    if os.geteuid() != 0:
        set_capabilities(kept)


def become(uid: int, gid: int, keep: Iterable[int]) -> None:
    """For the supervisor: become the user, keep some capabilities, also over exec (for workers). Raises OSError.

    Of those to keep only the ones it has: a container or a systemd unit may have taken some from root.
    """
    permitted = _permitted()
    kept = [capability for capability in keep if permitted >> capability & 1]
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    set_capabilities(kept)
    for capability in kept:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def set_capabilities(kept: Iterable[int]) -> None:
    """Permitted, effective and inheritable: these and no others. Raises OSError."""
    mask = sum(1 << capability for capability in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = struct.pack("=6I", low, low, low, high, high, high)
    if _libc.capset(header, data) != 0:
        raise _failure("capset")


def _permitted() -> int:
    """The capabilities this process may use, a bit each (capget(2))."""
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0)), (ctypes.c_uint32 * 6)()
    if _libc.capget(header, data) != 0:
        raise _failure("capget")
    return int(data[1]) | int(data[4]) << 32


def _prctl(option: int, *arguments: int) -> None:
    values = [*arguments, 0, 0, 0, 0][:4]
    if _libc.prctl(option, *(ctypes.c_ulong(value) for value in values)) != 0:
        raise _failure("prctl")


def _failure(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
