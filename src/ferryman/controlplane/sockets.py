"""Listening sockets: made once per address, kept over reloads and workers, so that no connection is lost.

The supervisor's copy keeps the port; workers hold duplicates. Sockets that systemd passed (sd_listen_fds(3)) are taken
when their address fits. Accepts nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, Protocol

from ferryman.controlplane import namespaces
from ferryman.errors import StartError
from ferryman.plan import Address, Listener, Plan

_IP_TRANSPARENT: Final = 19  # linux/in.h, in6.h; the socket module has no names for these
_IPV6_TRANSPARENT: Final = 75

Key = str
"""An address as text, the same over all plans: what a socket is known by."""


def addresses(listener: Listener) -> Iterator[tuple[Key, Address]]:
    """Each single address of a listener, port ranges spread out."""
    for address in listener.bind:
        for port in range(address.port, max(address.last_port, address.port) + 1):
            single = replace(address, port=port, last_port=0)
            yield str(single), single


def wanted(plan: Plan) -> dict[Key, tuple[Address, Listener]]:
    """Everything a plan listens on."""
    return {key: (address, listener) for listener in plan.listeners for key, address in addresses(listener)}


class Elsewhere(Protocol):
    """Whoever listens for us, in other network namespaces as well, and keeps copies of those there."""

    def bind(self, address: Address, backlog: int) -> socket.socket:
        """Raises OSError."""

    def release(self, address: Address) -> None:
        """We do not listen there any more: close the copy."""


class Sockets:
    """The sockets that are open now, by key. `elsewhere` makes them; None: this process does."""

    def __init__(
        self, inherited: Mapping[Key, socket.socket] | None = None, elsewhere: Elsewhere | None = None
    ) -> None:
        self.open: dict[Key, socket.socket] = {}
        self._elsewhere = elsewhere
        self._lent: dict[Key, Address] = {}  # those that `elsewhere` made
        self._inherited = dict(inherited or {})  # those that are not open yet
        self._made_paths: dict[Key, tuple[str, int]] = {}  # Unix sockets we made: path and inode

    def prepare(self, plan: Plan) -> dict[Key, socket.socket]:
        """Bind what `plan` wants beyond what is open. All or nothing; nothing else changes until `adopt`.

        Raises StartError naming every address that cannot be had.
        """
        fresh: dict[Key, socket.socket] = {}
        problems: list[str] = []
        for key, (address, listener) in wanted(plan).items():
            transparent = listener.transparent == "tproxy"
            sock = self.open.get(key) or self._inherited.get(key)
            try:
                if sock is None:
                    if self._elsewhere is not None:
                        fresh[key] = self._elsewhere.bind(address, listener.backlog)
                    else:
                        fresh[key] = bind(address, listener.backlog, transparent)
                    continue
                if transparent:  # harmless before the plan counts: it lets more in, which nothing sends here as yet
                    set_transparent(sock, True)
                if key not in self.open:
                    fresh[key] = sock
            except OSError as error:
                problems.append(f"listener {listener.name}: cannot listen on {key}: {why(error, address)}")
        if problems:
            for key, sock in fresh.items():
                if key not in self._inherited:
                    _undo(sock)
            raise StartError("\n".join(problems))
        return fresh

    def adopt(self, plan: Plan, fresh: Mapping[Key, socket.socket]) -> None:
        """Make `plan` the one that counts: add what `prepare` gave, close what it does not want any more."""
        keep = wanted(plan)
        for key in [key for key in self.open if key not in keep]:
            self._close(key)
            if self._elsewhere is not None and key in self._lent:
                self._elsewhere.release(self._lent.pop(key))
        self.open.update(fresh)
        for key in fresh:
            address = keep[key][0]
            if self._elsewhere is not None:
                self._lent[key] = address
            if self._inherited.pop(key, None) is None and address.family == "unix":
                self._made_paths[key] = (address.host, os.stat(address.host).st_ino)
        for key, (_, listener) in keep.items():
            # a changed backlog applies to open sockets too: listen(2) may be called again
            self.open[key].listen(listener.backlog or socket.SOMAXCONN)
            # accepted sockets inherit it
            self.open[key].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, listener.keepalive)
            if listener.transparent != "tproxy":
                set_transparent(self.open[key], False)

    def close(self) -> None:
        for key in list(self.open):
            self._close(key)

    def _close(self, key: Key) -> None:
        self.open.pop(key).close()
        path, inode = self._made_paths.pop(key, ("", 0))
        if path:
            try:
                if os.stat(path).st_ino == inode:  # not one that somebody else put in its place
                    os.unlink(path)
            except OSError:
                return  # gone, or not ours to remove any more (root was dropped): harmless, the next start replaces it


def bind(address: Address, backlog: int, transparent: bool = False) -> socket.socket:
    """A listening, non-blocking socket; `transparent`: also for addresses of other machines. Raises OSError.

    All addresses of both families are those of IPv4 on a machine that has no IPv6.
    """
    if address.namespace:
        inner = replace(address, namespace="")
        return namespaces.within(address.namespace, lambda: bind(inner, backlog, transparent))
    try:
        return _bind(address, backlog, transparent)
    except OSError as error:
        both = address.host == "::" and not address.v6only
        if not both or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
    return _bind(Address("inet", "0.0.0.0", address.port), backlog, transparent)


def _bind(address: Address, backlog: int, transparent: bool) -> socket.socket:
    family = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(address.family, socket.AF_UNIX)
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_UNIX:
            path = address.host if address.family == "unix" else "\0" + address.host
            if address.family == "unix":
                remove_stale(path)
            sock.bind(path)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # accepted sockets inherit it, which saves a system call for each
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.v6only))
            if transparent:
                set_transparent(sock, True)
            host, _, device = address.host.partition("%")
            scope = (0, socket.if_nametoindex(device)) if device else ()  # of a link-local address
            sock.bind((host, address.port, *scope))
        sock.listen(backlog or socket.SOMAXCONN)
    except BaseException:
        sock.close()
        raise
    return sock


def set_transparent(sock: socket.socket, on: bool) -> None:
    """Whether it takes connections to addresses of other machines (IP_TRANSPARENT, ip(7)). Raises OSError."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, on)
    elif sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, on)


def _undo(sock: socket.socket) -> None:
    """Close a socket that `bind` just made."""
    path = sock.getsockname() if sock.family == socket.AF_UNIX else ""
    sock.close()
    if path and isinstance(path, str):
        os.unlink(path)


def remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more. Raises OSError (EADDRINUSE) if somebody does."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, f"{path} exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        code = probe.connect_ex(path)
    if code == errno.ECONNREFUSED:
        os.unlink(path)
    elif code != errno.ENOENT:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def from_systemd(environment: Mapping[str, str]) -> dict[Key, socket.socket]:
    """Stream sockets that systemd listens on for us, by key (sd_listen_fds(3))."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    result: dict[Key, socket.socket] = {}
    count = environment.get("LISTEN_FDS", "")
    for descriptor in range(3, 3 + (int(count) if count.isdigit() else 0)):
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            continue  # a FIFO, or a file from the store
        sock = socket.socket(fileno=descriptor)
        if sock.type != socket.SOCK_STREAM:
            sock.detach()
            continue
        sock.setblocking(False)
        os.set_inheritable(descriptor, False)
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            address = Address("abstract", name[1:].decode()) if isinstance(name, bytes) else Address("unix", name)
        else:
            family = "inet" if sock.family == socket.AF_INET else "inet6"
            if family == "inet6":
                only = bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
                address = Address(family, name[0], name[1], v6only=only)
            else:
                address = Address(family, name[0], name[1])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        result[str(address)] = sock
    return result


def why(error: OSError, address: Address) -> str:
    """What keeps us from listening on an address, in words that help."""
    if error.errno == errno.EACCES and 0 < address.port < 1024:
        return "permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another process (ss -ltnp shows which)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address (ip address shows those it has)"
    if error.errno == errno.EPERM and address.namespace:
        return "listening in another network namespace needs root (CAP_SYS_ADMIN), which a reload has given up"
    if error.errno == errno.ENOENT and address.namespace:
        return f"there is no network namespace {address.namespace} (ip netns list shows those there are)"
    if error.errno == errno.EPERM:
        return "taking connections to other machines (transparent) needs root, CAP_NET_RAW or CAP_NET_ADMIN"
    if address.family == "unix" and error.errno == errno.ENOENT:
        return "its folder does not exist"
    return error.strerror or str(error)


@contextlib.contextmanager
def private(path: str) -> Iterator[socket.socket]:
    """A listening Unix socket that only its owner may use, for the control API. Raises StartError."""
    folder = os.path.dirname(path) or "."
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.stat(folder).st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
            raise OSError(errno.EACCES, f"the folder {folder} belongs to somebody else")
        remove_stale(path)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen()
    except OSError as error:
        sock.close()
        taken = "another ferryman may be running, " if error.errno == errno.EADDRINUSE else ""
        hint = f"{taken}--control PATH names another"
        raise StartError(f"control socket {path}: {error.strerror or error}; {hint}") from None
    try:
        yield sock
    finally:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(path)
