"""Whether an address leads back to this program's own listeners.

Made by generation of a plan's listeners, asked by target (nobody is carried there) and chain (no way out begins there).
Connects to nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from ferryman.plan import Listener
from ferryman.rules import egress


class OwnAddresses:
    """Where some listeners are bound."""

    __slots__ = ("_everywhere", "_places", "_ports")

    def __init__(self, listeners: Iterable[Listener]) -> None:
        places = [
            (address.host, port)
            for listener in listeners
            for address in listener.bind
            if not address.namespace  # no connection from here ends there
            for port in range(address.port, (address.last_port or address.port) + 1)
        ]
        self._places = frozenset(places)
        self._ports = frozenset(port for _, port in places)
        self._everywhere = frozenset(port for host, port in places if host in ("0.0.0.0", "::"))

    def hold(self, family: int, host: str, port: int) -> bool:
        """Does a connection to this numeric address end at one of them?"""
        if port not in self._ports:
            return False
        if any((spelling, port) in self._places for spelling in egress.spellings(host)):
            return True
        return port in self._everywhere and _is_this_machines(family, host)


def _is_this_machines(family: int, host: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
