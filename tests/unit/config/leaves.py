"""Certificates of servers, signed by a CA of the tests' own, in files as an operator has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID
from tests.unit.controlplane.authorities import DAY, NOW, PEM, Ca, _general, make_ca, name_of, private_pem

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ca(folder: Path, name: str = "root", issuer: Ca | None = None) -> Ca:
    folder.mkdir(exist_ok=True)
    return make_ca(folder / name, issuer=issuer, name=name)


def issue(
    ca: Ca,
    names: Sequence[str] = (),
    *,
    common_name: str = "",
    key: Key | None = None,
    days: tuple[float, float] = (-1, 90),
    public: bool = False,
) -> tuple[x509.Certificate, Key]:
    """`public`: says where its issuer's certificate is, as that of a public CA."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(common_name))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    if public:
        where = x509.UniformResourceIdentifier("http://ca.example/ca.crt")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return builder.sign(ca.key, hashes.SHA256()), key


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(PEM) for certificate in certificates)


def write(path: Path, *parts: x509.Certificate | Key | bytes, mode: int = 0o600) -> str:
    """A PEM file with these in it; its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [
        part if isinstance(part, bytes) else pem(part) if isinstance(part, x509.Certificate) else private_pem(part)
        for part in parts
    ]
    path.write_bytes(b"".join(texts))
    path.chmod(mode)
    return str(path)
