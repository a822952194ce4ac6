"""What is wrong with the proxy of one bridge, between guests, namespace and daemon; and what there is to look at.

Called by opennebula.doctor; changes nothing. What concerns the guests themselves is in opennebula.guests.

Source: OpenNebula's manual, "Transparent Proxies", "Debugging"; proc(5), net/tcp; nft(8).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ferryman.controlplane import namespaces
from ferryman.errors import StartError
from ferryman.opennebula import daemons, database, guests, holder, links, names, openvswitch, state
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.links import Device, Link
from ferryman.opennebula.names import ADDRESS, ADDRESS6, MAC, door, inner
from ferryman.opennebula.settings import Service, Settings
from ferryman.opennebula.state import Bridge

Severity = Literal["error", "warning", "hint"]
Repair = Literal["", "heal", "apply", "down", "remove", "own", "follow"]
"""What doctor.mend does about it: the driver's `heal`, `apply` or `down`; remove a file; give a log file to the
daemons' user; let the daemons follow. "": nothing."""

HEAL: Final = "`ferryman tproxy heal`"
APPLY: Final = "`ferryman tproxy apply`"
FOLLOW: Final = "`ferryman tproxy start`"
_LISTEN: Final = "0A"  # linux/tcp_states.h


@dataclass(frozen=True, slots=True)
class Finding:
    """`bridge`: "" where it concerns the whole host. A hint is no fault: there are hosts where it is right so."""

    severity: Severity
    bridge: str
    message: str
    remedy: str = ""
    repair: Repair = ""
    subject: str = ""  # a file that the repair is about

    @property
    def fixable(self) -> bool:
        return self.repair != ""


@dataclass(frozen=True, slots=True)
class Host:
    """What there is, read once. `said`: None where the settings cannot be used."""

    said: Settings | None
    devices: Mapping[str, Device]
    endpoints: Mapping[str, Sequence[Endpoint]]  # as nftables has them
    rules: Mapping[str, int]  # how many, by chain
    sets: Mapping[str, Collection[str]]
    known: Mapping[str, Bridge]  # as remembered
    names: Mapping[str, str]
    running: Mapping[str, int]
    switches: Collection[str]  # bridges of Open vSwitch
    filters: Mapping[str, Sequence[str]]  # rules of security groups by chain
    boot: str

    @property
    def apply(self) -> Repair:
        return "" if self.said is None else "apply"

    def served(self) -> list[str]:
        """The bridges on which there is something to reach, or should be."""
        return sorted(
            {name for name, each in self.endpoints.items() if each}
            | {name for name, each in self.known.items() if each.endpoints}
        )


def look(said: Settings | None) -> Host:
    known = state.read()
    rules: dict[str, int] = {}
    sets: dict[str, Collection[str]] = {}
    for each in _json("nft", "-j", "list", "ruleset", "bridge")["nftables"]:
        for kind, its in each.items():
            if kind == "chain" and its["table"] == names.TABLE:
                rules.setdefault(its["name"], 0)
            elif kind == "rule" and its["table"] == names.TABLE:
                rules[its["chain"]] = rules.get(its["chain"], 0) + 1
            elif kind == "set" and its["table"] == names.TABLE:
                sets[its["name"]] = set(its.get("elem", ()))
    return Host(
        said, links.survey(), database.read().endpoints, rules, sets, known.bridges, known.names, daemons.find(),
        _switches(known.bridges.values()), guests.filters(), state.boot(),
    )  # fmt: skip


def _switches(known: Iterable[Bridge]) -> list[str]:
    """The bridges of Open vSwitch. One that is installed and does not run matters to those that have such a bridge."""
    try:
        return openvswitch.bridges()
    except StartError:
        if any(bridge.openvswitch for bridge in known):
            raise
        return []


def _json(*command: str) -> Any:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise StartError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return json.loads(ended.stdout or "[]")


def of_bridge(host: Host, bridge: str) -> Iterator[Finding]:
    known, present = host.known.get(bridge), host.endpoints.get(bridge, ())
    device = host.devices.get(bridge)
    if not (device is not None and device.kind == "bridge") and bridge not in host.switches:
        yield _gone(host, bridge)
        return
    if known is not None and host.said is not None:
        for difference in _differences(host.said, host.names, known, present):
            yield Finding("warning", bridge, difference, APPLY, "apply")
    if bridge not in host.served():
        return
    if known is None:
        message = "OpenNebula's own driver made its proxy, so `apply` and `heal` know nothing of it"
        yield Finding("hint", bridge, message, f"`ferryman tproxy up {bridge} --network NAME` with its networks")
    faults = list(_faults(host, bridge, known))
    repair: Repair = "heal" if known is not None else ""
    remedy = HEAL if known is not None else f"`ferryman tproxy up {bridge} --network NAME` with its networks"
    for fault in faults:
        yield Finding("error", bridge, fault, remedy, repair)
    yield from _shape(host, bridge, known)
    yield from _daemon(host, bridge)
    if present and not faults:
        yield from _listeners(bridge, present, known is not None)
        ports = [name for name, each in host.devices.items() if each.master == bridge and name != door(bridge)[0]]
        uplinks = _uplinks(host, bridge)
        for message, advice in guests.hints(
            bridge, [port for port in ports if port not in uplinks], [each.port for each in present], host.filters
        ):
            yield Finding("hint", bridge, message, advice)


def _gone(host: Host, bridge: str) -> Finding:
    there = host.devices.get(door(bridge)[0])
    if there is not None and there.kind == "veth" and there.master:
        message = f"it is called {there.master} now"
        return Finding("error", bridge, message, f"`ferryman tproxy up {there.master}` with its networks")
    return Finding(
        "error", bridge, "there is no such bridge", f"make it; or `ferryman tproxy down {bridge}` forgets it"
    )


def _is_name(host: str) -> bool:
    return not host.replace(".", "").isdigit()  # settings know nothing else


def _differences(
    said: Settings, addresses: Mapping[str, str], known: Bridge, present: Sequence[Endpoint]
) -> Iterator[str]:
    """Between the settings and nftables. A name may stand for whatever it stood for when it was last looked up."""
    wanted = {service.port: service for service in said.on(known.networks)}
    there = {each.port: each for each in present}
    for port in sorted({*wanted, *there}):
        if port not in there:
            host = wanted[port].host
            why = f": no IPv4 address is known of {host}" if _is_name(host) and host not in addresses else ""
            yield f"port {port} is in the settings, and not in nftables{why}"
        elif port not in wanted:
            yield f"port {port} is in nftables, and not in the settings for its networks"
        elif not _agree(wanted[port], there[port], addresses):
            one, other = there[port], wanted[port]
            there_it_is = f"leads to {one.address}:{one.remote_port}"
            yield f"port {port} {there_it_is}, and in the settings to {other.host}:{other.remote_port}"


def _agree(service: Service, endpoint: Endpoint, addresses: Mapping[str, str]) -> bool:
    return (addresses.get(service.host, service.host), service.remote_port) == (endpoint.address, endpoint.remote_port)


def _faults(host: Host, bridge: str, known: Bridge | None) -> Iterator[str]:
    """What keeps guests from the namespace."""
    if bridge not in host.endpoints:
        yield f"nftables has no map ep_{bridge}"
    if f"ch_{bridge}" not in host.rules:
        yield f"nftables has no chain ch_{bridge}"
    switched = bridge in host.switches
    link = Link(bridge, None if known is None or switched else known.vlan, master=not switched)
    for fault in links.faults(link, host.devices):
        if known is not None or not fault.endswith((MAC, ADDRESS6)):  # OpenNebula's own driver gives neither
            yield fault
    if switched and not openvswitch.connected(bridge):
        yield f"Open vSwitch has no port {door(bridge)[0]} in it, or not its flows"
    if known is not None and known.endpoints and known.boot != host.boot:
        yield "what it needs was not completed"


def _uplinks(host: Host, bridge: str) -> list[str]:
    known = host.known.get(bridge, Bridge())
    return list(known.uplinks) or links.uplinks(bridge, host.devices)


def _shape(host: Host, bridge: str, known: Bridge | None) -> Iterator[Finding]:
    """What guests may not notice at once."""
    outside, switched = door(bridge)[0], bridge in host.switches
    if known is None or switched or f"ch_{bridge}" not in host.rules:
        return
    lacking = [chain for chain in (f"ch_{bridge}", "guard", "border") if not host.rules.get(chain)]
    if lacking:
        message = f"nftables has no rules in {', '.join(lacking)}: others may answer as {ADDRESS}"
        yield Finding("error", bridge, message, APPLY, host.apply)
    if outside not in host.sets.get("doors", ()):
        message = f"nftables does not know {outside} (the set doors): it may stop guests' questions"
        yield Finding("error", bridge, message, APPLY, host.apply)
    for uplink in _uplinks(host, bridge):
        if uplink not in host.devices:
            remedy = f"`ferryman tproxy up {bridge} --uplink DEVICE` says which one it is now"
            yield Finding("warning", bridge, f"its uplink {uplink} is not there", remedy)
        elif uplink not in host.sets.get("uplinks", ()):
            message = f"{uplink} has other hosts behind it, and nftables does not know (the set uplinks)"
            yield Finding("warning", bridge, message, APPLY, host.apply)


def _daemon(host: Host, bridge: str) -> Iterator[Finding]:
    name = inner(bridge)
    if name not in host.running:
        yield Finding("error", bridge, f"{name} is not running", FOLLOW, "follow")
        return
    try:
        here, there = f"/proc/{host.running[name]}/ns/net", f"{namespaces.FOLDER}/{name}"
        if os.stat(here).st_ino != os.stat(there).st_ino:
            yield Finding("error", bridge, f"{name} is not in the namespace {name}", FOLLOW, "follow")
            return
    except OSError:
        return  # the one that is missing was told of
    try:
        holder.ask(bridge, {"do": "list"})
    except (OSError, ValueError):
        message = f"{name} does not answer: it hangs, or is OpenNebula's own"
        yield Finding("error", bridge, message, FOLLOW, "follow")


def _listeners(bridge: str, present: Sequence[Endpoint], ours: bool) -> Iterator[Finding]:
    try:
        found = namespaces.within(inner(bridge), listening)
    except OSError as error:
        yield Finding("error", bridge, f"cannot look into {inner(bridge)}: {error.strerror}")
        return
    wanted = {each.port for each in present}
    addresses = [(ADDRESS, "0.0.0.0"), *([(ADDRESS6, "::")] if ours and os.path.exists("/proc/sys/net/ipv6") else [])]
    for address, anywhere in addresses:
        ports = {port for host, port in found if host in (address, anywhere)}
        shown = f"[{address}]" if ":" in address else address
        for port in sorted(wanted - ports):
            remedy = "`ferryman tproxy reload`"
            yield Finding("error", bridge, f"nobody listens at {shown}:{port}", remedy, "follow")
        for port in sorted(ports - wanted):
            message = f"somebody listens at {shown}:{port}, which is no service"
            yield Finding("warning", bridge, message, "`ferryman tproxy reload`", "follow")


def listening() -> set[tuple[str, int]]:
    """Where somebody listens by TCP, in the network namespace of the calling thread."""
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        if not os.path.exists(path := f"/proc/thread-self/net/{table}"):
            continue
        with open(path) as file:
            for line in file.readlines()[1:]:
                _, local, _, status = line.split()[:4]
                digits, _, port = local.partition(":")
                # words in the order of bytes that this machine has
                words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
                packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
                if status == _LISTEN:
                    found.add((socket.inet_ntop(family, packed), int(port, 16)))
    return found
