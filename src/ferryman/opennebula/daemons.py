"""The daemons of transparent proxies: found, started, stopped, told to read again. Each is done when it returns.

There are no PID files: a daemon is a process whose whole command line is its name, `one_tproxy` or `one_tproxy_BRIDGE`,
and that root started on this host: anybody can call a process so. OpenNebula's own daemons have the same names; they
are replaced when ours are started. Called by cli.tproxy and cli.tproxy_bridges, as root.

Source: OpenNebula's manual, "Transparent Proxies".
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ferryman.config.source import Diagnostics, Source
from ferryman.controlplane import background, identity, namespaces
from ferryman.controlplane.control import Client
from ferryman.controlplane.identity import Identity
from ferryman.dataplane import privileges
from ferryman.errors import ControlError, StartError
from ferryman.opennebula import database, flush, holder, names, settings, state
from ferryman.plan import Settings as ProcessSettings

Bridges = Mapping[str, Sequence[database.Endpoint]]

PATIENCE: Final = 10.0
"""Seconds a daemon may take to end before it is killed."""


def find() -> dict[str, int]:
    """Process ids by name."""
    return dict(_processes())


def _processes() -> list[tuple[str, int]]:
    """Name and process id of every daemon, also where there are several of a name."""
    found: dict[int, tuple[str, int]] = {}  # name and parent
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().rstrip(b"\0").decode(errors="replace")
            if (line == names.OUTER or line.startswith(names.inner(""))) and _is_of_root(status := _status(pid), pid):
                found[int(pid)] = line, int(status["PPid"])
        except OSError:
            continue  # it has just ended
    # a child that is about to be another program, such as nft, has its parent's command line until it is
    return [(name, pid) for pid, (name, parent) in found.items() if found.get(parent, ("", 0))[0] != name]


def _status(pid: str) -> dict[str, str]:
    """Of a process (proc(5)). Raises OSError."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def _is_of_root(status: Mapping[str, str], pid: str) -> bool:
    """Is it root's, or does it have capabilities that only root gave it; and no container's? Raises OSError."""
    uids = set(status["Uid"].split())
    if len(uids) > 1 or len(status["NSpid"].split()) > 1:  # a program that is set-user-id; another PID namespace
        return False
    with open(f"/proc/{pid}/uid_map") as theirs, open("/proc/self/uid_map") as ours:
        return theirs.read() == ours.read() and (uids == {"0"} or int(status["CapPrm"], 16) != 0)


def status() -> list[tuple[str, int]]:
    """The daemons that should run and do: the outer one first, then by bridge. Raises StartError."""
    running = find()
    wanted = [names.OUTER, *map(names.inner, sorted(database.read().endpoints))]
    return [(name, running[name]) for name in wanted if name in running]


def overview() -> dict[str, Any]:
    """Everything known of bridges, services and guests (overview.take). Raises StartError."""
    from ferryman.opennebula import overview as everything

    client = Client(names.CONTROL)
    try:
        listeners, live = client.status()["listeners"], client.sessions()
    except ControlError:
        listeners, live = [], []
    networks = {name: bridge.networks for name, bridge in state.read().bridges.items()}
    return everything.take(database.read().endpoints, networks, find(), listeners, live)


def start() -> list[str]:
    """Start what should run and does not, end what should not; what to tell. Raises FerrymanError."""
    with state.locked():
        return _start()


def stop() -> None:
    """End all of them."""
    with state.locked():
        _end(pid for _, pid in _processes())


def restart() -> list[str]:
    """All of them anew. Nobody is refused meanwhile: the inner ones hand their sockets to those that come after them,
    and end only then. Connections that are open end. Raises FerrymanError."""
    with state.locked():
        _end(pid for name, pid in _processes() if name == names.OUTER)
        return _start(anew=True)


def reload() -> list[str]:
    """Have them follow nftables and the settings as they are now, if they run. Raises FerrymanError."""
    with state.locked():
        if names.OUTER not in find():
            return []
        return _start(tell=True)


def follow(file: str = names.SETTINGS) -> list[str]:
    """After something has changed: all that should run does, and follows it, and what `file` says of the services.

    What is wrong with the file is left out: whoever calls has read it, too. Raises FerrymanError, also where the daemon
    cannot follow.
    """
    with state.locked():
        messages = _start(tell=True, file=file, must=True)
    return [message for message in messages if not message.startswith((f"{file}:", f"{names.SETTINGS}:"))]


def _start(tell: bool = False, anew: bool = False, file: str = names.SETTINGS, must: bool = False) -> list[str]:
    """`tell`: an outer daemon that runs reads again, and if it `must` and cannot, that is an error; `anew`: replace
    inner ones that run."""
    try:
        holder.make_key()
    except OSError as error:
        raise StartError(f"cannot write {error.filename}: {error.strerror}") from None
    bridges = _bridges()
    running, ended = _without_strangers(bridges)
    wanted = sorted(bridge for bridge, endpoints in bridges.items() if endpoints)
    if not wanted:
        return []
    messages, user = _publish(file)
    for name in (names.OUTER, *map(names.inner, wanted)):
        _log_file(name, user)
    if names.OUTER in running and ended:
        Client(names.CONTROL).reload()  # what it listens on in a namespace that is gone is not taken for the new one's
    for bridge in wanted:
        name = names.inner(bridge)
        if not namespaces.exists(name):
            messages.append(f"bridge {bridge}: there is no network namespace {name}; `ferryman tproxy heal` makes it")
        elif anew or name not in running:
            background.start(lambda ready, bridge=bridge: holder.run(bridge, user, ready), names.log(name))  # type: ignore[misc]
            _end(pid for pid in (running.get(name),) if pid is not None)
            tell = True
    if names.OUTER not in running or not os.path.exists(f"/proc/{running[names.OUTER]}"):
        try:
            background.start(_outer, names.log(names.OUTER))
        except StartError:
            if _outer_pid() is None:
                raise
            # one that a command began to start, and was killed, has come up meanwhile
            Client(names.CONTROL).reload()
    elif tell:
        answer = Client(names.CONTROL).reload()
        said = [str(message) for message in answer.get("messages", ())]
        if must and not answer.get("ok", True):
            raise StartError("\n".join([f"nftables has changed, but {names.OUTER} goes on as before:", *said]))
        messages += [message for message in said if message not in messages]
    return messages


def _outer(ready: Callable[[], None]) -> int:
    privileges.title_process(names.OUTER)  # at once, so that it can be found while it begins
    from ferryman.opennebula import outer  # what it needs takes its time to load

    return outer.run(ready)


def _bridges() -> Bridges:
    """What nftables holds, or should hold where somebody has flushed it. Raises FerrymanError."""
    now = database.read()
    if now.flushed and _outer_pid() is not None:
        Client(names.CONTROL).reload()  # it remembers more
        now = database.read()
    return flush.mend({}) if now.flushed else now.endpoints


def _without_strangers(bridges: Bridges) -> tuple[dict[str, int], bool]:
    """What runs, after those were ended that should not, and whether there were any: of bridges without services, of a
    namespace that is gone or another one now, and OpenNebula's own."""
    wanted = {names.inner(bridge): bridge for bridge, endpoints in bridges.items() if endpoints}
    processes = _processes()
    ours = {name: _inner_pid(wanted[name]) for name, _ in processes if name in wanted}
    if wanted and any(name == names.OUTER for name, _ in processes):
        ours[names.OUTER] = _outer_pid()
    running = {name: pid for name, pid in processes if ours.get(name) == pid}
    others = [(name, pid) for name, pid in processes if ours.get(name) != pid]
    _end(pid for _, pid in others)
    for name in {name for name, _ in others} - {names.OUTER, *running}:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(holder.path(name.removeprefix(names.inner(""))))
    return running, bool(others)


def _outer_pid() -> int | None:
    """Of the outer daemon, if it answers."""
    try:
        return int(Client(names.CONTROL).status()["process"]["pid"])
    except (ControlError, ValueError, KeyError, TypeError):
        return None


def _inner_pid(bridge: str) -> int | None:
    """Of the daemon of a bridge, if it answers and is in the namespace that has the name now."""
    try:
        answer, _ = holder.ask(bridge, {"do": "list"})
        inside = os.stat(f"{namespaces.FOLDER}/{names.inner(bridge)}").st_ino
        return int(answer["pid"]) if answer["namespace"] == inside else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end(pids: Iterable[int]) -> None:
    """End processes: ask, wait, and kill what does not listen."""
    open_ones: list[int] = []
    with contextlib.ExitStack() as cleanup:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                open_ones.append(descriptor := os.pidfd_open(pid))
                cleanup.callback(os.close, descriptor)
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for descriptor in open_ones:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], PATIENCE)


def _publish(file: str) -> tuple[list[str], Identity]:
    """Make the settings known to the daemons, if they are right; what is wrong with them, and whom those that hold
    make the daemons be. Raises StartError.

    Where there is no file, as on a host without OpenNebula, what was published last holds.
    """
    diagnostics = Diagnostics()
    text = _text(file, diagnostics)
    known = settings.read(Source(file, text), diagnostics)
    fresh = bool(text) and not diagnostics.errors
    if not fresh:
        known = settings.read(Source(names.PUBLISHED, _text(names.PUBLISHED, Diagnostics())), Diagnostics())
    try:
        user = identity.resolve(ProcessSettings(user=known.owner))
    except StartError:
        message = f"user {known.owner} does not exist here; create it, or name another at `:tproxy_process_owner:`"
        raise StartError(f"{file if fresh else names.PUBLISHED}: {message}") from None
    if fresh:
        _write(names.PUBLISHED, text, user)
    return [str(one) for one in diagnostics.found], user


def _text(file: str, diagnostics: Diagnostics) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        diagnostics.error(None, f"cannot read {file}: {error}")
        return ""


def _write(path: str, text: str, user: Identity) -> None:
    """Replace a file of ours; the daemons can read it, and nobody else: there may be passwords in it. Raises
    StartError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            _give(file.fileno(), user)
            file.write(text)
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from None


def _log_file(daemon: str, user: Identity) -> None:
    """Make a daemon's log file, and let the daemon write it. Raises StartError."""
    path = names.log(daemon)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            _give(descriptor, user)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from None


def _give(descriptor: int, user: Identity) -> None:
    if user.uid is not None and os.geteuid() == 0:
        os.fchown(descriptor, user.uid, -1 if user.gid is None else user.gid)
