"""What this machine lacks to run a plan: users, groups, folders, rights. Looks only; changes nothing, opens nothing.

`ferryman check` warns of it, `ferryman run` and `start` refuse with it. Every finding says how to go on without
editing the configuration. What only shows when it is tried (a port in use) is found by the supervisor.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.controlplane import namespaces
from ferryman.plan import Address, Plan

Path = tuple[str | int, ...]

_SETGID, _SETUID, _NET_ADMIN, _NET_RAW, _SYS_CHROOT, _SYS_ADMIN = 6, 7, 12, 13, 18, 21
"""capabilities(7)"""
_NOBODY: Final = "say --set global.{0}=NAME for another one, or --set global.{0}= for none"


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing. `path` is the value in the configuration that asks for it."""

    path: Path
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


def lacks(plan: Plan) -> list[Lack]:
    """What is missing here, whoever runs it."""
    return [*_names(plan), *_folders(plan), *_namespaces(plan)]


def denied(plan: Plan) -> list[Lack]:
    """What the present user may not do, though all that is needed is there."""
    settings = plan.settings
    wanted = (
        ("user", settings.user, _uid(settings.user) not in (None, os.geteuid()), _SETUID, "become the user"),
        ("group", settings.group, _gid(settings.group) not in (None, os.getegid()), _SETGID, "become the group"),
        ("chroot", settings.chroot, bool(settings.chroot), _SYS_CHROOT, "lock itself into"),
    )
    held = _capabilities()
    unseen = [] if held >> _NET_ADMIN & 1 or held >> _NET_RAW & 1 else list(_transparent(plan))
    if not held >> _SYS_ADMIN & 1:
        for path, address in _elsewhere(plan):
            message = f"listening in the network namespace {address.namespace} needs root (CAP_SYS_ADMIN)"
            unseen.append(Lack(path, message, "run it as root; it can become another user afterwards (global.user)"))
    return unseen + [
        Lack(("global", key), f"only root can {what} {value}", f"run it as root, or say --set global.{key}=")
        for key, value, needed, capability, what in wanted
        if value and needed and not held >> capability & 1
    ]


def _transparent(plan: Plan) -> Iterator[Lack]:
    """What uses addresses that this machine does not have."""
    hint = "run it as root, or let its service keep one: AmbientCapabilities=CAP_NET_RAW"
    needs = "needs CAP_NET_RAW or CAP_NET_ADMIN"
    for listener in plan.listeners:
        if listener.transparent == "tproxy":
            message = f"listener {listener.name} takes connections to other machines, which {needs}"
            yield Lack(("listeners", listener.name, "transparent"), message, hint)
    for backend in plan.backends:
        if any(server.source is not None and server.source.transparent for server in backend.servers):
            message = f"backend {backend.name} connects from addresses of other machines, which {needs}"
            yield Lack(("backends", backend.name), message, hint)


def _elsewhere(plan: Plan) -> Iterator[tuple[Path, Address]]:
    """Addresses in other network namespaces."""
    for listener in plan.listeners:
        for index, address in enumerate(listener.bind):
            if address.namespace:
                yield ("listeners", listener.name, "bind", index), address


def _namespaces(plan: Plan) -> Iterator[Lack]:
    for path, address in _elsewhere(plan):
        if not namespaces.exists(address.namespace):
            message = f"there is no network namespace {address.namespace}"
            yield Lack(
                path, message, f"make it: `ip netns add {address.namespace}`; `ip netns list` shows those there are"
            )


def _names(plan: Plan) -> Iterator[Lack]:
    settings = plan.settings
    if settings.user and _uid(settings.user) is None:
        yield Lack(("global", "user"), f"there is no user {settings.user} on this machine", _NOBODY.format("user"))
    if settings.group and _gid(settings.group) is None:
        yield Lack(("global", "group"), f"there is no group {settings.group} on this machine", _NOBODY.format("group"))
    for index, socket in enumerate(settings.runtime_sockets):
        place = ("global", "runtime_sockets", index)
        dotted = f"global.runtime_sockets.{index}"
        if socket.user and _uid(socket.user) is None:
            message = f"there is no user {socket.user} on this machine to own {socket.address}"
            yield Lack((*place, "user"), message, f"say --set {dotted}.user= for none")
        if socket.group and _gid(socket.group) is None:
            message = f"there is no group {socket.group} on this machine to own {socket.address}"
            yield Lack((*place, "group"), message, f"say --set {dotted}.group= for none")


def _folders(plan: Plan) -> Iterator[Lack]:
    settings = plan.settings
    if settings.chroot and not os.path.isdir(settings.chroot):
        message = f"there is no folder {settings.chroot} to be locked into"
        yield Lack(("global", "chroot"), message, "create it, or say --set global.chroot= for none")
    if settings.pidfile and (missing := _missing_folder(settings.pidfile)):
        message = f"there is no folder {missing} for the file with the process id"
        yield Lack(("global", "pidfile"), message, "create it, or say --set global.pidfile= for none")
    if settings.control and (missing := _missing_folder(settings.control)):
        message = f"there is no folder {missing} for the control socket"
        yield Lack(("global", "control"), message, "create it, or say --set global.control=PATH")
    for index, socket in enumerate(settings.runtime_sockets):
        if missing := _socket_folder(socket.address):
            message = f"there is no folder {missing} for the runtime socket"
            hint = f"create it, or say --set global.runtime_sockets.{index}.address=unix@PATH"
            yield Lack(("global", "runtime_sockets", index, "address"), message, hint)
    for listener in plan.listeners:
        for index, address in enumerate(listener.bind):
            if missing := _socket_folder(address):
                path = ("listeners", listener.name, "bind", index)
                yield Lack(path, f"there is no folder {missing} for the socket {address.host}", "create it")


def _socket_folder(address: Address) -> str:
    return _missing_folder(address.host) if address.family == "unix" else ""


def _missing_folder(path: str) -> str:
    """The folder of a file, if it is missing."""
    folder = os.path.dirname(path) or "."
    return "" if os.path.isdir(folder) else folder


def _uid(name: str) -> int | None:
    """The number of a user, who may also be given as a number."""
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _capabilities() -> int:
    """The effective capabilities of this process, a bit each."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
