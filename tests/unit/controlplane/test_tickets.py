"""Keys of session tickets grow old."""

from __future__ import annotations

import pytest

from ferryman.controlplane.tickets import Tickets
from ferryman.dataplane import openssl
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


def test_there_are_none_where_openssl_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "available", False)
    tickets = Tickets()
    assert not tickets.rotate(0), "workers would end over keys that they cannot use"
    assert tickets.keys == b""
