"""What is wrong with a hypervisor's transparent proxies, what to do about it, and doing what is safe.

`examine` looks at everything between a guest and the remote, and changes nothing; `mend` repairs by the same means as
the other verbs, so it makes nothing of its own: it touches no guest, and no setting of the host's own. Called by
cli.tproxy_host, as root. What concerns a single bridge is in opennebula.symptoms.

Source: OpenNebula's manual, "Transparent Proxies", "Debugging".
"""

from __future__ import annotations

import glob
import itertools
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from ferryman.config.source import Diagnostics, Source
from ferryman.controlplane import identity, namespaces
from ferryman.controlplane.control import Client
from ferryman.errors import ControlError, FerrymanError, StartError
from ferryman.opennebula import daemons, database, driver, install, links, names, settings
from ferryman.opennebula.names import inner
from ferryman.opennebula.settings import Settings
from ferryman.opennebula.symptoms import FOLLOW, Finding, Host, look, of_bridge
from ferryman.plan import Settings as ProcessSettings

PATIENCE: Final = 3.0
"""Seconds for a remote to accept a connection."""
_AT_ONCE: Final = 32
_RESERVE: Final = " (in reserve)"
_ORIGINALS: Final = "/run/one_tproxy_*.socket"


def examine(file: str = names.SETTINGS) -> list[Finding]:
    """All that is wrong with this host; `file` has the settings."""
    if found := list(_demands()):
        return found
    said, found = _settings(file)
    try:
        host = look(said)
    except StartError as error:
        return [*found, Finding("error", "", str(error))]
    bridges = (of_bridge(host, bridge) for bridge in sorted({*host.endpoints, *host.known}))
    for part in (_whole(host), *bridges, _leftovers(host), _remotes(host)):
        try:
            found.extend(part)
        except StartError as error:
            found.append(Finding("error", "", str(error)))
    return found


def summary() -> str:
    """What a host has that is fine. Raises StartError."""
    served = {name: each for name, each in sorted(database.read().endpoints.items()) if each}
    if not served:
        return "no bridge has a proxy"
    shown = (f"{name} ({', '.join(str(each.port) for each in found)})" for name, found in served.items())
    return f"guests reach the services on {', '.join(shown)}"


def mend(findings: Collection[Finding], file: str = names.SETTINGS) -> Iterator[str]:
    """Repair what can be, and tell what was done."""
    due = {finding.repair for finding in findings} - {""}
    said, _ = _settings(file)
    if "heal" in due:
        yield from _attempt(driver.heal)
    if "apply" in due and said is not None:
        yield from _attempt(lambda: ["all bridges have what the settings say", *driver.apply(said)])
    for each in findings:
        if each.repair == "down":
            yield from _attempt(partial(_take_down, each.bridge))
        elif each.repair == "remove":
            yield from _attempt(partial(_remove, each.subject))
        elif each.repair == "own":
            yield from _attempt(partial(_give, each.subject, _owner(said)))
    if due & {"heal", "apply", "follow"}:
        yield from _attempt(lambda: ["the daemons run, and follow nftables", *daemons.follow(file)])


def _attempt(repair: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(repair())
    except (FerrymanError, OSError) as error:
        return [f"not repaired: {error}"]


def _take_down(bridge: str) -> Iterator[str]:
    yield from driver.down(bridge)
    yield f"{bridge}: what was left is removed"


def _remove(path: str) -> Iterator[str]:
    os.unlink(path)
    yield f"{path} is removed"


def _give(path: str, owner: str) -> Iterator[str]:
    user = identity.resolve(ProcessSettings(user=owner))
    ids = (-1 if number is None else number for number in (user.uid, user.gid))
    os.chown(path, *ids, follow_symlinks=False)
    yield f"{path} belongs to {owner}"


def _demands() -> Iterator[Finding]:
    """What it takes to see anything."""
    if os.geteuid() != 0:
        yield Finding("error", "", "only root sees what there is", "run it by sudo")
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            yield Finding("error", "", f"{program} is not installed", f"it is in the package {package}")


def _settings(file: str) -> tuple[Settings | None, list[Finding]]:
    """What the file says, or what was last told to the daemons where there is none; and the mistakes in it."""
    diagnostics = Diagnostics()
    path = file if os.path.exists(file) else names.PUBLISHED
    try:
        with open(path, encoding="utf-8") as opened:
            said = settings.read(Source(file, opened.read()), diagnostics)
    except FileNotFoundError:
        return None, []
    except (OSError, UnicodeDecodeError) as error:
        return None, [Finding("error", "", f"cannot read {file}: {error}")]
    found: list[Finding] = []
    for one in diagnostics.found:
        found.append(Finding(one.severity, "", f"{one.mark}: {one.message}", one.hint or "correct the file"))
    return None if diagnostics.errors else said, found


def _owner(said: Settings | None) -> str:
    return (said or Settings()).owner


def _whole(host: Host) -> Iterator[Finding]:
    served = host.served()
    if served and install.is_in_place() is False:
        message = f"{names.EXECUTABLE} is OpenNebula's own, which starts daemons besides these"
        remedy = "`ferryman tproxy install`, on the front-end also with --path, as `onehost sync` copies from there"
        yield Finding("warning", "", message, remedy)
    if served and install.is_watched() is False:
        message = "nothing makes the proxies again when the host has started, or somebody flushed nftables"
        yield Finding("hint", "", message, "`ferryman tproxy install` has systemd run `ferryman tproxy heal`")
    if served:
        if names.OUTER not in host.running:
            yield Finding("error", "", f"{names.OUTER} is not running", FOLLOW, "follow")
        elif not _answers():
            message = f"{names.OUTER} does not answer: it hangs, or is OpenNebula's own"
            yield Finding("error", "", message, FOLLOW, "follow")
        yield from _logs(host, served)
    yield from _sockets(host, served)


def _answers() -> bool:
    try:
        Client(names.CONTROL).status()
    except ControlError:
        return False
    return True


def _logs(host: Host, served: Collection[str]) -> Iterator[Finding]:
    folder = os.path.dirname(names.log(names.OUTER))
    room = os.statvfs(folder)
    if not os.access(folder, os.W_OK):
        yield Finding("error", "", f"{folder} cannot be written: nothing is logged", "make it writable")
    elif room.f_blocks and not room.f_bavail:
        yield Finding("error", "", f"there is no room in {folder}: nothing is logged", "make room")
    try:
        user = identity.resolve(ProcessSettings(user=_owner(host.said)))
    except StartError:
        message = f"the daemons cannot run as {_owner(host.said)}: there is no such user"
        yield Finding("error", "", message, "name another one as `:tproxy_process_owner:`, or leave that out")
        return
    for path in map(names.log, (names.OUTER, *map(inner, served))):
        if user.uid and os.path.exists(path) and os.stat(path).st_uid != user.uid:
            message = f"{path} does not belong to {_owner(host.said)}, as whom the daemons write it"
            yield Finding("warning", "", message, f"chown {_owner(host.said)} {path}", "own", path)


def _sockets(host: Host, served: Collection[str]) -> Iterator[Finding]:
    for path in sorted(glob.glob(f"{names.RUN}/*.sock")):
        bridge = os.path.basename(path).removesuffix(".sock")
        if path != names.CONTROL and bridge not in served and inner(bridge) not in host.running:
            message = f"{path} is left of a daemon that has gone"
            yield Finding("warning", bridge, message, f"rm {path}", "remove", path)
    for path in sorted(glob.glob(_ORIGINALS)):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path):
                message = f"{path} is left of OpenNebula's own daemons"
                yield Finding("hint", "", message, f"rm {path}", "remove", path)


def _remotes(host: Host) -> Iterator[Finding]:
    """Can the host connect to them?"""
    users: dict[tuple[str, int], list[str]] = {}
    for place, what in _places(host):
        users.setdefault(place, []).append(what)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reasons = list(pool.map(_unreachable, users))
    for ((address, port), uses), reason in zip(users.items(), reasons, strict=True):
        if reason:
            message = f"{address}:{port} cannot be reached: {reason}; it is {', '.join(uses)}"
            remedy = "is the service up there, and does the network let this host through?"
            spare = all(use.endswith(_RESERVE) for use in uses)
            yield Finding("warning" if spare else "error", "", message, remedy)


def _places(host: Host) -> Iterator[tuple[tuple[str, int], str]]:
    """Remotes, each time with what they are. A name counts for more than what it stood for when it was looked up."""
    options = host.said.options.entries if host.said else ()
    for bridge, found in sorted(host.endpoints.items()):
        networks = host.known[bridge].networks if bridge in host.known else ()
        services = host.said.on(networks) if host.said else []
        for each in found:
            what = f"port {each.port} of {bridge}"
            stood_for = (one.host for one in services if host.names.get(one.host) == each.address)
            yield (next(stood_for, each.address), each.remote_port), what
            spare = (option.remotes for option in options if option.is_for(bridge, each.port))
            for remote in itertools.chain.from_iterable(spare):
                address, _, port = remote.rpartition(":")
                if port.isdigit():
                    yield (address.strip("[]"), int(port)), what + _RESERVE


def _unreachable(place: tuple[str, int]) -> str:
    """Why, or nothing."""
    try:
        socket.create_connection(place, PATIENCE).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _leftovers(host: Host) -> Iterator[Finding]:
    """What there is of bridges that nobody serves. Known ones wait for services."""
    folder = os.listdir(namespaces.FOLDER) if os.path.isdir(namespaces.FOLDER) else []
    lost = {name.removeprefix(inner("")) for name in folder if name.startswith(inner(""))}
    lost |= {name.removeprefix("ch_") for name in host.rules if name.startswith("ch_")}
    bridges = {name for name, each in host.devices.items() if each.kind == "bridge"} | set(host.switches)
    lost |= {bridge for bridge in bridges if links.leftovers(bridge, host.devices)}
    for bridge in sorted(lost - {*host.served(), *host.known}):
        message = "it has no services, but parts of a proxy are left: a namespace, a device, or a chain of nftables"
        yield Finding("warning", bridge, message, f"`ferryman tproxy down {bridge}`", "down")
    for name in host.running:
        if name != names.OUTER and (bridge := name.removeprefix(inner(""))) not in host.served():
            yield Finding("warning", bridge, f"{name} runs, though it has no services", FOLLOW, "follow")
