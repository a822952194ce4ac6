"""Which addresses lead back to this program's own listeners, however they are written."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from rig import plan, server

from ferryman.dataplane.ownaddresses import OwnAddresses
from ferryman.plan import Address

FOUR, SIX = int(socket.AF_INET), int(socket.AF_INET6)
LISTENER = replace(
    plan(server(1)).listeners[0],
    bind=(
        Address("inet", "192.0.2.7", 3128, 3130),
        Address("inet6", "2001:db8::7", 3128),
        Address("inet6", "::ffff:192.0.2.9", 1),
        Address("inet", "0.0.0.0", 4711),
        Address("unix", "/run/x"),
    ),
)


@pytest.mark.parametrize(
    ("family", "host", "port", "own"),
    [
        (FOUR, "192.0.2.7", 3128, True),
        (FOUR, "192.0.2.7", 3130, True),
        (FOUR, "192.0.2.7", 3131, False),
        (FOUR, "192.0.2.8", 3128, False),
        (SIX, "::ffff:192.0.2.7", 3128, True),
        (SIX, "64:ff9b::192.0.2.7", 3128, True),
        (SIX, "2001:DB8:0::7", 3128, True),
        (SIX, "2001:db8::7", 3129, False),
        (SIX, "::ffff:192.0.2.9", 1, True),
        (FOUR, "127.8.9.10", 4711, True),  # this machine's
        (FOUR, "127.8.9.10", 4712, False),
        (FOUR, "203.0.113.9", 4711, False),
    ],
)
def test_addresses(family: int, host: str, port: int, own: bool) -> None:
    assert OwnAddresses([LISTENER]).hold(family, host, port) is own
    assert not OwnAddresses([]).hold(family, host, port)
