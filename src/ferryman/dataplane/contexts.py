"""What is shown to TLS clients and asked of TLS servers, as contexts of the ssl module, which are kept.

Used by tls (servers), bump and terminate (clients). Decides nothing about whom to trust but what it is told.
Certificates and keys come as text, never as files: a worker may be in a chroot and has no right to read them.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ferryman.dataplane import openssl
from ferryman.dataplane.tlsfailure import TlsFailure, words
from ferryman.plan import Certificate, TlsAccept, TlsConnect, TlsLimits

if TYPE_CHECKING:
    from ferryman.dataplane.questions import Minted

CONTEXTS: Final = 256
"""Contexts kept of each kind: 20 to 30 kB each with a certificate, a few MB with the system's authorities."""
PROTOCOLS: Final = 4
"""Contexts kept of one minted certificate: an ALPN protocol each, which the client and the server choose."""

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, for which the ssl module has no name."""
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_LIMITS: Final = TlsLimits()


class Borrowing(ssl.SSLSocket):
    """TLS on a descriptor that belongs to somebody else. `keep` gets its session in the end, to be resumed."""

    keep: Callable[[ssl.SSLSession], None] | None = None

    @classmethod
    def of_client(cls, context: ssl.SSLContext, fd: int) -> Borrowing:
        """The server's side of TLS on a connected, non-blocking socket.

        SSLContext.wrap_socket would do as well, but asks the kernel six times for what is known here, which takes 8 µs
        instead of 2. What is set are the fields it sets (CPython 3.11 to 3.14).
        """
        self = cls.__new__(cls)
        # told what it is, it does not ask; the address family plays no part
        socket.socket.__init__(self, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, fd)
        self._context = context  # type: ignore[attr-defined]
        self._session = None  # type: ignore[attr-defined]
        self._connected = True  # type: ignore[attr-defined]
        self.server_side = True
        self.server_hostname = None
        self.do_handshake_on_connect = False  # type: ignore[attr-defined]
        self.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        self._sslobj = context._wrap_socket(self, True, None, owner=self)  # type: ignore[attr-defined]
        openssl.pause_at_each_record(self)
        return self

    def do_handshake(self, block: bool = False) -> None:
        """As inherited, without setting the timeout that the socket has, which is a system call each time."""
        self._sslobj.do_handshake()  # type: ignore[attr-defined]

    def close(self) -> None:
        self.detach()

    def __del__(self) -> None:
        self.detach()


# servers


class ServerTerms(NamedTuple):
    """What is asked of a server. `ca_pem`: whom to trust, "" for the system's authorities.

    `verify_name`: what its certificate must be for, where that is not what the server is asked for.
    """

    ca_pem: str
    verify: bool
    alpn: tuple[str, ...]
    check_hostname: bool
    check_dates: bool = True
    verify_name: str = ""
    limits: TlsLimits = _LIMITS
    chain_pem: str = ""  # shown to the server
    key_pem: str = ""


def terms_of(connect: TlsConnect, verify_name: str) -> ServerTerms:
    """As a plan has them. `verify_name` as in ServerTerms, "*": any. A pinned server is known by its fingerprint."""
    verify = connect.verify and not connect.fingerprints
    shown = connect.certificate
    return ServerTerms(
        ca_pem=connect.ca,
        verify=verify,
        alpn=connect.alpn or (),
        check_hostname=verify and not verify_name,
        verify_name=verify_name if verify and verify_name != "*" else "",
        limits=connect.limits,
        chain_pem=shown.chain if shown is not None else "",
        key_pem=shown.key if shown is not None else "",
    )


def for_server(terms: ServerTerms) -> ssl.SSLContext:
    """To be used at once: its protocols are the next one's as well. Raises TlsFailure."""
    alpn = _protocols(terms.alpn)
    context = _for_server(terms._replace(alpn=("",) if alpn else ()))  # one that had some cannot be rid of them
    if alpn:
        context.set_alpn_protocols(alpn)  # copied when the socket is made
    return context


@lru_cache(CONTEXTS)
def _for_server(terms: ServerTerms) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, terms.limits)
    context.check_hostname = terms.check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if terms.verify else ssl.CERT_NONE
    if terms.chain_pem:
        _show(context, terms.chain_pem, terms.key_pem)
    if not terms.check_dates:
        context.verify_flags |= _NO_CHECK_TIME
    if terms.verify and terms.verify_name:
        _set(lambda: openssl.set_verify_name(context, terms.verify_name))
    if terms.verify and terms.ca_pem:
        try:
            context.load_verify_locations(cadata=terms.ca_pem)
        except (ssl.SSLError, ValueError) as error:
            raise TlsFailure("local", f"the authorities to trust cannot be read: {error}") from None
    elif terms.verify:
        context.load_default_certs()
        paths = ssl.get_default_verify_paths()
        if not (paths.cafile or paths.capath):
            where = f"{paths.openssl_cafile} nor {paths.openssl_capath}"
            raise TlsFailure("local", f"the system has no authorities to trust: there is neither {where}")
    return context


def forget_authorities() -> None:
    """With a new plan: the system's may be others by now, and keys of the plan before need not stay in memory."""
    _for_server.cache_clear()


# clients


class Acceptor:
    """TLS with the clients of a listener: finds the certificates for a name. Contexts are made when first needed."""

    def __init__(self, accept: TlsAccept, ticket_keys: bytes) -> None:
        self.accept = accept
        self._ticket_keys = self._own(ticket_keys) if accept.tickets and ticket_keys else b""
        self._by_name: dict[str, list[Certificate]] = {}
        for certificate in accept.certificates:
            for name in certificate.names:
                self._by_name.setdefault(name, []).append(certificate)
        self._contexts: dict[tuple[str, tuple[str, ...]], ssl.SSLContext] = {}

    def context(self, name: str, alpn: tuple[str, ...]) -> ssl.SSLContext | None:
        """For a client that asks for `name` ("": for none). None: it is to be refused. Raises TlsFailure."""
        found = self._key(name)
        if not found and self.accept.strict:
            return None
        context = self._contexts.get((found, alpn))
        if context is None:
            if len(self._contexts) >= CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            context = self._contexts[found, alpn] = self._make(found, alpn)
        return context

    def follow_tickets(self, keys: bytes) -> None:
        """From now on tickets are made and read with these keys."""
        if self.accept.tickets:
            self._ticket_keys = self._own(keys)
            for context in self._contexts.values():
                openssl.set_ticket_keys(context, self._ticket_keys)

    def _own(self, keys: bytes) -> bytes:
        """Keys for all that show the same certificates, ask the same of clients and negotiate the same.

        A session begun elsewhere must stand in for no certificate: neither for a client's, nor for one of ours that
        the client would not take. Whoever can lead a connection to another listener would else be able to have the
        session resumed there, where nothing is shown.
        """
        accept = self.accept
        shown = (one.chain for one in accept.certificates)
        same = "\0".join((accept.verify, accept.ca, accept.crl, repr(accept.limits), *shown)).encode()
        return hashlib.shake_256(keys + hashlib.sha256(same).digest()).digest(openssl.TICKET_KEYS)

    def _key(self, name: str) -> str:
        """The name or wildcard under which there are certificates for `name`; "": there are none."""
        name = name.lower().rstrip(".")
        if name in self._by_name:
            return name
        wildcard = "*." + name.partition(".")[2]  # RFC 9525 section 6.3: the leftmost label, and whole
        return wildcard if wildcard in self._by_name else ""

    def _make(self, key: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
        accept = self.accept
        context = _context(ssl.PROTOCOL_TLS_SERVER, accept.limits)
        first = accept.certificates[0]
        shown = self._by_name.get(key) or self._beside(first)
        for certificate in shown:
            _show(context, certificate.chain, certificate.key)
        if responses := {_digest(one.chain): (one.ocsp, one.ocsp_until) for one in shown if one.ocsp}:
            _set(lambda: openssl.set_ocsp_responses(context, responses))
        if alpn:
            context.set_alpn_protocols(_protocols(alpn))
        if accept.verify != "none":
            context.verify_mode = ssl.CERT_REQUIRED if accept.verify == "required" else ssl.CERT_OPTIONAL
            _trust(context, accept.ca + "\n" + accept.crl)
            if accept.crl:
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN  # an authority on the way may be revoked as well
        if not accept.tickets:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        elif self._ticket_keys:
            _set(lambda: openssl.set_ticket_keys(context, self._ticket_keys))
        return context

    def _beside(self, first: Certificate) -> list[Certificate]:
        """The first certificate and those of another kind for the same names."""
        return [one for one in self.accept.certificates if set(one.names) == set(first.names)] or [first]


@lru_cache(CONTEXTS)
def context_for(chain_pem: bytes, key_pem: bytes, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """Shows this certificate. Raises TlsFailure if the two do not fit or cannot be loaded."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    # resumption would save less than the tickets cost, and a client that closes without having read them sends RST
    context.num_tickets = 0
    if names := _protocols(alpn):
        context.set_alpn_protocols(names)
    _show(context, chain_pem.decode(), key_pem.decode())
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


# both


def _context(protocol: int, limits: TlsLimits = _LIMITS) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.sslsocket_class = Borrowing
    context.minimum_version = _VERSIONS.get(limits.min_version, ssl.TLSVersion.TLSv1_2)
    if limits.max_version:
        context.maximum_version = _VERSIONS[limits.max_version]
    # an end without close_notify is to be told from one with; renegotiation would mix reading and writing
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if openssl.available and protocol == ssl.PROTOCOL_TLS_SERVER:
        openssl.remember_no_sessions(context)
    if limits.ciphers:
        _set(lambda: context.set_ciphers(limits.ciphers))
    if limits.ciphersuites:
        _set(lambda: openssl.set_ciphersuites(context, limits.ciphersuites))
    if limits.groups:
        _set(lambda: openssl.set_groups(context, limits.groups))
    return context


def _set(change: Callable[[], None]) -> None:
    try:
        change()
    except ssl.SSLError as error:
        raise TlsFailure("local", f"TLS cannot be set up: {words(error)}") from None
    except (ValueError, openssl.UnavailableError) as error:
        raise TlsFailure("local", f"TLS cannot be set up: {error}") from None


def _show(context: ssl.SSLContext, chain_pem: str, key_pem: str) -> None:
    """Load a certificate and its key. Raises TlsFailure."""

    def load(path: str) -> None:
        context.load_cert_chain(path, password=lambda: b"")  # no password: it would ask on the terminal

    try:
        _as_file(f"{chain_pem}\n{key_pem}", load)
    except ssl.SSLError as error:
        raise TlsFailure("local", f"certificate and key cannot be used: {words(error)}") from None


def _digest(chain_pem: str) -> bytes:
    """SHA-256 of the first certificate."""
    leaf = chain_pem[: chain_pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf[leaf.index(ssl.PEM_HEADER) :])).digest()


def _trust(context: ssl.SSLContext, pem: str) -> None:
    """Load authorities and lists of what they have revoked. Raises TlsFailure."""
    try:
        _as_file(pem, lambda path: context.load_verify_locations(cafile=path))
    except ssl.SSLError as error:
        raise TlsFailure("local", f"the authorities to trust cannot be read: {words(error)}") from None


def _as_file(pem: str, load: Callable[[str], None]) -> None:
    """The ssl module reads some things from files only."""
    memory = os.memfd_create("certificate")
    try:
        os.write(memory, pem.encode())
        load(f"/proc/self/fd/{memory}")
    except ssl.SSLError:
        raise
    except OSError as error:
        hint = "" if os.path.isdir("/proc/self/fd") else "; TLS needs /proc, also in a chroot"
        raise TlsFailure("local", f"certificate and key cannot be loaded: {error.strerror}{hint}") from None
    finally:
        os.close(memory)


def _protocols(alpn: tuple[str, ...]) -> list[str]:
    """Those protocols that the ssl module can ask for: a client may also name some (GREASE) that are no ASCII."""
    return [name for name in alpn if name.isascii() and 0 < len(name) < 256]
