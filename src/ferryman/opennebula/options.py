"""`:tproxy_options:` of OpenNebulaNetwork.conf: what services can have beyond what OpenNebula's own proxies know.

    :tproxy_options:
    - :service_port: 5030                # of which services
      :bridges: [br0]                    # on which bridges; left out: on all
      :remotes: [10.11.12.14:5030]       # where to go when the first does not answer, in this order
      :backend: {tls: true}              # settings of ferryman's backends
      :listener: {max_connections: 500}  # and of its listeners

    :tproxy_page: 127.0.0.1:8404         # where the daemon shows its page, or settings of such a listener

Keys of their own, since other programs that read the file refuse what they do not know in a service. What is within
`:backend:` and `:listener:` is ferryman's native configuration, checked when the plan is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ferryman.config.dialects import native
from ferryman.config.nearest import nearest
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

KEY: Final = ":tproxy_options"
PAGE: Final = ":tproxy_page"
_KEYS: Final = (":service_port", ":bridges", ":remotes", ":backend", ":listener")
_OURS: Final = {
    ":backend": ("servers", "destination"),
    ":listener": ("bind", "mode", "to", "backend", "servers", "connect", "pages", "transparent"),
}
"""What follows from the service itself."""


@dataclass(frozen=True, slots=True)
class Option:
    """One entry. `settings`: native settings by section, "backend" and "listener"; `path`: where it is in the file."""

    path: Path
    port: int
    bridges: tuple[str, ...]  # (): all
    remotes: tuple[str, ...]  # host:port
    settings: dict[str, dict[str, Any]]

    def is_for(self, bridge: str, port: int) -> bool:
        return self.port == port and (not self.bridges or bridge in self.bridges)


@dataclass(frozen=True, slots=True)
class Options:
    """All of them, and the places of all they say."""

    entries: tuple[Option, ...] = ()
    page: dict[str, Any] | None = None  # a listener, native settings
    document: Document = field(default_factory=lambda: Document("opennebula", {}))


def read(source: Source, diagnostics: Diagnostics) -> Options:
    """The options of a file that is known to be YAML; what is wrong with their form is reported."""
    if KEY not in source.text and PAGE not in source.text:
        return Options()
    found = Diagnostics()
    document = native.parse([source], found, os.environ)
    sections = [mark.line for key in (KEY, PAGE) if (mark := document.keys.get((key,))) is not None]
    if not sections:
        return Options()
    diagnostics.found += [one for one in found.found if one.mark is not None and one.mark.line >= min(sections)]
    page = document.data.get(PAGE)
    listener = {"bind": page, "pages": {}} if isinstance(page, str) else page
    if listener is not None and not isinstance(listener, dict):
        diagnostics.error(document.mark((PAGE,)), f"`{PAGE}:` is an address", "such as 127.0.0.1:8404")
        listener = None
    entries = document.data.get(KEY) or []
    if not isinstance(entries, list):
        diagnostics.error(document.mark((KEY,)), f"`{KEY}:` is a list", "begin each entry with `- :service_port:`")
        return Options()
    return Options(tuple(_entries(entries, document, diagnostics)), listener, document)


def _entries(entries: list[Any], document: Document, diagnostics: Diagnostics) -> Iterator[Option]:
    for index, entry in enumerate(entries):
        path: Path = (KEY, index)
        if not isinstance(entry, dict):
            diagnostics.error(document.mark(path), "an entry is a mapping", "begin with `:service_port:`")
            continue
        wrong = list(_mistakes(entry, document, path))
        for mark, message, hint in wrong:
            diagnostics.error(mark, message, hint)
        if not wrong:
            settings = {key.removeprefix(":"): entry.get(key) or {} for key in _OURS}
            yield Option(path, entry[":service_port"], _list(entry, ":bridges"), _list(entry, ":remotes"), settings)


def _list(entry: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(map(str, entry.get(key) or ()))


def _mistakes(entry: dict[str, Any], document: Document, path: Path) -> Iterator[tuple[Mark | None, str, str]]:
    for key in entry:
        if key not in _KEYS:
            hint = f"write `:{key}:`" if f":{key}" in _KEYS else nearest(key, _KEYS) or f"there are {', '.join(_KEYS)}"
            yield document.key((*path, key)), f"unknown key {key!r}", hint
    port = entry.get(":service_port")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        hint = "the `:service_port:` of the services it is for, such as 5030"
        where = document.mark((*path, ":service_port"))
        yield where, "`:service_port:` is missing" if port is None else f"{port!r} is no port", hint
    for key in (":bridges", ":remotes"):
        value = entry.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            hint = "each in quotation marks" if isinstance(value, list) else f"write [{value}]"
            yield document.mark((*path, key)), f"`{key}:` is a list of texts", hint
    for key, ours in _OURS.items():
        value = entry.get(key)
        if value is not None and not isinstance(value, dict):
            yield document.mark((*path, key)), f"`{key}:` is a mapping", "of ferryman's settings"
            continue
        for each in value or {}:
            if each in ours:
                hint = "say `:remotes:`" if each == "servers" else "leave it out"
                yield document.key((*path, key, each)), f"`{each}` follows from the service", hint
