"""One backend of the configuration to one of the plan: its servers, their checks, its rules.

Called by config.compile.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferryman.config.compile_check import compile_check
from ferryman.config.compile_destination import compile_destination
from ferryman.config.compile_origin import compile_source
from ferryman.config.compile_proxy import compile_send_proxy
from ferryman.config.compile_rules import compile_routes, compile_tests, refuse_target_facts, warn_of_unreachable
from ferryman.config.compile_through import compile_through
from ferryman.config.compile_tlsconnect import compile_tls_connect
from ferryman.config.model import BackendSettings, ServerSettings, parse_balance
from ferryman.config.nearest import nearest
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Backend, Prewarm, Server, Through


def compile_backend(
    settings: BackendSettings, name: str, path: Path, id: int, first_server: int, report: Report
) -> Backend:
    """`path` is where the backend stands, `first_server` the id of its first server."""
    via = compile_through(settings.via, (*path, "via"), report) if settings.via is not None else None
    servers = tuple(
        _server(server, settings, via, name, (*path, "servers", number), first_server + number, report)
        for number, server in enumerate(settings.servers)
    )
    _refuse_same_names(servers, path, report)
    if via is not None:
        _refuse_local(servers, path, report)
    if not servers and settings.destination is None:
        report.warning(path, f"backend {name} has no servers: connections to it are refused", "add `servers:`")
    rules_path = (*path, "server_rules")
    tests = compile_tests(settings.tests, (*path, "tests"), report)
    server_rules = compile_routes(settings.server_rules, rules_path, tests, report)
    names = [server.name for server in servers]
    for number, rule in enumerate(server_rules):
        if rule.backend and rule.backend not in names:
            message = f"backend {name} has no server {rule.backend!r}"
            report.error((*rules_path, number, "to"), message, nearest(rule.backend, names))
    warn_of_unreachable(server_rules, rules_path, report)
    refuse_target_facts(server_rules, rules_path, report)
    algorithm, draws = parse_balance(settings.balance)
    queue_timeout = settings.connect_timeout if settings.queue_timeout is None else settings.queue_timeout
    return Backend(
        id=id,
        name=name,
        servers=servers,
        algorithm=algorithm,
        draws=draws,
        use_all_backups=settings.use_all_backups,
        retries=settings.retries,
        redispatch=-int(settings.redispatch) if isinstance(settings.redispatch, bool) else settings.redispatch,
        connect_timeout=settings.connect_timeout or None,
        negotiation_timeout=settings.negotiation_timeout or None,
        server_timeout=settings.server_timeout or None,
        server_fin_timeout=settings.server_fin_timeout or None,
        tunnel_timeout=settings.tunnel_timeout or None,
        queue_timeout=queue_timeout or None,
        keepalive=settings.keepalive,
        server_rules=server_rules,
        via=via,
        destination=compile_destination(settings, _unnamed(settings, name, id, path, report), via, path, report),
        prewarm=_prewarm(settings, servers, path, report),
    )


def _unnamed(settings: BackendSettings, name: str, id: int, path: Path, report: Report) -> Server:
    """How a destination is spoken with that has no name and no address so far."""
    address = Address("name", "destination")
    if settings.destination is None:
        return Server(-1, "", name, address)
    via = settings.via is not None
    return Server(
        id=-1 - id,
        name="destination",
        backend=name,
        address=address,
        source=compile_source(None, settings.source, address, via, (*path, "servers", 0), report),
        send_proxy=compile_send_proxy(settings.send_proxy, (*path, "send_proxy"), report),
        tls=compile_tls_connect(settings.tls, address, (*path, "tls"), report),
    )


def _prewarm(settings: BackendSettings, servers: Sequence[Server], path: Path, report: Report) -> Prewarm | None:
    """No connection can be held ready whose way, or first bytes, depend on the client."""
    wanted = settings.prewarm
    if wanted is None:
        return None
    reasons = []
    if settings.destination is not None:
        reasons.append("each client says itself where it leads (`destination`)")
    if settings.via is not None:
        reasons.append("it goes through other proxies (`via`), which is made anew for each client")
    for server in servers:
        if server.send_proxy is not None:
            reasons.append(f"{server.name} is told first who the client is (`send_proxy`)")
        if server.source is not None and server.source.client:
            reasons.append(f"{server.name} sees the client's address (`source`)")
        if server.address.from_client:
            reasons.append(f"the port of {server.name} is that of the client")
    for reason in reasons:
        message = f"connections of backend {path[-1]} cannot be held ready: {reason}"
        report.error((*path, "prewarm"), message, "remove `prewarm`, or the other")
    return Prewarm(wanted.min, wanted.max, wanted.rate, wanted.idle or None)


def _refuse_local(servers: tuple[Server, ...], path: Path, report: Report) -> None:
    for number, server in enumerate(servers):
        if server.address.family in ("unix", "abstract"):
            message = f"no proxy leads to {server.address}, which is on this machine"
            report.error((*path, "servers", number), message, "move it to a backend without `via`")


def _server(
    settings: ServerSettings,
    backend: BackendSettings,
    via: Through | None,
    backend_name: str,
    path: Path,
    id: int,
    report: Report,
) -> Server:
    check = backend.check if settings.check is None else settings.check
    says = settings.send_proxy is not None
    send_proxy = compile_send_proxy(
        settings.send_proxy if settings.send_proxy is not None else backend.send_proxy,
        (*(path if says else path[:-2]), "send_proxy"),
        report,
    )
    own = settings.tls is not None
    secured, tls_path = (settings.tls, (*path, "tls")) if own else (backend.tls, (*path[:-2], "tls"))
    tls = compile_tls_connect(secured, settings.address, tls_path, report)
    return Server(
        id=id,
        name=settings.name or str(settings.address),
        backend=backend_name,
        address=settings.address,
        weight=settings.weight,
        backup=settings.backup,
        max_connections=settings.max_connections,
        max_queue=settings.max_queue,
        check=compile_check(check, settings.address, (via, send_proxy, tls), backend, path, report),
        disabled=settings.disabled,
        close_on_down=settings.close_on_down,
        source=compile_source(settings.source, backend.source, settings.address, backend.via is not None, path, report),
        send_proxy=send_proxy,
        tls=tls,
    )


def _refuse_same_names(servers: tuple[Server, ...], path: Path, report: Report) -> None:
    first: dict[str, int] = {}
    for number, server in enumerate(servers):
        before = first.setdefault(server.name, number)
        if before != number:
            place = report.document.mark((*path, "servers", before))
            message = f"backend {server.backend} already has a server {server.name}" + (
                f", at {place}" if place else ""
            )
            report.error((*path, "servers", number), message, "give each a `name` of its own")
