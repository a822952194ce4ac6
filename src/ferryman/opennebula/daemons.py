"""The daemons of transparent proxies: found, started, stopped, told to read again. Each is done when it returns.

There are no PID files: a daemon is a process whose whole command line is its name, `one_tproxy` or `one_tproxy_BRIDGE`.
OpenNebula's own daemons have the same names; they are replaced when ours are started. Called by cli.tproxy and
cli.tproxy_bridges, as root.

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
from ferryman.errors import ControlError, StartError
from ferryman.opennebula import database, flush, holder, names, settings, state
from ferryman.opennebula.settings import Settings
from ferryman.plan import Settings as ProcessSettings

Bridges = Mapping[str, Sequence[database.Endpoint]]

PATIENCE: Final = 10.0
"""Seconds a daemon may take to end before it is killed."""


def find() -> dict[str, int]:
    """Process ids by name."""
    found: dict[int, tuple[str, int]] = {}  # name and parent
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().rstrip(b"\0").decode(errors="replace")
            if line == names.OUTER or line.startswith(names.inner("")):
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
                    found[int(pid)] = line, int(status.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    # a child that is about to be another program, such as nft, has its parent's command line until it is
    return {name: pid for pid, (name, parent) in found.items() if found.get(parent, ("", 0))[0] != name}


def status() -> list[tuple[str, int]]:
    """The daemons that should run and do: the outer one first, then by bridge. Raises StartError."""
    running = find()
    wanted = [names.OUTER, *map(names.inner, sorted(database.read()))]
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
    return everything.take(database.read(), networks, find(), listeners, live)


def start() -> list[str]:
    """Start what should run and does not, end what should not; what to tell. Raises FerrymanError."""
    with state.locked():
        return _start()


def stop() -> None:
    """End all of them."""
    with state.locked():
        _end(find().values())


def restart() -> list[str]:
    """All of them anew. Nobody is refused meanwhile: the inner ones hand their sockets to those that come after them,
    and end only then. Connections that are open end. Raises FerrymanError."""
    with state.locked():
        before = find()
        _end(pid for name, pid in before.items() if name == names.OUTER)
        return _start(anew=True)


def reload() -> list[str]:
    """Have them follow nftables and the settings as they are now, if they run. Raises FerrymanError."""
    with state.locked():
        if names.OUTER not in find():
            return []
        return _start(tell=True)


def follow(file: str = names.SETTINGS) -> list[str]:
    """After something has changed: all that should run does, and follows it, and what `file` says of the services.
    Raises FerrymanError."""
    with state.locked():
        return _start(tell=True, file=file)


def _start(tell: bool = False, anew: bool = False, file: str = names.SETTINGS) -> list[str]:
    """`tell`: an outer daemon that runs reads again; `anew`: replace inner ones that run."""
    bridges = _bridges()
    before = find()
    running = _without_strangers(bridges)
    wanted = sorted(bridge for bridge, endpoints in bridges.items() if endpoints)
    if not wanted:
        return []
    messages, known = _publish(file)
    user = identity.resolve(ProcessSettings(user=known.owner))
    _log_file(names.OUTER, user)
    if names.OUTER in running and len(running) < len(before):
        Client(names.CONTROL).reload()  # what it listens on in a namespace that is gone is not taken for the new one's
    for bridge in wanted:
        name = names.inner(bridge)
        if not namespaces.exists(name):
            messages.append(f"bridge {bridge}: there is no network namespace {name}; `ferryman tproxy heal` makes it")
        elif anew or name not in running:
            _log_file(name, user)
            background.start(lambda ready, bridge=bridge: holder.run(bridge, user, ready), names.log(name))  # type: ignore[misc]
            _end(pid for pid in (running.get(name),) if pid is not None)
            tell = True
    if names.OUTER not in running or not os.path.exists(f"/proc/{running[names.OUTER]}"):
        background.start(_outer, names.log(names.OUTER))
    elif tell:
        answer = Client(names.CONTROL).reload()
        messages += [message for message in answer["messages"] if message not in messages]
    return messages


def _outer(ready: Callable[[], None]) -> int:
    from ferryman.opennebula import outer  # what it needs takes its time to load

    return outer.run(ready)


def _bridges() -> Bridges:
    """What nftables holds, or should hold where somebody has flushed it. Raises FerrymanError."""
    if flush.happened() and names.OUTER in find() and _answers_outer():
        Client(names.CONTROL).reload()  # it remembers more
    return flush.mend({}) if flush.happened() else database.read()


def _without_strangers(bridges: Bridges) -> dict[str, int]:
    """What runs, after those were ended that should not: of bridges without services, of a namespace that is gone or
    another one now, and OpenNebula's own."""
    running = find()
    wanted = {names.inner(bridge): bridge for bridge, endpoints in bridges.items() if endpoints}
    for name, pid in list(running.items()):
        if name == names.OUTER:
            fine = bool(wanted) and _answers_outer()
        else:
            fine = name in wanted and _is_inside(pid, name) and _answers_inner(wanted[name])
        if not fine:
            _end([pid])
            del running[name]
            if name != names.OUTER:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(holder.path(name.removeprefix(names.inner(""))))
    return running


def _is_inside(pid: int, name: str) -> bool:
    """Is a process in the namespace that has this name now?"""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(f"{namespaces.FOLDER}/{name}").st_ino
    except OSError:
        return False


def _answers_outer() -> bool:
    try:
        Client(names.CONTROL).status()
    except ControlError:
        return False
    return True


def _answers_inner(bridge: str) -> bool:
    try:
        holder.ask(bridge, {"do": "list"})
    except (OSError, ValueError):
        return False
    return True


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


def _publish(file: str) -> tuple[list[str], Settings]:
    """Make the settings known to the daemons, if they are right; what is wrong with them, and those that hold.

    Where there is no file, as on a host without OpenNebula, what was published last holds.
    """
    diagnostics = Diagnostics()
    text = _text(file, diagnostics)
    known = settings.read(Source(file, text), diagnostics)
    if text and not diagnostics.errors:
        _write(names.PUBLISHED, text)
    else:
        known = settings.read(Source(names.PUBLISHED, _text(names.PUBLISHED, Diagnostics())), Diagnostics())
    return [str(one) for one in diagnostics.found], known


def _text(file: str, diagnostics: Diagnostics) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        diagnostics.error(None, f"cannot read {file}: {error}")
        return ""


def _write(path: str, text: str) -> None:
    """Replace a file of ours, readable for the daemons. Raises StartError."""
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
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
            if user.uid is not None and os.geteuid() == 0:
                os.fchown(descriptor, user.uid, -1 if user.gid is None else user.gid)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from None
