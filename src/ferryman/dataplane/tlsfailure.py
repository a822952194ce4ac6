"""Why there is no TLS, told from what the ssl module raises, in words that say whose fault it is.

Used by contexts, tls and tlsrelay. Does nothing but read exceptions.
"""

from __future__ import annotations

import ssl
from typing import Final, Literal

Kind = Literal["alert", "verify", "protocol", "closed", "timeout", "local"]
"""Why there is no TLS: the other side said so, its certificate is not trusted, no common language, it left, it took too
long, or something is missing here."""

_REFUSALS: Final = frozenset(
    {
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
    }
)
"""Alerts about the certificate that was shown (RFC 8446 section 6.2)."""

_WORDS: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks HTTP, not TLS",
    "HTTPS_PROXY_REQUEST": "it speaks HTTP, not TLS",
    "UNSUPPORTED_PROTOCOL": "no version of TLS in common",
    "NO_PROTOCOLS_AVAILABLE": "no version of TLS in common",
    "NO_SHARED_CIPHER": "no cipher suite in common",
}


class TlsFailure(Exception):  # noqa: N818 - what happened, not an error of ours
    """No TLS. `reason` says why in words; `alert` is the other side's, in the words of RFC 8446, "" if there was none.

    `verify_code` and `verify_message` are OpenSSL's (X509_verify_cert_error_string(3)), 0 unless the other side's
    certificate is not trusted.
    """

    def __init__(
        self, kind: Kind, reason: str, alert: str = "", verify_code: int = 0, verify_message: str = ""
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.alert = alert
        self.verify_code = verify_code
        self.verify_message = verify_message

    @property
    def peer_refused_certificate(self) -> bool:
        """Did the other side not accept the certificate it was shown?"""
        return self.alert in _REFUSALS


def told_by(error: OSError) -> TlsFailure:
    """What a handshake that raised this has failed for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message
        return TlsFailure("verify", f"its certificate: {message}", "", error.verify_code, message)
    if is_cut(error) or isinstance(error, ssl.SSLZeroReturnError):
        return TlsFailure("closed", "connection closed during the TLS handshake")
    if not isinstance(error, ssl.SSLError):
        return TlsFailure("closed", f"TLS handshake: {(error.strerror or 'connection broken').lower()}")
    alert = _alert(error.reason or "")
    if alert:
        return TlsFailure("alert", f"it sent the TLS alert {alert}", alert)
    return TlsFailure("protocol", f"TLS handshake: {_WORDS.get(error.reason or '') or words(error)}")


def is_cut(error: OSError) -> bool:
    """Did the stream end where TLS does not (no close_notify, or amidst a record)?"""
    # SSLEOFError is what it has become in the course of Python 3.11 and 3.12
    return isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING"


def _alert(reason: str) -> str:
    """The alert that OpenSSL's reason stands for (SSL_R_SSLV3_ALERT_BAD_CERTIFICATE and the like), "" if it is none."""
    family, _, name = reason.partition("_")
    if family not in ("SSLV3", "TLSV1", "TLSV13"):
        return ""
    return name.removeprefix("ALERT_").replace("_", " ").lower()


def words(error: ssl.SSLError) -> str:
    """OpenSSL's reason, readable."""
    reason = getattr(error, "reason", None)  # not every SSLError has one
    text = str(reason or error.strerror or (error.args[-1] if error.args else "failed"))
    if "(_ssl.c:" in text:  # where in the ssl module it was found out, and hardly anything else
        return "OpenSSL does not say why"
    return text.replace("_", " ").lower()


def amidst(error: ssl.SSLError) -> str:
    """Why there is no TLS any more, after the handshake."""
    if is_cut(error):
        return "ended in the middle of TLS"
    alert = _alert(error.reason or "")
    return f"it sent the TLS alert {alert}" if alert else f"TLS: {words(error)}"
