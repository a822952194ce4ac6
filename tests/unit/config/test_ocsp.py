"""OCSP responses to be stapled: of this certificate, good, and not over."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseBuilder, OCSPResponseStatus
from tests.unit.config.leaves import ca, issue
from tests.unit.controlplane.authorities import DAY, NOW, Ca

from ferryman.config.ocsp import read_ocsp
from ferryman.config.source import Diagnostics, Document, Report


def response(
    leaf: x509.Certificate,
    by: Ca,
    days: tuple[float, float] = (-1, 1),
    status: OCSPCertStatus = OCSPCertStatus.GOOD,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=by.certificate,
        algorithm=digest or hashes.SHA1(),
        cert_status=status,
        this_update=NOW + days[0] * DAY,
        next_update=NOW + days[1] * DAY,
        revocation_time=NOW - DAY if status is OCSPCertStatus.REVOKED else None,
        revocation_reason=None,
    )
    responder = builder.responder_id(x509.ocsp.OCSPResponderEncoding.HASH, by.certificate)
    return responder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def root(tmp_path: Path) -> Ca:
    return ca(tmp_path)


def read(folder: Path, raw: bytes, leaf: x509.Certificate, issuer: Ca) -> tuple[bytes, list[str]]:
    file = folder / "r"
    file.write_bytes(raw)
    diagnostics = Diagnostics()
    got, until = read_ocsp(str(file), leaf, issuer.certificate, (), Report(Document("ferryman", {}), diagnostics))
    assert until == ((NOW + DAY).timestamp() if got else inf)
    return got, [f"{each.severity}: {each.message}; {each.hint}".replace(str(file), "r") for each in diagnostics.found]


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])
def test_a_good_one(tmp_path: Path, root: Ca, digest: hashes.HashAlgorithm) -> None:
    leaf, _ = issue(root, ["a.example"])
    raw = response(leaf, root, digest=digest)
    assert read(tmp_path, raw, leaf, root) == (raw, [])


def test_of_another_certificate(tmp_path: Path, root: Ca) -> None:
    leaf, other = issue(root, ["a.example"])[0], issue(root, ["b.example"])[0]
    message = "error: the OCSP response in r is of another certificate; get one for this certificate, or remove it"
    assert read(tmp_path, response(other, root), leaf, root) == (b"", [message])


def test_of_another_authority(tmp_path: Path, root: Ca) -> None:
    leaf, _ = issue(root, ["a.example"])
    for name in ("impostor", "root"):  # with another name, and with the same
        impostor = ca(tmp_path / "others", name)
        got, (said,) = read(tmp_path, response(leaf, impostor), leaf, root)
        assert got == b""
        assert said.startswith("error: the OCSP response in r is of another CA's certificate")


def test_what_is_left_out(tmp_path: Path, root: Ca) -> None:
    leaf, _ = issue(root, ["a.example"])
    over = read(tmp_path, response(leaf, root, (-3, -1)), leaf, root)
    assert over[0] == b""
    assert over[1][0].startswith("warning: the OCSP response in r was good until 20")
    assert read(tmp_path, response(leaf, root, (1, 2)), leaf, root)[1] == [
        "warning: the OCSP response in r is from the future: is the clock right?; it is left out; get a new one"
    ]
    assert read(tmp_path, response(leaf, root, status=OCSPCertStatus.REVOKED), leaf, root)[1] == [
        "warning: the OCSP response in r says that the certificate is revoked; it is left out; get a new one"
    ]
    failed = OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    assert read(tmp_path, failed, leaf, root)[1] == [
        "warning: the OCSP response in r says try_later; it is left out; get a new one"
    ]
