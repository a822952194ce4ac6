"""What things are called: devices, namespaces, processes, files. OpenNebula's tools and its users look for these names.

Source: OpenNebula's manual, "Transparent Proxies". The names of files under /run and /var/lib are ours.
"""

from __future__ import annotations

import hashlib
from typing import Final

ADDRESS: Final = "169.254.16.9"
"""Where guests find the services."""
ADDRESS6: Final = "fe80::a9fe:1009"
"""The same in IPv6, where the bridge's namespace has it: the driver half of OpenNebula knows IPv4 only."""
MAC: Final = "02:00:a9:fe:10:09"
"""Of every namespace's end: a guest that was moved to another host finds the proxy there without asking."""

OUTER: Final = "one_tproxy"
TABLE: Final = "one_tproxy"
"""Of nftables, in the families ip and bridge."""
SETTINGS: Final = "/var/tmp/one/etc/vnm/OpenNebulaNetwork.conf"
EXECUTABLE: Final = "/var/tmp/one/vnm/tproxy"
RUN: Final = "/run/one_tproxy"
"""Sockets of the daemons, the lock, the settings they follow; 0711 root."""
CONTROL: Final = f"{RUN}/control/socket"
"""The outer daemon's, in a folder that only root may enter: others may run as the same user."""
PUBLISHED: Final = f"{RUN}/settings.conf"
"""What the daemons were last told of SETTINGS, which may be out of reach once root is given up."""
STATE: Final = "/var/lib/one_tproxy/bridges.json"
_LONGEST: Final = 15
"""Characters of a device's name (IFNAMSIZ without the zero)."""


def door(bridge: str) -> tuple[str, str]:
    """The bridge's end and the namespace's end of its veth pair, as OpenNebula calls them: BRb and BRa.

    A name that leaves no room for the letter is replaced by what is made of it.
    """
    stem = bridge if len(bridge) < _LONGEST else f"otp{hashlib.sha256(bridge.encode()).hexdigest()[:8]}"
    return f"{stem}b", f"{stem}a"


def inner(bridge: str) -> str:
    """The namespace of a bridge, and its daemon."""
    return f"one_tproxy_{bridge}"


def log(daemon: str) -> str:
    """The log file of a daemon."""
    return f"/var/log/{daemon}.log"
