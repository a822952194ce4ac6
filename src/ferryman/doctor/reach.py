"""Probes of names and of the first hop: does the name resolve, and does anybody listen?"""

from __future__ import annotations

import time

from ferryman.doctor.path import Path
from ferryman.doctor.report import Check, finding, fine, skipped
from ferryman.doctor.tunnel import Cut, Dialer, Unreached
from ferryman.wire.authority import format_authority

_GRACE = 0.05
"""Seconds in which a filter in front of a listener resets a connection that it has let begin."""


def examine(path: Path, dialer: Dialer, places: dict[str, str]) -> list[Check]:
    """Rows "name" and "reach", of the proxy or, without one, of the target. What is wrong ends the examination."""
    proxy = path.proxy
    host, port = (proxy.address.host, proxy.address.port) if proxy else (path.host, path.port)
    what = f"the proxy {host}" if proxy else f"the target {host}"
    try:
        found = dialer.addresses(host, port)
    except Unreached as fault:
        code = "PROXY_NAME_UNKNOWN" if proxy else "TARGET_NAME_UNKNOWN"
        return [
            finding("name", code, f"{what} has no address: {fault.text}", places, name=host),
            skipped("reach", "there is no address"),
        ]
    said = "is an address" if found == [host] else f"is {', '.join(found)}"
    return [fine("name", f"{what} {said}"), _reach(dialer, host, port, bool(proxy), places)]


def _reach(dialer: Dialer, host: str, port: int, proxied: bool, places: dict[str, str]) -> Check:
    place = format_authority(host, port)
    begun = time.monotonic()
    try:
        tunnel = dialer.connect(host, port)
    except Unreached as fault:
        refused = "NO_PROXY_LISTENER" if proxied else "TARGET_REFUSED"
        code = {"refused": refused, "timeout": "EGRESS_DROPPED", "reset": "ACL_RESET"}.get(fault.why, "NO_ROUTE")
        waited = f"after {time.monotonic() - begun:.2f} s"
        return finding("reach", code, f"{place}: {fault.text.lower()}", places, address=place, time=waited)
    took = f"{(time.monotonic() - begun) * 1000:.1f} ms"
    with tunnel:
        try:
            tunnel.ahead = tunnel.receive(_GRACE)
        except Cut as cut:
            if cut.how == "reset":
                said = f"{place} accepts the connection and resets it"
                return finding("reach", "ACL_RESET", said, places, address=place, connected_in=took)
    return fine("reach", f"connected to {place} in {took}")
