"""Metrics have the names HAProxy's exporter gives them, and one of ferryman's own for the rest."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from plans import NOW, StillView, listener, make_plan, server, shop
from prometheus_client.parser import text_string_to_metric_families

from ferryman.controlplane import metrics
from ferryman.controlplane.snapshot import take

CORE = [
    "{kind}_current_sessions",
    "{kind}_max_sessions",
    "{kind}_sessions_total",
    "{kind}_bytes_in_total",
    "{kind}_bytes_out_total",
    "{kind}_status",
]


def exposed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(view: StillView, name: str, **labels: str) -> float:
    return exposed(metrics.render(take(view, NOW)).decode())[name, frozenset(labels.items())]


def scrape(path: Path) -> str:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return text


def test_names_types_and_labels_are_haproxys(haproxy: Path) -> None:
    def shapes(text: str) -> dict[str, tuple[str, set[frozenset[str]]]]:
        return {
            family.name: (family.type, {frozenset(sample.labels) for sample in family.samples})
            for family in text_string_to_metric_families(text)
        }

    view = StillView(shop())
    theirs = shapes(scrape(haproxy / "stats"))
    mine = {
        name: shape
        for name, shape in shapes(metrics.render(take(view, NOW)).decode()).items()
        if name.startswith("haproxy_")
    }
    assert len(mine) > 50
    assert {name: theirs.get(name) for name in mine} == mine


def test_the_core_of_every_kind_is_there() -> None:
    names = {name for name, _ in exposed(metrics.render(take(StillView(shop()), NOW)).decode())}
    for kind in ("frontend", "backend", "server"):
        assert {f"haproxy_{one.format(kind=kind)}" for one in CORE} <= names


def test_values() -> None:
    view = StillView(shop())
    view.count(0, ("server", "app", "a1"), sessions=4, connect_ms=2000, bytes_spliced=7)
    view.count(0, ("listener", "web", ""), sessions=4, hellos=3, bad_hellos=1)
    view.fail(0)
    a1 = {"proxy": "app", "server": "a1"}
    assert value(view, "haproxy_server_sessions_total", **a1) == 4
    assert value(view, "haproxy_server_connect_time_average_seconds", **a1) == 0.5
    assert value(view, "haproxy_server_status", **a1, state="DOWN") == 1
    assert value(view, "haproxy_server_status", **a1, state="UP") == 0
    assert value(view, "haproxy_server_check_status", **a1, state="L4CON") == 1
    assert value(view, "haproxy_server_check_duration_seconds", **a1) == 0.003
    assert value(view, "haproxy_server_downtime_seconds_total", **a1) == 30
    assert value(view, "haproxy_server_status", proxy="app", server="a3", state="MAINT") == 1
    assert value(view, "haproxy_backend_active_servers", proxy="app") == 0
    assert value(view, "haproxy_frontend_limit_sessions", proxy="web") == 500
    assert value(view, "ferryman_server_bytes_spliced_total", **a1) == 7
    assert value(view, "ferryman_listener_hellos_total", proxy="web") == 3
    assert value(view, "ferryman_workers") == 2
    assert value(view, "haproxy_process_build_info", version="9.8.7") == 1


def test_what_has_no_limit_is_not_a_number() -> None:
    view = StillView(shop())
    limit = value(view, "haproxy_server_limit_sessions", proxy="app", server="a1")
    assert limit != limit


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a b", "ä"])
def test_names_are_escaped(name: str) -> None:
    view = StillView(make_plan([listener(name)], {name: [server(name)]}))
    assert value(view, "haproxy_server_sessions_total", proxy=name, server=name) == 0
