"""A backend is up while any of its servers takes connections, and remembers how long none did."""

from __future__ import annotations

from plans import StillView, shop

from ferryman.controlplane.backendstate import BackendState, usable


def test_backups_count_and_maintenance_does_not() -> None:
    view = StillView(shop())
    app = [view.states[server.id] for server in view.plan.backends[0].servers]
    assert usable(app)
    view.fail(0)
    assert usable(app), "the backup is there"
    view.set_weight(1, 0)
    assert not usable(app)
    assert not usable([])


def test_time_without_servers_adds_up() -> None:
    state = BackendState(changed_at=100.0)
    assert not state.note(True, 110.0)
    assert state.note(False, 120.0)
    assert not state.note(False, 125.0)
    assert state.note(True, 130.0)
    assert state.note(False, 200.0)
    assert (state.downs, state.down_seconds, state.changed_at) == (2, 10.0, 200.0)
