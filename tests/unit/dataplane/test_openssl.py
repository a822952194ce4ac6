"""Calls into OpenSSL: refused where they make no sense, and all or nothing where they cannot be made."""

from __future__ import annotations

import ssl

import pytest

from ferryman.dataplane import openssl


def test_openssl_can_be_called_here() -> None:
    assert openssl.available


def test_what_makes_no_sense_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ValueError, match="no such groups: nothing"):
        openssl.set_groups(context, "nothing")
    with pytest.raises(ValueError, match="no such cipher suites: nothing"):
        openssl.set_ciphersuites(context, "nothing")
    with pytest.raises(ValueError, match="3 bytes are no ticket keys"):
        openssl.set_ticket_keys(context, b"abc")
    with pytest.raises(ValueError, match="no name for a certificate"):
        openssl.set_verify_name(context, "a\0b")


def test_suites_are_set() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    openssl.set_ciphersuites(context, "TLS_CHACHA20_POLY1305_SHA256")
    suites = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]
    assert suites == ["TLS_CHACHA20_POLY1305_SHA256"]


def test_a_python_whose_openssl_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_library", None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(openssl.UnavailableError):
        openssl.set_groups(context, "X25519")
    with pytest.raises(openssl.UnavailableError):
        openssl.set_ocsp_responses(context, {})
