"""What was said into native data: a listener for each TLS port, a backend for each way out of it.

Called by the package's `parse` when all files have been read. Entries become, in their order, rules that refuse
(`inspect`), ways TLS is terminated (`tls`) and routes; a connection that none fits is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.ats import limits, outbound
from ferryman.config.dialects.ats.ipallow import Rules
from ferryman.config.dialects.ats.multicert import Choice, Line, choices
from ferryman.config.dialects.ats.outbound import Site
from ferryman.config.dialects.ats.ports import Port
from ferryman.config.dialects.ats.records import Records
from ferryman.config.dialects.ats.sni import Entry, Route, check_order
from ferryman.config.dialects.ats.values import integer, is_address, networks, port_ranges
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics, Mark

_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_LABELS: Final = re.compile(r"\$1")
_LEVELS: Final = {"NONE": "none", "MODERATE": "optional", "STRICT": "required"}
_HTTP: Final = ("http/1.1", "http/1.0")
_HANDSHAKE: Final = 30  # seconds, handshake_timeout_in
_SILENCE: Final = 30  # seconds, transaction_no_activity_timeout_in and _out
_INACTIVITY: Final = 86400  # seconds, default_inactivity_timeout
_CONNECT: Final = 30  # seconds, connect_attempts_timeout


@dataclass(slots=True)
class Settings:
    """All files together."""

    entries: Sequence[Entry]
    records: Records
    lines: Sequence[Line]
    rules: Rules
    folder: str
    ports: list[Port] = field(default_factory=list)


def build(settings: Settings, diagnostics: Diagnostics) -> dict[str, object]:
    """The native configuration as a tree (config/place.py)."""
    return _Builder(settings, diagnostics).build()


class _Builder:
    def __init__(self, settings: Settings, diagnostics: Diagnostics) -> None:
        self._settings = settings
        self._records = settings.records
        self._diagnostics = diagnostics
        self._site = Site(settings.entries, settings.records, settings.folder, diagnostics)
        self._backends: dict[str, object] = {}
        self._connect_ports: list[tuple[int, int]] | None = [(443, 443)]

    def build(self) -> dict[str, object]:
        check_order(self._settings.entries, self._diagnostics)
        if (word := self._records.word("http.connect_ports")) is not None:
            try:
                self._connect_ports = port_ranges(word)
            except Mistake as mistake:
                self._say(mistake)
        self._check_entries()
        self._check_headers()
        listeners: dict[str, object] = {}
        alike: dict[object, list[Port]] = {}
        for port in self._settings.ports:
            alike.setdefault(port.nature, []).append(port)
        for ports in alike.values():
            name = _free(_STRANGE.sub("-", ports[0].path).strip("-") or str(ports[0].number), listeners)
            listeners[name] = self._listener(ports[0], [port.bind for port in ports])
        tree: dict[str, object] = {"listeners": listeners, "backends": self._backends}
        process = self._process()
        return {"global": process, **tree} if process else tree

    def _say(self, mistake: Mistake) -> None:
        finding = (mistake.mark, mistake.message)
        if not any((each.mark, each.message) == finding for each in self._diagnostics.found):
            self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)

    def _check_entries(self) -> None:
        """Entries that lead nowhere are about HTTP, or about servers."""
        routed = [entry for entry in self._settings.entries if entry.route is not None]
        for entry in self._settings.entries:
            if entry.route is not None or entry.faulty or self._is_about_a_server(entry):
                continue
            message = f"{entry.fqdn.text} leads nowhere: what follows would be HTTP, and clients are refused"
            hint = "add tunnel_route, forward_route or partial_blind_route"
            if routed:
                self._diagnostics.warning(entry.fqdn.mark, message, hint)
            else:
                self._diagnostics.error(entry.fqdn.mark, message, hint)

    def _check_headers(self) -> None:
        for entry in self._settings.entries:
            route = entry.route
            if route is not None and route.port == "proxy" and not any(port.proxied for port in self._settings.ports):
                message = "no PROXY header comes to any port, and it is one's port that is asked for"
                self._diagnostics.error(route.word.mark, message, "add pp to server_ports, as in 443:ssl:pp")

    def _is_about_a_server(self, entry: Entry) -> bool:
        hosts = [each.route.host.lower() for each in self._settings.entries if each.route is not None]
        return any(entry.covers(host) for host in hosts) or any(
            word.text == f"@{entry.name}" for each in self._settings.entries for word in each.settings.values()
        )

    def _process(self) -> dict[str, object]:
        records, process = self._records, dict[str, object]()
        if (user := records.word("admin.user_id")) is not None and user.text != "#-1":
            process["user"] = At(user.text, user.mark)
        workers = records.word("exec_thread.limit")
        if workers is not None and not records.enabled("exec_thread.autoconfig", True):
            process["workers"] = At(records.number("exec_thread.limit", 1), workers.mark)
        most = records.word("net.max_connections_in")
        if most is not None and (number := records.number("net.max_connections_in", 0)) > 0:
            process["max_connections"] = At(number, most.mark)
        return process

    # listeners

    def _listener(self, port: Port, bind: list[At]) -> At:
        records = self._records
        listener: dict[str, object] = {"bind": bind, "mode": "tcp"}
        senders = self._senders(port)
        connection = self._settings.rules.connection("peer_address" if port.proxied else "client_address")
        if senders:
            connection.insert(0, {"action": "reject", "when": {"not": {"peer_address": {"cidr": senders}}}})
        if connection:
            listener["connection"] = connection
        entries = [
            entry for entry in self._settings.entries if port.transparent or port.path or entry.listens(port.number)
        ]
        inspect, routes, cases = self._rules(entries, port)
        if inspect:
            listener["inspect"] = inspect
        listener["routes"] = routes
        if any(case.get("terminate") is None for case in cases):
            listener["tls"] = [At(case, mark) for case, mark in zip(cases, self._marks, strict=True)]
        listener["inspect_timeout"] = self._seconds("ssl.handshake_timeout_in", _HANDSHAKE)
        if port.proxied:
            listener["proxy_protocol"] = {"from": senders} if senders else True
        if port.transparent:
            listener["transparent"] = "tproxy"
        backlog = records.number("net.listen_backlog", -1)
        if backlog > 0:
            listener["backlog"] = backlog
        return At(listener, port.mark)

    def _senders(self, port: Port) -> list[At]:
        word = self._records.word("http.proxy_protocol_allowlist")
        if word is None or not port.proxied:
            return []
        try:
            return networks(word)
        except Mistake as mistake:
            self._say(mistake)
            return []

    def _rules(
        self, entries: Sequence[Entry], port: Port
    ) -> tuple[list[object], list[object], list[dict[str, object]]]:
        """`inspect`, `routes` and `tls`. Each entry that refuses somebody is followed by one that lets all others in,
        and so are those before it, since the first entry that fits counts."""
        inspect: list[object] = []
        routes: list[object] = []
        cases: list[dict[str, object]] = []
        self._marks: list[Mark] = []
        needed = 0  # rules up to the last one that refuses
        for entry in entries:
            when = _condition(entry, port)
            try:
                refusals = self._refusals(entry, port, when)
                way = None
                if entry.route is not None and not (refusals and refusals[0][1]):
                    way = self._cases(entry, entry.route, port, when), self._backend(entry, entry.route, port)
            except Mistake as mistake:
                self._say(mistake)
                continue
            inspect += [At({"action": "reject", "when": rule}, entry.mark) for rule, _ in refusals]
            needed = len(inspect) if refusals else needed
            if way is None:
                continue
            inspect.append(At({"action": "accept", "when": when}, entry.mark))
            cases += way[0]
            self._marks += [entry.mark] * len(way[0])
            routes.append(At({"to": way[1], "when": when}, entry.mark))
        return inspect[:needed], routes, cases

    def _refusals(self, entry: Entry, port: Port, when: dict[str, object]) -> list[tuple[object, bool]]:
        """Conditions under which clients are refused, and whether it is always."""
        route = entry.route
        if route is None or (route.port == "proxy" and not port.proxied):
            return [(when, True)]
        if is_address(route.host) and (rule := self._settings.rules.refusal(route.host)) is not None:
            message = f"ip_allow.yaml denies connections to {route.host}, at {rule.mark}: clients are refused"
            self._diagnostics.warning(route.word.mark, message, "add a rule before it that allows CONNECT to there")
            return [(when, True)]
        found: list[tuple[object, bool]] = []
        if entry.allow is not None:
            found.append(({"all": [when, {"not": {"client_address": {"cidr": entry.allow}}}]}, False))
        ports = self._connect_ports
        if ports is not None and route.port == "proxy" and route.kind == "tunnel":
            ranges = [_range(low, high) for low, high in ports]
            found.append(({"all": [when, {"not": {"local_port": {"integer": ranges}}}]}, False))
        elif ports is not None and route.port == "local" and route.kind == "tunnel" and not port.path:
            if port.transparent:
                ranges = [_range(low, high) for low, high in ports]
                found.append(({"all": [when, {"not": {"local_port": {"integer": ranges}}}]}, False))
            elif not any(low <= port.number <= high for low, high in ports):
                message = f"connect_ports has no {port.number}: clients of that port are refused"
                hint = f"add it: CONFIG proxy.config.http.connect_ports STRING … {port.number}"
                self._diagnostics.warning(route.word.mark, message, hint)
                found.append((when, True))
        return found

    # TLS with clients

    def _cases(self, entry: Entry, route: Route, port: Port, when: dict[str, object]) -> list[dict[str, object]]:
        if route.kind == "tunnel":
            return [{"when": when, "terminate": False}]
        if not self._settings.lines:
            message = f"to terminate the TLS of {entry.fqdn.text} a certificate is needed, and there is none"
            raise Mistake(route.word, message, "add a line `dest_ip=* ssl_cert_name=FILE` to ssl_multicert.config")
        common = {
            **self._clients(entry),
            **limits.of_clients(entry, self._records, self._diagnostics),
            **self._protocols(entry, route, port),
            **self._tickets(entry),
            "handshake_timeout": self._seconds("ssl.handshake_timeout_in", _HANDSHAKE),
        }
        return [
            {**_certificates(choice, when), **common}
            for choice in choices(self._settings.lines, port.inside, port.number)
        ]

    def _clients(self, entry: Entry) -> dict[str, object]:
        records = self._records
        word = entry.settings.get("verify_client") or records.word("ssl.client.certification_level")
        if word is None:
            return {}
        own = "verify_client" in entry.settings
        level = _LEVELS[word.text.upper()] if own else list(_LEVELS.values())[integer(word, 0, 2)]
        if level == "none":
            return {}
        if entry.client_ca is not None:
            ca = At(os.path.join(self._settings.folder, entry.client_ca.text), entry.client_ca.mark)
        elif (file := records.word("ssl.CA.cert.filename")) is not None:
            ca = At(os.path.join(records.folder("ssl.CA.cert.path", self._settings.folder), file.text), file.mark)
        else:
            message = "who may have signed the certificates of clients? As it stands none would be good"
            raise Mistake(word, message, "add verify_client_ca_certs, or proxy.config.ssl.CA.cert.filename")
        return {"clients": At({"certificate": level, "ca": ca}, word.mark)}

    def _protocols(self, entry: Entry, route: Route, port: Port) -> dict[str, object]:
        """A server that speaks TLS chooses among what the client offers, unless that is not to be h2."""
        names = list(_HTTP) if port.http1 else []
        if port.http2 if entry.http2 is None else entry.http2:
            names = ["h2", *names]
        if route.kind == "blind":
            return {} if _free_choice(entry, port) else {"alpn": [_HTTP[0]]}
        return {"alpn": names} if names else {}

    def _tickets(self, entry: Entry) -> dict[str, object]:
        word = entry.settings.get("ssl_ticket_enabled")
        wanted = self._records.enabled("ssl.server.session_ticket.enable", True)
        if word is not None:
            wanted = word.text.lower() in ("1", "true", "on", "yes")
        else:
            wanted = wanted and all(line.tickets for line in self._settings.lines)
        return {} if wanted else {"tickets": False}

    # ways out

    def _backend(self, entry: Entry, route: Route, port: Port) -> str:
        """The name of the backend; it is made when first needed. Entries alike share nothing, ports do."""
        backend = At(self._way_out(entry, route, port), entry.mark)
        base = _STRANGE.sub("", entry.name.replace("*", "any"))
        name, number = base, 2
        while name in self._backends and self._backends[name] != backend:
            name, number = f"{base}-{number}", number + 1
        self._backends[name] = backend
        return name

    def _way_out(self, entry: Entry, route: Route, port: Port) -> dict[str, object]:
        records = self._records
        backend: dict[str, object] = self._target(entry, route, port)
        backend["connect_timeout"] = self._seconds("http.connect_attempts_timeout", _CONNECT)
        if route.kind == "tunnel":
            silence = [records.number(f"http.transaction_no_activity_timeout_{way}", _SILENCE) for way in ("in", "out")]
            backend["tunnel_timeout"] = min((each for each in silence if each > 0), default=0)
        else:
            backend["tunnel_timeout"] = self._seconds("net.default_inactivity_timeout", _INACTIVITY)
        if route.kind == "blind":
            tls = outbound.tls(entry, route, self._site)
            if not _free_choice(entry, port):
                tls["alpn"] = [_HTTP[0]]
            backend["tls"] = At(tls, route.word.mark)
        if port.client_source:
            backend["source"] = At("client", port.mark)
        elif port.outside:
            six = ":" in route.host
            fitting = [each for each in port.outside if (":" in each) == six] or port.outside
            backend["source"] = At(fitting[0], port.mark)
        if (version := self._announced()) is not None:
            backend["send_proxy"] = version
        if (prewarm := outbound.prewarm(entry, backend, _moving(route, port), self._site)) is not None:
            backend["prewarm"] = prewarm
        return backend

    def _announced(self) -> At | None:
        """The PROXY header that servers get."""
        word = self._records.word("http.proxy_protocol_out")
        if word is None or word.text == "-1":
            return None
        if word.text not in ("1", "2"):
            message = f"proxy_protocol_out {word.text} is Traffic Server's, not supported by ferryman yet"
            raise Mistake(word, message, "write 1 or 2")
        return At(f"v{word.text}", word.mark)

    def _target(self, entry: Entry, route: Route, port: Port) -> dict[str, object]:
        """`servers`, or a `destination` where the host is computed."""
        number = route.port
        if route.port in ("local", "proxy"):
            moving = _moving(route, port)
            if not moving and not port.number:
                raise Mistake(route.word, "clients of a Unix socket use no port", "write one")
            number = "" if moving else str(port.number)
        if "$1" not in route.host:
            host = f"[{route.host}]" if ":" in route.host else route.host.rstrip(".")
            server = {"address": At(f"{host}:{number}" if number else host, route.word.mark)}
            retries = self._records.word("http.connect_attempts_max_retries")
            found: dict[str, object] = {"servers": [At(server, route.word.mark)]}
            if retries is not None:
                found["retries"] = At(self._records.number("http.connect_attempts_max_retries", 3), retries.mark)
            return found
        labels = entry.name.count(".")
        host = _LABELS.sub(f"{{sni-{labels}}}" if labels else "{sni}", route.host.rstrip("."))
        port_fact = "{proxy_port}" if route.port == "proxy" else "{local_port}"
        destination: dict[str, object] = {"to": At(f"{host}:{number or port_fact}", route.word.mark)}
        if allowed := self._settings.rules.allowed():
            destination["egress_allow"] = allowed
        self._warn_of_denied(route)
        return {"destination": At(destination, route.word.mark)}

    def _warn_of_denied(self, route: Route) -> None:
        rule = self._settings.rules.denies
        if rule is not None:
            message = f"where {route.word.text} leads is not held against the rule at {rule.mark}"
            hint = "loopback, the local link and cloud metadata are refused; see to the rest with a firewall"
            self._diagnostics.warning(route.word.mark, message, hint)

    def _seconds(self, name: str, default: int) -> object:
        word = self._records.word(name)
        return At(self._records.number(name, default), word.mark) if word is not None else default


def _free_choice(entry: Entry, port: Port) -> bool:
    """May a server choose h2?"""
    if any(word.text == "h2" for word in entry.alpn or ()):
        return True
    return port.http2 if entry.http2 is None else entry.http2


def _moving(route: Route, port: Port) -> bool:
    """Is the port of the servers the client's to choose?"""
    return route.port == "proxy" or (route.port == "local" and port.transparent)


def _condition(entry: Entry, port: Port) -> dict[str, object]:
    """When an entry fits."""
    name = At(entry.name, entry.fqdn.mark)
    if entry.name == "*":
        when: dict[str, object] = {"hello_type": {"integer": ["1"]}}  # Traffic Server's `*` needs no name at all
    elif is_address(entry.name):
        when = {"sni": {"is": [name]}}
    else:
        when = {"sni": {"name": [name]}}
    if entry.ports is not None and port.transparent:
        when["local_port"] = {"integer": [_range(low, high) for low, high in entry.ports]}
    return when


def _certificates(choice: Choice, when: dict[str, object]) -> dict[str, object]:
    where = {**when, "local_address": {"cidr": [choice.host]}} if choice.host else when
    case: dict[str, object] = {"when": where, "certificates": list(choice.entries)}
    return {**case, "strict": True} if choice.strict else case


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _free(base: str, taken: dict[str, object]) -> str:
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name
