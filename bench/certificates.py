"""The certificates of a comparison, all P-256: an authority of the servers', one for bumping proxies, and leaves.

Called by loads. The proxies trust the servers' authority and sign with their own, the only one that clients trust; so
a client whose TLS was not opened fails.
"""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROXY_AUTHORITY = "proxy-authority.pem"
SERVER_AUTHORITY = "server-authority.pem"
SERVER = "server.pem"
NAMES = "names"
COUNT = 8192


def write(folder: Path, name: str) -> None:
    """Both authorities, and the server's certificate for `name`; each with its key."""
    _write(folder / PROXY_AUTHORITY, *_authority("proxy"))
    certificate, key = _authority("servers")
    _write(folder / SERVER_AUTHORITY, certificate, key)
    own = ec.generate_private_key(ec.SECP256R1())
    _write(folder / SERVER, _signed(name, own.public_key(), certificate, key), own)


def names(folder: Path) -> list[str]:
    """COUNT names, each with a certificate for the server's key in the folder NAMES; written by the first call."""
    found = [f"host-{number}.example" for number in range(COUNT)]
    if not (folder / NAMES).exists():
        (folder / NAMES).mkdir()
        authority, key = (_read(folder / SERVER_AUTHORITY), _read_key(folder / SERVER_AUTHORITY))
        server = _read(folder / SERVER).public_key()
        assert isinstance(server, ec.EllipticCurvePublicKey)
        for name in found:
            pem = _signed(name, server, authority, key).public_bytes(serialization.Encoding.PEM)
            (folder / NAMES / f"{name}.pem").write_bytes(pem)
    return found


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, key.public_key()).issuer_name(subject)
    return builder.add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256()), key


def _signed(
    name: str, key: ec.EllipticCurvePublicKey, authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    builder = _builder(_name(name), key).issuer_name(authority.subject)
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    return builder.add_extension(names, critical=False).sign(signer, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
    )


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
