"""TLS with a server or a client: handshakes in the worker's own loop.

Called by chain, dial, bump and terminate with `await`; contexts say what is shown and asked, tlsrelay carries what
comes after. A handshake works on the bare descriptor, which the loop watches already and whose handler resumes the
session (Stream, Attempt, the session itself).

Descriptors: the SSLSocket that a handshake gives only borrows its descriptor. It never closes it, not even when it is
freed, so there is one owner as for every descriptor, who closes it through the loop (`abandon` does so for both).

Waits only in `await suspend()`; decides nothing about whom to trust but what the caller's terms say.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import openssl
from ferryman.dataplane.contexts import Borrowing, ServerTerms, for_server
from ferryman.dataplane.loop import EDGE, ERR, OUT, suspend
from ferryman.dataplane.tlsfailure import TlsFailure, told_by
from ferryman.wire.certificate import certificate_names

if TYPE_CHECKING:
    from ferryman.dataplane.connect import Requester

HANDSHAKE: Final = 10.0
"""Seconds a handshake may take where neither the caller nor the session has a deadline."""


_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
}
"""Attributes as RFC 4514 section 3 abbreviates them."""


@dataclass(frozen=True, slots=True)
class Established:
    """What a handshake agreed on. `certificate`: the other side's in DER, b"" if it showed none; its names.

    `subject` and `issuer` are known of a certificate that was verified.
    """

    version: str
    cipher: str
    alpn: str
    resumed: bool
    certificate: bytes
    names: tuple[str, ...]
    subject: tuple[tuple[str, str], ...] = ()
    issuer: tuple[tuple[str, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        return hashlib.sha256(self.certificate).hexdigest() if self.certificate else ""


# handshakes


async def client(
    session: Requester,
    fd: int,
    terms: ServerTerms,
    server_hostname: str | None,
    deadline: float = inf,
    earlier: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """TLS with a server. `deadline` (monotonic) beside the session's own. Raises TlsFailure, having closed `fd`.

    `server_hostname` is what the server is told (SNI; not if it is an address) and what its certificate must be for.
    `earlier`: a TLS session with it, to be resumed.
    """
    try:
        sock = _wrap(for_server(terms), fd, server_hostname, earlier)
        await _shake(session, sock, deadline)
    except BaseException:
        session.worker.loop.close(fd)
        raise
    return sock


async def server(session: Requester, fd: int, context: ssl.SSLContext, deadline: float = inf) -> ssl.SSLSocket:
    """TLS with a client. Raises TlsFailure; `fd` stays the session's, whose end closes it."""
    session.watch_client()
    try:
        sock = Borrowing.of_client(context, fd)
    except OSError as error:
        raise told_by(error) from None
    await _shake(session, sock, deadline)
    return sock


def abandon(session: Requester, sock: ssl.SSLSocket) -> None:
    """Close a connection that nothing takes over, without a word."""
    session.worker.loop.close(sock.detach())


def is_out_of_date(sock: ssl.SSLSocket, now: float) -> bool:
    """Is the other side's certificate, which was verified, not valid at this time (seconds since the epoch)?"""
    try:
        certificate = sock.getpeercert() or {}
    except (ValueError, ssl.SSLError):  # of some of its names nothing can be made
        return False
    begins, ends = (str(certificate.get(key, "")) for key in ("notBefore", "notAfter"))
    if not begins or not ends:
        return False
    return not ssl.cert_time_to_seconds(begins) <= now <= ssl.cert_time_to_seconds(ends)


def established(sock: ssl.SSLSocket) -> Established:
    """What is known once the handshake is over, also of a server that was not verified.

    Raises TlsFailure where a certificate was verified whose names cannot be read: rules would take it for another's.
    """
    certificate = sock.getpeercert(binary_form=True) or b""
    try:
        names = certificate_names(certificate) if certificate else ()
    except ValueError:  # OpenSSL made something of it, the reader of names does not
        names = ()
    cipher = sock.cipher()
    try:
        verified = (sock.getpeercert() or {}) if certificate else {}
    except (ValueError, ssl.SSLError):
        raise TlsFailure("verify", "its certificate: the names in it cannot be read") from None
    return Established(
        sock.version() or "",
        cipher[0] if cipher else "",
        sock.selected_alpn_protocol() or "",
        bool(sock.session_reused),
        certificate,
        names,
        _attributes(verified.get("subject")),
        _attributes(verified.get("issuer")),
    )


def _attributes(name: object) -> tuple[tuple[str, str], ...]:
    """A distinguished name of ssl.getpeercert, flat."""
    if not isinstance(name, tuple):
        return ()
    return tuple((_SHORT.get(key, key), value) for part in name for key, value in part)


def _wrap(context: ssl.SSLContext, fd: int, name: str | None, earlier: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    raw = socket.socket(fileno=fd)
    try:
        raw.setblocking(False)  # it is; the object does not know
        sock = context.wrap_socket(
            raw,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=name or None,
            session=earlier,
        )
        openssl.pause_at_each_record(sock)
        return sock
    except (ValueError, TypeError):  # TypeError: a NUL in it
        if earlier is not None:  # made with other terms, or with a context that is not kept any more
            return _wrap(context, fd, name)
        raise TlsFailure("local", f"{name!a} is no server name") from None
    except OSError as error:
        raise told_by(error) from None
    finally:
        raw.detach()


async def _shake(session: Requester, sock: ssl.SSLSocket, deadline: float) -> None:
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
                raise told_by(error) from None
            await suspend()
            if session.client_mask & ERR and sock.fileno() != session.fd:  # what it said before, do_handshake will read
                raise TlsFailure("closed", "client: connection reset during a TLS handshake")
            if session.expired:
                raise TlsFailure("timeout", "no TLS handshake in time")
    finally:
        session.deadline = own
