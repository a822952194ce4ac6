"""Everything that the lines of a configuration said, and a handler for each directive that says something.

Driven by reader.py, one line at a time: an ACL has to stand above the lines that refer to it, as in Squid.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid import bumping, lists, logs, peers, ports
from ferryman.config.dialects.squid.acl import Acls
from ferryman.config.dialects.squid.auth import Auth
from ferryman.config.dialects.squid.keywords import HEADERS
from ferryman.config.dialects.squid.lists import Line
from ferryman.config.dialects.squid.quantities import integer, seconds, size, switch
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics

_ALLOW_DENY: Final = ("allow", "deny")


@dataclass(slots=True)
class Settings:
    """What was said. `process` has keys of the native `global`, `times` Squid's names of times and sizes."""

    diagnostics: Diagnostics
    acls: Acls = field(init=False)
    auth: Auth = field(init=False)
    process: dict[str, object] = field(default_factory=dict)
    times: dict[str, At] = field(default_factory=dict)
    ports: list[ports.Port] = field(default_factory=list)
    access: list[Line] = field(default_factory=list)
    bump: list[Line] = field(default_factory=list)
    unknown_protocol: list[Line] = field(default_factory=list)
    outgoing: bumping.Outgoing = field(default_factory=bumping.Outgoing)
    routing: peers.Routing = field(default_factory=peers.Routing)
    formats: set[str] = field(default_factory=lambda: set(logs.FORMATS))
    log: list[At] | None = None  # None: nothing was said of it
    faulty: set[str] = field(default_factory=set)  # directives of which a line was refused

    def __post_init__(self) -> None:
        self.acls = Acls(self.diagnostics)
        self.auth = Auth(self.diagnostics)

    def put(self, where: dict[str, object], key: str, value: At) -> None:
        """Set what can be said once; as in Squid the last one counts."""
        before = where.get(key)
        if isinstance(before, At):
            self.diagnostics.warning(before.mark, f"this counts for nothing: it is said again at {value.mark}")
        where[key] = value


Handler = Callable[[Settings, Arguments], None]


def _acl(settings: Settings, arguments: Arguments) -> None:
    words = arguments.rest()
    if not words:
        raise Mistake(arguments.start, "'acl' needs a name and a type", "such as acl dvm dstdomain .apps.example.org")
    settings.acls.define(words)


def _http_port(settings: Settings, arguments: Arguments) -> None:
    settings.ports.append(ports.read(arguments, settings.ports, settings.diagnostics))


def _http_access(settings: Settings, arguments: Arguments) -> None:
    settings.access.append(lists.read(arguments, settings.acls, _ALLOW_DENY))


def _ssl_bump(settings: Settings, arguments: Arguments) -> None:
    settings.bump.append(bumping.read(arguments, settings.acls, settings.diagnostics))


def _on_unsupported_protocol(settings: Settings, arguments: Arguments) -> None:
    settings.unknown_protocol.append(bumping.read_unknown_protocol(arguments, settings.acls))


def _never_direct(settings: Settings, arguments: Arguments) -> None:
    settings.routing.never.append(lists.read(arguments, settings.acls, _ALLOW_DENY))


def _always_direct(settings: Settings, arguments: Arguments) -> None:
    settings.routing.always.append(lists.read(arguments, settings.acls, _ALLOW_DENY))


def _cache_peer(settings: Settings, arguments: Arguments) -> None:
    if (peer := peers.read(arguments, settings.routing.peers, settings.diagnostics)) is not None:
        settings.routing.peers.append(peer)


def _cache_peer_access(settings: Settings, arguments: Arguments) -> None:
    word = arguments.need("the name of a cache_peer")
    known = {peer.name.lower(): peer for peer in settings.routing.peers}
    if word.text.lower() not in known:
        raise Mistake(word, f"there is no cache_peer {word.text!r} up to here", nearest(word.text, known))
    known[word.text.lower()].access.append(lists.read(arguments, settings.acls, _ALLOW_DENY))


def _prefer_direct(settings: Settings, arguments: Arguments) -> None:
    settings.routing.direct_first = bool(switch(arguments).value)


def _nonhierarchical_direct(settings: Settings, arguments: Arguments) -> None:
    settings.routing.only_plain = bool(switch(arguments).value)


def _auth_param(settings: Settings, arguments: Arguments) -> None:
    settings.auth.read(arguments)


def _outgoing(settings: Settings, arguments: Arguments) -> None:
    settings.outgoing.read(arguments, settings.diagnostics)


def _access_log(settings: Settings, arguments: Arguments) -> None:
    target = logs.read(arguments, settings.formats, settings.acls, settings.diagnostics)
    settings.log = [*(settings.log or []), *([target] if target is not None else [])]


def _logformat(settings: Settings, arguments: Arguments) -> None:
    settings.formats.add(arguments.need("a name").text)
    arguments.rest()


def _request_header_access(settings: Settings, arguments: Arguments) -> None:
    header = arguments.need("a header")
    line = lists.read(arguments, settings.acls, _ALLOW_DENY)
    if line.action == "deny":
        known = header.text.lower()
        if known not in HEADERS.rows:
            message = f"to leave out {header.text!r} is Squid's, not supported by ferryman yet"
            raise Mistake(header, message, "headers are passed on as they come")
        HEADERS.wanted(header, known, "", settings.diagnostics)


def _time(settings: Settings, arguments: Arguments) -> None:
    settings.times[arguments.keyword] = seconds(arguments)


def _size(settings: Settings, arguments: Arguments) -> None:
    settings.times[arguments.keyword] = size(arguments)


def _text(key: str) -> Handler:
    def read(settings: Settings, arguments: Arguments) -> None:
        word = arguments.need("a value")
        if word.text != "none":
            settings.put(settings.process, key, At(word.text, word.mark))

    return read


def _pid_filename(settings: Settings, arguments: Arguments) -> None:
    word = arguments.need("a path, or none")
    if word.text != "none":
        settings.put(settings.process, "pidfile", At(os.path.abspath(word.text), word.mark))


def _workers(settings: Settings, arguments: Arguments) -> None:
    word = arguments.need("a number")
    count = integer(word, 0, 1024)
    settings.put(settings.process, "workers", At(count.value or 1, word.mark))


def _shutdown_lifetime(settings: Settings, arguments: Arguments) -> None:
    settings.put(settings.process, "drain_timeout", seconds(arguments))


HANDLERS: Final[dict[str, Handler]] = {
    "access_log": _access_log,
    "acl": _acl,
    "always_direct": _always_direct,
    "auth_param": _auth_param,
    "cache_effective_group": _text("group"),
    "cache_effective_user": _text("user"),
    "cache_peer": _cache_peer,
    "cache_peer_access": _cache_peer_access,
    "chroot": _text("chroot"),
    "client_idle_pconn_timeout": _time,
    "connect_timeout": _time,
    "dns_timeout": _time,
    "http_access": _http_access,
    "http_port": _http_port,
    "https_port": _http_port,
    "logformat": _logformat,
    "never_direct": _never_direct,
    "nonhierarchical_direct": _nonhierarchical_direct,
    "on_unsupported_protocol": _on_unsupported_protocol,
    "pid_filename": _pid_filename,
    "prefer_direct": _prefer_direct,
    "read_timeout": _time,
    "request_header_access": _request_header_access,
    "request_header_max_size": _size,
    "request_start_timeout": _time,
    "request_timeout": _time,
    "shutdown_lifetime": _shutdown_lifetime,
    "ssl_bump": _ssl_bump,
    "sslproxy_cafile": _outgoing,
    "sslproxy_flags": _outgoing,
    "tls_outgoing_options": _outgoing,
    "visible_hostname": _text("node"),
    "workers": _workers,
}
"""Each takes what it knows; whatever is left of the line is a mistake."""
