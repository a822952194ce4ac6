"""The plans of a migration's two ends. Data in, data out; migrate.engine carries them out.

client end   a listener on loopback for each volume -> [proxy] -> TLS, the server known by its fingerprint
server end   TLS 1.3; the protocol a client names (ALPN) says which volume it wants, whose daemon has a Unix socket of
             its own. Whoever has not the one certificate that is expected gets nowhere, but for a claim.

rsync cannot speak to a Unix socket as a client, so that end listens on loopback. What else runs on that machine may
connect there, but does not know the password that the daemon asks for. Where both ends are on one machine and no proxy
is between them they meet at a Unix socket, too, in a folder that nobody else can enter.

Plans are made here and not by config.compile, from a native configuration: what is needed is known, no key has to be
written to a file, and what reads configurations need not be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from ferryman.config.proxy_url import parse_proxy_url
from ferryman.config.values import parse_connect_address
from ferryman.migrate.certificates import Identity
from ferryman.plan import (
    AccessLog,
    Address,
    Backend,
    Certificate,
    Hop,
    Listener,
    LogTarget,
    Plan,
    Server,
    Settings,
    Through,
    TlsAccept,
    TlsCase,
    TlsConnect,
    TlsLimits,
)
from ferryman.rules.condition import Condition, Not, Test
from ferryman.rules.decision import Action, Route, Rule
from ferryman.rules.expression import Call, Expression
from ferryman.rules.match import Matcher

CLAIM: Final = "ferryman-migrate-claim"
CONTROL: Final = "ferryman-migrate-control"
SERVED: Final = "served"
"""The server end's listener, as log lines have it."""
_VOLUME: Final = "ferryman-migrate-volume-"
CONNECT_TIMEOUT: Final = 10.0
"""Seconds for each step on the way, as stunnel has it."""
HELLO_TIMEOUT: Final = 10.0
"""Seconds that a client may take to say which volume it wants."""
_SUITES: Final = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
"""The cheapest first: a volume is many bytes."""
OURS: Final = TlsLimits(min_version="1.3", ciphersuites=_SUITES)
_WHERE: Final = "ferryman migrate"
_LINE: Final = 8192  # bytes


@dataclass(frozen=True, slots=True)
class Via:
    """A proxy on the way: http:// or https://, credentials in the URL or beside it. `ca`: a file."""

    url: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """The server as the client end knows it. Neither `fingerprint` nor `ca` (PEM): it is not verified at all.

    `ours`: it is ferryman's, so TLS 1.3 it is and ALPN says what for. `certificate`: what it is shown.
    """

    addresses: tuple[str, ...]
    fingerprint: str = ""
    ca: str = ""
    certificate: Certificate | None = None
    name: str = ""
    ours: bool = True


@dataclass(frozen=True, slots=True)
class End:
    """Listeners and backends whose ids are not given yet."""

    listeners: tuple[Listener, ...]
    backends: tuple[Backend, ...]


def protocol(volume: str) -> str:
    """What the client end names (ALPN) to get to a volume."""
    return _VOLUME + volume


def listener_name(volume: str) -> str:
    """Of a volume's listener at the client end, as its log lines have it."""
    return f"to.{volume}"


def shown(identity: Identity) -> Certificate:
    """An identity as plans have it."""
    return Certificate(_WHERE, identity.certificate, identity.key, (), inf)


def hop(via: Via, ca: str) -> Hop:
    """`ca`: PEM of what verifies an https:// proxy; "": the system's. Raises ValueError for a bad URL."""
    url = parse_proxy_url(via.url)
    return Hop(url.scheme, url.address, via.user or url.user, via.password or url.password, ca=ca)


def client_end(peer: Peer, proxy: Hop | None, doors: Mapping[str, tuple[str, int]], services: Mapping[str, str]) -> End:
    """`doors`: where each volume's rsync connects to; `services`: Unix sockets to CLAIM and CONTROL."""
    ways = [(listener_name(name), address(*door), protocol(name)) for name, door in doors.items()]
    ways += [(name, Address("unix", path), name) for name, path in services.items()]
    listeners = [_listener(name, bind, default_backend=name) for name, bind, _ in ways]
    backends = [
        Backend(
            id=0,
            name=name,
            servers=tuple(
                Server(0, one, name, parse_connect_address(one), tls=_tls(peer, alpn)) for one in peer.addresses
            ),
            algorithm="first",
            retries=len(peer.addresses) - 1,
            connect_timeout=CONNECT_TIMEOUT,
            queue_timeout=CONNECT_TIMEOUT,
            keepalive=True,
            via=Through(((proxy,),)) if proxy is not None else None,
        )
        for name, _, alpn in ways
    ]
    return End(tuple(listeners), tuple(backends))


def _tls(peer: Peer, alpn: str) -> TlsConnect:
    return TlsConnect(
        verify=bool(peer.fingerprint or peer.ca),
        ca="" if peer.fingerprint else peer.ca,
        fingerprints=(peer.fingerprint,) if peer.fingerprint else (),
        server_name=peer.name or None,
        certificate=peer.certificate if alpn != CLAIM else None,  # who claims is not known as yet
        alpn=(alpn,) if peer.ours else (),
        limits=OURS if peer.ours else TlsLimits(),
        resume=False,
    )


def server_end(
    bind: Address,
    certificate: Certificate,
    expected: str,
    volumes: Mapping[str, str],
    services: Mapping[str, str],
) -> End:
    """`certificate`: its own; `expected`: the client's, PEM, "": nobody has claimed yet.

    `volumes`, `services`: Unix sockets of the volumes' daemons, and of CLAIM and CONTROL.
    """
    known = [protocol(name) for name in volumes] if expected else []
    known += [name for name in services if expected and name != CLAIM]
    cases = []
    if CLAIM in services:
        accept = TlsAccept((certificate,), limits=TlsLimits(min_version="1.3"), alpn=(CLAIM,), tickets=False)
        cases.append(TlsCase(_says((CLAIM,)), _WHERE, accept))
    if expected:
        accept = TlsAccept(
            (certificate,), limits=OURS, alpn=tuple(known), verify="required", ca=expected, tickets=False
        )
        cases.append(TlsCase(None, _WHERE, accept))
    paths = {**services, **{protocol(name): path for name, path in volumes.items()}}
    names = [*([CLAIM] if CLAIM in services else []), *known]
    listener = replace(
        _listener(SERVED, bind),
        inspect=(Rule(Action.REJECT, Not(_says(names)), _WHERE),),
        routes=tuple(Route(_says((name,)), _WHERE, name) for name in names),
        needs_hello=True,
        inspect_timeout=HELLO_TIMEOUT,
        tls=tuple(cases),
    )
    backends = [
        Backend(0, name, (Server(0, name, name, Address("unix", paths[name])),), queue_timeout=5.0) for name in names
    ]
    return End((listener,), tuple(backends))


def _says(names: Sequence[str]) -> Condition:
    matcher = Matcher.build("is", names)
    return Test(Expression(Call("alpn")), matcher, f"alpn {matcher.says()}")


def address(host: str, port: int) -> Address:
    """Of numbers."""
    return Address("inet6" if ":" in host else "inet", host, port)


def _listener(name: str, bind: Address, default_backend: str = "") -> Listener:
    return Listener(0, name, "tcp", (bind,), AccessLog((), "json"), default_backend=default_backend, keepalive=True)


def united(*parts: End, workers: int, log: int) -> Plan:
    """One plan for both ends, where both are here. `log`: the descriptor that lines go to."""
    target = LogTarget(0, "fd", str(log), format="raw", length=_LINE)
    access = AccessLog((target,), "json")
    listeners = [one for part in parts for one in part.listeners]
    backends: list[Backend] = []
    servers: list[Server] = []
    for number, backend in enumerate(one for part in parts for one in part.backends):
        own = tuple(replace(server, id=len(servers) + place) for place, server in enumerate(backend.servers))
        servers += own
        backends.append(replace(backend, id=number, servers=own))
    return Plan(
        Settings(workers=workers, node="ferryman-migrate", log=(target,)),
        tuple(replace(one, id=number, log=access) for number, one in enumerate(listeners)),
        tuple(backends),
        tuple(servers),
        (target,),
    )


def workers(parallel: int) -> int:
    """One connection keeps one worker busy; a migration within one machine has two ends."""
    return max(1, min(parallel, len(os.sched_getaffinity(0))))
