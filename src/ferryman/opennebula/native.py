"""What guests of which bridge reach, as a native configuration: a listener for each port of each bridge.

Made of what nftables holds (that is what counts), of what the settings say beyond it, and of what is known of the
bridges. Services of several bridges that lead to the same place share a backend, so that it is checked once. Called by
opennebula.outer for the daemon's plan, and by opennebula.settings for what is wrong with `:tproxy_options:`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from ferryman.config.source import Diagnostic, Diagnostics, Document, Mark, Path
from ferryman.opennebula import names
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.options import PAGE
from ferryman.opennebula.settings import Service, Settings
from ferryman.plan import Plan

PER_GUEST: Final = 1000
"""Connections of a guest to a service. One that floods would else use up the host's ports towards a remote."""
WORKERS: Final = 1
"""As many as OpenNebula's own; one carries what a hypervisor's guests need, and limits per guest are exact."""
_LEVELS: Final = {"error": "err", "warning": "warning", "info": "info", "debug": "debug"}
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.-]")

Networks = Mapping[str, Collection[str]]
"""The virtual networks of bridges, by name or id, as far as they are known."""


def plan(
    endpoints: Mapping[str, Sequence[Endpoint]], settings: Settings, networks: Networks
) -> tuple[Plan | None, Diagnostics]:
    """A plan, or None where the options do not fit; and all that is to be said of it."""
    from ferryman.config.compile import compile_plan
    from ferryman.config.validate import validate

    diagnostics = Diagnostics()
    made = document(endpoints, settings, networks)
    configuration = validate(made, diagnostics)
    found = None if configuration is None else compile_plan(made, configuration, diagnostics)
    return None if diagnostics.errors else found, diagnostics


def unfit(settings: Settings) -> list[Diagnostic]:
    """What is wrong with the options: seen when a plan is made, here of all services on every bridge that is named.

    Files are read as the user that the daemons become: they follow changes long after they have given root up.
    """
    bridges = {bridge for option in settings.options.entries for bridge in option.bridges} or {"br0"}
    endpoints = [
        Endpoint(one.port, one.host if _is_address(one.host) else "192.0.2.1", one.remote_port)
        for one in settings.services
    ]
    with _as_user(settings.owner):
        _, diagnostics = plan(dict.fromkeys(sorted(bridges), endpoints), settings, {})
    return diagnostics.found


@contextmanager
def _as_user(name: str) -> Iterator[None]:
    """Open files as somebody else, where that is possible. That there is no such user is told elsewhere."""
    from ferryman.controlplane import identity
    from ferryman.errors import StartError
    from ferryman.plan import Settings as ProcessSettings

    who = identity.Identity()
    if os.geteuid() == 0:
        with suppress(StartError):
            who = identity.resolve(ProcessSettings(user=name))
    if who.uid is None:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group if who.gid is None else who.gid)
        os.seteuid(who.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def document(endpoints: Mapping[str, Sequence[Endpoint]], settings: Settings, networks: Networks) -> Document:
    """The configuration as data, with the places in the settings that it comes from."""
    writing = _Writing(settings)
    for bridge, wanted in endpoints.items():
        for endpoint in wanted:
            writing.add(bridge, endpoint, _service(endpoint, settings, networks.get(bridge)), bridge in networks)
    writing.page()
    data: dict[str, Any] = {
        "global": {
            "workers": WORKERS,
            "user": settings.owner,
            "control": names.CONTROL,
            "drain_timeout": "10s",
            "log": {"target": f"file:{names.log(names.OUTER)}", "max_level": _LEVELS[settings.level], "format": "iso"},
        },
        "listeners": writing.listeners,
        "backends": writing.backends,
    }
    return Document("opennebula", data, writing.marks, writing.keys)


def _service(endpoint: Endpoint, settings: Settings, networks: Collection[str] | None) -> Service | None:
    """The entry of the settings that an endpoint was made of, if that can be told: only nftables knows for sure."""
    if networks is not None:
        candidates = [service for service in settings.on(networks) if service.port == endpoint.port]
    else:
        candidates = [service for service in settings.services if service.port == endpoint.port]
    fitting = {(one.host, one.remote_port): one for one in candidates if _fits(one, endpoint)}
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _fits(service: Service, endpoint: Endpoint) -> bool:
    return service.remote_port == endpoint.remote_port and (
        service.host == endpoint.address or not _is_address(service.host)
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Writing:
    """The parts of a configuration as they are put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.listeners: dict[str, Any] = {}
        self.backends: dict[str, Any] = {}
        self.marks: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}

    def add(self, bridge: str, endpoint: Endpoint, service: Service | None, ours: bool) -> None:
        """A listener, and its backend unless that is there. `ours`: its namespace was made here, and has IPv6."""
        name = f"{_plain(bridge)}:{endpoint.port}"
        inside = names.inner(bridge)
        binds = [{"address": f"{names.ADDRESS}:{endpoint.port}", "namespace": inside}]
        if ours:
            scoped = f"{names.ADDRESS6}%{names.door(bridge)[1]}"
            binds.append({"address": f"[{scoped}]:{endpoint.port}", "namespace": inside})
        servers, remotes = self._servers(bridge, endpoint, service)
        backend: dict[str, Any] = {
            "servers": servers, "connect_timeout": "5s", "retries": 1, "keepalive": True, "check": len(servers) > 1,
        }  # fmt: skip
        listener: dict[str, Any] = {
            "bind": binds, "keepalive": True, "log": f"file:{names.log(names.inner(bridge))}",
            "max_per_client": PER_GUEST,
            "log_normal": self._settings.level in ("info", "debug"), "log_start": self._settings.level == "debug",
        }  # fmt: skip
        origin: list[Path] = []
        for option in self._settings.options.entries:
            if option.is_for(bridge, endpoint.port):
                backend.update(option.settings["backend"])
                listener.update(option.settings["listener"])
                origin.append(option.path)
        to = self._backend(f"{endpoint.port}-{_plain(remotes[0])}", backend, origin)
        listener["to"] = to
        self.listeners[name] = listener
        if service is not None:
            self.marks["listeners", name] = service.mark
        self._places(("listeners", name), ":listener", origin)

    def page(self) -> None:
        """The daemon's page, where it has one."""
        options = self._settings.options
        if options.page is not None:
            self.listeners["page"] = options.page
            for here, there in ((self.marks, options.document.marks), (self.keys, options.document.keys)):
                here.update({("listeners", "page", *at[1:]): mark for at, mark in there.items() if at[:1] == (PAGE,)})

    def _servers(self, bridge: str, endpoint: Endpoint, service: Service | None) -> tuple[list[Any], list[str]]:
        """By the name, where there is one, so that it is looked up again and again; then what it was when the bridge
        came up, and what the options name."""
        known = f"{endpoint.address}:{endpoint.remote_port}"
        remotes = [known]
        if service is not None and not _is_address(service.host):
            remotes = [f"{service.host}:{endpoint.remote_port}", known]
        for option in self._settings.options.entries:
            if option.is_for(bridge, endpoint.port):
                remotes += [remote for remote in option.remotes if remote not in remotes]
        return [remotes[0], *({"address": remote, "backup": True} for remote in remotes[1:])], remotes

    def _backend(self, stem: str, data: dict[str, Any], origin: list[Path]) -> str:
        name, number = stem, 1
        while (present := self.backends.get(name)) is not None and _text(present) != _text(data):
            number += 1
            name = f"{stem}-{number}"
        if present is None:
            self.backends[name] = data
            self._places(("backends", name), ":backend", origin)
        return name

    def _places(self, path: Path, section: str, origin: list[Path]) -> None:
        """Where what the options say of a section stands."""
        written = self._settings.options.document
        for come_from in origin:
            inside = (*come_from, section)
            for here, there in ((self.marks, written.marks), (self.keys, written.keys)):
                for at, mark in there.items():
                    if at[: len(inside)] == inside and len(at) > len(inside):
                        here[(*path, *at[len(inside) :])] = mark
                    elif at == inside:
                        here.setdefault(path, mark)


def _plain(text: str) -> str:
    """As part of the name of a listener or backend."""
    return _STRANGE.sub("_", text)


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)
