"""What a bridge needs to have a proxy, done in order: `up`, `down`, `apply`, `heal`.

Called by cli.tproxy_bridges and the daemons. Each takes the lock, does everything or leaves what there was, may be
repeated, and gives messages about what its caller may not expect. What is intended is remembered first: a run that was
killed is completed by the next one. Starts and stops no process; the daemons follow nftables.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from ferryman.errors import FerrymanError, StartError
from ferryman.opennebula import database, links, openvswitch, state
from ferryman.opennebula.database import Content, Endpoint, Surroundings
from ferryman.opennebula.links import Device, Link
from ferryman.opennebula.names import door
from ferryman.opennebula.settings import Service, Settings
from ferryman.opennebula.state import Bridge, State

RESOLVING: Final = 5.0
"""Seconds for all names together."""
_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}")
"""Of devices, as far as nft(8) can be told."""


def up(
    bridge: str,
    networks: Collection[str],
    settings: Settings,
    uplinks: Collection[str] = (),
    vlan: int | None = None,
) -> list[str]:
    """Let a bridge have the services of virtual networks, by name or id, besides those it has already.

    `uplinks` are its ports behind which there are other hosts (guessed where none is known), `vlan` the one its guests
    are in. Raises StartError.
    """
    for name in (bridge, *uplinks):
        _check(name)
    found = _resolve(settings.services)
    with state.locked():
        devices = links.survey()
        before = state.read()
        kind = _kind(bridge, devices)
        for uplink in uplinks:
            if uplink not in devices and not (kind and uplink in openvswitch.ports(bridge)):
                raise StartError(f"there is no device {uplink} to be an uplink of {bridge}")
        messages = list[str]()
        known = before.bridges.get(bridge, Bridge())
        wanted = replace(
            known,
            networks=tuple(dict.fromkeys((*known.networks, *networks))),
            uplinks=tuple(dict.fromkeys(uplinks)) or known.uplinks,
            vlan=vlan or known.vlan,
            openvswitch=kind,
        )
        renamed = _renamed(before, bridge, devices)
        names = _names(before.names, found)
        wanted = replace(wanted, endpoints=_endpoints(bridge, wanted, settings, names, found, messages))
        messages += [f"{old} is called {bridge} now: what it had is removed" for old in renamed]
        after = replace(before.put({bridge: wanted}).without(*renamed), names=_used(names, settings))
        _settle(before, after, [bridge], devices, gone=renamed)
        return messages


def down(bridge: str) -> list[str]:
    """Remove all there is of a bridge's proxy, whatever the settings say. Raises StartError."""
    _check(bridge)
    with state.locked():
        devices = links.survey()
        before = state.read()
        there = bridge in before.bridges or links.leftovers(bridge, devices)
        there = there or bridge in database.chains() or bridge in database.read().endpoints
        _settle(before, before.without(bridge), [], devices, gone=[bridge])
        return [] if there else [f"{bridge} has no proxy"]


def apply(settings: Settings) -> list[str]:
    """Bring all bridges to these settings. Raises StartError; then nothing has changed."""
    found = _resolve(settings.services)
    with state.locked():
        devices = links.survey()
        before = state.read()
        messages = list[str]()
        gone = [bridge for bridge in before.bridges if not _exists(bridge, before.bridges[bridge], devices)]
        messages += [f"{bridge} is gone, so its proxy is removed and forgotten" for bridge in gone]
        names = _names(before.names, found)
        bridges = {
            bridge: replace(known, endpoints=_endpoints(bridge, known, settings, names, found, messages))
            for bridge, known in before.bridges.items()
            if bridge not in gone
        }
        strangers = sorted(set(database.read().endpoints) - set(before.bridges)) if settings.services else []
        messages += [
            f"{bridge} was brought up by OpenNebula, and which networks it carries is not known here: "
            f"`ferryman tproxy up {bridge} --network …` takes it over"
            for bridge in strangers
        ]
        _settle(before, State(bridges, _used(names, settings)), list(bridges), devices, gone)
        return list(dict.fromkeys(messages))


def heal() -> list[str]:
    """Make again what was lost, by a flush of nftables, a reboot, a deleted namespace. Raises StartError."""
    with state.locked():
        before = state.read()
        if not before.bridges:
            return []
        devices = links.survey()
        now = _Now(database.read(), database.chains(), devices, state.boot())
        messages, broken, gone = list[str](), list[str](), list[str]()
        after = before
        for bridge, known in before.bridges.items():
            if not _exists(bridge, known, devices):
                messages.append(_missing(bridge, devices))
            elif known.endpoints and now.taken_down(bridge, known):
                messages.append(f"{bridge}: OpenNebula took its proxy down, so it is forgotten")
                gone.append(bridge)
            elif known.endpoints and (why := now.faults(bridge, known)):
                messages.append(f"{bridge}: made again, since {why}")
                broken.append(bridge)
            elif (present := tuple(now.maps.endpoints.get(bridge, ()))) != known.endpoints and present:
                # nftables is what counts: somebody else has written there
                after = after.put({bridge: replace(known, endpoints=present)})
        if broken or gone or after != before:
            _settle(before, after.without(*gone), broken, devices, gone)
        return messages


@dataclass(frozen=True, slots=True)
class _Now:
    """What there is."""

    maps: Content
    chains: set[str]
    devices: Mapping[str, Device]
    boot: str

    def taken_down(self, bridge: str, known: Bridge) -> bool:
        """Did OpenNebula's own driver do it? It leaves the tables; a flush leaves the namespace, a reboot neither."""
        lost = bridge not in self.maps.endpoints and not self.maps.flushed
        return lost and known.boot == self.boot and not links.leftovers(bridge, self.devices)

    def faults(self, bridge: str, known: Bridge) -> str:
        if bridge not in self.maps.endpoints:
            return f"nftables has no map ep_{bridge}"
        if bridge not in self.chains:
            return f"nftables has no chain ch_{bridge}"
        if found := links.faults(_link(bridge, known), self.devices):
            return found[0]
        if known.openvswitch and not openvswitch.connected(bridge):
            return f"Open vSwitch has no port {door(bridge)[0]} in it, or not its flows"
        return "" if known.boot == self.boot else "it had not been completed"


def _settle(
    before: State, after: State, bridges: Collection[str], devices: Mapping[str, Device], gone: Collection[str] = ()
) -> None:
    """Make what `bridges` are to have, undo those that are `gone`, and remember it; or go back. Raises StartError."""
    boot = state.boot()
    awake = {bridge: replace(after.bridges[bridge], boot=boot) for bridge in bridges if after.bridges[bridge].endpoints}
    asleep = [bridge for bridge in bridges if bridge not in awake and _has_something(bridge, before, devices)]
    after = after.put(awake)
    news = {bridge: replace(each, boot="") for bridge, each in awake.items() if before.bridges.get(bridge) != each}
    intended = after.put(news)
    if intended != before:
        state.write(intended)
    fresh = [bridge for bridge in awake if not _has_something(bridge, before, devices)]
    try:
        links.make([_link(bridge, each) for bridge, each in awake.items()], devices)
        for bridge, each in awake.items():
            if each.openvswitch:
                openvswitch.connect(bridge, each.vlan, _uplinks(bridge, each, devices))
        _write(after, awake, [*asleep, *gone], devices)
    except FerrymanError:
        _back(before, {bridge: awake[bridge] for bridge in fresh})
        raise
    _undo([*asleep, *gone], {**before.bridges, **after.bridges}, devices)
    if after != intended:
        state.write(after)


def _has_something(bridge: str, before: State, devices: Mapping[str, Device]) -> bool:
    known = before.bridges.get(bridge)
    return (known is not None and bool(known.endpoints)) or links.leftovers(bridge, devices)


def _write(after: State, awake: Mapping[str, Bridge], gone: Collection[str], devices: Mapping[str, Device]) -> None:
    """nftables, in one go."""
    if not awake and not gone:
        return
    # those of OpenNebula's own driver have doors as well
    others = (database.chains() | {name for name, each in after.bridges.items() if each.endpoints}) - set(gone)
    known = {name: after.bridges.get(name, Bridge()) for name in sorted(others | set(awake))}
    doors = {name: door(name)[0] for name in known}
    uplinks = {port for name, each in known.items() if not each.openvswitch for port in _uplinks(name, each, devices)}
    around = Surroundings(list(doors.values()), uplinks, list(known))
    if awake:
        database.change({name: each.endpoints for name, each in awake.items()}, gone, doors, around)
    else:
        database.remove(gone, around)


def _undo(gone: Collection[str], known: Mapping[str, Bridge], devices: Mapping[str, Device]) -> None:
    for bridge in gone:
        if bridge in known and known[bridge].openvswitch:
            openvswitch.disconnect(bridge)
    if gone:
        links.undo(gone, devices)


def _back(before: State, fresh: Mapping[str, Bridge]) -> None:
    """After a failure, which is what is told: nothing stays of bridges that had nothing."""
    with suppress(FerrymanError):
        state.write(before)
    with suppress(FerrymanError):
        _undo(list(fresh), fresh, links.survey())


def _uplinks(bridge: str, each: Bridge, devices: Mapping[str, Device]) -> list[str]:
    if each.uplinks:
        return list(each.uplinks)
    if each.openvswitch:
        kinds = ((port, devices.get(port)) for port in openvswitch.ports(bridge))
        return [port for port, device in kinds if device is None or device.kind in links.UPLINKS]
    return [name for name in links.uplinks(bridge, devices) if _NAME.fullmatch(name)]


def _link(bridge: str, each: Bridge) -> Link:
    if each.openvswitch:
        return Link(bridge, None, master=False)
    return Link(bridge, each.vlan)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StartError(f"{name!r} is no name of a device: letters, digits, `_`, `-` and `.`, 15 at most")


def _kind(bridge: str, devices: Mapping[str, Device]) -> bool:
    """Is it one of Open vSwitch? Raises StartError where it is no bridge at all."""
    if bridge in devices and devices[bridge].kind == "bridge":
        return False
    names, unknown = [name for name, each in devices.items() if each.kind == "bridge"], ""
    try:
        names += (others := openvswitch.bridges())
        if bridge in others:
            return True
    except StartError as error:
        unknown = f"; of Open vSwitch nothing is known: {error}"
    there = f"there are {', '.join(sorted(names))}{unknown}" if names else f"this host has none{unknown}"
    what = f"{bridge} is no bridge" if bridge in devices else f"there is no bridge {bridge}"
    raise StartError(f"{what}; {there}")


def _exists(bridge: str, known: Bridge, devices: Mapping[str, Device]) -> bool:
    if known.openvswitch:
        return bridge in openvswitch.bridges()
    return bridge in devices and devices[bridge].kind == "bridge"


def _missing(bridge: str, devices: Mapping[str, Device]) -> str:
    """The bridge that is gone, or whose name is another now: its door tells."""
    there = devices.get(door(bridge)[0])
    if there is not None and there.kind == "veth" and there.master:
        return f"{bridge} is called {there.master} now: `ferryman tproxy up {there.master}` with its networks"
    return f"{bridge} is gone, and its proxy waits for it; `ferryman tproxy down {bridge}` forgets it"


def _renamed(before: State, bridge: str, devices: Mapping[str, Device]) -> list[str]:
    """Bridges that are remembered, are gone, and whose door is in this one."""
    doors = {name: devices.get(door(name)[0]) for name in before.bridges if name != bridge and name not in devices}
    return [name for name, there in doors.items() if there is not None and there.master == bridge]


def _endpoints(
    bridge: str,
    known: Bridge,
    settings: Settings,
    names: Mapping[str, str],
    found: Mapping[str, list[str]],
    messages: list[str],
) -> tuple[Endpoint, ...]:
    """What its networks get. A name that has no address now keeps the last one, if there was one."""
    endpoints = []
    for service in settings.on(known.networks):
        address = names.get(service.host, service.host)
        if service.host in found and not found[service.host]:
            if service.host not in names:
                messages.append(f"{service.mark}: {service.host} has no IPv4 address: port {service.port} is left out")
                continue
            messages.append(f"{service.mark}: {service.host} has no IPv4 address now: {address} stays")
        endpoints.append(Endpoint(service.port, address, service.remote_port))
    return tuple(sorted(endpoints))


def _names(known: Mapping[str, str], found: Mapping[str, list[str]]) -> dict[str, str]:
    """An address for each name: the one it had, while that is still among them."""
    news = {name: addresses[0] for name, addresses in found.items() if addresses and known.get(name) not in addresses}
    return {**known, **news}


def _used(names: Mapping[str, str], settings: Settings) -> dict[str, str]:
    hosts = {service.host for service in settings.services}
    return {name: address for name, address in names.items() if name in hosts}


def _resolve(services: Iterable[Service]) -> dict[str, list[str]]:
    """The IPv4 addresses of each name, by the host's own resolver; none where there is no answer in time."""
    found: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        with suppress(OSError, UnicodeError):
            answers = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
            found[name] = list(dict.fromkeys(str(answer[4][0]) for answer in answers))

    names = {service.host for service in services if not _is_address(service.host)}
    # daemons, since nothing can stop a thread that waits for a resolver
    asking = [threading.Thread(target=ask, args=(name,), daemon=True) for name in sorted(names)]
    for thread in asking:
        thread.start()
    deadline = time.monotonic() + RESOLVING
    for thread in asking:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: found.get(name, []) for name in names}


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
