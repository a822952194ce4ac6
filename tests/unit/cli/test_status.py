"""The overview of a running process; test_start asks a real one."""

from __future__ import annotations

from typing import Any

import click

from ferryman.cli.status import overview

COUNTS = {
    "sessions_now": 3, "sessions_max": 9, "sessions": 12345, "bytes_in": 2048, "bytes_out": 5 << 30,
    "denied_connection": 1, "denied_content": 2, "connect_errors": 4,
}  # fmt: skip
RATE = {"sessions": 7}


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "counts": COUNTS, "rate": RATE, **fields}


def server(name: str, condition: str, status: str, description: str = "") -> dict[str, Any]:
    state = {"check_description": description}
    return row(name, address="192.0.2.7:443", status=status, condition=condition, since=65, state=state)


def snapshot(stopping: bool = False) -> dict[str, Any]:
    process = {
        "version": "1.2.3", "pid": 42, "uptime": 3700, "workers": 2, "worker_pids": [43], "stopping": stopping,
        "counts": COUNTS,
    }  # fmt: skip
    servers = [
        server("one", "up", "UP"),
        server("two", "down", "DOWN", "connection refused"),
        server("192.0.2.7:443", "unchecked", "no check"),
    ]
    backend = row("be", status="UP", active=2, backup=0, servers=servers)
    listener = row("web\x1b[0m", addresses=["0.0.0.0:443", "[::]:443"], status="OPEN")
    return {"process": process, "listeners": [listener], "backends": [backend]}


def test_everything_is_there() -> None:
    lines = click.unstyle(overview(snapshot())).splitlines()
    assert lines[0] == "ferryman 1.2.3, process 42, up 1h01m, 1 of 2 workers"
    assert lines[1].startswith("3 connections now, 12345 so far; 2.0 KiB from clients, 5.0 GiB to clients")
    assert lines[4].split() == [
        "web?[0m", "0.0.0.0:443,", "[::]:443", "open", "3", "9", "12345", "7", "2.0", "KiB", "5.0", "GiB", "7",
    ]  # fmt: skip
    assert "up, 2 of 3 usable" in lines[7]
    assert "  one             192.0.2.7:443  up for 1m05s" in lines[8]
    assert "down for 1m05s: connection refused" in lines[9]
    assert "  192.0.2.7:443                  no check for 1m05s" in lines[10]


def test_columns_line_up() -> None:
    lines = click.unstyle(overview(snapshot())).splitlines()
    assert len({line.rindex("GiB") for line in lines[7:]}) == 1
    assert lines[6].rindex("OUT") + 3 == lines[7].rindex("GiB") + 3


def test_draining_is_said() -> None:
    assert "draining" not in overview(snapshot())
    assert "\ndraining: no new connections are accepted\n" in overview(snapshot(stopping=True))


def test_states_have_colours() -> None:
    text = overview(snapshot())
    assert click.style("down for 1m05s: connection refused", fg="red") in text
    assert "\x1b[32mup for 1m05s" in text
