"""What follows from the certificates that are seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ferryman.doctor.certificate import fingerprint, fingerprints, judge, look, parse_fingerprint

OWN, OPERATOR = trustme.CA(), trustme.CA()


def leaf(authority: trustme.CA, name: str = "dvm.test") -> bytes:
    pem = authority.issue_cert(name).cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


REAL, OTHER, FORGED, LOST = leaf(OWN), leaf(OWN), leaf(OPERATOR), leaf(OPERATOR, "x.invalid")
PIN, WRONG, NONE = frozenset({fingerprint(REAL)}), frozenset({bytes(32)}), frozenset[bytes]()


@pytest.mark.parametrize(
    ("seen", "expected", "direct", "forged", "proxied", "judgement"),
    [
        (REAL, PIN, b"", b"", True, "untouched"),
        (REAL, PIN, OTHER, LOST, True, "untouched"),
        (REAL, PIN, b"", b"", False, "untouched"),
        (FORGED, PIN, b"", b"", True, "opened"),
        (FORGED, PIN, REAL, b"", True, "opened"),
        (FORGED, NONE, REAL, b"", True, "opened"),
        (FORGED, NONE, b"", LOST, True, "opened"),
        (REAL, NONE, REAL, LOST, True, "untouched"),
        (REAL, NONE, b"", LOST, True, "unknown"),
        (REAL, NONE, b"", b"", True, "unknown"),
        (REAL, NONE, b"", b"", False, "unknown"),
        (REAL, WRONG, REAL, b"", True, "other"),
        (REAL, WRONG, b"", b"", False, "other"),
    ],
)
def test_judgement(
    seen: bytes, expected: frozenset[bytes], direct: bytes, forged: bytes, proxied: bool, judgement: str
) -> None:
    found, why = judge(seen, expected, direct, forged, proxied)
    assert found == judgement
    assert why


@pytest.mark.parametrize(
    "text", ["AB:" * 31 + "AB", "ab" * 32, f"sha256:{'ab' * 32}", f"SHA256 Fingerprint={'AB' * 32}"]
)
def test_fingerprints_as_they_are_written(text: str) -> None:
    expected = bytes.fromhex("ab" * 32)
    assert parse_fingerprint(text) == expected


@given(st.text(alphabet="0123456789abcdef: =SHA", max_size=80))
def test_fuzz_fingerprints(text: str) -> None:
    found = parse_fingerprint(text)
    assert found is None or len(found) == 32


def test_a_file_with_a_certificate() -> None:
    pem = OWN.issue_cert("a.test").cert_chain_pems[0].bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert fingerprints(b"key first\n" + pem) == fingerprints(der) == {fingerprint(der)}
    with pytest.raises(ValueError, match="no certificate"):
        fingerprints(b"nothing")


def test_what_is_shown() -> None:
    shown = look(REAL)
    assert shown.sha256 == fingerprint(REAL).hex()
    assert shown.names == "dvm.test"
    assert "trustme" in shown.issuer
    assert not shown.expired(datetime.now(UTC))
    assert shown.expired(datetime.now(UTC) - timedelta(days=40000))
    assert look(b"no certificate").subject == "cannot be read"


def test_a_certificate_of_a_version_that_does_not_exist() -> None:
    bad = REAL.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    assert bad != REAL
    assert look(bad).subject == "cannot be read"
    with pytest.raises(ValueError, match="no certificate"):
        fingerprints(bad)
