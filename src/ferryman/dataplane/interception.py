"""Where a client wanted to go that a firewall rule of this machine sent to a listener.

Called by session for listeners with `transparent`, once per connection. Asks the kernel; decides nothing.

With TPROXY the connection is taken as it is: its own address is the one the client wanted. With REDIRECT the address
was rewritten on the way, and connection tracking knows the former one. A client that called the listener itself wanted
nothing else. For it there is no original destination, so nobody can be led by one back to this very listener.
"""

from __future__ import annotations

import errno
import socket

from ferryman.dataplane import fdio
from ferryman.plan import Listener


def wanted(fd: int, listener: Listener) -> tuple[str, int] | None:
    """Address and port that an accepted client was on its way to; None: to this listener. Raises OSError."""
    local = fdio.sockname(fd)
    if listener.transparent == "redirect":
        original = fdio.original(fd)
        return None if original == local else original
    return None if _is_door(listener, *local) else local


def _is_door(listener: Listener, host: str, port: int) -> bool:
    """Is it an address of this machine that the listener is at?"""
    ports = (range(address.port, max(address.port, address.last_port) + 1) for address in listener.bind)
    return any(port in some for some in ports) and _is_own(host)


def _is_own(host: str) -> bool:
    """Does this machine have the address? Asked by binding to it: neither lists nor notices of addresses to keep."""
    bare, _, scope = host.partition("%")
    try:
        if ":" not in bare:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((bare, 0))
        else:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind((bare, 0, 0, int(scope or 0)))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return False
        raise
    return True
