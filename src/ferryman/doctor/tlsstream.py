"""TLS over a tunnel by memory buffers, so that the bytes that were sent and received are known.

Both ends of an examination use it. It verifies nothing: what is shown is to be looked at, whatever it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import time
from typing import Final, Literal

from ferryman.doctor.answer import shown
from ferryman.doctor.tunnel import Cut, Tunnel

_ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure", 42: "bad_certificate",
    43: "unsupported_certificate", 45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter",
    48: "unknown_ca", 49: "access_denied", 50: "decode_error", 70: "protocol_version", 71: "insufficient_security",
    80: "internal_error", 86: "inappropriate_fallback", 112: "unrecognized_name", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip
"""RFC 8446 section 6."""

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsFault(Exception):  # noqa: N818  it says what came of it
    """`how`: alert (`text` names it), closed, reset, silent, foreign (no TLS; `data` has it), failed (OpenSSL's)."""

    def __init__(
        self, how: Literal["alert", "closed", "reset", "silent", "foreign", "failed"], text: str = "", data: bytes = b""
    ) -> None:
        super().__init__(f"{how} {text}".strip())
        self.how = how
        self.text = text
        self.data = data


def client_context(version: str = "", certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
    """`version`: this one alone. `certificate`: files with the client's own and its key. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if certificate:
        context.load_cert_chain(*certificate)
    return context


class TlsStream:
    """One end. A client has its hello ready at once (`hello`), for the one who wants to send it early."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, server: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server, server_hostname=name)
        self._tunnel: Tunnel | None = None
        self._first = b""
        self.hello = b""
        self._agreed = ""
        self.skip = b""  # passed over at the start of what is read
        if not server:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
            self.hello = self._outgoing.read()

    @property
    def hello_hash(self) -> str:
        return hashlib.sha256(self.hello).hexdigest()

    @property
    def version(self) -> str:
        """That was agreed on, for ever: after an alert of the peer OpenSSL does not know it any more."""
        return self._agreed or self._tls.version() or ""

    @property
    def protocol(self) -> str:
        """The application protocol agreed on (ALPN); "": none."""
        return self._tls.selected_alpn_protocol() or ""

    @property
    def leaf(self) -> bytes:
        """The peer's certificate in DER; b"": it showed none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def binding(self) -> tuple[str, str]:
        """Kind and value (hex) of what both ends of one TLS session have in common; ("", ""): not to be had.

        tls-exporter (RFC 9266) where this Python gives it, tls-unique (RFC 5929) for TLS 1.2 otherwise.
        """
        kind = "tls-exporter" if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES else "tls-unique"
        if kind == "tls-unique" and self.version != "TLSv1.2":
            return "", ""
        value = self._tls.get_channel_binding(kind)
        return (kind, value.hex()) if value else ("", "")

    def handshake(self, tunnel: Tunnel, seconds: float, sent: bool = False) -> None:
        """`sent`: the hello has been. Raises TlsFault."""
        self._tunnel = tunnel
        deadline = time.monotonic() + seconds
        try:
            if self.hello and not sent:
                tunnel.send(self.hello, seconds)
            while True:
                try:
                    self._tls.do_handshake()
                    self._agreed = self._tls.version() or ""
                    self._flush(seconds)
                    return
                except ssl.SSLWantReadError:
                    self._flush(seconds)
                    self._more(deadline)
        except ssl.SSLError as error:
            raise self._fault(error) from None
        except Cut as cut:
            raise TlsFault(cut.how, data=self._first) from None

    def feed(self, data: bytes) -> None:
        """Bytes of the peer's that somebody else has read."""
        self._first = (self._first + data)[:64]
        self._incoming.write(data)

    def read(self, seconds: float) -> bytes:
        """Some bytes; b"" at the end. Raises Cut (reset, silent), TlsFault (alert, failed)."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                data = self._tls.read(65536)
                if not (self.skip and data.startswith(self.skip)):
                    return data
                data, self.skip = data[len(self.skip) :], b""
                if data:
                    return data
            except ssl.SSLWantReadError:
                try:
                    self._more(deadline)
                except Cut as cut:
                    if cut.how != "closed":
                        raise
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise self._fault(error) from None

    def write(self, data: bytes, seconds: float) -> None:
        """Raises Cut."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            raise Cut("reset") from None
        self._flush(seconds)

    def close(self) -> None:
        """Say so, and close the tunnel."""
        if self._tunnel is not None:
            with contextlib.suppress(ssl.SSLError, Cut):  # whoever is there no longer need not be told
                self._tls.unwrap()
            with contextlib.suppress(Cut):
                self._flush(1.0)
            self._tunnel.close()

    def _more(self, deadline: float) -> None:
        assert self._tunnel is not None
        data = self._tunnel.receive(deadline - time.monotonic())
        if not data:
            raise Cut("closed")
        self.feed(data)

    def _flush(self, seconds: float) -> None:
        assert self._tunnel is not None
        if data := self._outgoing.read():
            self._tunnel.send(data, seconds)

    def _fault(self, error: ssl.SSLError) -> TlsFault:
        with contextlib.suppress(Cut):  # our own alert; the peer may have gone
            self._flush(1.0)
        reason, first = error.reason or "", self._first
        if first[:1] not in (b"\x14", b"\x15", b"\x16", b"\x17") or first[1:2] != b"\x03":
            return TlsFault("foreign", shown(first), first)
        plain = first[0] == 21 and len(first) >= 7 and first[3:5] == b"\0\2"
        if plain or "ALERT" in reason or reason.startswith("TLSV1_"):
            name = _ALERTS.get(first[6], str(first[6])) if plain else _alert_name(reason)
            return TlsFault("alert", name)
        return TlsFault("failed", reason.lower().replace("_", " ") or str(error))


def _alert_name(reason: str) -> str:
    """OpenSSL's name of an alert to the standard's."""
    words = reason.lower()
    for prefix in ("tlsv13_alert_", "tlsv1_alert_", "sslv3_alert_", "tlsv1_"):
        words = words.removeprefix(prefix)
    return words
