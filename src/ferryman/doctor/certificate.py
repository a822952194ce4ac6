"""Certificates: which one is shown, and what follows from it. Pure; the probes are in handshake.

A forged certificate cannot be told from a real one by its names: Squid copies subject, names and dates, and makes a
self-signed one look self-signed. Fingerprints can be compared, with what was expected, with what the target shows
without the proxy, or by who signs what the proxy shows for a name that does not exist.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from ferryman.doctor.answer import shown

_LABEL: Final = "(?:sha-?256(?: fingerprint)?[:= /]*)?"  # as openssl x509 -fingerprint writes it, and others
_FINGERPRINT: Final = re.compile(rf"{_LABEL}((?:[0-9a-f]{{2}}:?){{31}}[0-9a-f]{{2}})", re.IGNORECASE)
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_UNTRUSTED: Final = "Not trusted by"  # Squid's authority for what it does not trust itself; older ones say Untrusted by


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as it is shown to people."""

    sha256: str
    subject: str
    issuer: str
    names: str
    begins: datetime | None
    ends: datetime | None

    def facts(self) -> dict[str, str]:
        until = self.ends.strftime("%Y-%m-%d") if self.ends else ""
        return {
            "subject": self.subject, "issuer": self.issuer, "names": self.names, "until": until, "sha256": self.sha256
        }  # fmt: skip

    def expired(self, now: datetime) -> bool:
        return bool(self.begins and self.ends and not self.begins <= now <= self.ends)


def fingerprint(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def look(der: bytes) -> Shown:
    """Read a certificate in DER; what cannot be read has a fingerprint all the same."""
    from cryptography import x509

    from ferryman.wire.certificate import certificate_names

    sha256 = fingerprint(der).hex()
    try:
        read = x509.load_der_x509_certificate(der)
        subject, issuer = shown(read.subject.rfc4514_string()), shown(read.issuer.rfc4514_string())
        begins, ends = read.not_valid_before_utc, read.not_valid_after_utc
    except (ValueError, x509.InvalidVersion):
        return Shown(sha256, "cannot be read", "", "", None, None)
    return Shown(
        sha256, subject or "(empty)", issuer or "(empty)", shown(", ".join(certificate_names(der))), begins, ends
    )


def parse_fingerprint(text: str) -> bytes | None:
    """SHA-256 in hex, with or without colons and the name of the hash; None: it is something else."""
    found = _FINGERPRINT.fullmatch(text.strip())
    return bytes.fromhex(found[1].replace(":", "")) if found else None


def fingerprints(data: bytes) -> frozenset[bytes]:
    """Of the first certificate in a PEM file, or of one in DER. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found = _PEM.search(data)
    try:
        read = x509.load_pem_x509_certificate(found[0]) if found else x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion):
        raise ValueError("there is no certificate in it, neither PEM nor DER") from None
    return frozenset({fingerprint(read.public_bytes(Encoding.DER))})


Judgement = Literal["untouched", "opened", "other", "unknown"]


def judge(
    leaf: bytes, expected: frozenset[bytes], direct: bytes, forged: bytes, proxied: bool
) -> tuple[Judgement, str]:
    """untouched; opened by somebody in between; another server's; or unknown. With the reason.

    `direct`: what the target shows without the proxy; `forged`: what the proxy shows for a name that does not exist.
    b"": not known.
    """
    if expected and fingerprint(leaf) in expected:
        return "untouched", "it shows the certificate that was expected"
    if proxied:
        issuer = look(leaf).issuer
        if forged and (leaf == forged or look(forged).issuer == issuer):
            return "opened", f"its certificate is signed by {issuer}, as one for a name that does not exist is"
        if _UNTRUSTED in issuer or "Untrusted by" in issuer:
            return "opened", f"its certificate is signed by {issuer}, which is what Squid signs with"
        if direct and leaf != direct:
            return "opened", "through the proxy another certificate is shown than without it"
    if direct and proxied and not expected:
        return "untouched", "the same certificate is shown through the proxy and without it"
    if expected and proxied and not direct:
        return "opened", "it is not the certificate that was expected"
    if expected:
        return "other", "it is not the certificate that was expected"
    return "unknown", "there is nothing to compare its certificate with: give --expect-cert"


def now() -> datetime:
    return datetime.now(UTC)
