"""What the listeners that end TLS accept, worked out as OpenSSL on this machine would: for `ferryman check`.

Used by the command line. Values only; prints nothing.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from ferryman.config.certificates import kind_of_key
from ferryman.config.compile_tlslimits import SUITES, ciphers_for
from ferryman.plan import Certificate, Plan, TlsAccept, TlsLimits
from ferryman.wire import clienthello

_GROUPS: Final = {
    0x17: "P-256",
    0x18: "P-384",
    0x19: "P-521",
    0x1D: "X25519",
    0x1E: "X448",
    0x100: "ffdhe2048",
    0x101: "ffdhe3072",
    0x102: "ffdhe4096",
    0x103: "ffdhe6144",
    0x104: "ffdhe8192",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
}
"""By their numbers at IANA."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that clients get to see."""

    names: tuple[str, ...]
    key: str  # such as "RSA 2048"
    expires: str  # date and time, ISO 8601
    file: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """One case of a listener's `tls`."""

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
        groups=tuple(limits.groups.split(":")) if limits.groups else _default_groups(versions[-1]),
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


@cache
def _default_groups(newest: str) -> tuple[str, ...]:
    """OpenSSL's own, which it tells nobody: as it offers them where it is the client, preferred first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if newest == "1.2" else ssl.TLSVersion.TLSv1_3
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="a.example").do_handshake()
    hello = clienthello.parse(sent.read())
    assert isinstance(hello, clienthello.ClientHello)
    return tuple(_GROUPS.get(group, f"0x{group:04x}") for group in hello.groups)
