"""What is to be intercepted, as values: from a plan's listeners, or from a few words on the command line.

Called by cli.transparent. Reads no files and asks the kernel nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ferryman.plan import Listener, Plan

Ports = tuple[tuple[int, int], ...]
"""Ranges, first and last port."""

MARK: Final = 0x66657272
"""Of packets that are for this machine whatever their address: "ferr"."""
TABLE: Final = 26213
"""Routing table in which everything is local: "fe"."""
PRIORITY: Final = 1026
"""Of the routing rule that leads marked packets there: early, behind the table `local`."""

_PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*")
_INTERFACE = re.compile(r'[^\s/"]{1,15}')


@dataclass(frozen=True, slots=True)
class Catch:
    """Connections to `ports` of other machines are for a listener. `method`: "tproxy" or "redirect"."""

    name: str
    method: str
    ports: Ports
    ipv4: tuple[str, int] | None  # where the listener is, host "" for any address; None: not for IPv4
    ipv6: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything. `answers`: what servers send to clients' addresses is for this machine, too."""

    catches: tuple[Catch, ...] = ()
    answers: bool = False
    interfaces: tuple[str, ...] = ()  # that clients come from; (): all but loopback
    clients: tuple[str, ...] = ()  # networks; (): all
    servers: tuple[str, ...] = ()  # networks that they are on their way to; (): all
    spared: tuple[str, ...] = ()  # networks that are not
    mark: int = MARK
    table: int = TABLE
    priority: int = PRIORITY

    @property
    def local_delivery(self) -> bool:
        """Must packets to addresses of other machines be delivered here?"""
        return self.answers or any(catch.method == "tproxy" for catch in self.catches)


def catches(plan: Plan, ports: Mapping[str, Ports]) -> list[Catch]:
    """Of every transparent listener; `ports` by listener's name, "" for all that are not named.

    Without ports a listener is for those it listens at. Raises ValueError.
    """
    listeners = [listener for listener in plan.listeners if listener.transparent]
    if unknown := set(ports) - {"", *(listener.name for listener in listeners)}:
        raise ValueError(f"there is no transparent listener {sorted(unknown)[0]}")
    if "" in ports and len([one for one in listeners if one.name not in ports]) > 1:
        raise ValueError("several listeners are transparent; say for which the ports are: NAME=PORTS")
    return [
        catch
        for listener in listeners
        for catch in _of(listener, ports.get(listener.name, ports.get("", ())))
    ]  # fmt: skip


def _of(listener: Listener, ports: Ports) -> Iterable[Catch]:
    if not ports:
        for port in dict.fromkeys(
            port for bind in listener.bind for port in range(bind.port, max(bind.port, bind.last_port) + 1)
        ):
            yield _catch(listener, ((port, port),), port)
    else:
        yield _catch(listener, ports, 0)


def _catch(listener: Listener, ports: Ports, port: int) -> Catch:
    """`port`: that of the listener, 0 for the first it has."""
    places: dict[str, tuple[str, int]] = {}
    for bind in listener.bind:
        if bind.namespace:
            continue
        if port and not bind.port <= port <= max(bind.port, bind.last_port):
            continue
        host = "" if bind.host in ("0.0.0.0", "::") else bind.host
        places.setdefault(bind.family, (host, port or bind.port))
        if bind.host == "::" and not bind.v6only:
            places.setdefault("inet", ("", port or bind.port))
    return Catch(listener.name, listener.transparent, ports, places.get("inet"), places.get("inet6"))


def parse_catch(method: str, text: str) -> Catch:
    """ "80,443=8443": what goes to these ports is for port 8443. Raises ValueError."""
    ports, equals, port = text.rpartition("=")
    if not equals or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not of the form PORTS=PORT, such as 80,443=8443")
    to = ("", int(port))
    return Catch(f"port {port}", method, parse_ports(ports), to, to)


def parse_ports(text: str) -> Ports:
    """ "80,443,8000-8010". Raises ValueError."""
    if not _PORTS.fullmatch(text):
        raise ValueError(f"{text!r} is no list of ports, such as 80,443,8000-8010")
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 < low <= high < 65536:
            raise ValueError(f"{part} is no range of ports from 1 to 65535")
        found.append((low, high))
    return tuple(found)


def parse_network(text: str) -> str:
    """Raises ValueError."""
    return str(ipaddress.ip_network(text))


def parse_interface(text: str) -> str:
    """Raises ValueError."""
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be the name of a network interface")
    return text
