"""Configuration to Plan: defaults filled, references resolved, conflicts refused, each finding at its place.

Called by config.load with a configuration that fits the schema. The parts are in compile_backend, compile_listener,
compile_rules and compile_log; this module ties them together and sees what concerns several of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ferryman.config.compile_backend import compile_backend
from ferryman.config.compile_listener import compile_listener, has_own_servers
from ferryman.config.compile_log import LogTargets
from ferryman.config.compile_loops import find_loops
from ferryman.config.compile_proxy import warn_of_unknown_names
from ferryman.config.model import BackendSettings, Configuration, GlobalSettings, ListenerSettings, LogSettings
from ferryman.config.source import OVERRIDES, Diagnostics, Document, Path, Report
from ferryman.plan import Backend, Listener, LogTarget, Plan, RuntimeSocket, Settings


def compile_plan(document: Document, configuration: Configuration, diagnostics: Diagnostics) -> Plan | None:
    """The plan, or None when there are errors, all of which are reported."""
    before = diagnostics.errors
    report = Report(document, diagnostics)
    targets = LogTargets()
    log = configuration.settings.log
    default_log = targets.add([LogSettings()] if log is None else log)
    backends = _backends(configuration, report)
    enabled = {name: settings for name, settings in configuration.listeners.items() if not settings.disabled}
    listeners = tuple(
        compile_listener(settings, name, number, backends, default_log, targets, report)
        for number, (name, settings) in enumerate(enabled.items())
    )
    _refuse_shared_addresses(listeners, report)
    _warn_of_unused(configuration, backends, listeners, report)
    _warn_of_scopes(listeners, backends, report)
    warn_of_unknown_names(listeners, backends, report)
    find_loops(listeners, backends, report)
    _warn_of_names_received(configuration, listeners, report)
    if diagnostics.errors > before:
        return None
    return Plan(
        settings=_settings(configuration.settings, default_log),
        listeners=listeners,
        backends=tuple(backends.values()),
        servers=tuple(server for backend in backends.values() for server in backend.servers),
        log_targets=targets.all,
        sources=tuple(dict.fromkeys(mark.file for mark in document.marks.values() if mark.file != OVERRIDES)),
        files=tuple(sorted(report.files)),
    )


def _settings(settings: GlobalSettings, log: tuple[LogTarget, ...]) -> Settings:
    return Settings(
        workers=settings.workers or len(os.sched_getaffinity(0)),
        max_connections=settings.max_connections,
        user=settings.user,
        group=settings.group,
        chroot=settings.chroot,
        pidfile=settings.pidfile,
        daemon=settings.daemon,
        control=settings.control,
        runtime_sockets=tuple(
            RuntimeSocket(
                address=socket.address,
                mode=None if socket.mode is None else int(socket.mode, 8),
                user=socket.user,
                group=socket.group,
                level=socket.level,
            )
            for socket in settings.runtime_sockets
        ),
        runtime_timeout=settings.runtime_timeout,
        ticket_rotation=settings.ticket_rotation,
        drain_timeout=settings.drain_timeout,
        node=settings.node or os.uname().nodename,
        log=log,
    )


def _backends(configuration: Configuration, report: Report) -> dict[str, Backend]:
    """All backends by name: those that have one, and the listeners' own."""
    found: dict[str, tuple[BackendSettings, Path]] = {
        name: (settings, ("backends", name)) for name, settings in configuration.backends.items()
    }
    for name, listener in configuration.listeners.items():
        if not has_own_servers(listener):
            continue
        path: Path = ("listeners", name)
        own = _own_backend(listener, path, report)
        if name in found:
            place = report.document.key(("backends", name))
            message = f"listener {name} has servers of its own, but there is also a backend {name}, at {place}"
            report.error(path, message, f"say `to: {name}` instead, or rename one of them")
        elif not listener.disabled:
            found[name] = own
    backends: dict[str, Backend] = {}
    servers = 0
    for name, (settings, at) in found.items():
        backends[name] = compile_backend(settings, name, at, len(backends), servers, report)
        servers += len(settings.servers)
    return backends


def _own_backend(listener: ListenerSettings, path: Path, report: Report) -> tuple[BackendSettings, Path]:
    """The backend within a listener, and its path (where `servers` is looked for)."""
    if listener.to:
        message = "`to` and servers of its own: which is meant?"
        report.error((*path, "to"), message, "a listener has either; remove one")
    if listener.backend is None:
        return BackendSettings(servers=listener.servers), path
    if listener.servers:
        report.error((*path, "servers"), "`servers` is short for `backend`, which is there too", "keep one of them")
    return listener.backend, (*path, "backend")


def _refuse_shared_addresses(listeners: Sequence[Listener], report: Report) -> None:
    taken: list[tuple[tuple[str, str, str], int, int, Path]] = []
    for listener in listeners:
        for number, address in enumerate(listener.bind):
            path: Path = ("listeners", listener.name, "bind", number)
            last = address.last_port or address.port
            where = address.family, address.host, address.namespace
            for place_taken, low, high, other in taken:
                if place_taken == where and low <= last and address.port <= high:
                    message = f"{address} is already taken by listener {other[1]}"
                    place = report.document.mark(other)
                    report.error(path, message + (f", at {place}" if place else ""), "choose another port")
            taken.append((where, address.port, last, path))


def _warn_of_unused(
    configuration: Configuration, backends: dict[str, Backend], listeners: Sequence[Listener], report: Report
) -> None:
    if any(route.expression for listener in listeners for route in listener.routes):
        return  # it may compute any name
    used = {settings.to for settings in configuration.listeners.values()} | set(configuration.listeners)
    used |= {route.to for settings in configuration.listeners.values() for route in settings.routes}
    for name in configuration.backends:
        if name in backends and name not in used:
            report.warning(("backends", name), f"nothing leads to backend {name}", "name it in a listener's `to`")


def _warn_of_names_received(configuration: Configuration, listeners: Sequence[Listener], report: Report) -> None:
    """Servers that are to be asked for the name that the client asked for, where nobody looks at what it sends."""
    for name, settings in configuration.backends.items():
        path: Path = ("backends", name)
        entries = [((*path, "tls"), settings.tls)]
        entries += [((*path, "servers", n, "tls"), each.tls) for n, each in enumerate(settings.servers) if each.tls]
        for at, tls in entries:
            if isinstance(tls, bool) or tls is None or tls.server_name != "received":
                continue
            blind = next((each for each in listeners if not each.needs_hello and _may_lead(each, name)), None)
            if blind is not None:
                message = f"no name is ever received: listener {blind.name} does not look at what clients send"
                report.warning((*at, "server_name"), message, "let a rule there ask for sni, or write the name")


def _may_lead(listener: Listener, backend: str) -> bool:
    """Unless a route of it computes names."""
    return listener.default_backend == backend or any(route.backend == backend for route in listener.routes)


def _warn_of_scopes(listeners: Sequence[Listener], backends: dict[str, Backend], report: Report) -> None:
    known = {*backends, *(listener.name for listener in listeners)}
    for listener in listeners:
        for number, name in enumerate(listener.pages.scope if listener.pages else ()):
            if name not in known:
                path: Path = ("listeners", listener.name, "pages", "scope", number)
                report.warning(path, f"there is no listener or backend {name!r} to show")
