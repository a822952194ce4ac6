"""A ruleset that was flushed: what is written again, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.controlplane import namespaces
from ferryman.opennebula import database, flush, links, state
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.state import Bridge, State

ONE = Endpoint(5030, "192.0.2.1", 5030)
OTHER = Endpoint(80, "192.0.2.2", 80)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is written to nftables; br0, br1 and br3 have a namespace."""
    found: list[Any] = []
    monkeypatch.setattr(
        namespaces, "exists", lambda name: name in ("one_tproxy_br0", "one_tproxy_br1", "one_tproxy_br3")
    )
    monkeypatch.setattr(links, "survey", dict)
    monkeypatch.setattr(database, "change", lambda *what: found.append(what))
    return found


def test_what_is_remembered_and_what_strangers_had_is_written(
    monkeypatch: pytest.MonkeyPatch, written: list[Any]
) -> None:
    known = {
        "br0": Bridge(endpoints=(ONE,), uplinks=("eth7",)),
        "br2": Bridge(endpoints=(ONE,)),  # without a namespace
        "br3": Bridge(),  # without services
    }
    monkeypatch.setattr(state, "read", lambda: State(known))
    expected = {"br1": [OTHER], "br0": [ONE]}
    assert flush.mend({"br0": [OTHER], "br1": [OTHER]}) == expected, "what is remembered counts"
    ((wanted, gone, doors, around),) = written
    assert (wanted, gone, doors) == (expected, (), {"br1": "br1b", "br0": "br0b"})
    assert (set(around.doors), set(around.uplinks), set(around.bridges)) == ({"br0b", "br1b"}, {"eth7"}, {"br0", "br1"})


def test_nothing_is_written_where_there_was_nothing(monkeypatch: pytest.MonkeyPatch, written: list[Any]) -> None:
    monkeypatch.setattr(state, "read", State)
    assert flush.mend({}) == {}
    assert written == []
