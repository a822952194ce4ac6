"""`destination` of a backend, which connections name themselves, to plan.Destination.

Called by config.compile_backend. The ways there and what guards them are those of an explicit proxy.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.compile_egress import compile_egress
from ferryman.config.model import BackendSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Backend, Connect, Destination, Server, Through, Via
from ferryman.rules.match import Matcher
from ferryman.rules.template import Template, parse

_SERVERS_ONLY: Final = (
    "servers", "balance", "check", "use_all_backups", "retries", "redispatch", "queue_timeout", "tests", "server_rules",
)  # fmt: skip


def compile_destination(
    settings: BackendSettings, server: Server, via: Through | None, path: Path, report: Report
) -> Destination | None:
    """Of the backend at `path`. `server` has what is said of TLS, PROXY headers and the source of connections."""
    wanted = settings.destination
    if wanted is None:
        return None
    at = (*path, "destination")
    for key in _SERVERS_ONLY:
        if key in settings.model_fields_set:
            message = f"`{key}` says nothing of a backend with a destination, which has no servers"
            report.error((*path, key), message, "remove it, or `destination`")
    template = parse(wanted.to)
    names = Matcher.build("name", wanted.names) if wanted.names else None
    if names is None and _is_anything(template):
        message = "whoever gets here chooses where to: any name leads there"
        report.warning(at, message, 'add `names: ["*.example.org"]`')
    networks, allowed = compile_egress(wanted.egress_allow, wanted.egress_guard, at, report)
    if not wanted.egress_guard and _is_anything(template):
        message = "clients can reach 127.0.0.1, ::1, 169.254.169.254 as this machine does: the guard is off"
        report.warning((*at, "egress_guard"), message, "leave it on, and say `egress_allow:`")
    connect = Connect(
        via=(Via(None, report.where((*path, "via")), via),) if via is not None else (),
        egress_guard=wanted.egress_guard,
        egress_networks=networks,
        egress_names=allowed,
        resolve_timeout=wanted.resolve_timeout or None,
        connect_timeout=settings.connect_timeout or None,
        source=server.source,
    )
    return Destination(template, connect, server, names)


def leads_by_name(backend: Backend) -> bool:
    """Does where it leads to depend on the name in a hello?"""
    return backend.destination is not None and "sni" in backend.destination.template.facts


def _is_anything(template: Template) -> bool:
    """Is the host all the client's choice? (Where it wanted to go is what a firewall rule has let through.)"""
    return any(piece.fact == "sni" for piece in template.host) and bool(template.host[-1].fact)
