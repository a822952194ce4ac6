"""What the ssl module raises, in words."""

from __future__ import annotations

import ssl

import pytest

from ferryman.dataplane.tlsfailure import amidst, is_cut, told_by, words


def raised(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "text")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "kind", "text", "alert"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "alert", "it sent the TLS alert unknown ca", "unknown ca"),
        (
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "alert",
            "it sent the TLS alert certificate unknown",
            "certificate unknown",
        ),
        ("WRONG_VERSION_NUMBER", "protocol", "TLS handshake: it does not speak TLS", ""),
        ("DIGEST_CHECK_FAILED", "protocol", "TLS handshake: digest check failed", ""),
        ("UNEXPECTED_EOF_WHILE_READING", "closed", "connection closed during the TLS handshake", ""),
    ],
)
def test_reasons(reason: str, kind: str, text: str, alert: str) -> None:
    failure = told_by(raised(reason))
    assert (failure.kind, failure.reason, failure.alert) == (kind, text, alert)


def test_only_alerts_about_the_certificate_refuse_it() -> None:
    assert told_by(raised("TLSV1_ALERT_UNKNOWN_CA")).peer_refused_certificate
    assert not told_by(raised("TLSV1_ALERT_INTERNAL_ERROR")).peer_refused_certificate


def test_errors_of_the_system() -> None:
    failure = told_by(ConnectionResetError(104, "Connection reset by peer"))
    assert (failure.kind, failure.reason) == ("closed", "TLS handshake: connection reset by peer")


def test_an_error_without_a_reason() -> None:
    assert words(ssl.SSLError("No cipher can be selected.")) == "no cipher can be selected."
    assert not is_cut(ssl.SSLError("No cipher can be selected."))


def test_places_in_the_ssl_module_are_not_shown() -> None:
    assert words(ssl.SSLError(1, "[SSL] internal error (_ssl.c:992)")) == "OpenSSL does not say why"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "it sent the TLS alert handshake failure"),
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "TLS: decryption failed or bad record mac"),
        ("UNEXPECTED_EOF_WHILE_READING", "ended in the middle of TLS"),
    ],
)
def test_after_the_handshake(reason: str, text: str) -> None:
    assert amidst(raised(reason)) == text
