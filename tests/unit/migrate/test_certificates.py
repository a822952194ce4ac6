"""Certificates of one migration: good for what they are made for, and nothing else taken for one."""

from __future__ import annotations

import ssl

import trustme

from ferryman.migrate import certificates


def test_each_is_another_one_and_can_be_loaded() -> None:
    first, second = certificates.make("client"), certificates.make("server")
    assert first.fingerprint != second.fingerprint
    assert len(first.fingerprint) == 64
    assert first.key not in repr(first)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=first.certificate)
    assert "CERTIFICATE" in second.certificate


def test_only_a_single_self_signed_one_that_signs_nothing_may_be_claimed_with() -> None:
    authority = trustme.CA()
    good = certificates.make("client").certificate
    leaf = authority.issue_cert("a.test").cert_chain_pems[0].bytes().decode()
    assert certificates.is_single(good)
    assert not certificates.is_single(authority.cert_pem.bytes().decode()), "an authority"
    assert not certificates.is_single(leaf), "signed by another"
    assert not certificates.is_single(good + certificates.make("client").certificate), "two"
    trusted = authority.cert_pem.bytes().decode().replace(" CERTIFICATE", " TRUSTED CERTIFICATE")
    assert not certificates.is_single(good + trusted), "one of a kind that OpenSSL reads as well"
    assert not certificates.is_single(f"for whom it may concern: \N{LATIN SMALL LETTER E WITH ACUTE}\n{good}")
    for text in ("", "x", good[:-40], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert not certificates.is_single(text)
