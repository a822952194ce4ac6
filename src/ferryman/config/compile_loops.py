"""Ways that lead back to where they begin: to an own explicit proxy through others, or to an own listener as a server.

Called by config.compile once listeners and backends are compiled. Knows addresses as they are written, and names that
this machine has anywhere; what others resolve to shows at run time (dataplane.chain).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence

from ferryman.config.compile_through import place_of_hop
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Backend, Listener, Through

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def find_loops(listeners: Sequence[Listener], backends: Mapping[str, Backend], report: Report) -> None:
    """Refuse ways out through this program itself, and warn of servers that are the listener that leads to them."""
    for listener in listeners:
        for number, via in enumerate(listener.connect.via if listener.connect else ()):
            path: Path = ("listeners", listener.name, "connect", "via", number, "through")
            _refuse_hops(via.through, path, listeners, backends, report)
        for backend in _led_to(listener, backends):
            _warn_of_servers(listener, backend, report)
    for backend in backends.values():
        if backend.via is not None:
            _refuse_hops(backend.via, (*_path(backend, report), "via"), listeners, backends, report)


def _refuse_hops(
    through: Through, path: Path, listeners: Sequence[Listener], backends: Mapping[str, Backend], report: Report
) -> None:
    for way, chain in enumerate(through.chains):
        for position, hop in enumerate(chain):
            own = _proxy_at(hop.address, listeners, backends, [])
            if own is not None:
                at = place_of_hop(path, way, position, report)
                message = f"{hop.address} leads back to ferryman itself, to its listener {own.name}"
                report.error(at, message, "name another proxy, or remove this way")


def _proxy_at(
    address: Address, listeners: Sequence[Listener], backends: Mapping[str, Backend], passed: list[Listener]
) -> Listener | None:
    """The own listener that is no door to something else, but gets what is sent to this address."""
    for listener in listeners:
        if listener in passed or not any(_is_at(address, bind) for bind in listener.bind):
            continue
        if listener.mode != "tcp":
            return listener
        servers = [server for backend in _led_to(listener, backends) if not backend.via for server in backend.servers]
        for server in servers:
            found = _proxy_at(server.address, listeners, backends, [*passed, listener])
            if found is not None:
                return found
    return None


def _warn_of_servers(listener: Listener, backend: Backend, report: Report) -> None:
    for number, server in enumerate(backend.servers if backend.via is None else ()):
        if any(_is_at(server.address, bind) for bind in listener.bind):
            message = f"{server.address} is listener {listener.name}, which leads here: connections go round and round"
            report.warning((*_path(backend, report), "servers", number), message, "name the server's own address")


def _led_to(listener: Listener, backends: Mapping[str, Backend]) -> Iterator[Backend]:
    """Where a listener leads to, unless by a name that a route computes."""
    names = dict.fromkeys([listener.default_backend, *(route.backend for route in listener.routes)])
    return (backends[name] for name in names if name in backends)


def _path(backend: Backend, report: Report) -> Path:
    """Where a backend stands: by itself, or within its listener."""
    inner: Path = ("listeners", backend.name, "backend")
    for path in (("backends", backend.name), inner):
        if path in report.document.marks:
            return path
    return inner[:2]


def _is_at(address: Address, bind: Address) -> bool:
    """Does a connection to this address end here?"""
    if bind.namespace:
        return False
    if bind.family not in ("inet", "inet6") or address.family in ("unix", "abstract"):
        return (address.family, address.host) == (bind.family, bind.host)
    port = address.port or bind.port if address.from_client else address.port
    within = bind.port <= port <= (bind.last_port or bind.port)
    bound = ipaddress.ip_address(bind.host)
    return within and any(_is_taken(each, bound, bind.v6only) for each in _addresses(address.host))


def _addresses(host: str) -> list[_Ip]:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    if name == os.uname().nodename.lower():
        return [ipaddress.ip_address("127.0.1.1")]  # where distributions put it, or anywhere else on this machine
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return []
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return [mapped or found]


def _is_taken(address: _Ip, bound: _Ip, v6only: bool) -> bool:
    if address == bound:
        return True
    same = address.version == bound.version or (bound.version == 6 and not v6only)
    return bound.is_unspecified and same and (address.is_loopback or address.is_unspecified)
