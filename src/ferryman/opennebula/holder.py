"""The inner daemon, `one_tproxy_BRIDGE`: listens in a bridge's namespace for the outer one, and hands the sockets over.

It makes sockets when it is asked and keeps a copy of each, so that nobody is refused while the outer daemon is away.
It has given root up; it accepts nothing and sees no byte of a connection. One question per connection to its Unix
socket, a line of JSON each way, descriptors beside the answer (SCM_RIGHTS):

    {"do": "bind", "host": …, "port": …, "backlog": …}    the socket, or {"errno": …}
    {"do": "release", "host": …, "port": …}               it is not wanted any more
    {"do": "list"}                                         {"held": [[host, port], …], "pid": …, "namespace": inode}
    {"do": "guests"}                                       {"guests": [[address, MAC], …]}, those lately heard of

The Unix socket belongs to the user that both daemons run as, with mode 0600. Since other programs may run as that user,
whoever asks has to show a key as well ("key"), which the daemons read before they give root up.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ferryman.controlplane import namespaces, sockets
from ferryman.controlplane.identity import Identity
from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.opennebula import names
from ferryman.plan import Address, Plan

PATIENCE: Final = 5.0
"""Seconds for a question and its answer."""
AGAIN: Final = 5.0
"""Seconds until one that did not answer is asked again."""
_LONGEST: Final = 4096  # bytes of a question
_LONGEST_ANSWER: Final = 1 << 20
_GET_NEIGHBOURS, _NEIGHBOUR, _REQUEST_DUMP = 30, 28, 0x301  # linux/rtnetlink.h, linux/netlink.h
_DESTINATION, _HARDWARE, _HEARD_OF = 1, 2, 0x1E  # linux/neighbour.h; reachable, stale, delay, probe
_NO_IPV6: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV)

Place = tuple[str, int]
"""Host and port."""


def path(bridge: str) -> str:
    """Of the Unix socket of a bridge's daemon."""
    return f"{names.RUN}/{bridge}.sock"


def make_key() -> None:
    """Have a key, which lasts as long as the host runs; called by root. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(f"{names.RUN}/key", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            file.write(secrets.token_hex())


@functools.cache
def key() -> str:
    """What who asks has to show. Raises OSError; kept, as it is out of reach once root is given up."""
    with open(f"{names.RUN}/key") as file:
        return file.read()


class Holders:
    """The inner daemons as the outer one sees them (controlplane.sockets.Elsewhere): by the namespace of an address.

    `fetch` does what may take long; what it got waits for `bind`, which is called where nothing may wait.
    """

    def __init__(self) -> None:
        self._lent: set[str] = set()  # addresses that the supervisor listens on
        self._fetched: dict[str, socket.socket] = {}
        self._silent: dict[str, float] = {}  # bridges whose daemon does not answer: when it is asked again

    def fetch(self, plan: Plan) -> tuple[Plan, list[str]]:
        """The plan without what cannot be listened on, and why that is so: one bridge is no matter of the others, nor
        is the page one of the bridges."""
        messages: list[str] = []
        listeners = []
        for listener in plan.listeners:
            have = tuple(each for each in listener.bind if self._have(each, listener.backlog, messages))
            listeners.append(replace(listener, bind=have))
        return replace(plan, listeners=tuple(listeners)), list(dict.fromkeys(messages))

    def _have(self, address: Address, backlog: int, messages: list[str]) -> bool:
        name = str(address)
        if address.last_port or name in self._lent or name in self._fetched:
            return True
        try:
            self._fetched[name] = self._take(address, backlog)
        except OSError as error:
            if not address.namespace:
                messages.append(f"cannot listen on {address.text}: {sockets.why(error, address)}")
            elif address.family == "inet6" and error.errno in _NO_IPV6:
                messages.append(f"bridge {_bridge(address)}: no IPv6 in its namespace, so services are there by IPv4")
            else:
                what = f"bridge {_bridge(address)}: cannot listen on {address.text}"
                messages.append(f"{what}: {error.strerror or error}; `ferryman tproxy doctor` says more")
            return False
        return True

    def bind(self, address: Address, backlog: int) -> socket.socket:
        """A listening socket in the namespace of `address`, or the host's own where it has none. Raises OSError."""
        found = self._fetched.pop(str(address), None) or self._take(address, backlog)
        self._lent.add(str(address))
        return found

    def release(self, address: Address) -> None:
        """Close the copy there. One that does not answer has none any more, or will be asked when it is replaced."""
        self._lent.discard(str(address))
        if not address.namespace:
            return
        with contextlib.suppress(OSError):
            self._ask(address, {"do": "release", **_place(address)})

    def _take(self, address: Address, backlog: int) -> socket.socket:
        if not address.namespace:
            return sockets.bind(address, backlog)
        answer, found = self._ask(address, {"do": "bind", **_place(address), "backlog": backlog})
        if found is None:
            code = answer.get("errno")
            raise OSError(code, os.strerror(code)) if isinstance(code, int) else OSError(f"it answered {answer}"[:200])
        found.setblocking(False)
        return found

    def _ask(self, address: Address, question: dict[str, Any]) -> tuple[dict[str, Any], socket.socket | None]:
        """As `ask`, but one that did not answer is not waited for again and again. Raises OSError."""
        bridge = _bridge(address)
        if time.monotonic() < self._silent.get(bridge, 0.0):
            raise TimeoutError(f"{names.inner(bridge)} does not answer")
        try:
            return ask(bridge, question)
        except TimeoutError:
            self._silent[bridge] = time.monotonic() + AGAIN
            raise TimeoutError(f"{names.inner(bridge)} does not answer") from None
        except ConnectionRefusedError:
            raise ConnectionRefusedError(f"{names.inner(bridge)} is not running") from None
        except ValueError as error:
            raise OSError(f"{names.inner(bridge)} answers strangely: {error}") from None


def _bridge(address: Address) -> str:
    return address.namespace.removeprefix(names.inner(""))


def _place(address: Address) -> dict[str, Any]:
    return {"host": address.host, "port": address.port}


def ask(bridge: str, question: dict[str, Any]) -> tuple[dict[str, Any], socket.socket | None]:
    """Its answer, and the socket that came along. Raises OSError where it does not answer, ValueError if strangely."""
    until = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.settimeout(PATIENCE)
        there.connect(path(bridge))
        there.sendall(json.dumps({**question, "key": key()}).encode() + b"\n")
        data, descriptors, _, _ = socket.recv_fds(there, _LONGEST, 1)
        found = _listening(descriptors[0], question) if descriptors else None
        try:
            while not data.endswith(b"\n"):
                there.settimeout(max(0.001, until - time.monotonic()))
                data += (more := there.recv(65536))
                if not more or len(data) > _LONGEST_ANSWER:
                    raise ValueError("it broke off" if not more else "it does not end")
            return _object(data), found
        except BaseException:
            if found is not None:
                found.close()
            raise


def _object(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(answer, dict):
        raise ValueError(f"{data[:100]!r} is no answer")
    return answer


def _listening(descriptor: int, question: dict[str, Any]) -> socket.socket:
    """The socket that was asked for: what comes from somebody who is not root may be anything. Raises ValueError."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        raise ValueError(f"it sent what is no socket: {error}") from None
    internet = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    if internet and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        host, port, *_ = found.getsockname()
        if (host.partition("%")[0], port) == (str(question.get("host")).partition("%")[0], question.get("port")):
            return found
    found.close()
    raise ValueError("it sent another socket than was asked for")


def run(bridge: str, identity: Identity, ready: Callable[[], None]) -> int:
    """Be the daemon, until a signal ends it. Raises StartError where the namespace cannot be entered, or listened in.

    Takes over the sockets of an earlier one that still runs.
    """
    privileges.title_process(names.inner(bridge))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to read again
    os.chdir("/")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    log = _Log(bridge)
    try:
        key()
        held = _inherit(bridge)
        namespaces.enter(names.inner(bridge))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path(bridge))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(path(bridge))
            os.chmod(path(bridge), 0o600)
            listening.listen()
            identity.assume(path(bridge))
            ready()
            _serve(listening, held, log)
    except OSError as error:
        raise StartError(f"{names.inner(bridge)}: {error}") from None
    return 0


def _inherit(bridge: str) -> dict[Place, socket.socket]:
    """What an earlier daemon of this bridge holds."""
    held: dict[Place, socket.socket] = {}
    try:
        answer, _ = ask(bridge, {"do": "list"})
        for host, port in answer.get("held", ()):
            _, found = ask(bridge, {"do": "bind", "host": str(host), "port": int(port), "backlog": 0})
            if found is not None:
                held[str(host), int(port)] = found
    except (OSError, ValueError, TypeError):
        return held  # there is none
    return held


def _serve(listening: socket.socket, held: dict[Place, socket.socket], log: _Log) -> None:
    while True:
        try:
            asking, _ = listening.accept()
        except OSError as error:  # no descriptor is free, say
            log.write("error", f"Accept: {error.strerror}")
            time.sleep(1.0)
            continue
        with asking:
            asking.settimeout(PATIENCE)
            try:
                question = json.loads(asking.recv(_LONGEST))  # it comes in one piece: it is short
                if not secrets.compare_digest(str(question.pop("key")).encode(), key().encode()):
                    raise PermissionError("without the key")
                answer, found = _answer(question, held, log)
                said = json.dumps(answer).encode() + b"\n"
                sent = asking.send(said) if found is None else socket.send_fds(asking, [said], [found.fileno()])
                if sent < len(said):  # whoever has all of it may be gone
                    asking.sendall(said[sent:])
            except Exception as error:  # noqa: BLE001 - recorded; whatever is asked, what is held must not be lost
                log.write("warn", f"a question that was not understood: {error!r}"[:200])


def _answer(
    question: dict[str, Any], held: dict[Place, socket.socket], log: _Log
) -> tuple[dict[str, Any], socket.socket | None]:
    if question["do"] == "list":
        inside = os.stat("/proc/thread-self/ns/net").st_ino
        return {"held": list(held), "pid": os.getpid(), "namespace": inside}, None
    if question["do"] == "guests":
        return {"guests": _neighbours()}, None
    place = host, port = str(question["host"]), int(question["port"])
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if question["do"] == "release":
        if place in held:
            held.pop(place).close()
            log.write("info", f"Release {shown}")
        return {}, None
    if place not in held:
        family = "inet6" if ":" in host else "inet"
        try:
            held[place] = sockets.bind(Address(family, host, port), int(question["backlog"]))
        except OSError as error:
            log.write("error", f"Bind {shown}: {error.strerror}")
            return {"errno": error.errno}, None
        log.write("info", f"Bind {shown}")
    return {}, held[place]


def _neighbours() -> list[tuple[str, str]]:
    """The tables of the namespace, of both families, without those that did not answer (rtnetlink(7), RTM_GETNEIGH)."""
    import struct

    found: list[tuple[str, str]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as kernel:
        kernel.settimeout(PATIENCE)
        kernel.send(struct.pack("=LHHLL12x", 28, _GET_NEIGHBOURS, _REQUEST_DUMP, 1, 0))
        while True:
            data = kernel.recv(65536)
            while data:
                length, kind = struct.unpack_from("=LH", data)
                if kind != _NEIGHBOUR:  # the end, or an error
                    return sorted(found)
                family, state = struct.unpack_from("=B7xH", data, 16)
                parts: dict[int, bytes] = {}
                at = 28
                while at < length:
                    size, what = struct.unpack_from("=HH", data, at)
                    parts[what] = data[at + 4 : at + size]
                    at += (size + 3) & ~3
                if state & _HEARD_OF and _HARDWARE in parts:
                    address = socket.inet_ntop(family, parts[_DESTINATION])
                    found.append((address, parts[_HARDWARE].hex(":")))
                data = data[(length + 3) & ~3 :]


class _Log:
    """The daemon's log, opened for each line: there are few, and so it can be rotated."""

    def __init__(self, bridge: str) -> None:
        self._path = names.log(names.inner(bridge))

    def write(self, severity: str, message: str) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        line = json.dumps({"time": when, "severity": severity, "pid": os.getpid(), "message": message})
        try:
            with open(self._path, "a") as file:
                file.write(line + "\n")
        except OSError:
            # where the daemon's output goes; when that is not possible either, as the disk is full, so be it
            with contextlib.suppress(OSError):
                os.write(1, f"{line}\n".encode())
