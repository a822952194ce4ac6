"""`ferryman status`: the running process as a table, from the snapshot on its control socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from ferryman.cli.running import client, control_option
from ferryman.cli.table import columns
from ferryman.cli.verb import verb

Data = Mapping[str, Any]

_HEAD: Final = ("NOW", "PEAK", "TOTAL", "PER S", "IN", "OUT", "ERRORS")
_COLOURS: Final = {"up": "green", "down": "red", "going_up": "yellow", "going_down": "yellow", "maint": "blue"}


@verb(
    "status",
    examples="""
    ferryman status

    # servers that take no connections
    ferryman status --json | jq -r '.backends[].servers[] | select(.usable | not) | .name'

    # another one, by its control socket
    ferryman status --control /run/ferryman/edge.sock
    """,
)
@control_option
@click.option("--json", "as_json", is_flag=True, help="Print everything known, as JSON.")
def status(control: str, as_json: bool) -> None:
    """Show how the running ferryman and its servers are.

    ERRORS counts refused connections at a listener, and attempts that did not reach a server elsewhere.
    """
    found = client(control).status()
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else overview(found))


def overview(found: Data) -> str:
    """The snapshot (controlplane.snapshot.Snapshot as plain data) for people."""
    lines = _process(found["process"])
    if found["listeners"]:
        rows = [("LISTENER", "ADDRESS", "STATE", *_HEAD), *map(_listener, found["listeners"])]
        lines += ["", _table(rows, {})]
    if found["backends"]:
        colours: dict[int, str] = {}
        rows = [("BACKEND / SERVER", "ADDRESS", "STATE", *_HEAD)]
        for backend in found["backends"]:
            colours[len(rows)] = "up" if backend["status"] == "UP" else "down"
            rows.append(_backend(backend))
            for server in backend["servers"]:
                colours[len(rows)] = server["condition"]
                rows.append(_server(server))
        lines += ["", _table(rows, colours)]
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]], conditions: Mapping[int, str]) -> str:
    from ferryman.config.render import printable

    def style(row: int, column: int, cell: str) -> str:
        if row == 0:
            return click.style(cell, bold=True)
        return click.style(cell, fg=_COLOURS.get(conditions.get(row, ""))) if column == 2 else cell

    rows = [tuple(map(printable, row)) for row in rows]
    return columns(rows, right=range(3, 3 + len(_HEAD)), style=style)


def _process(process: Data) -> list[str]:
    from ferryman.controlplane.wording import duration, size

    counts, alive = process["counts"], len(process["worker_pids"])
    lines = [
        f"ferryman {process['version']}, process {process['pid']}, up {duration(process['uptime'])}, "
        f"{alive} of {process['workers']} workers",
        f"{counts['sessions_now']} connections now, {counts['sessions']} so far; "
        f"{size(counts['bytes_in'])} from clients, {size(counts['bytes_out'])} to clients",
    ]
    if process["stopping"]:
        lines.append("draining: no new connections are accepted")
    return lines


def _listener(row: Data) -> tuple[str, ...]:
    counts = row["counts"]
    refused = counts["denied_connection"] + counts["denied_content"] + counts["connect_errors"]
    return (row["name"], ", ".join(row["addresses"]), row["status"].lower(), *_figures(row), str(refused))


def _backend(row: Data) -> tuple[str, ...]:
    usable = row["active"] + row["backup"]
    state = f"{row['status'].lower()}, {usable} of {len(row['servers'])} usable"
    return (row["name"], "", state, *_figures(row), str(row["counts"]["connect_errors"]))


def _server(row: Data) -> tuple[str, ...]:
    from ferryman.controlplane.wording import duration

    state = row["status"] if row["status"].isupper() else row["status"].capitalize()
    state = f"{state.lower()} for {duration(row['since'])}"
    if (description := row["state"].get("check_description")) and row["condition"] in ("down", "going_up"):
        state += f": {description}"
    address = "" if row["address"] == row["name"] else row["address"]
    return ("  " + row["name"], address, state, *_figures(row), str(row["counts"]["connect_errors"]))


def _figures(row: Data) -> tuple[str, ...]:
    from ferryman.controlplane.wording import size

    counts, rate = row["counts"], row["rate"]
    return (
        str(counts["sessions_now"]),
        str(counts["sessions_max"]),
        str(counts["sessions"]),
        str(rate["sessions"]),
        size(counts["bytes_in"]),
        size(counts["bytes_out"]),
    )
