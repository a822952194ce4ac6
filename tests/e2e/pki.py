"""Certificates for e2e tests of TLS that ends in ferryman: files as its configuration names them, and as clients do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import ocsp

DAY = timedelta(days=1)


class Pki:
    """An authority and the files with what it has issued. Every file with a key is its owner's alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def issue(self, file: str, *names: str, rsa: bool = False, **options: Any) -> str:
        """A file with key and certificate, of the options of trustme's issue_cert; its path."""
        kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        leaf = self.authority.issue_cert(*names, key_type=kind, **options)
        path = self.folder / file
        leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        return str(path)

    def lock(self, file: str, password: str) -> tuple[str, str, str]:
        """Its certificate, its key, which is encrypted now, and the password: three files."""
        pem = Path(file).read_bytes()
        begin = pem.index(b"-----BEGIN CERTIFICATE")
        certificate, key, word = (self.folder / f"{Path(file).stem}.{end}" for end in ("crt", "key", "password"))
        certificate.write_bytes(pem[begin:])
        opened = load_pem_private_key(pem[:begin], None)
        locked = BestAvailableEncryption(password.encode())
        key.write_bytes(opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        word.write_text(password + "\n")
        for path in (key, word):
            path.chmod(0o600)
        return str(certificate), str(key), str(word)

    def revoke(self, file: str) -> str:
        """A list (CRL) that has this certificate; its path."""
        now = datetime.now(UTC)
        gone = x509.RevokedCertificateBuilder().serial_number(_leaf(file).serial_number).revocation_date(now - DAY)
        builder = x509.CertificateRevocationListBuilder(self._certificate().subject, now - DAY, now + DAY)
        listed = builder.add_revoked_certificate(gone.build()).sign(self._key(), hashes.SHA256())
        path = self.folder / "crl.pem"
        path.write_bytes(listed.public_bytes(Encoding.PEM))
        return str(path)

    def staple(self, file: str) -> None:
        """An OCSP response (good) for the certificate in this file, beside it."""
        now = datetime.now(UTC)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=_leaf(file),
            issuer=self._certificate(),
            algorithm=hashes.SHA1(),  # names the authority in the response, secures nothing
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - DAY,
            next_update=now + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self._certificate())
        Path(file + ".ocsp").write_bytes(signed.sign(self._key(), hashes.SHA256()).public_bytes(Encoding.DER))

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())

    def _key(self) -> EllipticCurvePrivateKey:
        key = load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return key


def _leaf(file: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(Path(file).read_bytes())[0]
