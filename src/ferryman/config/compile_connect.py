"""The explicit proxy of a listener: settings to plan.Connect, with the traps of such a proxy pointed out.

Called by config.compile_listener. What is done with TLS is compile_tls's, ways through other proxies compile_through's,
users compile_users's.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferryman.config.compile_egress import compile_egress, warn_of_inside
from ferryman.config.compile_rules import Conditional, Tests, compile_condition, refuse_facts, warn_of_unreachable
from ferryman.config.compile_through import compile_through
from ferryman.config.compile_tls import compile_bump, compile_tls, warn_of_unknown_protocol
from ferryman.config.compile_users import check_users, compile_users
from ferryman.config.model import ListenerSettings
from ferryman.config.model_connect import AccessSettings, ConnectSettings, ViaSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Connect, Via
from ferryman.rules.access import Access
from ferryman.rules.condition import expressions

_OF_TCP = ("inspect", "routes", "to", "backend", "servers", "inspect_timeout")


def compile_connect(listener: ListenerSettings, listener_path: Path, tests: Tests, report: Report) -> Connect:
    settings = listener.connect or ConnectSettings()
    path: Path = (*listener_path, "connect")
    for key in _OF_TCP:
        if key in listener.model_fields_set:
            message = f"`{key}` leads somewhere, but the clients of an explicit proxy say themselves where they go"
            report.error((*listener_path, key), message, "remove it, or `connect`")
    users = compile_users(settings, path, report)
    access = None if settings.access is None else _access(settings.access, (*path, "access"), tests, report)
    if "socks5" in settings.protocols:
        _warn_of_methods(access or (), path, report)
    tls = compile_tls(settings.tls, (*path, "tls"), tests, report)
    warn_of_unknown_protocol(settings, path, report)
    via = _via(settings.via, (*path, "via"), tests, report)
    check_users(settings, users, {"access": access or (), "tls": tls, "via": via}, path, report)
    networks, names = compile_egress(settings.egress_allow, settings.egress_guard, path, report)
    if not settings.egress_guard:
        warn_of_inside(access, path, report)
    if settings.users is None and access is None and not listener.connection:
        _warn_of_open(listener.bind, listener_path, report)
    return Connect(
        protocols=tuple(dict.fromkeys(settings.protocols)),
        users=users,
        authenticate=settings.users is not None,
        realm=settings.realm,
        ignore_case=settings.users_ignore_case,
        credentials_ttl=settings.credentials_ttl,
        access=access,
        tls=tls,
        bump=compile_bump(settings, tls, path, report),
        via=via,
        egress_guard=settings.egress_guard,
        egress_networks=networks,
        egress_names=names,
        match_sni=settings.match_sni,
        head_timeout=settings.head_timeout or None,
        max_head=settings.max_head,
        resolve_timeout=settings.resolve_timeout or None,
        connect_timeout=settings.connect_timeout or None,
        server_timeout=settings.server_timeout or None,
        tunnel_timeout=settings.tunnel_timeout or None,
        on_unknown_protocol=settings.on_unknown_protocol,
    )


def _access(entries: Sequence[AccessSettings], path: Path, tests: Tests, report: Report) -> tuple[Access, ...]:
    rules = tuple(
        Access(
            compile_condition(entry.when, (*path, number, "when"), tests, report),
            report.where((*path, number)),
            entry.action == "allow",
        )
        for number, entry in enumerate(entries)
    )
    if not rules:
        report.warning(path, "an empty list refuses everybody", "leave `access` out to allow everybody")
    elif not any(rule.allow for rule in rules) and not (len(rules) == 1 and rules[0].condition is None):
        report.warning(path, "no rule allows anything: everybody is refused", "add {action: allow, when: …}")
    warn_of_unreachable(rules, path, report)
    _refuse_hello(rules, path, report)
    return rules


def _via(entries: Sequence[ViaSettings], path: Path, tests: Tests, report: Report) -> tuple[Via, ...]:
    rules = tuple(
        Via(
            compile_condition(entry.when, (*path, number, "when"), tests, report),
            report.where((*path, number)),
            compile_through(entry.through, (*path, number, "through"), report),
        )
        for number, entry in enumerate(entries)
    )
    warn_of_unreachable(rules, path, report)
    _refuse_hello(rules, path, report)
    return rules


def _warn_of_methods(rules: Sequence[Access], path: Path, report: Report) -> None:
    """Warn of the first rule about methods, past which SOCKS5 leads, unless the rules tell protocols apart."""
    facts = [{each.fact.name for each in expressions(rule.condition)} for rule in rules]
    if any("protocol" in names for names in facts):
        return
    for number, names in enumerate(facts):
        if "method" in names:
            message = "requests by SOCKS5 have no method: no test of it holds for them"
            hint = "say `protocols: [connect, http]`, or what holds for {protocol: socks5}"
            report.warning((*path, "access", number), message, hint)
            return


def _refuse_hello(rules: Sequence[Conditional], path: Path, report: Report) -> None:
    message = "is not known here: the client speaks TLS once it has a connection"
    refuse_facts(rules, path, ("bytes",), message, "target_host is what it asks for; or decide in `tls`", report)


def _warn_of_open(bind: Sequence[Address], path: Path, report: Report) -> None:
    """Warn of a proxy that anybody can use for anything."""
    for number, address in enumerate(bind):
        here = address.family in ("unix", "abstract") or address.host == "::1" or address.host.startswith("127.")
        if not here:
            message = f"whoever reaches {address} may go anywhere: this is an open proxy"
            at = (*path, "bind", number)
            report.warning(at, message, "add `users:` or `access:`, or listen on 127.0.0.1")
            return
