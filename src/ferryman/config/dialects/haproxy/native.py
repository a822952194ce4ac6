"""Proxies into native listeners and backends: what HAProxy leaves to its defaults is said in full here.

Called by the package's `parse` when all lines have been read. What needs more than one proxy, such as names that lead
nowhere, is left to config.compile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferryman.config.dialects.haproxy import proxying, tls
from ferryman.config.dialects.haproxy.process import Process
from ferryman.config.dialects.haproxy.proxy import LogFormat, Proxy
from ferryman.config.dialects.haproxy.serving import backend
from ferryman.config.nearest import nearest
from ferryman.config.place import At
from ferryman.config.source import Diagnostics
from ferryman.config.values import parse_listen_address
from ferryman.plan import Address

_BESIDE_PAGES: Final = ("http-request", "http-response", "monitor", "monitor-uri", "redirect")
_TIMEOUTS: Final = {
    "frontend": ("timeout client",),
    "backend": ("timeout connect", "timeout server"),
    "listen": ("timeout client", "timeout connect", "timeout server"),
}


def build(process: Process, proxies: Sequence[Proxy], diagnostics: Diagnostics) -> dict[str, object]:
    """The native configuration as a tree (place.py)."""
    listeners: dict[str, object] = {}
    backends: dict[str, object] = {}
    for proxy in proxies:
        _check_named_backends(proxy, proxies, diagnostics)
        _warn_of_timeouts(proxy, diagnostics)
        if _shows_pages(proxy):
            if _has_bind(proxy, diagnostics):
                listeners[proxy.name] = _pages(proxy, diagnostics)
            continue
        if proxy.mode == "tcp":
            _warn_of_http(proxy, diagnostics)
        else:
            _refuse_http(proxy, proxies, diagnostics)  # and go on: the rest of it may be wrong as well
        disabled = bool(proxy.value("disabled"))
        if proxy.serves and not (disabled and proxy.kind == "listen"):
            backends[proxy.name] = backend(proxy, process.tls, diagnostics)
        if proxy.listens and _has_bind(proxy, diagnostics):
            listeners[proxy.name] = _listener(process, proxy, diagnostics)
    tree: dict[str, object] = {"listeners": listeners}
    if backends:
        tree["backends"] = backends
    if settings := process.tree():
        tree = {"global": settings, **tree}
    return tree


def _has_bind(proxy: Proxy, diagnostics: Diagnostics) -> bool:
    if not proxy.binds and not proxy.value("disabled") and "bind" not in proxy.faulty:
        diagnostics.warning(proxy.place, f"{proxy} has no 'bind': it listens nowhere", "if that is meant: `backend`")
    return bool(proxy.binds)


def _listener(process: Process, proxy: Proxy, diagnostics: Diagnostics) -> At:
    tree = _door(proxy, diagnostics)
    if (cases := _tls(process, proxy, diagnostics)) is not None:
        tree["tls"] = cases
    elsewhere = proxy.server_tests - proxy.rules.tests
    if tests := {name: test for name, test in proxy.scope.tests().items() if name not in elsewhere}:
        tree["tests"] = tests
    if connection := _connection(proxy, diagnostics):
        tree["connection"] = connection
    if proxy.rules.content:
        tree["inspect"] = list(proxy.rules.content)
    if proxy.rules.routes:
        tree["routes"] = list(proxy.rules.routes)
    if "default_backend" in proxy.settings:
        tree["to"] = proxy.settings["default_backend"]
    elif proxy.kind == "listen":
        tree["to"] = At(proxy.name, proxy.place)
    if "inspect-delay" in proxy.settings:
        tree["inspect_timeout"] = delay = proxy.settings["inspect-delay"]
        if not proxy.rules.content and not proxy.rules.reads:
            message = "'inspect-delay' does nothing: no rule looks at what the client sends"
            diagnostics.warning(delay.mark, message, "add a 'tcp-request content' rule, or remove it")
    for keyword, key in (("timeout client", "client_timeout"), ("timeout client-fin", "client_fin_timeout")):
        if keyword in proxy.settings:
            tree[key] = proxy.settings[keyword]
    for keyword in ("option clitcpka", "option tcpka"):
        if proxy.is_on(keyword):
            tree["keepalive"] = proxy.settings[keyword]
    _log(process, proxy, tree, diagnostics)
    return At(tree, proxy.place)


def _tls(process: Process, proxy: Proxy, diagnostics: Diagnostics) -> object:
    """TLS of all its addresses, or a case for each port, where they differ. None: there is none."""
    made: list[tuple[At | None, list[At]]] = []  # settings, and the addresses they are for
    for line in proxy.binds:
        found = tls.listener(line, process.tls, diagnostics)
        same = next((addresses for settings, addresses in made if settings == found), None)
        if same is None:
            made.append((found, [line["address"]]))
        else:
            same.append(line["address"])
    if len(made) == 1:
        return made[0][0]
    cases: list[At] = []
    taken: dict[str, At | None] = {}
    for settings, addresses in made:
        ports = []
        for address in addresses:
            port = _ports(address)
            if not port or taken.setdefault(port, settings) is not settings:
                message = "addresses that differ in 'ssl' but not in their port are HAProxy's, not supported yet"
                diagnostics.error(address.mark, message, "give them a frontend of their own")
            ports.append(port)
        if settings is not None and isinstance(settings.value, dict):
            when = At({"local_port": {"integer": ports}}, settings.mark)
            cases.append(At({"when": when, **settings.value}, settings.mark))
    return cases or None


def _ports(address: At) -> str:
    """The port or range of an address, "" where there is none."""
    try:
        listen = parse_listen_address(address.value)
    except ValueError:
        return "0"  # which the native configuration complains of
    assert isinstance(listen, Address)
    return f"{listen.port}:{listen.last_port}" if listen.last_port else str(listen.port or "")


def _door(proxy: Proxy, diagnostics: Diagnostics) -> dict[str, object]:
    """Where a listener listens, and how many it lets in."""
    tree: dict[str, object] = {"bind": [_bind(line) for line in proxy.binds]}
    for keyword, key in (("maxconn", "max_connections"), ("backlog", "backlog")):
        value = proxy.settings.get(keyword)
        for line in proxy.binds:
            own = line.get(keyword)
            if own is None:
                continue
            if len(proxy.binds) > 1:
                message = f"'bind … {keyword}' on one of several addresses is HAProxy's, not supported by ferryman yet"
                diagnostics.error(own.mark, message, f"write `{keyword}` on a line of its own")
                break
            both = [limit for limit in (value, own) if limit is not None and limit.value]
            value = min(both, key=lambda limit: int(str(limit.value)), default=own)
        if value is not None:
            tree[key] = value
    if (receive := proxying.receive_proxy(proxy, diagnostics)) is not None:
        tree["proxy_protocol"] = receive
    for line in proxy.binds:
        if "transparent" in line:
            tree["transparent"] = At("tproxy", line["transparent"].mark)
    if proxy.value("disabled"):
        tree["disabled"] = proxy.settings["disabled"]
    return tree


def _bind(line: dict[str, At]) -> At:
    address = line["address"]
    more = {"namespace": line["namespace"]} if "namespace" in line else {}
    wanted = line.get("v6only")
    if wanted is not None and wanted.value:
        try:
            if parse_listen_address(address.value).family == "inet6":
                more["v6only"] = wanted
        except ValueError:
            return address  # the schema says what is wrong with it
    return At({"address": address, **more}, address.mark) if more else address


def _connection(proxy: Proxy, diagnostics: Diagnostics) -> list[At]:
    """Connection rules and session rules: nothing but a PROXY header comes between them here."""
    connection, session = proxy.rules.connection, proxy.rules.session
    if proxying.receives(proxy):
        connection = [proxying.of_the_peer(proxy, rule, diagnostics) for rule in connection]
    accepts = [rule for rule in connection if isinstance(rule.value, dict) and rule.value["action"].value == "accept"]
    if accepts and session:
        message = "'tcp-request session' beside 'tcp-request connection accept' is not supported by ferryman yet"
        diagnostics.error(session[0].mark, message, "write all of them as 'tcp-request connection'")
    return connection + session


def _log(process: Process, proxy: Proxy, tree: dict[str, object], diagnostics: Diagnostics) -> None:
    """Targets, format, and which connections are logged. Without a `log` line there is no log."""
    tag = proxy.settings.get("log-tag", process.log_tag)
    own = [line for line in proxy.logs if line.settings is not None]
    with_global = len(own) < len(proxy.logs)
    if own or not with_global or "log-tag" in proxy.settings or not process.logs:
        targets = process.log_trees(tag) if with_global else []
        tree["log"] = targets + [line.tree(tag, process.hostname) for line in own]
    tree["log_format"] = _log_format(proxy, diagnostics)
    for keyword, key, value in (
        ("option logasap", "log_asap", True),
        ("option dontlognull", "log_empty", False),
        ("option dontlog-normal", "log_normal", False),
        ("option log-separate-errors", "log_separate_errors", True),
    ):
        if proxy.is_on(keyword):
            tree[key] = At(value, proxy.settings[keyword].mark)


def _log_format(proxy: Proxy, diagnostics: Diagnostics) -> At:
    found = proxy.settings.get("log-format")
    if found is None or not isinstance(found.value, LogFormat):
        return At("connect", proxy.place)
    if found.value.name in ("httplog", "httpslog") and proxy.mode == "tcp":
        message = f"'option {found.value.name}' needs HTTP mode: {proxy} logs as with 'option tcplog'"
        diagnostics.warning(found.mark, message, "write option tcplog")
    return At("tcp" if found.value.name else found.value.template, found.mark)


def _shows_pages(proxy: Proxy) -> bool:
    """Is it a frontend that shows the statistics page, and does nothing else? A backend it only inherits is no use."""
    leads = proxy.rules.routes or proxy.servers or "default_backend" in proxy.own
    return proxy.mode == "http" and proxy.listens and not leads and (proxy.stats.place is not None or proxy.metrics)


def _pages(proxy: Proxy, diagnostics: Diagnostics) -> At:
    stats = proxy.stats
    for keyword, (_, mark) in proxy.http.items():
        if keyword in _BESIDE_PAGES:
            message = f"{keyword!r} beside the statistics page is HAProxy's, not supported by ferryman yet"
            diagnostics.error(mark, message, "")
    for rule in (*proxy.rules.connection, *proxy.rules.session, *proxy.rules.content):
        message = "rules before the statistics page are HAProxy's, not supported by ferryman yet"
        diagnostics.error(rule.mark, message, "")
    pages = {"uri": "/haproxy?stats" if stats.place else "/", **stats.settings}
    if stats.users:
        pages["users"] = stats.users
    if stats.scope:
        pages["scope"] = list(stats.scope)
    tree = _door(proxy, diagnostics)
    tree["mode"] = At("pages", proxy.settings["mode"].mark)
    tree["pages"] = At(pages, stats.place or proxy.place)
    if "timeout client" in proxy.settings:
        tree["client_timeout"] = proxy.settings["timeout client"]
    return At(tree, proxy.place)


def _refuse_http(proxy: Proxy, proxies: Sequence[Proxy], diagnostics: Diagnostics) -> None:
    """Of backends only when no frontend is refused, since those are the cause."""
    if proxy.kind == "backend" and any(p.mode == "http" and p.listens and not _shows_pages(p) for p in proxies):
        return
    place = proxy.settings["mode"].mark if "mode" in proxy.own else proxy.place
    message = f"{proxy} is in mode http: HTTP proxying is HAProxy's, not supported by ferryman yet"
    hint = "mode http is for the statistics page alone; write mode tcp to carry HTTP as it is"
    diagnostics.error(place, message, hint)


def _check_named_backends(proxy: Proxy, proxies: Sequence[Proxy], diagnostics: Diagnostics) -> None:
    """What `nbsrv` asks about has to be there."""
    for name, word in proxy.scope.backends:
        known = [other.name for other in proxies if other.serves]
        if name not in known:
            diagnostics.error(word.mark, f"{word.text!r}: there is no backend {name!r}", nearest(name, known))


def _warn_of_http(proxy: Proxy, diagnostics: Diagnostics) -> None:
    for keyword, (where, mark) in proxy.http.items():
        if proxy.letter in where:
            message = f"{keyword!r} is ignored for {proxy}, as it needs HTTP mode"
            diagnostics.warning(mark, message, "")
    if proxy.stats.place is not None:
        message = f"'stats' is ignored for {proxy}, as it needs HTTP mode"
        diagnostics.warning(proxy.stats.place, message, "give it a frontend of its own in mode http")


def _warn_of_timeouts(proxy: Proxy, diagnostics: Diagnostics) -> None:
    """Without time-outs connections stay for ever. A tunnel's stands for the server's in TCP mode."""
    missing = [
        keyword
        for keyword in _TIMEOUTS[proxy.kind]
        if not proxy.value(keyword)
        and (keyword == "timeout client" or proxy.servers)
        and not (keyword == "timeout server" and proxy.value("timeout tunnel"))
    ]
    if missing and "timeout" not in proxy.faulty:
        quoted = " and ".join(f"'{keyword}'" for keyword in missing)
        message = f"{proxy} has no {quoted}: what hangs hangs for ever"
        diagnostics.warning(proxy.place, message, "set a time-out in `defaults`")
