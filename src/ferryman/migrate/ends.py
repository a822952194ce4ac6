"""The native configurations of a migration's two ends. Data in, data out; written down and run by migrate.engine.

client end   a listener on loopback for each volume -> [proxy] -> TLS, the server known by its fingerprint
server end   TLS 1.3; the protocol a client names (ALPN) says which volume it wants, whose daemon has a Unix socket of
             its own. Whoever has not the one certificate that is expected gets nowhere, but for a claim.

rsync cannot speak to a Unix socket as a client, so that end listens on loopback. What else runs on that machine may
connect there, but does not know the password that the daemon asks for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CLAIM: Final = "ferryman-migrate-claim"
CONTROL: Final = "ferryman-migrate-control"
_VOLUME: Final = "ferryman-migrate-volume-"
CONNECT_TIMEOUT: Final = 10.0
"""Seconds for each step on the way, as stunnel has it."""
_SUITES: Final = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
"""The cheapest first: a volume is many bytes."""


@dataclass(frozen=True, slots=True)
class Via:
    """A proxy on the way: http:// or https://, credentials in the URL or beside it."""

    url: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""

    def settings(self) -> dict[str, Any]:
        found = {"url": self.url, "user": self.user, "password": self.password, "ca": self.ca}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Peer:
    """The server as the client end knows it. Neither `fingerprint` nor `ca`: it is not verified at all.

    `ours`: it is ferryman's, so TLS 1.3 it is and ALPN says what for. `certificate`: file with ours and its key.
    """

    addresses: tuple[str, ...]
    fingerprint: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    name: str = ""
    ours: bool = True


def protocol(volume: str) -> str:
    """What the client end names (ALPN) to get to a volume."""
    return _VOLUME + volume


def listener_name(volume: str) -> str:
    """Of a volume's listener at the client end, as its log lines have it."""
    return f"to.{volume}"


def served_name(port: int) -> str:
    """Of the server end's listener."""
    return f"served.{port}"


def client_end(peer: Peer, via: Via | None, doors: Mapping[str, str], services: Mapping[str, str]) -> dict[str, Any]:
    """`doors`: where each volume's rsync connects to; `services`: Unix sockets to CLAIM and CONTROL."""
    listeners, backends = dict[str, Any](), dict[str, Any]()
    ways = [(listener_name(volume), door, protocol(volume)) for volume, door in doors.items()]
    ways += [(service, f"unix@{path}", service) for service, path in services.items()]
    for name, bind, alpn in ways:
        listeners[name] = {"bind": bind, "keepalive": True, "to": name}
        backends[name] = {
            "servers": list(peer.addresses),
            "balance": "first",
            "retries": len(peer.addresses) - 1,
            "redispatch": True,
            "connect_timeout": CONNECT_TIMEOUT,
            "keepalive": True,
            "tls": _tls(peer, alpn),
            **({"via": via.settings()} if via is not None else {}),
        }
    return {"listeners": listeners, "backends": backends}


def _tls(peer: Peer, alpn: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"verify": bool(peer.fingerprint or peer.ca), "resume": False}
    if peer.ours:
        settings |= {"min_version": "1.3", "ciphersuites": _SUITES, "alpn": [alpn]}
    else:
        settings["alpn"] = "none"
    if peer.fingerprint:
        settings["fingerprints"] = [peer.fingerprint]
    elif peer.ca:
        settings["ca"] = peer.ca
    if peer.name:
        settings["server_name"] = peer.name
    if peer.certificate and alpn != CLAIM:  # who claims is not known as yet
        settings["certificate"] = {"file": peer.certificate, **({"key": peer.key} if peer.key else {})}
    return settings


def server_end(
    bind: Sequence[str],
    port: int,
    certificate: str,
    expected: str,
    volumes: Mapping[str, str],
    services: Mapping[str, str],
) -> dict[str, Any]:
    """`certificate`: file with its own and the key; `expected`: file with the client's, "": nobody has claimed yet.

    `volumes`, `services`: Unix sockets of the volumes' daemons, and of CLAIM and CONTROL.
    """  # fmt: skip
    claims = {"alpn": CLAIM}
    shared = {"certificates": certificate, "min_version": "1.3", "tickets": False}
    cases: list[dict[str, Any]] = []
    routes: list[dict[str, Any]] = []
    backends: dict[str, Any] = {}
    if CLAIM in services:
        cases.append({"when": claims, "alpn": [CLAIM], **shared})
    if expected:
        names = [*(name for name in services if name != CLAIM), *map(protocol, volumes)]
        cases.append(
            {"alpn": names, "clients": {"certificate": "required", "ca": expected}, "ciphersuites": _SUITES, **shared}
        )
    for service, path in services.items():
        if service == CLAIM or expected:
            routes.append({"to": service, "when": claims if service == CLAIM else {"alpn": service}})
            backends[service] = {"servers": f"unix@{path}"}
    for volume, path in volumes.items() if expected else ():
        routes.append({"to": protocol(volume), "when": {"alpn": protocol(volume)}})
        backends[protocol(volume)] = {"servers": f"unix@{path}"}
    listener = {
        "bind": list(bind),
        "keepalive": True,
        "max_per_client": 0,
        "inspect": [{"action": "reject", "when": {"not": {"alpn": [route["to"] for route in routes]}}}],
        "tls": cases,
        "routes": routes,
    }
    return {"listeners": {served_name(port): listener}, "backends": backends}


def united(*documents: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """One configuration for both ends, where both are here; its log goes to standard output."""
    whole: dict[str, Any] = {
        "global": {"workers": workers, "log": "stdout", "node": "ferryman-migrate"},
        "listeners": {},
        "backends": {},
    }
    for document in documents:
        for section in ("listeners", "backends"):
            whole[section] |= document[section]
    return whole


def as_text(document: Mapping[str, Any]) -> str:
    """As a native configuration is written: ${NAME} in a value would stand for a variable of the environment."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("${", "$${")
        if isinstance(value, list):
            return [plain(one) for one in value]
        return {key: plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value

    return json.dumps(plain(document), indent=1)  # JSON is YAML, too


def workers(parallel: int) -> int:
    """One connection keeps one worker busy; a migration within one machine has two ends."""
    return max(1, min(parallel, len(os.sched_getaffinity(0))))
