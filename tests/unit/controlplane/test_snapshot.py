"""One moment of a running ferryman, as rows."""

from __future__ import annotations

from dataclasses import fields

import pytest
from plans import NOW, StillView, listener, make_plan, server, shop

from ferryman.controlplane.snapshot import Counts, proxy_ids, take
from ferryman.dataplane.counters import Cell


def test_counts_are_named_and_ordered_as_the_cells() -> None:
    assert [field.name.upper() for field in fields(Counts)] == [cell.name for cell in Cell]


def test_proxies_are_numbered_from_two_and_share_a_number_by_name() -> None:
    assert proxy_ids(shop()) == {"web": 2, "both": 3, "stats": 4, "app": 5}


def test_the_process_is_all_listeners_together() -> None:
    view = StillView(shop())
    view.count(0, ("listener", "web", ""), sessions=5, sessions_now=2, bytes_in=10, last_session=7)
    view.count(1, ("listener", "both", ""), sessions=3, sessions_now=1, bytes_in=20, last_session=9)
    process = take(view, NOW).process
    assert (process.counts.sessions, process.counts.sessions_now, process.counts.bytes_in) == (8, 3, 30)
    assert (process.uptime, process.pid, process.worker_pids) == (3600, 4711, (4712, 4713))


def test_listeners() -> None:
    view = StillView(shop())
    web, both, stats = take(view, NOW).listeners
    assert (web.limit, both.limit) == (500, 2000)
    assert (web.mode, stats.mode) == ("tcp", "http")
    assert web.addresses == ("127.0.0.1:8443",)
    view.stopping = True
    assert take(view, NOW).listeners[0].status == "STOP"


def test_a_fresh_backend() -> None:
    app, both = take(StillView(shop()), NOW).backends
    assert (app.status, app.active, app.backup, app.weight) == ("UP", 1, 1, 1)
    assert (both.status, both.active, both.weight) == ("UP", 1, 7)
    assert [row.condition for row in app.servers] == ["going_down", "unchecked", "maint"]
    assert [row.id for row in app.servers] == [1, 2, 3]


def test_backups_step_in() -> None:
    view = StillView(shop())
    view.fail(0)
    app = take(view, NOW).backends[0]
    assert (app.status, app.active, app.backup, app.weight) == ("UP", 0, 1, 3)
    assert (app.servers[0].status, app.servers[0].condition, app.servers[0].since) == ("DOWN", "down", 30)
    assert app.servers[0].down_seconds == 30


def test_a_backend_without_a_usable_server_is_down() -> None:
    view = StillView(shop())
    view.fail(0)
    view.set_admin(1, "drain")
    shown = take(view, NOW)
    app = shown.backends[0]
    assert (app.status, app.since, app.downs, app.down_seconds) == ("DOWN", 30, 1, 30)
    assert not shown.healthy


@pytest.mark.parametrize(("workers", "healthy"), [(2, True), (0, False)])
def test_health_needs_workers(workers: int, healthy: bool) -> None:
    assert take(StillView(shop(), workers), NOW).healthy is healthy


def test_the_last_session_is_told_in_seconds() -> None:
    view = StillView(shop())
    view.count(0, ("server", "app", "a1"), sessions=4, last_session=int(NOW) - 12, connect_ms=10)
    a1, a2, _ = take(view, NOW).backends[0].servers
    assert (a1.last_session, a2.last_session) == (12, -1)
    assert (a1.counts.average(a1.counts.connect_ms), a2.counts.average(a2.counts.connect_ms)) == (2, 0)


def test_nothing_at_all() -> None:
    shown = take(StillView(make_plan([], {})), NOW)
    assert shown.healthy
    assert shown.process.counts.sessions == 0


def test_a_listener_and_a_server_may_have_any_name() -> None:
    view = StillView(make_plan([listener("a b")], {"<b>": [server('"quoted"')]}))
    assert take(view, NOW).backends[0].servers[0].name == '"quoted"'
