"""Services into native data: a listener and a backend for each, a route for each name that a server has services for.

Called by the package's `parse` when all lines have been read. What one service says wrongly leaves the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ferryman.config.dialects.stunnel import addresses, process, protocol, sockets, tls
from ferryman.config.dialects.stunnel.reader import Options, Reader
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

T = TypeVar("T")

_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
_BUSY: Final = 300  # seconds, TIMEOUTbusy
_CLOSE: Final = 60  # seconds, TIMEOUTclose
_CONNECT: Final = 10  # seconds, TIMEOUTconnect
_IDLE: Final = 43200  # seconds, TIMEOUTidle
_AT_ONCE: Final = 1  # seconds, for what stunnel does after 0


def build(reader: Reader, diagnostics: Diagnostics) -> dict[str, object]:
    """The native configuration as a tree (config/place.py)."""
    return _Builder(reader, diagnostics).build()


class _Builder:
    def __init__(self, reader: Reader, diagnostics: Diagnostics) -> None:
        self._process = reader.process
        self._services = reader.services
        self._faulty = reader.faulty
        self._diagnostics = diagnostics
        self._backends: dict[str, object] = {}
        self._names: dict[int, str] = {}  # of services, by id()

    def build(self) -> dict[str, object]:
        general = self._try(lambda: process.settings(self._process)) or {}
        self._check_inetd()
        taken: dict[str, int] = {}
        for service in self._services:
            self._names[id(service)] = _free(_STRANGE.sub("-", service.name).strip("-") or "service", taken)
        secondaries = self._secondaries()
        listeners: dict[str, object] = {}
        for service in self._services:
            if any(service is each for each, _, _ in secondaries) or self._is_cut(service):
                continue
            listener = self._try(lambda service=service: self._listener(service, secondaries))  # type: ignore[misc]
            if listener is not None:
                if self._has_own_level(service):
                    listener["log"] = process.log(self._process, service)
                listeners[self._names[id(service)]] = At(listener, service.mark)
        if not listeners:
            return {}
        tree: dict[str, object] = {"listeners": listeners, "backends": self._backends}
        return {"global": general, **tree} if general else tree

    def _try(self, make: Callable[[], T]) -> T | None:
        """What it makes, or None when there is a mistake, which is said."""
        try:
            return make()
        except Mistake as mistake:
            self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)
            return None

    def _is_cut(self, service: Options) -> bool:
        """Has a line been refused that may have said where it leads?"""
        return service.name in self._faulty and not (service.all("accept") and service.all("connect"))

    def _has_own_level(self, service: Options) -> bool:
        return self._try(lambda: process.limit(service)) != self._try(lambda: process.limit(self._process))

    def _check_inetd(self) -> None:
        process = self._process
        if self._services:
            return
        words = [word for name, word in process.said if name in ("accept", "connect", "client")]
        if words:
            message = "there is no [service]: under inetd stunnel serves one connection, which ferryman does not"
            self._diagnostics.error(words[0].mark, message, "write [NAME] and accept = PORT")

    # services

    def _listener(self, service: Options, secondaries: Sequence[tuple[Options, Options, Word]]) -> dict[str, object]:
        """Raises Mistake."""
        client = service.truth("client", False)
        _check_endpoints(service)
        sockets.check(service, self._diagnostics)
        accepting = service.all("accept")
        listener: dict[str, object] = {"bind": [addresses.listening(word) for word in accepting], "mode": "tcp"}
        if client and not _transparent(service)[1] and any(addresses.on_all(word) for word in accepting):
            word = next(word for word in accepting if addresses.on_all(word))
            message = (
                f"whoever reaches port {word.text} of this machine, on any of its addresses, is let into the tunnel"
            )
            self._diagnostics.warning(word.mark, message, f"write accept = 127.0.0.1:{word.text}")
        timeout = self._seconds(service, "timeoutbusy", _BUSY)
        routes: list[object] = []
        if not client:
            cases, inspect = self._cases(service, secondaries, timeout, routes)
            listener["tls"] = cases
            listener["inspect_timeout"] = timeout
            if inspect:
                listener["inspect"] = inspect
        if _transparent(service)[1]:
            listener["transparent"] = "redirect"
        if routes:
            listener["routes"] = routes
        listener["to"] = self._backend(service, client)
        listener["client_fin_timeout"] = self._seconds(service, "timeoutclose", _CLOSE, _AT_ONCE)
        if sockets.keepalive(service, "al"):
            listener["keepalive"] = True
        listener["log_separate_errors"] = True
        return listener

    def _cases(
        self,
        service: Options,
        secondaries: Sequence[tuple[Options, Options, Word]],
        timeout: At | int,
        routes: list[object],
    ) -> tuple[list[object], list[object]]:
        """`tls` and `inspect` of a server: of its secondary services first, each for the names it is for."""
        cases: list[object] = []
        inspect: list[object] = []
        others: list[object] = []  # names that services before were for
        for secondary, primary, pattern in secondaries:
            if primary is not service:
                continue
            when = _matches(pattern)
            made = self._try(
                lambda each=secondary: (tls.of_clients(each, timeout, self._diagnostics), self._backend(each, False))  # type: ignore[misc]
            )
            if made is None:
                continue
            (case, refused), backend = made
            cases.append(At({"when": when, **case}, secondary.mark))
            inspect += [_reject({"all": [when, rule, *_none_of(others)]}, secondary) for rule in refused]
            routes.append(At({"to": backend, "when": when}, secondary.mark))
            others.append(when)
        case, refused = tls.of_clients(service, timeout, self._diagnostics)
        cases.append(At(case, service.mark))
        inspect += [_reject({"all": [rule, *_none_of(others)]} if others else rule, service) for rule in refused]
        return cases, inspect

    def _secondaries(self) -> list[tuple[Options, Options, Word]]:
        """Services for names: each with the one that accepts for it, and the pattern. In the order of the file."""
        found = []
        for service in self._services:
            if service.truth("client", False):
                continue
            for word in service.all("sni"):
                primary = self._try(lambda word=word, service=service: self._primary(service, word))  # type: ignore[misc]
                if primary is not None:
                    _, _, pattern = word.text.partition(":")
                    found.append((service, primary, Word(pattern, word.mark)))
        return found

    def _primary(self, service: Options, word: Word) -> Options:
        name, colon, pattern = word.text.partition(":")
        if not colon or not pattern:
            raise Mistake(
                word, f"'sni' of a server is SERVICE:PATTERN, not {word.text!r}", "write [SERVICE]'s name first"
            )
        primary = next((each for each in self._services if each.name == name), None)
        if primary is None:
            raise Mistake(word, f"there is no service [{name}]", "name the one that has `accept`")
        if primary.truth("client", False):
            raise Mistake(word, f"[{name}] is a client", "name a server that has `accept`")
        if primary.all("sni") or not primary.all("accept"):
            raise Mistake(word, f"[{name}] accepts nothing itself", "name a server that has `accept`")
        if service.all("accept"):
            raise Mistake(word, "a service for names has no `accept` of its own", "remove one of them")
        return primary

    # ways out

    def _backend(self, service: Options, client: bool) -> str:
        """The name of a service's backend, which is made here. Raises Mistake."""
        kind = protocol.chosen(service, client, self._diagnostics)
        backend: dict[str, object] = {}
        connecting = service.all("connect")
        by_source, by_destination = _transparent(service)
        if by_destination:
            backend["destination"] = "{original_address}:{original_port}"
        elif kind == "connect":
            backend["servers"] = [{"address": protocol.server(service)}]
            backend["via"] = protocol.via(service, self._diagnostics)
        else:
            servers = [addresses.connecting(word) for word in connecting]
            backend["servers"] = [At({"address": each}, each.mark) for each in dict.fromkeys(servers)]
        if not by_destination:
            backend |= self._choice(service, len(connecting) if kind != "connect" else 1)
        backend["connect_timeout"] = self._seconds(service, "timeoutconnect", _CONNECT)
        if client:
            backend["negotiation_timeout"] = self._seconds(service, "timeoutbusy", _BUSY)
        backend["tunnel_timeout"] = self._seconds(service, "timeoutidle", _IDLE)
        backend["server_fin_timeout"] = self._seconds(service, "timeoutclose", _CLOSE, _AT_ONCE)
        if sockets.keepalive(service, "r"):
            backend["keepalive"] = True
        if (source := sockets.origin(service, by_source)) is not None:
            if kind == "connect":
                message = "where connections to a proxy come from is stunnel's to say, not supported by ferryman yet"
                raise Mistake(source.mark, message, "remove it")
            backend["source"] = source
        if kind == "proxy":
            backend["send_proxy"] = "v1"
        if client:
            asked = service.last("protocolhost") or (connecting[0] if connecting else None)
            backend["tls"] = tls.of_server(service, asked, self._diagnostics)
        name = self._names[id(service)]
        self._backends[name] = At(backend, service.mark)
        return name

    def _choice(self, service: Options, servers: int) -> dict[str, object]:
        """Each server is tried once, the first one first, or in turn."""
        if servers < 2:
            return {"retries": 0}
        failover = service.last("failover")
        in_turn = failover is not None and failover.text.lower() == "rr"
        return {"balance": "roundrobin" if in_turn else "first", "retries": servers - 1, "redispatch": 1}

    def _seconds(self, service: Options, name: str, usual: int, zero: int = 0) -> At | int:
        word = service.last(name)
        return At(int(word.text) or zero, word.mark) if word is not None else usual


def _check_endpoints(service: Options) -> None:
    """A service has two ends. Raises Mistake."""
    accepts, connects = service.all("accept"), service.all("connect")
    if not accepts:
        raise Mistake(service.mark, f"[{service.name}] accepts nothing", "add accept = PORT")
    if connects and _transparent(service)[1]:
        message = "connections lead to where they wanted to go, or to `connect`: which is meant?"
        raise Mistake(connects[0], message, "remove one of them")
    if not connects and not _transparent(service)[1]:
        raise Mistake(service.mark, f"[{service.name}] leads nowhere", "add connect = HOST:PORT")


def _transparent(service: Options) -> tuple[bool, bool]:
    """Whether servers see the client's address, and whether connections lead to where they wanted to go."""
    word = service.last("transparent")
    text = word.text.lower() if word is not None else ""
    return text in ("source", "yes", "both"), text in ("destination", "both")


def _matches(pattern: Word) -> dict[str, object]:
    """stunnel's `*` stands for the beginning of a name, dots and all."""
    if pattern.text.startswith("*"):
        rest = pattern.text[1:]
        if not rest:
            return {"sni": {"prefix": At("", pattern.mark)}}
        return {"sni": {"suffix": At(rest, pattern.mark), "ignore_case": True}}
    return {"sni": {"is": At(pattern.text, pattern.mark), "ignore_case": True}}


def _none_of(conditions: Sequence[object]) -> list[object]:
    return [{"not": each} for each in conditions]


def _reject(when: object, service: Options) -> At:
    return At({"action": "reject", "when": when}, service.mark)


def _free(base: str, taken: dict[str, int]) -> str:
    """A name that nothing has yet. `taken`: the number that each name was last given, so that none is tried again."""
    name, number = base, taken.get(base, 1)
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken[base] = number
    taken.setdefault(name, 1)
    return name
