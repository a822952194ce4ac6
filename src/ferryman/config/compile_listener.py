"""One listener of the configuration to one of the plan: rules, routes, and where they lead.

Called by config.compile, which has compiled the backends before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config.compile_connect import compile_connect
from ferryman.config.compile_destination import leads_by_name
from ferryman.config.compile_log import LogTargets, compile_access_log
from ferryman.config.compile_origin import compile_transparent
from ferryman.config.compile_proxy import compile_receive_proxy, tells_of_handshakes
from ferryman.config.compile_rules import (
    compile_routes,
    compile_rules,
    compile_tests,
    refuse_target_facts,
    rules_need_handshake,
    rules_read_bytes,
    warn_of_unreachable,
)
from ferryman.config.compile_tlsaccept import check_handshake, compile_tls_cases
from ferryman.config.model import ListenerSettings, PagesSettings
from ferryman.config.nearest import nearest
from ferryman.config.source import Path, Report
from ferryman.plan import Backend, Listener, LogTarget, Pages, TlsCase
from ferryman.rules.decision import Action, Route, Rule

_INSPECT_TIMEOUT: Final = 5.0  # seconds; where a rule needs the client's first bytes and nothing else is said


def compile_listener(
    settings: ListenerSettings,
    name: str,
    id: int,
    backends: Mapping[str, Backend],
    default_log: tuple[LogTarget, ...],
    targets: LogTargets,
    report: Report,
) -> Listener:
    """A listener with servers of its own finds them in `backends` under its own name."""
    path: Path = ("listeners", name)
    tests = compile_tests(settings.tests, (*path, "tests"), report)
    connection = compile_rules(settings.connection, (*path, "connection"), tests, 0, report)
    slots = sum(rule.action is Action.CAPTURE for rule in connection)
    inspect = compile_rules(settings.inspect, (*path, "inspect"), tests, slots, report)
    routes = compile_routes(settings.routes, (*path, "routes"), tests, report)
    for number, rule in enumerate(connection):
        if rules_read_bytes([rule]):
            message = "a rule of `connection` cannot wait for what the client sends"
            report.error((*path, "connection", number), message, "move it to `inspect`")
        elif rules_need_handshake([rule]):
            message = "a rule of `connection` cannot wait for a handshake"
            report.error((*path, "connection", number), message, "move it to `inspect`")
    for key, entries in (("connection", connection), ("inspect", inspect), ("routes", routes)):
        warn_of_unreachable(entries, (*path, key), report)
        refuse_target_facts(entries, (*path, key), report)
    default = name if has_own_servers(settings) else settings.to
    reached = _resolve(settings, path, routes, default, backends, report)
    server_rules = [rule for backend in reached for rule in backend.server_rules]
    mode = mode_of(settings)
    tls = compile_tls_cases(settings.tls, (*path, "tls"), tests, mode, report)
    rules: list[Rule | Route] = [*inspect, *routes, *server_rules]
    awaits_hello = any(leads_by_name(backend) for backend in reached)
    needs_hello = bool(tls) or awaits_hello or rules_read_bytes(rules)
    needs_handshake = rules_need_handshake(rules) or (any(case.accept for case in tls) and tells_of_handshakes(reached))
    if needs_handshake:
        check_handshake(tls, reached, path, report)
    return Listener(
        id=id,
        name=name,
        mode=mode,
        bind=tuple(settings.bind),
        log=compile_access_log(settings, path, default_log, targets, report),
        connection=connection,
        inspect=inspect,
        routes=routes,
        default_backend=default,
        needs_hello=needs_hello,
        needs_handshake=needs_handshake,
        awaits_hello=awaits_hello,
        capture_slots=slots + sum(rule.action is Action.CAPTURE for rule in inspect),
        inspect_timeout=_patience(tls)
        if settings.inspect_timeout is None and needs_hello
        else settings.inspect_timeout,
        client_timeout=settings.client_timeout or None,
        client_fin_timeout=settings.client_fin_timeout or None,
        max_connections=settings.max_connections,
        max_per_client=settings.max_per_client,
        backlog=settings.backlog,
        keepalive=settings.keepalive,
        transparent=compile_transparent(settings.transparent, mode, settings.bind, path, report),
        pages=_pages(settings.pages or PagesSettings()) if mode == "pages" else None,
        connect=compile_connect(settings, path, tests, report) if mode == "connect" else None,
        receive_proxy=compile_receive_proxy(settings.proxy_protocol, (*path, "proxy_protocol"), mode, report),
        tls=tls,
    )


def _patience(tls: Sequence[TlsCase]) -> float:
    """Seconds that a hello may take where nothing is said: where TLS ends, as long as its handshake."""
    return max((case.accept.timeout for case in tls if case.accept is not None), default=_INSPECT_TIMEOUT)


def has_own_servers(settings: ListenerSettings) -> bool:
    return settings.backend is not None or bool(settings.servers)


def mode_of(settings: ListenerSettings) -> str:
    return settings.mode or ("pages" if settings.pages else "connect" if settings.connect else "tcp")


def _resolve(
    settings: ListenerSettings,
    path: Path,
    routes: Sequence[Route],
    default: str,
    backends: Mapping[str, Backend],
    report: Report,
) -> list[Backend]:
    """The backends the listener may lead to; what leads nowhere is reported."""
    names: dict[str, Path] = {}
    if default:
        names[default] = (*path, "to")
    for number, route in enumerate(routes):
        if route.backend:
            names.setdefault(route.backend, (*path, "routes", number, "to"))
    for name, at in names.items():
        if name not in backends:
            report.error(at, f"there is no backend {name!r}", nearest(name, backends) or _there_are(backends))
    mode = mode_of(settings)
    if mode == "pages":
        if default or routes:
            report.warning(path, f"listener {path[-1]} shows pages: where it leads to is ignored", "remove it")
    elif mode != "connect" and not default and not routes:
        message = f"listener {path[-1]} leads nowhere: every connection is closed"
        report.warning(path, message, "add `servers:`, or `to:` with the name of a backend")
    for key in ("pages", "connect"):
        if getattr(settings, key) is not None and mode != key:
            report.error((*path, key), f"`{key}` needs a listener of its own", f"remove `mode: {mode}`, or move it")
    if not settings.bind:
        report.warning(path, f"listener {path[-1]} has no address to listen at", "add one to `bind`")
    _warn_of_pointless(routes, path, default, report)
    if any(route.expression for route in routes):
        return list(backends.values())
    return [backends[name] for name in names if name in backends]


def _there_are(backends: Mapping[str, Backend]) -> str:
    if len(backends) > 10:
        return ""
    return f"known are: {', '.join(backends)}" if backends else "there is none at all"


def _warn_of_pointless(routes: Sequence[Route], path: Path, default: str, report: Report) -> None:
    """The last routes decide nothing where they lead to what comes after them anyway."""
    for number in range(len(routes) - 1, -1, -1):
        if routes[number].expression is not None or routes[number].backend != default:
            return
        message = f"this decides nothing: both ways lead to {default}"
        report.warning((*path, "routes", number), message, "remove it, or send it elsewhere")


def _pages(settings: PagesSettings) -> Pages:
    return Pages(
        uri=settings.uri,
        users=tuple(settings.users.items()),
        refresh=settings.refresh or None,
        realm=settings.realm,
        title=settings.title,
        hide_version=settings.hide_version,
        metrics=settings.metrics,
        scope=tuple(settings.scope),
    )
