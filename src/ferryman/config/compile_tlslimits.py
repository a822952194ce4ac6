"""What of TLS may be negotiated: settings to plan.TlsLimits, asking OpenSSL what it knows.

Called by config.compile_tlsaccept and config.compile_tlsconnect; names of servers by whatever else speaks TLS, too.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from typing import Final

from ferryman.config.model_tls import LimitSettings
from ferryman.config.nearest import nearest
from ferryman.config.source import Path, Report
from ferryman.plan import TlsLimits

SUITES: Final = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)
"""The cipher suites of TLS 1.3 (RFC 8446 B.4)."""
_GROUPS: Final = (
    *("X25519", "X448", "P-256", "P-384", "P-521", "prime256v1", "secp256r1", "secp384r1", "secp521r1"),
    *("brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"),
    *("ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"),
)
_GROUPS_SINCE_3_5: Final = (
    *("X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"),
    *("MLKEM512", "MLKEM768", "MLKEM1024"),
)
_OPERATORS: Final = re.compile(r"[!+-]|@")


def compile_limits(settings: LimitSettings, path: Path, report: Report) -> TlsLimits:
    newest = settings.max_version or ""
    if newest and newest < settings.min_version:
        message = f"no version of TLS is left: the oldest is {settings.min_version}, the newest {newest}"
        report.error((*path, "max_version"), message, "remove one of them")
    if settings.ciphers and settings.min_version == "1.3":
        hint = "write `ciphersuites:`"
        report.warning((*path, "ciphers"), "`ciphers` are of TLS 1.2, which is not spoken", hint)
    if settings.ciphersuites and newest == "1.2":
        hint = "write `ciphers:`"
        report.warning((*path, "ciphersuites"), "`ciphersuites` are of TLS 1.3, which is not spoken", hint)
    _check_ciphers(settings.ciphers, (*path, "ciphers"), report)
    _check_suites(settings.ciphersuites, (*path, "ciphersuites"), report)
    _check_groups(settings.groups, (*path, "groups"), report)
    return TlsLimits(
        min_version=settings.min_version,
        max_version=newest,
        ciphers=settings.ciphers,
        ciphersuites=settings.ciphersuites,
        groups=settings.groups,
    )


def ciphers_for(limits: TlsLimits, keys: Iterable[str]) -> tuple[str, ...]:
    """Of TLS 1.2, preferred first: those that certificates of these kinds ("RSA 2048", "ECDSA P-256") are good for."""
    kinds = {"auth-rsa" if key.startswith("RSA") else "auth-ecdsa" for key in keys}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if limits.ciphers:
        context.set_ciphers(limits.ciphers)
    return tuple(
        str(cipher["name"])
        for cipher in context.get_ciphers()
        if cipher["protocol"] != "TLSv1.3"
        and cipher.get("auth") in kinds
        and cipher.get("kea") in ("kx-ecdhe", "kx-rsa")  # there are no parameters for kx-dhe
    )


def check_server_name(name: str, path: Path, report: Report) -> None:
    """A name that OpenSSL asks no server for, such as one with an empty label, would fail every connection."""
    bio = ssl.MemoryBIO()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(bio, bio, server_hostname=name)
        good = not re.search(r"[\s*]", name)
    except (ValueError, TypeError, ssl.SSLError):
        good = False
    if not good:
        report.error(path, f"no server can be asked for {name!r}", "write a host name, such as backend.example.org")


def _check_ciphers(text: str, path: Path, report: Report) -> None:
    """OpenSSL leaves out what it does not know, and refuses what leaves nothing."""
    if not text:
        return
    if not _taken(text):
        message = "OpenSSL on this machine knows none of these ciphers"
        report.error(path, message, "`openssl ciphers -v` lists what there is")
        return
    unknown = [part for part in re.split("[:, ]", text) if part and not _OPERATORS.match(part) and not _taken(part)]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        message = f"OpenSSL on this machine has no cipher{plural} {', '.join(unknown)}"
        report.warning(path, message, "the others are used")


def _taken(ciphers: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _check_suites(text: str, path: Path, report: Report) -> None:
    for suite in text.split(":") if text else ():
        if suite not in SUITES:
            hint = nearest(suite, SUITES) or f"there are {', '.join(SUITES)}"
            report.error(path, f"{suite!r} is no cipher suite of TLS 1.3", hint)


def _check_groups(text: str, path: Path, report: Report) -> None:
    modern = ssl.OPENSSL_VERSION_INFO >= (3, 5)
    for group in text.split(":") if text else ():
        if group in _GROUPS or (modern and group in _GROUPS_SINCE_3_5):
            continue
        if group in _GROUPS_SINCE_3_5:
            message = f"the group {group} needs OpenSSL 3.5, this is {ssl.OPENSSL_VERSION}"
            report.error(path, message, "leave it out")
        else:
            known = (*_GROUPS, *_GROUPS_SINCE_3_5) if modern else _GROUPS
            report.error(path, f"{group!r} is no group for a key exchange", nearest(group, known) or "such as X25519")
