"""Certificate authorities and server certificates for tests, and what openssl says of a certificate."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


@dataclass
class Ca:
    """An operator's CA in two files."""

    folder: Path
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def cert_path(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def key_path(self) -> str:
        return str(self.folder / "ca.key")


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def make_ca(
    folder: Path,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    *,
    days: tuple[float, float] = (-10, 3650),
    constraints: x509.BasicConstraints | None = x509.BasicConstraints(True, None),  # noqa: B008 - immutable
    usage: x509.KeyUsage | None = None,
    issuer: Ca | None = None,
    name: str = "operator's CA",
) -> Ca:
    """A CA's files in a folder: ca.pem and ca.key. `days`: valid from, until."""
    folder.mkdir(exist_ok=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(issuer.certificate.subject if issuer else name_of(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(authority, critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if usage is None:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    signer = issuer.key if issuer else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = Ca(folder, builder.sign(signer, algorithm), key)
    (folder / "ca.pem").write_bytes(made.certificate.public_bytes(PEM))
    (folder / "ca.key").write_bytes(private_pem(key))
    return made


def private_pem(key: CertificateIssuerPrivateKeyTypes, password: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, hidden)


def server_certificate(
    common_name: str,
    names: Sequence[str] = (),
    *,
    days: tuple[float, float] = (-1, 90),
    more: Sequence[x509.GeneralName] = (),
) -> bytes:
    """A server's certificate (DER), signed by itself. `names`: of hosts, or addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(common_name))
        .issuer_name(name_of(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
    )
    alternatives = [*map(_general, names), *more]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


def leaf(ca: Ca, folder: Path, *names: str, days: tuple[float, float] = (-1, 90)) -> str:
    """A file, called like the first name, with a server's certificate signed by a CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(name_of(names[0]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    file = folder / f"{names[0]}.pem"
    file.write_bytes(made.public_bytes(PEM) + private_pem(key))
    return str(file)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def openssl(*arguments: str, input: str = "") -> str:
    """What openssl says; fails the test when it fails."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run([program, *arguments], input=input, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
