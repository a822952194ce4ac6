"""A backend, or the serving side of a listen, into a native backend. Called by native.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ferryman.config.dialects.haproxy import checking, proxying, tls
from ferryman.config.dialects.haproxy.proxy import Proxy
from ferryman.config.place import At
from ferryman.config.source import Diagnostics

_TIMEOUTS: Final = {
    "timeout server": "server_timeout",
    "timeout server-fin": "server_fin_timeout",
    "timeout tunnel": "tunnel_timeout",
    "timeout queue": "queue_timeout",
}
_SERVER: Final = {
    "name": "name",
    "weight": "weight",
    "maxconn": "max_connections",
    "maxqueue": "max_queue",
}
_FLAGS: Final = {"backup": "backup", "disabled": "disabled", "on-marked-down": "close_on_down"}


def backend(proxy: Proxy, defaults: tls.Defaults, diagnostics: Diagnostics) -> At:
    """The native backend. A redispatch is off, and no time-out set, unless the configuration says so."""
    settings = proxy.settings
    servers = [_server(proxy, server, defaults, diagnostics) for server in proxy.servers]
    tree: dict[str, object] = {"servers": servers}
    tree["balance"] = _balance(proxy, diagnostics)
    if proxy.is_on("option allbackups"):
        tree["use_all_backups"] = At(True, settings["option allbackups"].mark)
    if "retries" in settings:
        tree["retries"] = settings["retries"]
    tree["redispatch"] = settings.get("option redispatch", False)
    tree["connect_timeout"] = settings.get("timeout connect")
    for keyword, key in _TIMEOUTS.items():
        if keyword in settings:
            tree[key] = settings[keyword]
    for keyword in ("option srvtcpka", "option tcpka"):
        if proxy.is_on(keyword):
            tree["keepalive"] = settings[keyword]
    if "source" in settings and settings["source"].value:
        tree["source"] = settings["source"]
    wanted = proxy.server_tests if proxy.kind == "listen" else set(proxy.scope.named)
    if tests := {name: test for name, test in proxy.scope.tests().items() if name in wanted}:
        tree["tests"] = tests
    if proxy.server_rules:
        tree["server_rules"] = list(proxy.server_rules)
    if proxy.kind == "backend" and proxy.value("disabled"):
        message = "a disabled backend is HAProxy's, not supported by ferryman yet"
        diagnostics.error(settings["disabled"].mark, message, "write `disabled` on its servers")
    _warn_of_sni(proxy, diagnostics)
    checking.warn_of_ignored(proxy, diagnostics)
    return At(tree, proxy.place)


def _balance(proxy: Proxy, diagnostics: Diagnostics) -> At:
    balance = proxy.settings.get("balance", At("roundrobin", proxy.place))
    hashing = proxy.settings.get("hash-type")
    if balance.value == "source" and hashing is not None and hashing.value == "consistent":
        message = "'hash-type consistent' is HAProxy's, not supported by ferryman yet"
        diagnostics.error(hashing.mark, message, "without it clients are spread by address all the same")
    return balance


def _server(proxy: Proxy, server: Mapping[str, At], defaults: tls.Defaults, diagnostics: Diagnostics) -> At:
    tree: dict[str, object] = {"address": server["address"]}
    for keyword, key in _SERVER.items():
        if keyword in server:
            tree[key] = server[keyword]
    for keyword, key in _FLAGS.items():
        if keyword in server and server[keyword].value:
            tree[key] = server[keyword]
    if (send_proxy := proxying.send_proxy(server, diagnostics)) is not None:
        tree["send_proxy"] = send_proxy
    if (secure := tls.server(server, defaults, diagnostics)) is not None:
        tree["tls"] = secure
    if "source" in server and server["source"].value:
        tree["source"] = server["source"]
    if "check" in server and server["check"].value:
        tree["check"] = At(checking.check(proxy, server, secure, defaults, diagnostics), server["check"].mark)
    return At(tree, server["line"].mark)


def _warn_of_sni(proxy: Proxy, diagnostics: Diagnostics) -> None:
    named = [server for server in proxy.servers if "sni" in server and not ("ssl" in server and server["ssl"].value)]
    if named:
        names = ", ".join(str(server["name"].value) for server in named)
        plural = "s" if len(named) > 1 else ""
        message = f"'sni' does nothing without 'ssl': TLS passes untouched to server{plural} {names} of {proxy}"
        diagnostics.warning(named[0]["sni"].mark, message, "remove it")
