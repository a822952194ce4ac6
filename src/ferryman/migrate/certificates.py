"""Keys and certificates of one migration: made for it, self-signed, known to the other end by what they are.

No authority signs anything: each end trusts exactly one certificate, that of the other. Names and dates in them say
nothing; they are good for a year so that a resumed migration finds them good.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from ferryman.migrate import MigrationError

if TYPE_CHECKING:
    from ferryman.config.source import Report
    from ferryman.plan import Certificate

_VALID: Final = timedelta(days=366)
_ALONE: Final = re.compile(r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: str
    key: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)


def make(end: Literal["client", "server"]) -> Identity:
    """A fresh key (P-256, RFC 8446 section 9.1: all TLS 1.3 has it) and its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ferryman migrate, {end}")])
    now = datetime.now(UTC)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if end == "client" else ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{end}.migrate.ferryman.invalid")]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return Identity(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, in hexadecimal. Raises ValueError if there is none in the text."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()


def is_single(pem: str) -> bool:
    """Is it one self-signed certificate that signs no others? Nothing else may become what a server trusts."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    if not _ALONE.fullmatch(pem):  # OpenSSL would read more blocks than one, and of other kinds
        return False

    try:
        [certificate] = x509.load_pem_x509_certificates(pem.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(certificate)
    except (
        *(ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature, UnsupportedAlgorithm),
        *(x509.DuplicateExtension, x509.InvalidVersion),
    ):
        return False
    return not constraints.ca


# of others


def read(file: str, key: str = "") -> Certificate:
    """A certificate with its key, from files. Raises MigrationError."""
    from ferryman.config.certificates import Named, read_certificates_of

    report = _report()
    found = read_certificates_of(Named(file, (), key), report)
    _demand(report)
    return found[0]


def read_authorities(file: str) -> str:
    """The certificates in a PEM file that verify others. Raises MigrationError."""
    from ferryman.config.files import read_certificates

    report = _report()
    found = read_certificates(file, (), report)
    _demand(report)
    return found


def _report() -> Report:
    from ferryman.config.source import Diagnostics, Document, Report

    return Report(Document("", {}), Diagnostics())


def _demand(report: Report) -> None:
    found = [one for one in report.diagnostics.found if one.severity == "error"]
    if found:
        raise MigrationError("; ".join(f"{one.message}, {one.hint}" if one.hint else one.message for one in found))
