"""Keys of session tickets grow old."""

from __future__ import annotations

from ferryman.controlplane.tickets import Tickets
from ferryman.dataplane.openssl import TICKET_KEYS


def test_keys_are_replaced_when_they_are_old_enough() -> None:
    tickets = Tickets()
    first = tickets.keys
    assert len(first) == TICKET_KEYS
    assert not tickets.rotate(3600)
    assert tickets.keys == first
    assert tickets.rotate(0)
    assert tickets.keys != first


def test_nobody_has_the_same() -> None:
    assert Tickets().keys != Tickets().keys
