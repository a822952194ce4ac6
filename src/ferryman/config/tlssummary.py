"""What the listeners that end TLS accept, worked out as OpenSSL on this machine would: for `ferryman check`.

Used by the command line. Values only; prints nothing.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from ferryman.config.certificates import kind_of_key
from ferryman.config.compile_tlslimits import SUITES, ciphers_for
from ferryman.plan import Certificate, Plan, TlsAccept, TlsLimits


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that clients get to see."""

    names: tuple[str, ...]
    key: str  # such as "RSA 2048"
    expires: str  # date and time, ISO 8601
    file: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """One case of a listener's `tls`. `groups`: () are OpenSSL's own."""

    listener: str
    where: str
    versions: tuple[str, ...]
    ciphers: tuple[str, ...]  # of TLS 1.2, preferred first; without those that no certificate is for
    ciphersuites: tuple[str, ...]  # of TLS 1.3
    groups: tuple[str, ...]
    alpn: tuple[str, ...]
    clients: str  # whether they show certificates
    strict: bool
    certificates: tuple[Shown, ...]


def summary(plan: Plan) -> list[Accepted]:
    """In the order of the listeners and their cases; those that leave TLS untouched are left out."""
    return [
        _accepted(listener.name, case.where, case.accept)
        for listener in plan.listeners
        for case in listener.tls
        if case.accept is not None
    ]


def _accepted(listener: str, where: str, accept: TlsAccept) -> Accepted:
    limits = accept.limits
    shown = tuple(map(_shown, accept.certificates))
    versions = tuple(v for v in ("1.2", "1.3") if limits.min_version <= v <= (limits.max_version or "1.3"))
    return Accepted(
        listener=listener,
        where=where,
        versions=tuple(f"TLSv{version}" for version in versions),
        ciphers=ciphers_for(limits, [each.key for each in shown]) if "1.2" in versions else (),
        ciphersuites=_suites(limits) if "1.3" in versions else (),
        groups=tuple(limits.groups.split(":")) if limits.groups else (),
        alpn=accept.alpn,
        clients=accept.verify,
        strict=accept.strict,
        certificates=shown,
    )


def _shown(certificate: Certificate) -> Shown:
    expires = datetime.fromtimestamp(certificate.not_after, UTC)
    kind = kind_of_key(certificate.chain)
    return Shown(certificate.names, kind, expires.isoformat().replace("+00:00", "Z"), certificate.where)


def _suites(limits: TlsLimits) -> tuple[str, ...]:
    """In the order said; without a word OpenSSL's own."""
    if limits.ciphersuites:
        return tuple(limits.ciphersuites.split(":"))
    names = [str(cipher["name"]) for cipher in ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()]
    return tuple(name for name in names if name in SUITES)
