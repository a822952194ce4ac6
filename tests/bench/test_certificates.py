"""The certificates are what the proxies are told to trust."""

from pathlib import Path

import pytest
from cryptography import x509

from bench import certificates


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_servers_authority_signed_what_servers_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "COUNT", 3)
    certificates.write(tmp_path, "localhost")
    names = certificates.names(tmp_path)
    shown = [read(tmp_path / certificates.NAMES / f"{name}.pem") for name in names]
    authority, server = read(tmp_path / certificates.SERVER_AUTHORITY), read(tmp_path / certificates.SERVER)
    for certificate in (server, *shown):
        certificate.verify_directly_issued_by(authority)
        assert certificate.public_key() == server.public_key()
    assert [one.subject.rfc4514_string() for one in shown] == [f"CN={name}" for name in names]
    with pytest.raises(ValueError, match="Issuer"):
        server.verify_directly_issued_by(read(tmp_path / certificates.PROXY_AUTHORITY))


def test_names_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "COUNT", 1)
    certificates.write(tmp_path, "localhost")
    [name] = certificates.names(tmp_path)
    before = read(tmp_path / certificates.NAMES / f"{name}.pem")
    assert certificates.names(tmp_path) == [name]
    assert read(tmp_path / certificates.NAMES / f"{name}.pem") == before
