"""The inner daemon, `one_tproxy_BRIDGE`: listens in a bridge's namespace for the outer one, and hands the sockets over.

It makes sockets when it is asked and keeps a copy of each, so that nobody is refused while the outer daemon is away.
It has given root up; it accepts nothing and sees no byte of a connection. One question per connection to its Unix
socket, a line of JSON each way, descriptors beside the answer (SCM_RIGHTS):

    {"do": "bind", "host": …, "port": …, "backlog": …}    the socket, or {"errno": …}
    {"do": "release", "host": …, "port": …}               it is not wanted any more
    {"do": "list"}                                         {"held": [[host, port], …]}
    {"do": "guests"}                                       {"guests": [[address, MAC], …]}, those lately heard of

Whoever may open the Unix socket may ask: its file belongs to the user that both daemons run as, with mode 0600.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from ferryman.controlplane import namespaces, sockets
from ferryman.controlplane.identity import Identity
from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.opennebula import names
from ferryman.plan import Address

PATIENCE: Final = 5.0
"""Seconds for a question, and for its answer."""
_LONGEST: Final = 4096  # bytes of a question

Place = tuple[str, int]
"""Host and port."""


def path(bridge: str) -> str:
    """Of the Unix socket of a bridge's daemon."""
    return f"{names.RUN}/{bridge}.sock"


class Holders:
    """The inner daemons as the outer one sees them (controlplane.sockets.Elsewhere): by the namespace of an address."""

    def bind(self, address: Address, backlog: int) -> socket.socket:
        """A listening socket in the namespace of `address`. Raises OSError."""
        answer, found = ask(_bridge(address), {"do": "bind", **_place(address), "backlog": backlog})
        if found is None:
            code = int(answer["errno"])
            raise OSError(code, os.strerror(code))
        found.setblocking(False)
        return found

    def release(self, address: Address) -> None:
        """Close the copy there. One that does not answer has none any more, or will be asked when it is replaced."""
        with contextlib.suppress(OSError, ValueError):
            ask(_bridge(address), {"do": "release", **_place(address)})


def _bridge(address: Address) -> str:
    return address.namespace.removeprefix(names.inner(""))


def _place(address: Address) -> dict[str, Any]:
    return {"host": address.host, "port": address.port}


def ask(bridge: str, question: dict[str, Any]) -> tuple[dict[str, Any], socket.socket | None]:
    """Its answer, and the socket that came along. Raises OSError where it does not answer, ValueError if strangely."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.settimeout(PATIENCE)
        there.connect(path(bridge))
        there.sendall(json.dumps(question).encode() + b"\n")
        data, descriptors, _, _ = socket.recv_fds(there, _LONGEST, 1)
        found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        while data and not data.endswith(b"\n") and (more := there.recv(_LONGEST)):
            data += more
    return json.loads(data or b"{}"), found[0] if found else None


def run(bridge: str, identity: Identity, ready: Callable[[], None]) -> int:
    """Be the daemon, until a signal ends it. Raises StartError where the namespace cannot be entered, or listened in.

    Takes over the sockets of an earlier one that still runs.
    """
    privileges.title_process(names.inner(bridge))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to read again
    held = _inherit(bridge)
    log = _Log(bridge)
    try:
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
            _, found = ask(bridge, {"do": "bind", "host": host, "port": port, "backlog": 0})
            if found is not None:
                held[host, port] = found
    except (OSError, ValueError):
        return held  # there is none
    return held


def _serve(listening: socket.socket, held: dict[Place, socket.socket], log: _Log) -> None:
    while True:
        asking, _ = listening.accept()
        with asking:
            asking.settimeout(PATIENCE)
            try:
                data = b""
                while not data.endswith(b"\n") and len(data) < _LONGEST and (more := asking.recv(_LONGEST)):
                    data += more
                answer, found = _answer(json.loads(data), held, log)
                said = json.dumps(answer).encode() + b"\n"
                if found is None:
                    asking.sendall(said)
                else:
                    socket.send_fds(asking, [said], [found.fileno()])
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.write("warn", f"a question that was not understood: {error}")


def _answer(
    question: dict[str, Any], held: dict[Place, socket.socket], log: _Log
) -> tuple[dict[str, Any], socket.socket | None]:
    if question["do"] == "list":
        return {"held": list(held)}, None
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
    """The table of the namespace (proc(5), net/arp), without those that did not answer."""
    with open("/proc/thread-self/net/arp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return sorted((row[0], row[3]) for row in rows if row[3] != "00:00:00:00:00:00")


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
            print(line, flush=True)  # where the daemon's output goes
