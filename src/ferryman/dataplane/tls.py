"""TLS with a server or a client: contexts, and handshakes in the worker's own loop.

Called by chain and bump with `await`; tlsrelay carries what comes after. A handshake works on the bare descriptor,
which the loop watches already and whose handler resumes the session (Stream, dial.Attempt, the session itself).

Descriptors: the SSLSocket that a handshake gives only borrows its descriptor. It never closes it, not even when it is
freed, so there is one owner as for every descriptor, who closes it through the loop (`abandon` does so for both).

Waits only in `await suspend()`; decides nothing about whom to trust but what the caller's terms say.
"""

from __future__ import annotations

import os
import socket
import ssl
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ferryman.dataplane.loop import EDGE, ERR, OUT, suspend
from ferryman.wire.certificate import certificate_names

if TYPE_CHECKING:
    from ferryman.dataplane.questions import Minted
    from ferryman.dataplane.session import Session

HANDSHAKE: Final = 10.0
"""Seconds a handshake may take where neither the caller nor the session has a deadline."""
CONTEXTS: Final = 256
"""Contexts kept of each kind: 20 to 30 kB each with a certificate, a few MB with the system's authorities."""
PROTOCOLS: Final = 4
"""Contexts kept of one minted certificate: an ALPN protocol each, which the client and the server choose."""

Kind = Literal["alert", "verify", "protocol", "closed", "timeout", "local"]
"""Why there is no TLS: the other side said so, its certificate is not trusted, no common language, it left, it took too
long, or something is missing here."""

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, for which the ssl module has no name."""

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


class ServerTerms(NamedTuple):
    """What is asked of a server. `ca_pem`: whom to trust, "" for the system's authorities."""

    ca_pem: str
    verify: bool
    alpn: tuple[str, ...]
    check_hostname: bool
    check_dates: bool = True


class Established(NamedTuple):
    """What a handshake agreed on. `certificate`: the other side's in DER, b"" if it showed none; its names."""

    version: str
    cipher: str
    alpn: str
    certificate: bytes
    names: tuple[str, ...]


class _Borrowing(ssl.SSLSocket):
    """TLS on a descriptor that belongs to somebody else."""

    def close(self) -> None:
        self.detach()

    def __del__(self) -> None:
        self.detach()


# terms


def server_context(ca_pem: str, verify: bool, alpn: tuple[str, ...], check_hostname: bool = True) -> ServerTerms:
    """Terms for `client`: at least TLS 1.2. The name in the certificate is only looked at if `verify`, too."""
    return ServerTerms(ca_pem, verify, alpn, check_hostname and verify)


@lru_cache(CONTEXTS)
def context_for(chain_pem: bytes, key_pem: bytes, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """For `server`: shows this certificate. Raises TlsFailure if the two do not fit or cannot be loaded."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    # resumption would save less than the tickets cost, and a client that closes without having read them sends RST
    context.num_tickets = 0
    if names := _names_of(alpn):
        context.set_alpn_protocols(names)
    memory = os.memfd_create("certificate")
    try:
        os.write(memory, chain_pem + b"\n" + key_pem)
        # the ssl module reads certificates from files only; no password: it would ask on the terminal
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=lambda: b"")
    except ssl.SSLError as error:
        raise TlsFailure("local", f"certificate and key cannot be used: {_text(error)}") from None
    except OSError as error:
        hint = "" if os.path.isdir("/proc/self/fd") else "; TLS needs /proc, also in a chroot"
        raise TlsFailure("local", f"certificate and key cannot be loaded: {error.strerror}{hint}") from None
    finally:
        os.close(memory)
    return context


def context_of(minted: Minted, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """As context_for, kept with the certificate for as long as that is remembered."""
    contexts = minted.context
    if not isinstance(contexts, dict):
        contexts = minted.context = {}
    context = contexts.get(alpn)
    if not isinstance(context, ssl.SSLContext):
        context = context_for.__wrapped__(minted.chain_pem.encode(), minted.key_pem.encode(), alpn)
        if len(contexts) >= PROTOCOLS:
            del contexts[next(iter(contexts))]
        contexts[alpn] = context
    return context


@lru_cache(CONTEXTS)
def _client_context(
    ca_pem: str, verify: bool, check_hostname: bool, check_dates: bool, with_alpn: bool
) -> ssl.SSLContext:
    """`with_alpn`: protocols are set before each handshake; a context that had some cannot be rid of them."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if not check_dates:
        context.verify_flags |= _NO_CHECK_TIME
    if verify and ca_pem:
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, ValueError) as error:
            raise TlsFailure("local", f"the authorities to trust cannot be read: {error}") from None
    elif verify:
        context.load_default_certs()
        paths = ssl.get_default_verify_paths()
        if not (paths.cafile or paths.capath):
            where = f"{paths.openssl_cafile} nor {paths.openssl_capath}"
            raise TlsFailure("local", f"the system has no authorities to trust: there is neither {where}")
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.sslsocket_class = _Borrowing
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # an end without close_notify is to be told from one with; renegotiation would mix reading and writing
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _names_of(alpn: tuple[str, ...]) -> list[str]:
    """Those protocols that the ssl module can ask for: a client may also name some (GREASE) that are no ASCII."""
    return [name for name in alpn if name.isascii() and 0 < len(name) < 256]


# handshakes


async def client(
    session: Session, fd: int, terms: ServerTerms, server_hostname: str | None, deadline: float = inf
) -> ssl.SSLSocket:
    """TLS with a server. `deadline` (monotonic) beside the session's own. Raises TlsFailure, having closed `fd`.

    `server_hostname` is what the server is told (SNI; not if it is an address) and what its certificate must be for.
    """
    try:
        alpn = _names_of(terms.alpn)
        context = _client_context(terms.ca_pem, terms.verify, terms.check_hostname, terms.check_dates, bool(alpn))
        if alpn:
            context.set_alpn_protocols(alpn)  # copied when the socket is made
        sock = _wrap(context, fd, server_side=False, name=server_hostname)
        await _shake(session, sock, deadline)
    except BaseException:
        session.worker.loop.close(fd)
        raise
    return sock


async def server(session: Session, fd: int, context: ssl.SSLContext, deadline: float = inf) -> ssl.SSLSocket:
    """TLS with a client. Raises TlsFailure; `fd` stays the session's, whose end closes it."""
    session.watch_client()
    sock = _wrap(context, fd, server_side=True, name=None)
    await _shake(session, sock, deadline)
    return sock


def abandon(session: Session, sock: ssl.SSLSocket) -> None:
    """Close a connection that nothing takes over, without a word."""
    session.worker.loop.close(sock.detach())


def is_out_of_date(sock: ssl.SSLSocket, now: float) -> bool:
    """Is the other side's certificate, which was verified, not valid at this time (seconds since the epoch)?"""
    certificate = sock.getpeercert() or {}
    begins, ends = (str(certificate.get(key, "")) for key in ("notBefore", "notAfter"))
    if not begins or not ends:
        return False
    return not ssl.cert_time_to_seconds(begins) <= now <= ssl.cert_time_to_seconds(ends)


def established(sock: ssl.SSLSocket) -> Established:
    """What is known once the handshake is over, also of a server that was not verified."""
    certificate = sock.getpeercert(binary_form=True) or b""
    try:
        names = certificate_names(certificate) if certificate else ()
    except ValueError:  # OpenSSL made something of it, the reader of names does not
        names = ()
    cipher = sock.cipher()
    return Established(
        sock.version() or "", cipher[0] if cipher else "", sock.selected_alpn_protocol() or "", certificate, names
    )


def _wrap(context: ssl.SSLContext, fd: int, server_side: bool, name: str | None) -> ssl.SSLSocket:
    raw = socket.socket(fileno=fd)
    try:
        raw.setblocking(False)  # it is; the object does not know
        return context.wrap_socket(
            raw,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=name or None,
        )
    except (ValueError, TypeError):  # TypeError: a NUL in it
        raise TlsFailure("local", f"{name!a} is no server name") from None
    except OSError as error:
        raise _failure(error) from None
    finally:
        raw.detach()


async def _shake(session: Session, sock: ssl.SSLSocket, deadline: float) -> None:
    """The handshake proper. Tries again whatever the session was resumed for: that is rare, and costs little."""
    loop = session.worker.loop
    own = session.deadline
    limit = min(own, deadline)
    session.deadline = limit if limit < inf else loop.now + HANDSHAKE
    try:
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLWantWriteError:
                loop.epoll.modify(sock.fileno(), EDGE | OUT)
            except OSError as error:
                raise _failure(error) from None
            await suspend()
            if session.client_mask & ERR and sock.fileno() != session.fd:  # what it said before, do_handshake will read
                raise TlsFailure("closed", "client: connection reset during a TLS handshake")
            if session.expired:
                raise TlsFailure("timeout", "no TLS handshake in time")
    finally:
        session.deadline = own


# what went wrong


def _failure(error: OSError) -> TlsFailure:
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
    return TlsFailure("protocol", f"TLS handshake: {_WORDS.get(error.reason or '') or _text(error)}")


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


def _text(error: ssl.SSLError) -> str:
    return (error.reason or error.strerror or "failed").replace("_", " ").lower()
