"""Bridges, what guests reach on them, and the guests: as `ferryman tproxy status --json` and the daemon's page show it.

What runs is asked, each for what it knows: nftables for the services, the outer daemon for connections, the inner ones
for their guests. What does not answer is left out, and so are its figures.
"""

from __future__ import annotations

from typing import Any

from ferryman.controlplane.control import Client
from ferryman.errors import ControlError
from ferryman.opennebula import daemons, database, holder, names, state

Data = dict[str, Any]


def take() -> Data:
    """{"daemon": pid or None, "bridges": [{"bridge", "namespace", "daemon", "networks", "services", "guests"}]}.

    Raises StartError where nftables or the memory of bridges cannot be read.
    """
    running = daemons.find()
    endpoints, known = database.read(), state.read().bridges
    client = Client(names.CONTROL)
    try:
        status, live = client.status(), client.sessions()
    except ControlError:
        status, live = {"listeners": [], "backends": []}, []
    return {
        "daemon": running.get(names.OUTER),
        "bridges": [
            {
                "bridge": bridge,
                "namespace": names.inner(bridge),
                "daemon": running.get(names.inner(bridge)),
                "networks": list(known[bridge].networks) if bridge in known else None,
                "services": [_service(bridge, endpoint, status) for endpoint in endpoints.get(bridge, ())],
                "guests": _guests(bridge, live),
            }
            for bridge in sorted({*endpoints, *known})
        ],
    }


def _service(bridge: str, endpoint: database.Endpoint, status: Data) -> Data:
    shown: Data = {"port": endpoint.port, "remote": f"{endpoint.address}:{endpoint.remote_port}"}
    row = next((row for row in status["listeners"] if row["name"] == f"{bridge}:{endpoint.port}"), None)
    if row is not None:
        counts = row["counts"]
        shown["connections"] = {"now": counts["sessions_now"], "total": counts["sessions"]}
        shown["bytes"] = {"from_guests": counts["bytes_in"], "to_guests": counts["bytes_out"]}
        shown["refused"] = counts["denied_connection"] + counts["denied_content"] + counts["connect_errors"]
    return shown


def _guests(bridge: str, live: list[Data]) -> list[Data]:
    """Those that the namespace has lately heard of, and what they have open."""
    try:
        answer, _ = holder.ask(bridge, {"do": "guests"})
        found = [{"address": str(address), "mac": str(mac)} for address, mac in answer["guests"]]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    open_now: dict[str, int] = {}
    for session in live:
        if session["listener"].rpartition(":")[0] == bridge:
            address = session["client"].rpartition(":")[0].strip("[]")
            open_now[address] = open_now.get(address, 0) + 1
    listed = {guest["address"] for guest in found}
    found += [{"address": address, "mac": ""} for address in open_now if address not in listed]
    return [{**guest, "connections": open_now.get(guest["address"], 0)} for guest in found]
