"""What a listener accepts, as it is said beforehand (tests/e2e ask openssl whether it is true)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.config.findings import loaded, said
from tests.unit.config.leaves import ca, issue, write
from tests.unit.controlplane.authorities import DAY, NOW, Ca

from ferryman.config.tlssummary import Accepted, summary


@pytest.fixture
def root(tmp_path: Path) -> Ca:
    return ca(tmp_path)


@pytest.fixture
def file(tmp_path: Path, root: Ca) -> str:
    return write(tmp_path / "a.pem", *issue(root, ["a.example", "*.b.example"]))


def accepted(body: str) -> Accepted:
    found = loaded(f"listeners: {{web: {{bind: '127.0.0.1:1', servers: '127.0.0.1:2', tls: {body}}}}}")
    assert found.plan is not None, said(found)
    (only,) = summary(found.plan)
    return only


def test_whatever_openssl_offers(file: str) -> None:
    got = accepted(f"{{certificates: {file}}}")
    assert (got.listener, got.where) == ("web", "f.yaml:1")
    assert got.versions == ("TLSv1.2", "TLSv1.3")
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in got.ciphers
    assert not [cipher for cipher in got.ciphers if "RSA" in cipher or "DHE-DSS" in cipher or "PSK" in cipher]
    assert "TLS_AES_256_GCM_SHA384" in got.ciphersuites
    assert {"X25519", "P-256", "P-384"} <= set(got.groups)
    assert (got.alpn, got.clients, got.strict) == ((), "none", False)


def test_ciphers_are_those_that_there_is_a_key_for(tmp_path: Path, root: Ca, file: str) -> None:
    other = write(tmp_path / "b.pem", *issue(root, ["c.example"], key=rsa.generate_private_key(65537, 2048)))
    ciphers = "ciphers: 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256'"
    assert accepted(f"{{certificates: {other}, {ciphers}}}").ciphers == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert accepted(f"{{certificates: [{file}, {other}], {ciphers}}}").ciphers == (
        "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256",
    )  # fmt: skip


def test_versions(file: str) -> None:
    assert accepted(f"{{certificates: {file}, min_version: '1.3'}}").ciphers == ()
    assert accepted(f"{{certificates: {file}, min_version: '1.3'}}").versions == ("TLSv1.3",)
    old = accepted(f"{{certificates: {file}, max_version: '1.2'}}")
    assert (old.versions, old.ciphersuites) == (("TLSv1.2",), ())


def test_what_was_said(file: str) -> None:
    got = accepted(
        f"{{certificates: {file}, groups: 'X25519:P-256', ciphersuites: 'TLS_AES_128_GCM_SHA256', alpn: h2, "
        "strict: true}"
    )
    assert got.groups == ("X25519", "P-256")
    assert (got.ciphersuites, got.alpn, got.strict) == (("TLS_AES_128_GCM_SHA256",), ("h2",), True)


def test_certificates(file: str) -> None:
    (shown,) = accepted(f"{{certificates: {file}}}").certificates
    assert (shown.names, shown.key, shown.file) == (("a.example", "*.b.example"), "ECDSA P-256", file)
    assert shown.expires.startswith(f"{NOW + 90 * DAY:%Y-%m-%dT}")
    assert shown.expires.endswith("Z")


def test_what_stays_untouched_is_left_out() -> None:
    found = loaded("listeners: {web: {bind: '127.0.0.1:1', servers: '127.0.0.1:2', tls: {terminate: false}}}")
    assert found.plan is not None
    assert summary(found.plan) == []
