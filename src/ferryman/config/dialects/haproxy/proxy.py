"""One proxy section while it is read: what it was told, or inherits from its `defaults`.

Filled by proxy_lines.py, options.py and rules.py, read by native.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.haproxy.acl import Scope
from ferryman.config.dialects.haproxy.logs import LogLine
from ferryman.config.place import At, Word
from ferryman.config.source import Diagnostics, Mark

_SIDES: Final = {"frontend": "frontend", "backend": "backend"}


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A line's format: "tcplog", "httplog", "httpslog", or a template."""

    name: str = ""
    template: str = ""


@dataclass(slots=True)
class Stats:
    """The statistics page as `stats` lines describe it."""

    settings: dict[str, object] = field(default_factory=dict)
    users: dict[str, object] = field(default_factory=dict)
    scope: list[At] = field(default_factory=list)
    place: Mark | None = None  # of the first `stats` line; None: there is none

    def copy(self) -> Stats:
        return Stats(dict(self.settings), dict(self.users), list(self.scope), self.place)


@dataclass(slots=True)
class Rules:
    """The rules of a frontend. `last`: how far down the order connection, session, content they have come."""

    connection: list[At] = field(default_factory=list)
    session: list[At] = field(default_factory=list)
    content: list[At] = field(default_factory=list)
    routes: list[At] = field(default_factory=list)
    tests: set[str] = field(default_factory=set)  # named conditions they refer to
    reads: bool = False  # some content rule or route needs what the client sends
    expects: list[At] = field(default_factory=list)  # networks that PROXY headers are expected from
    expected: Mark | None = None  # the first rule that expects them; with `expects` empty they have to come from all
    last: int = 0


@dataclass(slots=True)
class Proxy:
    """A defaults, frontend, backend or listen section.

    `settings` holds single values by the keyword that set them ("maxconn", "timeout client", "option tcplog"), `http`
    what would need HTTP mode: the keyword, the sections it is for, and its place.
    """

    kind: str
    name: str
    place: Mark
    scope: Scope
    settings: dict[str, At] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)  # of `settings`: set in this section, not inherited
    faulty: set[str] = field(default_factory=set)  # first words of the lines that were wrong
    http: dict[str, tuple[str, Mark]] = field(default_factory=dict)
    logs: list[LogLine] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    default_server: dict[str, At] = field(default_factory=dict)
    binds: list[dict[str, At]] = field(default_factory=list)
    servers: list[dict[str, At]] = field(default_factory=list)
    server_rules: list[At] = field(default_factory=list)
    server_tests: set[str] = field(default_factory=set)  # named conditions they refer to
    rules: Rules = field(default_factory=Rules)
    metrics: bool = False  # there is a rule that serves them, as on HAProxy's page with the Prometheus exporter

    @property
    def letter(self) -> str:
        """As in the tables of keywords."""
        return self.kind[0]

    @property
    def listens(self) -> bool:
        return self.kind in ("frontend", "listen")

    @property
    def serves(self) -> bool:
        return self.kind in ("backend", "listen")

    @property
    def mode(self) -> str:
        return str(self.settings["mode"].value) if "mode" in self.settings else "tcp"

    def __str__(self) -> str:
        return f"{_SIDES.get(self.kind, 'proxy')} {self.name!r}"

    def put(self, keyword: str, value: At) -> None:
        self.settings[keyword] = value
        self.own.add(keyword)

    def drop(self, keyword: str) -> None:
        self.settings.pop(keyword, None)
        self.own.discard(keyword)

    def is_on(self, keyword: str) -> bool:
        """Is an option set, and not taken back?"""
        return keyword in self.settings and bool(self.settings[keyword].value)

    def value(self, keyword: str) -> object:
        return self.settings[keyword].value if keyword in self.settings else None


def new_proxy(kind: str, name: Word, defaults: Proxy | None, diagnostics: Diagnostics) -> Proxy:
    """A section that begins, with what it inherits."""
    proxy = Proxy(kind, name.text, name.mark, Scope(name.text, diagnostics))
    if defaults is not None:
        proxy.settings = dict(defaults.settings)
        proxy.faulty = set(defaults.faulty)
        proxy.http = dict(defaults.http)
        proxy.logs = list(defaults.logs)
        proxy.stats = defaults.stats.copy()
        proxy.default_server = dict(defaults.default_server)
    return proxy
