"""Bridges, what guests reach on them, and the guests: as `ferryman tproxy status --json` and the daemon's page show it.

Those who call have asked nftables for the services, and the outer daemon for connections; the inner ones are asked here
for their guests. What does not answer is left out, and so are its figures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from ferryman.controlplane import wording
from ferryman.controlplane.snapshot import Table
from ferryman.opennebula import holder, names
from ferryman.opennebula.database import Endpoint

Data = dict[str, Any]

_SERVICES: Final = (
    "Bridge", "Networks", "Port", "Leads to", "Connections now", "Total", "From guests", "To guests", "Failed",
)  # fmt: skip
_GUESTS: Final = ("Guest", "MAC address", "Bridge", "Connections now")


def take(
    endpoints: Mapping[str, Sequence[Endpoint]],
    networks: Mapping[str, Collection[str]],
    running: Mapping[str, int],
    listeners: Collection[Data],
    live: Collection[Data],
) -> Data:
    """{"daemon": pid or None, "bridges": [{"bridge", "namespace", "daemon", "networks", "services", "guests"}]}.

    `networks` are those of bridges as far as they are known, `running` daemons by name, `listeners` rows of the status,
    `live` the connections (controlplane.runtime.Session).
    """
    return {
        "daemon": running.get(names.OUTER),
        "bridges": [
            {
                "bridge": bridge,
                "namespace": names.inner(bridge),
                "daemon": running.get(names.inner(bridge)),
                "networks": list(networks[bridge]) if bridge in networks else None,
                "services": [_service(bridge, endpoint, listeners) for endpoint in endpoints.get(bridge, ())],
                "guests": _guests(bridge, live),
            }
            for bridge in sorted({*endpoints, *networks})
        ],
    }


def tables(found: Data) -> list[Table]:
    """The same for people."""
    services = tuple(
        (
            bridge["bridge"], ", ".join(bridge["networks"] or ()), str(one["port"]), one["remote"],
            one["connections"]["now"], one["connections"]["total"],
            wording.size(one["bytes"]["from_guests"]), wording.size(one["bytes"]["to_guests"]), one["failed"],
        )
        for bridge in found["bridges"] for one in bridge["services"] if "bytes" in one
    )  # fmt: skip
    guests = tuple(
        (guest["address"], guest["mac"], bridge["bridge"], guest["connections"])
        for bridge in found["bridges"]
        for guest in bridge["guests"]
    )
    return [
        Table("Services", f"what guests reach at {names.ADDRESS}", _SERVICES, services),
        Table("Guests", "those lately heard of", _GUESTS, guests),
    ]


def _service(bridge: str, endpoint: Endpoint, listeners: Collection[Data]) -> Data:
    shown: Data = {"port": endpoint.port, "remote": f"{endpoint.address}:{endpoint.remote_port}"}
    row = next((row for row in listeners if row["name"] == f"{bridge}:{endpoint.port}"), None)
    if row is not None:
        counts = row["counts"]
        shown["connections"] = {"now": counts["sessions_now"], "total": counts["sessions"]}
        shown["bytes"] = {"from_guests": counts["bytes_in"], "to_guests": counts["bytes_out"]}
        shown["failed"] = counts["denied_connection"] + counts["denied_content"] + counts["connect_errors"]
    return shown


def _guests(bridge: str, live: Collection[Data]) -> list[Data]:
    """Those that the namespace has lately heard of, and what they have open."""
    try:
        answer, _ = holder.ask(bridge, {"do": "guests"})
        found = [{"address": str(address), "mac": str(mac)} for address, mac in answer["guests"]]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    open_now: dict[str, int] = {}
    for session in live:
        if session["listener"].rpartition(":")[0] == bridge:
            address = session["client"].rpartition(":")[0].strip("[]").partition("%")[0]  # the zone is the bridge
            open_now[address] = open_now.get(address, 0) + 1
    listed = {guest["address"] for guest in found}
    found += [{"address": address, "mac": ""} for address in open_now if address not in listed]
    return [{**guest, "connections": open_now.get(guest["address"], 0)} for guest in found]
