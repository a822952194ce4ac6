"""Files that a configuration names: what is wrong with a certificate or a key is said before anything starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ferryman.config.files import check_authority, located, read_certificates, read_text
from ferryman.config.source import OVERRIDES, Diagnostics, Document, Mark, Report

NOW = datetime.now(UTC)
TOMORROW = NOW + timedelta(days=1)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
USAGE = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
     "encipher_only", "decipher_only"), False,
)  # fmt: skip


def certificate(
    authority: bool | None = True, signs: bool | None = None, begin: float = -1, end: float = 3650
) -> bytes:
    """PEM. None: without that extension. Days from now."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=begin))
        .not_valid_after(NOW + timedelta(days=end))
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    if signs is not None:
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=signs, **USAGE), True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def key(of: ec.EllipticCurvePrivateKey = KEY, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return of.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("dialect", "file", "name", "where"),
    [
        ("ferryman", "/etc/ferryman/a.yaml", "users", "/etc/ferryman/users"),
        ("ferryman", "/etc/ferryman/a.yaml", "../tls/ca.pem", "/etc/tls/ca.pem"),
        ("ferryman", "/etc/ferryman/a.yaml", "/srv/users", "/srv/users"),
        ("ferryman", "/etc/ferryman/a.yaml", "", ""),
        ("ferryman", "conf/a.yaml", "users", "/here/conf/users"),
        ("ferryman", "<stdin>", "users", "/here/users"),
        ("ferryman", OVERRIDES, "users", "/here/users"),
        ("squid", "/etc/squid/squid.conf", "users", "/here/users"),
    ],
)
def test_where_a_file_is(monkeypatch: pytest.MonkeyPatch, dialect: str, file: str, name: str, where: str) -> None:
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    document = Document(dialect, {}, {("users",): Mark(file, 1, 1)})
    assert located(name, ("users",), Report(document, Diagnostics())) == where


def test_a_file_beside_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("a:b\n")
    document = Document("ferryman", {}, {("users",): Mark(str(tmp_path / "f.yaml"), 1, 1)})
    assert read_text("users", ("users",), Report(document, Diagnostics())) == "a:b\n"


def findings(folder: Path, certificate_text: bytes, key_text: bytes, mode: int = 0o600) -> list[str]:
    (folder / "ca").write_bytes(certificate_text)
    (folder / "key").write_bytes(key_text)
    (folder / "key").chmod(mode)
    diagnostics = Diagnostics()
    report = Report(Document("ferryman", {}), diagnostics)
    check_authority(str(folder / "ca"), ("ca",), str(folder / "key"), ("key",), report)
    return [f"{each.severity}: {each.message}".replace(f"{folder}/", "") for each in diagnostics.found]


def test_a_good_ca(tmp_path: Path) -> None:
    assert findings(tmp_path, certificate(), key()) == []
    assert findings(tmp_path, certificate(signs=True) + certificate(False), b"text before\n" + key()) == []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (certificate(False), "error: the certificate in ca is not that of a CA: clients refuse what it signs"),
        (certificate(None), "error: the certificate in ca is not that of a CA: clients refuse what it signs"),
        (certificate(signs=False), "error: the CA in ca may not sign certificates: its key usage says so"),
        (certificate(begin=-9, end=-1), f"error: the CA certificate in ca expired on {NOW - timedelta(1):%Y-%m-%d}"),
        (certificate(begin=1), f"error: the CA certificate in ca is not valid before {TOMORROW:%Y-%m-%d %H:%M} UTC"),
        (certificate(end=5), f"warning: the CA certificate in ca expires on {NOW + timedelta(5):%Y-%m-%d}"),
        (b"", "error: ca holds no certificate"),
        (key(), "error: ca holds no certificate"),
    ],
)  # fmt: skip
def test_certificates(tmp_path: Path, made: bytes, message: str) -> None:
    assert findings(tmp_path, made, key()) == [message]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (key(OTHER), "error: the key in key is not that of the CA certificate"),
        (key(password=b"x"), "error: the key in key is locked with a password"),
        (b"", "error: key holds no private key"),
        (certificate(), "error: key holds no private key"),
    ],
)
def test_keys(tmp_path: Path, made: bytes, message: str) -> None:
    assert findings(tmp_path, certificate(), made) == [message]


def test_broken_pem(tmp_path: Path) -> None:
    broken = certificate().replace(b"MII", b"!!!", 1), key().replace(b"MI", b"!!", 1)
    (first, second) = findings(tmp_path, *broken)
    assert first.startswith("error: ca holds a certificate that cannot be read")
    assert second.startswith("error: the key in key cannot be read")


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    assert findings(tmp_path, certificate(), key(), 0o644) == [
        "warning: everybody on this machine can read the CA's key in key"
    ]


def test_text_that_is_none(tmp_path: Path) -> None:
    diagnostics = Diagnostics()
    report = Report(Document("ferryman", {}), diagnostics)
    (tmp_path / "binary").write_bytes(b"ab\xff")
    (tmp_path / "good").write_bytes(certificate())
    assert read_text(str(tmp_path / "binary"), (), report) is None
    assert read_text(str(tmp_path), (), report) is None
    assert read_certificates(str(tmp_path / "good"), (), report).startswith("-----BEGIN")
    assert [each.message.replace(str(tmp_path), "") for each in diagnostics.found] == [
        "/binary is not text: byte 3 is not UTF-8",
        "cannot read : Is a directory",
    ]
