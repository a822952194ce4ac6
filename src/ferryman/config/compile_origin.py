"""`source` of backends and servers, `transparent` of listeners: checked, and turned into the plan's values.

Called by config.compile_backend and config.compile_listener.
"""

from __future__ import annotations

from ferryman.config.model_origin import OriginSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Source


def compile_source(
    own: OriginSettings | None, inherited: OriginSettings | None, server: Address, via: bool, path: Path, report: Report
) -> Source | None:
    """Of the server at `path`: its own, or its backend's. `via`: other proxies lead to it."""
    settings = own or inherited
    if settings is None:
        return None
    at = (*path, "source") if own is not None else (*path[:-2], "source")
    if via:
        report.error(at, "`source` says nothing of connections that go out `via` another proxy", "remove one of them")
    if server.family in ("unix", "abstract"):
        if own is not None:
            report.warning(at, f"connections to {server} come from this machine anyway", "remove `source`")
        return None
    family = "inet6" if ":" in settings.address else "inet"
    if settings.address and not settings.client and server.family in ("inet", "inet6") and server.family != family:
        kind = "IPv6" if family == "inet6" else "IPv4"
        message = f"{server} cannot be reached from {settings.address}, which is an {kind} address"
        report.warning(at, message, "give the server a `source` of its own family")
    return Source(settings.address, settings.port, settings.client or "", settings.foreign, settings.interface)


def compile_transparent(value: str | None, mode: str, bind: list[Address], path: Path, report: Report) -> str:
    """Of the listener at `path`."""
    at = (*path, "transparent")
    if value is None:
        return ""
    if mode != "tcp":
        message = f"clients of a listener with mode {mode} mean this machine when they connect to it"
        report.error(at, message, "remove `transparent`, or give what is intercepted a listener with mode tcp")
    for address in bind:
        if address.family in ("unix", "abstract"):
            report.error(at, f"nothing is intercepted at {address}, which is a Unix socket", "give it another listener")
        elif value == "redirect" and address.host in ("127.0.0.1", "::1"):
            message = f"redirected connections come to the address of the interface, not to {address.host}"
            report.warning(at, message, f'bind to "*:{address.port}"')
    return value
