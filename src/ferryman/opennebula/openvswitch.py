"""Bridges of Open vSwitch: the pair's end as a port, and by OpenFlow what nftables does for other bridges.

Called by driver, where a bridge is none of the kernel's. Runs ovs-vsctl(8) and ovs-ofctl(8), bounded in time.
OpenNebula itself has no proxies on these bridges.

All flows carry one cookie, by which they are replaced and removed; others' flows and the switch's own work (NORMAL)
stay. A port's VLAN is not visible to OpenFlow. So with a VLAN questions for the address are switched as usual, in that
VLAN, and what other hosts answer is dropped; without one they go to the proxy's port alone.

Source: ovs-fields(7), ovs-actions(7), ovs-ofctl(8).
"""

from __future__ import annotations

import array
import fcntl
import shutil
import socket
import struct
import subprocess
from collections.abc import Collection, Iterator
from typing import Final

from ferryman.controlplane import namespaces
from ferryman.errors import StartError
from ferryman.opennebula.names import ADDRESS, ADDRESS6, MAC, door, inner

COOKIE: Final = 0x6F6E65745052  # "onetPR"
_PATIENCE: Final = "--timeout=10"  # seconds
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17


def bridges() -> list[str]:
    """The bridges of Open vSwitch; none where it is not installed. Raises StartError where it does not answer."""
    if shutil.which("ovs-vsctl") is None:
        return []
    return _run("ovs-vsctl", "list-br").split()


def ports(bridge: str) -> list[str]:
    """The ports of a bridge. Raises StartError."""
    return _run("ovs-vsctl", "list-ports", bridge).split()


def connect(bridge: str, vlan: int | None, uplinks: Collection[str]) -> None:
    """Let the pair's end be a port of the bridge, in that VLAN, and nobody else be the proxy. Raises StartError."""
    port, end = door(bridge)
    tag = ["set", "Port", port, f"tag={vlan}"] if vlan else ["clear", "Port", port, "tag"]
    kind = ["get", "Bridge", bridge, "datapath_type"]
    if _run("ovs-vsctl", "--may-exist", "add-port", bridge, port, "--", *tag, "--", *kind).strip() == "netdev":
        try:
            namespaces.within(inner(bridge), lambda: sum_in_software(end))
        except OSError as error:
            raise StartError(f"cannot have {end} fill in checksums: {error.strerror}") from None
    _run("ovs-ofctl", "--bundle", "add-flows", bridge, "-", text="\n".join(flows(port, vlan, uplinks)) + "\n")


def disconnect(bridge: str) -> None:
    """Take the port and the flows away, whether they are there or not. Raises StartError."""
    if bridge in bridges():
        _run("ovs-ofctl", "del-flows", bridge, f"cookie={COOKIE:#x}/-1")
        _run("ovs-vsctl", "--if-exists", "del-port", bridge, door(bridge)[0])


def connected(bridge: str) -> bool:
    """Is the port there, with its flows? Raises StartError."""
    there = door(bridge)[0] in ports(bridge)
    return there and f"{COOKIE:#x}" in _run("ovs-ofctl", "dump-flows", bridge, f"cookie={COOKIE:#x}/-1")


def sum_in_software(device: str) -> None:
    """Have checksums filled in before packets leave a device of this namespace: a switch in user space does not do it.

    Raises OSError.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        value = array.array("I", [_ETHTOOL_STXCSUM, 0])
        fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), value.buffer_info()[0]))


def flows(port: str, vlan: int | None, uplinks: Collection[str]) -> Iterator[str]:
    """What replaces the flows there are, in the syntax of ovs-ofctl; `port` is the pair's end."""
    yield f"delete cookie={COOKIE:#x}/-1"
    yield _flow(50030, f"in_port={port}", "NORMAL")
    for claim in (
        f"dl_src={MAC}",
        f"arp,arp_spa={ADDRESS}",
        f"ip,nw_src={ADDRESS}",
        f"ipv6,ipv6_src={ADDRESS6}",
        f"icmp6,icmp_type=136,nd_target={ADDRESS6}",
    ):
        yield _flow(50020, claim, "drop")
    questions = (f"arp,arp_op=1,arp_tpa={ADDRESS}", f"icmp6,icmp_type=135,nd_target={ADDRESS6}")
    for uplink in uplinks:
        for theirs in (*questions, f"dl_dst={MAC}"):
            yield _flow(50010, f"in_port={uplink},{theirs}", "drop")
    if vlan is None:
        for question in questions:
            yield _flow(50000, question, f"output:{port}")


def _flow(priority: int, match: str, actions: str) -> str:
    return f"add cookie={COOKIE:#x},priority={priority},{match},actions={actions}"


def _run(program: str, *arguments: str, text: str = "") -> str:
    try:
        ended = subprocess.run(
            [program, _PATIENCE, *arguments], input=text, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise StartError(f"{program} is not installed; it is in the package openvswitch-switch") from None
    if ended.returncode:
        said = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise StartError(f"{program} {' '.join(arguments)}: {said}; is Open vSwitch running?")
    return ended.stdout
