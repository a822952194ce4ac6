"""Why the client of an explicit proxy does not get what it asked for, and how it is told in its own protocol.

Raised anywhere on the way from the request to the connected target, answered in one place (admission). The reason goes
to the log and, since it names rules by place and no credentials, to the client as well.
"""

from __future__ import annotations

import errno as names
from collections.abc import Iterable
from typing import Final

from ferryman.dataplane.connect import Failure
from ferryman.dataplane.record import How
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.wire import httpreply

NAME: Final = "ferryman"
"""What this proxy calls itself in Proxy-Status."""

STATUS: Final = {
    "connection_limit_reached": 503,
    "connection_refused": 502,
    "connection_terminated": 502,
    "connection_timeout": 504,
    "destination_ip_prohibited": 403,
    "destination_ip_unroutable": 502,
    "destination_unavailable": 503,
    "dns_error": 502,
    "dns_timeout": 504,
    "http_protocol_error": 502,
    "http_request_denied": 403,
    "http_request_error": 400,
    "http_response_timeout": 504,
    "proxy_configuration_error": 500,
    "proxy_internal_error": 500,
    "proxy_internal_response": 503,
    "proxy_loop_detected": 502,
    "tls_certificate_error": 502,
    "tls_protocol_error": 502,
}
"""RFC 9209 section 2.3: error types and the status each is answered with."""

SOCKS: Final = {
    "connection_refused": 5,
    "connection_timeout": 6,
    "destination_ip_prohibited": 2,
    "destination_ip_unroutable": 3,
    "dns_error": 4,
    "dns_timeout": 4,
    "http_request_denied": 2,
}
"""RFC 1928 section 6: the reply of the same meaning; for all others 1, "general failure"."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """`error` is one of STATUS; `code` and `how` are the record's; `again`: the connection stays open for a new try."""

    def __init__(
        self,
        error: str,
        reason: str,
        *,
        status: int = 0,
        code: str = "SC",
        how: How = "error",
        headers: Iterable[tuple[str, str]] = (),
        received: int = 0,
        again: bool = False,
    ) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.status = status or STATUS[error]
        self.code = code
        self.how = how
        self.headers = tuple(headers)
        self.received = received  # the status an upstream proxy refused with
        self.again = again

    @property
    def socks(self) -> int:
        """The reply of RFC 1928."""
        return SOCKS.get(self.error, 1)

    def reply(self, head_only: bool = False) -> bytes:
        """The answer to an HTTP request."""
        headers = [
            ("Connection", "keep-alive" if self.again else "close"),
            httpreply.proxy_status(NAME, self.error, self.reason, self.received),
            *self.headers,
        ]
        message = httpreply.reply(self.status, "", headers, f"{NAME}: {self.reason}\n")
        return httpreply.without_body(message) if head_only else message


def denied(reason: str) -> Refusal:
    """A rule said no."""
    return Refusal("http_request_denied", reason, code="PR", how="policy")


def unsecured(name: str, failure: TlsFailure) -> Refusal:
    """There is no TLS with a server, or another proxy, that is called `name`."""
    reason = f"{name}: {failure.reason}"
    if failure.kind == "timeout":
        return Refusal("connection_timeout", reason, code="sC", how="timeout")
    return Refusal("tls_certificate_error" if failure.verify_code else "tls_protocol_error", reason)


_UNROUTABLE: Final = frozenset(
    {names.ENETUNREACH, names.EHOSTUNREACH, names.EADDRNOTAVAIL, names.ENETDOWN, names.EACCES}
)


def refused(failure: Failure) -> Refusal:
    """A connection that failed."""
    if failure.code == "CC":
        return Refusal("connection_terminated", failure.reason, code="CC", how="rst")
    if failure.code == "sC":
        return Refusal("connection_timeout", failure.reason, code="sC", how="timeout")
    if failure.errno in _UNROUTABLE:
        return Refusal("destination_ip_unroutable", failure.reason)
    if failure.code == "RC":
        return Refusal("proxy_internal_error", failure.reason, code="RC")
    return Refusal("connection_refused", failure.reason, how="rst")
