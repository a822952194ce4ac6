"""What was said into native data: a listener for each http_port, all with the same rules.

Called by the package's `parse` when all lines have been read. What Squid leaves to its defaults is said in full here.
The guard against targets such as loopback is off, since the file has a policy of its own; lint.py says where that lets
clients in.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.squid import bumping, lint, lists, ports
from ferryman.config.dialects.squid.ports import Port, usual
from ferryman.config.dialects.squid.settings import Settings
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics, Mark

_TIMES: Final = {
    "connect_timeout": ("connect_timeout", 60.0),
    "resolve_timeout": ("dns_timeout", 30.0),
    "server_timeout": ("read_timeout", 900.0),
    "tunnel_timeout": ("read_timeout", 900.0),
}
"""Native key: Squid's directive, and its default in seconds."""
_IDLE: Final = 120.0  # seconds, client_idle_pconn_timeout
_HEAD: Final = 300.0  # seconds, request_start_timeout and request_timeout
_MAX_HEAD: Final = 64 << 10  # bytes, request_header_max_size


def build(settings: Settings, place: Mark, diagnostics: Diagnostics) -> dict[str, object]:
    """The native configuration as a tree (config/place.py). `place` is where nothing better is known."""
    if not settings.ports:
        if settings.faulty.isdisjoint(("http_port", "https_port")):
            hint = "add a line `http_port 3128`, or `http_port 127.0.0.1:3128`"
            diagnostics.warning(place, "there is no http_port: the proxy listens on port 3128", hint)
        settings.ports.append(usual(place))
    _check_users(settings, diagnostics)
    if settings.bump and not any(port.bumps for port in settings.ports):
        message = "ssl_bump has no effect: no http_port has ssl-bump"
        diagnostics.warning(settings.bump[0].mark, message, "add ssl-bump to it")
    rules = _rules(settings, diagnostics)
    names: dict[str, list[str]] = {}
    for port in settings.ports:
        names.setdefault(port.title, []).append(port.name)
    listeners = {port.name: _listener(settings, port, rules, names, diagnostics) for port in settings.ports}
    lint.check(settings, diagnostics)
    tree: dict[str, object] = {"listeners": listeners}
    return {"global": settings.process, **tree} if settings.process else tree


def _rules(settings: Settings, diagnostics: Diagnostics) -> dict[str, object]:
    """What all ports have in common."""
    access = lists.access(settings.access, settings.ports[0].place, diagnostics)
    if not settings.access and "http_access" not in settings.faulty:
        message = "there is no http_access: as in Squid everybody is refused"
        diagnostics.warning(settings.ports[0].place, message, "add `http_access allow …`, such as allow localhost")
    try:
        via, nowhere = settings.routing.via(diagnostics)
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
        via, nowhere = [], False
    if nowhere is not False:
        place = settings.routing.never[0].mark
        message = "never_direct allows requests for which there is no cache_peer: they are refused"
        diagnostics.warning(place, message, "add a cache_peer, or let its cache_peer_access allow them")
        rule = {"action": "deny"} if nowhere is True else {"action": "deny", "when": nowhere}
        access.insert(0, At(rule, place))
    rules: dict[str, object] = {**settings.auth.tree(), "access": access}
    return {**rules, "via": via} if via else rules


def _listener(
    settings: Settings, port: Port, rules: dict[str, object], names: dict[str, list[str]], diagnostics: Diagnostics
) -> At:
    times = settings.times
    connect: dict[str, object] = {"protocols": ["connect", "http"], **rules, "egress_guard": False}
    if port.bumps and settings.bump:
        connect["tls"] = bumping.tls(settings.bump)
        connect["on_unknown_protocol"] = _unknown_protocol(settings)
    elif port.bumps and "ssl_bump" not in settings.faulty:
        message = "ssl-bump has no effect without ssl_bump lines: all TLS is spliced, as in Squid"
        diagnostics.warning(port.place, message, "add `ssl_bump splice …` and `ssl_bump bump …`")
    if (bump := bumping.bump(port, settings.bump, settings.outgoing, diagnostics)) is not None:
        connect["bump"] = bump
    starts = [times[name] for name in ("request_start_timeout", "request_timeout") if name in times]
    connect["head_timeout"] = min(starts, key=lambda time: float(str(time.value)), default=_HEAD)
    connect["max_head"] = times.get("request_header_max_size", _MAX_HEAD)
    for key, (name, default) in _TIMES.items():
        connect[key] = times.get(name, default)
    tree: dict[str, object] = {"bind": [port.bind], "mode": "connect", "connect": connect}
    if (tls := ports.tls(port)) is not None:
        tree["tls"] = [tls]
    conditions = [rule for key in ("access", "tls", "via") for rule in _whens(connect.get(key))]
    if tests := settings.acls.tests(conditions, names):
        tree["tests"] = tests
    tree["client_timeout"] = times.get("client_idle_pconn_timeout", _IDLE)
    if port.keepalive is not None:
        tree["keepalive"] = port.keepalive
    if settings.log is not None:
        tree["log"] = list(settings.log)
    return At(tree, port.place)


def _whens(rules: object) -> list[object]:
    assert rules is None or isinstance(rules, list)
    return [rule.value["when"] for rule in rules or () if "when" in rule.value]


def _unknown_protocol(settings: Settings) -> object:
    """What is done where no TLS comes: the first line about that error, or about all."""
    for line in settings.unknown_protocol:
        if all(
            term.always or any(value.value == "ERR_PROTOCOL_UNKNOWN" for value in term.acl.values)
            for term in line.terms
        ):
            return At(line.action, line.mark)
    return "respond"


def _check_users(settings: Settings, diagnostics: Diagnostics) -> None:
    """ACLs about users need users to be asked, and names as they are compared."""
    asking = [acl for acl in settings.acls.named.values() if acl.type in ("proxy_auth", "proxy_auth_regex")]
    if asking and "users" not in settings.auth.settings and not settings.auth.faulty:
        message = f"nobody can log in, which the acl {asking[0].name!r} needs"
        diagnostics.error(asking[0].place, message, "add auth_param basic program /usr/lib/squid/basic_ncsa_auth FILE")
