"""Host certificates made on the fly, signed by the operator's certificate authority, for clients whose TLS is opened.

    authority = load_authority("/etc/ferryman/ca.pem", "/etc/ferryman/ca.key")     # StartError
    minted = HostCertificates(authority, Leaf(), cache=4 << 20)
    chain_pem = minted.get(server_certificate_der, "www.example.org", reason="")

Used by answers, in a thread. A certificate resembles the server's: common name, alternative names and validity are
taken over, everything else is what a server's certificate needs (RFC 5280, CA/Browser baseline). A server that was not
trusted gets one that is not trusted either: signed by an authority made up here whose name says why, so the client
shows what is wrong and does not learn to trust it. Neither key is ever written or sent anywhere but the leaf's to the
workers; nothing at all is written unless a folder for it is named.

All host certificates of one run share one P-256 key, which workers hold anyway: a key for each would keep nothing from
somebody who has taken over a worker, and would cost a quarter of the speed and 0.3 kB of every entry in every cache.
Measured (`python -m bench.minting`), new names per CPU second, with one key: 10 300 signed by a P-256 authority, 2 600
by RSA 2048, 480 by RSA 4096; with a key for each 8 000, 2 400 and 330 to 530.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import time
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ferryman.dataplane.cache import Cache
from ferryman.errors import StartError

NAME_ONLY_DAYS: Final = 30
"""Days that a certificate is good for when there is no server's to resemble."""
LONGEST_COMMON_NAME: Final = 64  # RFC 5280 appendix A.1, ub-common-name
_DISTRUST: Final = "NOT TRUSTED by ferryman: "
_REASONS: Final = 64  # made-up authorities that are kept
_OVERHEAD: Final = 512  # bytes an entry of the cache weighs beside its text
_DAY: Final = datetime.timedelta(days=1)
_KEY_BLOCK: Final = re.compile(
    rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL
)  # RFC 7468; EC PARAMETERS and certificates may stand before it
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(\*\.)?([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")

_UNREADABLE: Final = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)

_SERVER: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_NO_CA: Final = x509.BasicConstraints(ca=False, path_length=None)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_SIGNS_HANDSHAKES: Final = _usage(ca=False)
_SIGNS_CERTIFICATES: Final = _usage(ca=True)


class MintingError(Exception):
    """This certificate cannot be made: a name that is none, or valid at no time, or only when the CA's is not."""


class Authority:
    """What signs. `chain_pem`: the certificates that a server sends after its own."""

    def __init__(self, certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes, chain_pem: str) -> None:
        self.chain_pem = chain_pem
        self.key = key
        self.name = certificate.subject
        self.fingerprint = certificate.fingerprint(hashes.SHA256())
        self.not_before = certificate.not_valid_before_utc
        self.not_after = certificate.not_valid_after_utc
        self.algorithm = _algorithm(key)
        try:
            own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        self.identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


class Leaf:
    """The key of all host certificates of one run."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.public = key.public_key()
        self.identifier = x509.SubjectKeyIdentifier.from_public_key(self.public)
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate is for, and when. `common_name` "": it has none."""

    common_name: str
    names: tuple[x509.DNSName | x509.IPAddress, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime


# identities


def identity_of(certificate: bytes) -> Identity | None:
    """Of a server's certificate (DER). None: it cannot be read (OpenSSL takes some that break the rules)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # what servers show is not ours to mend
            found = x509.load_der_x509_certificate(certificate)
        not_before, not_after = found.not_valid_before_utc, found.not_valid_after_utc
        attributes = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = x509.SubjectAlternativeName([])
    except (ValueError, TypeError, *_UNREADABLE):
        return None
    common_name = attributes[0].value if attributes else ""
    if not isinstance(common_name, str) or len(common_name.encode()) > LONGEST_COMMON_NAME:
        common_name = ""
    names = tuple(name for name in alternatives if isinstance(name, (x509.DNSName, x509.IPAddress)))
    return Identity(common_name, names, not_before, not_after) if common_name or names else None


def identity_for(name: str, now: datetime.datetime) -> Identity:
    """For a name or an address alone. Raises MintingError."""
    single: x509.DNSName | x509.IPAddress
    try:
        single = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        name = name.lower()
        if not _NAME.fullmatch(name):
            raise MintingError("this is no name that a certificate can have") from None
        single = x509.DNSName(name)
    common_name = name if len(name) <= LONGEST_COMMON_NAME else ""
    return Identity(common_name, (single,), now - _DAY, now + NAME_ONLY_DAYS * _DAY)


# issuing


def issue(authority: Authority, leaf: Leaf, identity: Identity, now: datetime.datetime) -> x509.Certificate:
    """A certificate for the leaf's key. Raises MintingError."""
    not_before, not_after = identity.not_before, identity.not_after
    if not_before <= now <= not_after:  # else it stays as it is: the client is to see that, however new the CA is
        not_before = max(not_before, authority.not_before)
        not_after = min(not_after, authority.not_after)
    if not_before > not_after:
        raise MintingError("the server's certificate and the CA's are not valid at any common time")
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)] if identity.common_name else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(authority.name)
        .public_key(leaf.public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(_NO_CA, critical=True)
        .add_extension(_SIGNS_HANDSHAKES, critical=True)
        .add_extension(_SERVER, critical=False)
        .add_extension(leaf.identifier, critical=False)
        .add_extension(authority.identifier, critical=False)
    )
    if identity.names:
        # critical where it is all there is to go by (RFC 5280 section 4.2.1.6)
        builder = builder.add_extension(x509.SubjectAlternativeName(identity.names), critical=not attributes)
    return builder.sign(authority.key, authority.algorithm)


def distrusted_authority(reason: str) -> Authority:
    """One that nobody trusts, whose name says why. Valid at all times, so that it shortens no validity."""
    printable = "".join(char if char.isprintable() else "?" for char in reason)
    name = (_DISTRUST + printable).encode("utf-8", "replace")[:LONGEST_COMMON_NAME].decode("utf-8", "ignore")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key, _pem(certificate))


class HostCertificates:
    """Certificates of one authority, those made lately kept within `cache` bytes.

    `keep`: a folder they are also written to; "": none. `tell` gets what operators should know: (level, text).
    """

    def __init__(
        self,
        authority: Authority,
        leaf: Leaf,
        cache: int,
        keep: str = "",
        tell: Callable[[str, str], None] = lambda level, text: None,
    ) -> None:
        self.authority = authority
        self.leaf = leaf
        self._made: Cache[str] = Cache(cache)
        self._distrusted: Cache[Authority] = Cache(_REASONS)
        self._keep = keep
        self._tell = tell
        self._complained = ""

    def get(self, certificate: bytes | None, name: str, reason: str) -> str:
        """PEM of a certificate and what follows it in the chain; the key to it is the leaf's. Raises MintingError.

        `certificate`: the server's (DER); None: there is none, `name` has to do. `reason`: why the server was not
        trusted; "": it was.
        """
        now = datetime.datetime.now(datetime.UTC)
        # what resembles nothing is only good for some days, so it is made anew each day
        key: tuple[object, str] = (hashlib.sha256(certificate).digest() if certificate else (name, now.date()), reason)
        if (chain := self._made.get(key, 0.0)) is not None:
            return chain
        identity = identity_of(certificate) if certificate else None
        if certificate and identity is None:
            # the client sees for itself only what it is shown: the CA does not vouch for a name that nobody proved
            reason = reason or "its certificate is for no name"
            key = (name, reason)
        authority = self._distrusted_by(reason) if reason else self.authority
        identity = identity or identity_for(name, now)
        chain = _pem(issue(authority, self.leaf, identity, now)) + authority.chain_pem
        self._made.put(key, chain, inf, len(chain) + _OVERHEAD)
        if self._keep:
            self._write(name, hashlib.sha256((certificate or b"") + reason.encode()).hexdigest()[:16], chain)
        return chain

    def _distrusted_by(self, reason: str) -> Authority:
        authority = self._distrusted.get(reason, 0.0)
        if authority is None:
            authority = distrusted_authority(reason)
            self._distrusted.put(reason, authority, inf)
        return authority

    def _write(self, name: str, digest: str, chain: str) -> None:
        """Into the folder, whole or not at all. That it cannot be is said, and stops nobody."""
        path = os.path.join(self._keep, f"{re.sub('[^a-z0-9.-]', '_', name.lower())[:100].lstrip('.')}-{digest}.pem")
        try:
            descriptor, draft = tempfile.mkstemp(dir=self._keep, prefix=".")  # mode 0600
            try:
                with open(descriptor, "w") as file:
                    file.write(chain)
                os.replace(draft, path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            if (text := f"minted certificates cannot be kept in {self._keep}: {error.strerror}") != self._complained:
                self._complained = text
                self._tell("warning", text)


# the operator's authority


def load_authority(ca_path: str, key_path: str = "") -> Authority:
    """Read a CA's certificate, any that lead from it to its root, and its key ("": in the same file), all PEM.

    Raises StartError, with a text for operators.
    """
    key_path = key_path or ca_path
    text = _read(ca_path, "CA certificate")
    try:
        certificates = x509.load_pem_x509_certificates(text)
    except (ValueError, *_UNREADABLE):
        raise StartError(f"CA certificate {ca_path}: there is no certificate in PEM in it") from None
    key = _load_key(key_path)
    certificate = next((one for one in certificates if _belongs(one, key)), None)
    if certificate is None:
        raise StartError(f"the key in {key_path} does not belong to the CA certificate in {ca_path}")
    _refuse_unfit(certificate, ca_path)
    chain = [certificate, *(one for one in certificates if one != certificate)]
    return Authority(certificate, key, "".join(_pem(one) for one in chain if one.subject != one.issuer))


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StartError(f"{what} {path}: {error.strerror}") from error


def _load_key(path: str) -> CertificateIssuerPrivateKeyTypes:
    block = _KEY_BLOCK.search(_read(path, "CA key"))
    if block is None:
        raise StartError(f"CA key {path}: there is no private key in PEM in it")
    try:
        key = serialization.load_pem_private_key(block[0], password=None)
    except TypeError:
        raise StartError(
            f"CA key {path}: it is encrypted, and there is nobody to ask for its passphrase; "
            f"`openssl pkey -in {path} -out PLAIN` writes it without one"
        ) from None
    except ValueError:
        raise StartError(f"CA key {path}: it is damaged, or of a kind that is not known") from None
    if not isinstance(
        key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
    ):
        raise StartError(f"CA key {path}: it must be an EC, RSA or Ed25519 key")
    return key


def _refuse_unfit(certificate: x509.Certificate, path: str) -> None:
    try:
        extensions = certificate.extensions
    except (ValueError, *_UNREADABLE) as error:
        raise StartError(f"CA certificate {path}: its extensions cannot be read: {error}") from None
    constraints = next((e.value for e in extensions if isinstance(e.value, x509.BasicConstraints)), None)
    if constraints is None or not constraints.ca:
        raise StartError(f"CA certificate {path}: it is no CA's (basicConstraints does not say CA:TRUE)")
    usage = next((e.value for e in extensions if isinstance(e.value, x509.KeyUsage)), None)
    if usage is not None and not usage.key_cert_sign:
        raise StartError(f"CA certificate {path}: it may not sign certificates (keyUsage lacks keyCertSign)")
    now = time()
    if certificate.not_valid_after_utc.timestamp() <= now:
        raise StartError(f"CA certificate {path}: it expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc.timestamp() > now:
        raise StartError(f"CA certificate {path}: it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")


def _algorithm(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    """What certificates are hashed with; None: the key's own."""
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def _belongs(certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):  # another certificate in the file, of a kind that is not known
        return False


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
