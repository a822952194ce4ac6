"""The veth pair, namespace, addresses and routes by which a bridge has a proxy: made, examined, undone.

    bridge br0 -- br0b == br0a in the namespace one_tproxy_br0: 169.254.16.9/32, default route to where all guests are

Whatever half of it there is, `make` makes it whole, also what OpenNebula's own driver left. All ends have the same MAC
address: a guest that was moved here from another host goes on without asking. Called by driver. Runs ip(8), few
processes for many bridges; what only reads, reads by itself. Knows nothing of nftables.

Source: OpenNebula's manual, "Transparent Proxies"; ip-link(8), ip-netns(8); the kernel's ip-sysctl.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from ferryman.controlplane import namespaces
from ferryman.errors import StartError
from ferryman.opennebula.names import ADDRESS, ADDRESS6, MAC, door, inner

T = TypeVar("T")

UPLINKS: Final = (
    "", "vlan", "vxlan", "bond", "team", "macvlan", "geneve", "gretap", "ip6gretap", "erspan", "ip6erspan", "l2tpeth",
)  # fmt: skip
"""Kinds of devices behind which there are other hosts; "" is hardware. Guests are behind tun, tap and veth."""
_PATIENCE: Final = 2.0
"""Seconds for devices that go with their namespace, which takes the kernel a moment."""
_NS_GET_NSTYPE: Final = 0xB703
_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS, _SIOCGIFADDR, _SIOCGIFMTU, _SIOCGIFHWADDR, _IFF_UP = 0x8913, 0x8915, 0x8921, 0x8927, 1


@dataclass(frozen=True, slots=True)
class Device:
    """A network device of the host."""

    name: str
    kind: str  # as ip(8) calls it: bridge, veth, tun, …; "" for hardware
    master: str
    mtu: int
    index: int
    peer: int  # the index of the other end of a veth, wherever that is
    up: bool


@dataclass(frozen=True, slots=True)
class Link:
    """How a bridge is to have its pair. `vlan`: which one its guests are in, where the bridge tells them apart.

    A bridge of Open vSwitch is no `master` to ip(8): its ports are added elsewhere.
    """

    bridge: str
    vlan: int | None = None
    master: bool = True


def survey() -> dict[str, Device]:
    """All devices of the host by name. Raises StartError."""
    found = {}
    for each in json.loads(_ip("-json", "-details", "link", "show")):
        kind = each.get("linkinfo", {}).get("info_kind", "")
        found[each["ifname"]] = Device(
            each["ifname"], kind, each.get("master", ""), each["mtu"], each["ifindex"], each.get("link_index", 0),
            "UP" in each["flags"],
        )  # fmt: skip
    return found


def uplinks(bridge: str, devices: Mapping[str, Device]) -> list[str]:
    """The ports of a bridge that look as if other hosts were behind them."""
    return sorted(each.name for each in devices.values() if each.master == bridge and each.kind in UPLINKS)


def make(links: Sequence[Link], devices: Mapping[str, Device]) -> None:
    """Let each bridge have its pair and all that belongs to it. Raises StartError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _make(links, devices)
        except StartError:
            if time.monotonic() > deadline:
                raise
        # something changed meanwhile: devices go a moment later than their namespace
        time.sleep(0.02)
        devices = survey()


def _make(links: Sequence[Link], devices: Mapping[str, Device]) -> None:
    for link in links:
        if namespaces.exists(inner(link.bridge)) and not _is_namespace(inner(link.bridge)):
            os.unlink(f"{namespaces.FOLDER}/{inner(link.bridge)}")  # only a file: what it stood for has gone
    lacking = [inner(link.bridge) for link in links if not namespaces.exists(inner(link.bridge))]
    _batch(f"netns add {name}" for name in lacking)
    ends = {link.bridge: _within(link.bridge, _calm) for link in links}
    # a process for each bridge is what takes long; that a VLAN is right is not looked at
    links = [link for link in links if link.vlan or faults(link, devices)]
    _batch(line for link in links for line in _pair(link, ends[link.bridge], devices))
    _batch((line for link in links if link.vlan for line in _tags(link)), "bridge")
    for link in links:
        _batch(_inside(link, devices[link.bridge].mtu), "ip", "-netns", inner(link.bridge))


def _within(bridge: str, function: Callable[[str], T]) -> T:
    """What the function gives for a bridge, called in its namespace. Raises StartError."""
    try:
        return namespaces.within(inner(bridge), lambda: function(bridge))
    except OSError as error:
        raise StartError(f"cannot look into the namespace {inner(bridge)}: {error.strerror}") from None


def _calm(bridge: str) -> int:
    """In the namespace: answer for the address, listen to no router, forward nothing; before there is a device.

    A new namespace has the settings of the host's first one, which may be strict. Gives the index of the end that is
    there already, or 0.
    """
    end = door(bridge)[1]
    index = _index(end)
    # a guest that was powered off, or moved away, is noticed within five minutes, not two hours
    for name, value in (("time", "120"), ("intvl", "30"), ("probes", "5")):
        _write(f"ipv4/tcp_keepalive_{name}", value)
    for folder in ("all", "default", *([end] if index else [])):
        for name, value in (("arp_ignore", "0"), ("forwarding", "0")):
            _write(f"ipv4/conf/{folder}/{name}", value)
        if os.path.exists("/proc/sys/net/ipv6"):
            for name, value in (("disable_ipv6", "0"), ("forwarding", "0"), ("accept_ra", "0"), ("accept_dad", "0")):
                _write(f"ipv6/conf/{folder}/{name}", value)
            if folder != "all":
                _write(f"ipv6/conf/{folder}/addr_gen_mode", "1")  # no address but the ones given
    return index


def _write(name: str, value: str) -> None:
    try:
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write(value)
    except OSError as error:
        raise StartError(f"cannot set net/{name} to {value}: {error.strerror}") from None


def _pair(link: Link, end: int, devices: Mapping[str, Device]) -> Iterator[str]:
    """`end`: the index of what has the name of the pair's far end in the namespace."""
    outside, inside = door(link.bridge)
    present, mtu = devices.get(outside), devices[link.bridge].mtu
    if present is None or not end or present.peer != end:
        if present is not None:
            yield _delete(present)
        if end:
            _batch([f"link delete {inside}"], "ip", "-netns", inner(link.bridge))
        # never the lowest address of a bridge's ports, which would become the bridge's own
        digest = hashlib.sha256(link.bridge.encode()).hexdigest()
        mac = ":".join(["fe", *(digest[at : at + 2] for at in range(0, 10, 2))])
        yield (
            f"link add {outside} mtu {mtu} address {mac} type veth "
            f"peer name {inside} mtu {mtu} address {MAC} netns {inner(link.bridge)}"
        )
    master = f"master {link.bridge} " if link.master else ""
    yield f"link set {outside} {master}mtu {mtu} addrgenmode none up"


def _tags(link: Link) -> Iterator[str]:
    outside = door(link.bridge)[0]
    assert link.vlan is not None
    yield f"vlan add dev {outside} vid {link.vlan} pvid untagged"
    for first, last in ((1, link.vlan - 1), (link.vlan + 1, 4094)):
        if first <= last:
            yield f"vlan del dev {outside} vid {first}-{last}"


def _inside(link: Link, mtu: int) -> Iterator[str]:
    end = door(link.bridge)[1]
    yield f"link set {end} address {MAC} mtu {mtu}"
    yield f"address replace {ADDRESS}/32 dev {end}"
    if os.path.exists("/proc/sys/net/ipv6"):
        yield f"address replace {ADDRESS6}/64 dev {end}"
    yield f"link set {end} up"
    yield f"route replace default dev {end}"


def undo(bridges: Collection[str], devices: Mapping[str, Device]) -> None:
    """Remove whatever there is of the pairs and namespaces of bridges. Raises StartError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _undo(bridges, devices)
        except StartError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)
        devices = survey()


def _undo(bridges: Collection[str], devices: Mapping[str, Device]) -> None:
    lines = []
    for bridge in bridges:
        if (present := devices.get(door(bridge)[0])) is not None and present.kind == "veth":
            lines.append(_delete(present))
    for name in map(inner, bridges):
        if _is_namespace(name):
            lines.append(f"netns delete {name}")
        else:
            with suppress(FileNotFoundError):
                os.unlink(f"{namespaces.FOLDER}/{name}")
    _batch(lines)


def _delete(device: Device) -> str:
    if device.kind != "veth":
        what = device.kind or "hardware"
        raise StartError(f"there is a device {device.name} that is not the bridge's veth but {what}; rename it")
    return f"link delete {device.name}"


def leftovers(bridge: str, devices: Mapping[str, Device]) -> bool:
    """Is there anything of a bridge's pair or namespace?"""
    return namespaces.exists(inner(bridge)) or (
        (there := devices.get(door(bridge)[0])) is not None and there.kind == "veth"
    )


def faults(link: Link, devices: Mapping[str, Device]) -> list[str]:
    """What is wrong with a bridge's pair and namespace; nothing: guests reach what listens there."""
    outside, inside = door(link.bridge)
    if not _is_namespace(inner(link.bridge)):
        return [f"the namespace {inner(link.bridge)} is missing"]
    if (present := devices.get(outside)) is None:
        return [f"the device {outside} is missing"]
    found = []
    if link.master and present.master != link.bridge:
        found.append(f"{outside} is not in the bridge {link.bridge}")
    if not present.up:
        found.append(f"{outside} is down")
    mtu = devices[link.bridge].mtu if link.bridge in devices else present.mtu
    if present.mtu != mtu:
        found.append(f"{outside} has the MTU {present.mtu}, the bridge has {mtu}: large packets may get lost")
    return found + _within(link.bridge, lambda bridge: list(_faults_inside(inside, present.peer, mtu)))


def _faults_inside(end: str, index: int, mtu: int) -> Iterator[str]:
    if not index or _index(end) != index:
        yield f"{end} is not in the namespace"
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if not struct.unpack_from("H", _ask(sock, _SIOCGIFFLAGS, end), 16)[0] & _IFF_UP:
            yield f"{end} is down"
        if (found := struct.unpack_from("i", _ask(sock, _SIOCGIFMTU, end), 16)[0]) != mtu:
            yield f"{end} has the MTU {found}, the bridge has {mtu}: large packets may get lost"
        if ":".join(f"{byte:02x}" for byte in _ask(sock, _SIOCGIFHWADDR, end)[18:24]) != MAC:
            yield f"{end} has not the address {MAC}"
        if socket.inet_ntoa(_ask(sock, _SIOCGIFADDR, end)[20:24]) != ADDRESS:
            yield f"{end} has not the address {ADDRESS}"
    if os.path.exists("/proc/sys/net/ipv6"):
        address = f"{int(ipaddress.ip_address(ADDRESS6)):032x}"
        if not any(line.split()[0] == address for line in _lines("/proc/thread-self/net/if_inet6")):
            yield f"{end} has not the address {ADDRESS6}"
    if not any(line.split()[:2] == [end, "00000000"] for line in _lines("/proc/thread-self/net/route")):
        yield "the default route is missing"
    for folder in ("all", end):
        if _lines(f"/proc/sys/net/ipv4/conf/{folder}/arp_ignore") != ["0"]:
            yield f"arp_ignore of {folder} is not 0, so guests' questions may get no answer"


def _ask(sock: socket.socket, what: int, device: str) -> bytes:
    """An interface's property; zeros where it has none."""
    try:
        return fcntl.ioctl(sock, what, struct.pack("16s24x", device.encode()))
    except OSError:
        return bytes(40)


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def _is_namespace(name: str) -> bool:
    """Is it one, and not only a file that was left?"""
    try:
        with open(f"{namespaces.FOLDER}/{name}", "rb") as file:
            return fcntl.ioctl(file, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def _batch(lines: Collection[str] | Iterator[str], *command: str) -> None:
    if lines := list(lines):
        _ip("-batch", "-", command=command or ("ip",), lines=lines)


def _ip(*arguments: str, command: Sequence[str] = ("ip",), lines: Sequence[str] = ()) -> str:
    try:
        ended = subprocess.run(
            [*command, *arguments], input="\n".join(lines), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise StartError(f"{command[0]} is not installed; it is in the package iproute2") from None
    if ended.returncode:
        said = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise StartError(
            f"{' '.join([*command, *arguments])}: {said}" + (f" (of: {'; '.join(lines)})" if lines else "")
        )
    return ended.stdout
