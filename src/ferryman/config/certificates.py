"""Certificates with their keys, from the files that a configuration names, for plan.Certificate.

Used by compile_tlsaccept and compile_tlsconnect; `Files` reads one file, several that belong together, or a folder,
finds the key of each certificate, puts its chain in order and looks for what keeps it from being of use. Every finding
is reported at the place in the configuration that named the file. Asks nobody for a password.

HAProxy's conventions hold: FILE may hold key and chain, in any order; FILE.key, FILE.ocsp and FILE.issuer beside it
are read where they are; FILE may stand for FILE.rsa and FILE.ecdsa.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ferryman.config.files import read_text, reason_of
from ferryman.config.ocsp import NONE, read_ocsp
from ferryman.config.source import Path, Report
from ferryman.plan import Certificate

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_BUNDLES: Final = (".rsa", ".ecdsa")
_OF_FOLDERS: Final = (".pem", ".crt", *_BUNDLES)
_BESIDE: Final = (".key", ".issuer", ".ocsp", ".sctl")
_SOON: Final = 30  # days
_LONGEST_CHAIN: Final = 10


@dataclass(frozen=True, slots=True)
class Named:
    """What a configuration says of one certificate. `path` is where it does."""

    file: str
    path: Path
    key: str = ""
    password_file: str = ""
    ocsp: str = ""
    names: tuple[str, ...] = ()


def read_certificates_of(named: Named, report: Report) -> list[Certificate]:
    """All certificates of a file or a folder; [] when there is none of use, which is reported."""
    password = _password(named, report)
    if os.path.isdir(named.file):
        report.files.add(named.file)
        return _of_folder(named, password, report)
    if not os.path.exists(named.file):
        bundle = [named.file + ending for ending in _BUNDLES if os.path.exists(named.file + ending)]
        if bundle:
            found = (_of_file(named, name, password, report) for name in bundle)
            return [certificate for certificate in found if certificate is not None]
    certificate = _of_file(named, named.file, password, report)
    return [] if certificate is None else [certificate]


def kind_of_key(chain: str) -> str:
    """Such as "RSA 2048", "ECDSA P-256" or "Ed25519", of the first certificate of a PEM text."""
    from cryptography.x509 import load_pem_x509_certificates

    return _kind(load_pem_x509_certificates(chain.encode())[0].public_key())


# files


@dataclass(slots=True)
class _Contents:
    """What is in one file or several of them."""

    certificates: list[x509.Certificate] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)  # file, PEM
    faulty: bool = False  # something in it cannot be read, which has been reported

    def add(self, name: str, path: Path, report: Report) -> None:
        from cryptography.x509 import load_pem_x509_certificate

        text = read_text(name, path, report)
        if text is None:
            self.faulty = True
            return
        for block in _BLOCK.finditer(text):
            if block[1].endswith("PRIVATE KEY"):
                self.keys.append((name, block[0] + "\n"))
            elif block[1] in ("CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"):
                try:
                    self.certificates.append(load_pem_x509_certificate(block[0].encode()))
                except ValueError as error:
                    self.faulty = True
                    report.error(path, f"{name} holds a certificate that cannot be read: {reason_of(error)}")


def _password(named: Named, report: Report) -> bytes | None:
    """The first line of the password's file."""
    if not named.password_file:
        return None
    path = (*named.path, "password_file")
    text = read_text(named.password_file, path, report)
    if text is None:
        return None
    _warn_of_mode(named.password_file, "the password", path, report)
    return text.partition("\n")[0].rstrip("\r").encode()


def _of_file(named: Named, name: str, password: bytes | None, report: Report) -> Certificate | None:
    contents, others = _Contents(), _Contents()  # of the others, certificates only complete the chain
    path = _at(named, "file", report)
    contents.add(name, path, report)
    if not contents.certificates and not contents.faulty:
        report.error(path, f"{name} holds no certificate", "a PEM file with -----BEGIN CERTIFICATE----- is needed")
        return None
    if named.key:
        others.add(named.key, _at(named, "key", report), report)
        contents.keys = others.keys
    elif not contents.keys and os.path.exists(f"{name}.key"):
        others.add(f"{name}.key", path, report)
        contents.keys = others.keys
    if os.path.exists(f"{name}.issuer"):
        others.add(f"{name}.issuer", path, report)
    if contents.faulty or others.faulty:
        return None
    return _made(named, name, contents, others.certificates, password, report)


def _of_folder(named: Named, password: bytes | None, report: Report) -> list[Certificate]:
    path = named.path
    for key in ("key", "ocsp", "names"):
        if getattr(named, key):
            report.error((*path, key), f"{named.file} is a folder: `{key}` cannot be said of all that is in it", "")
    named = Named(named.file, path, password_file=named.password_file)
    try:
        entries = sorted(entry.name for entry in os.scandir(named.file) if not entry.name.startswith("."))
    except OSError as error:
        report.error(path, f"cannot read the folder {named.file}: {error.strerror or error}")
        return []
    names = [os.path.join(named.file, name) for name in entries if name.endswith(_OF_FOLDERS)]
    for name in entries:
        if not name.endswith((*_OF_FOLDERS, *_BESIDE)) and _has_certificate(os.path.join(named.file, name)):
            hint = f"files that end in {', '.join(_OF_FOLDERS)} are looked at"
            report.warning(path, f"the certificate in {os.path.join(named.file, name)} is left out", hint)
    whole = {name: _Contents() for name in names}
    for name, contents in whole.items():
        contents.add(name, path, report)
        if os.path.exists(f"{name}.key"):
            contents.add(f"{name}.key", path, report)
    all_keys = [key for contents in whole.values() for key in contents.keys]
    all_certificates = [certificate for contents in whole.values() for certificate in contents.certificates]
    found: list[Certificate] = []
    seen: set[x509.Certificate] = set()
    for name, contents in whole.items():
        if contents.faulty or not contents.certificates or _only_authorities(contents):
            continue
        contents.keys = contents.keys or all_keys
        certificate = _made(named, name, contents, all_certificates, password, report, seen)
        if certificate is not None:
            found.append(certificate)
    if not found and not any(contents.faulty for contents in whole.values()) and not seen:
        hint = f"files that end in {', '.join(_OF_FOLDERS)} are looked at"
        report.error(path, f"there is no certificate with a key in {named.file}", hint)
    return found


def _has_certificate(name: str) -> bool:
    """Would it be one, if it had another name? What cannot be read is none."""
    if not os.path.isfile(name):  # a pipe would not be opened before somebody writes
        return False
    try:
        with open(name, "rb") as file:
            return b"-----BEGIN CERTIFICATE-----" in file.read(1 << 20)
    except OSError:
        return False


def _only_authorities(contents: _Contents) -> bool:
    """Is it a file of intermediate certificates, which completes the chains of others?"""
    return not contents.keys and all(_is_authority(certificate) for certificate in contents.certificates)


# one certificate


def _made(
    named: Named,
    name: str,
    contents: _Contents,
    others: Iterable[x509.Certificate],
    password: bytes | None,
    report: Report,
    seen: set[x509.Certificate] | None = None,
) -> Certificate | None:
    """`seen`: the certificates made so far, of which there need not be another."""
    from cryptography.hazmat.primitives.serialization import Encoding

    found = _pair(named, name, contents, password, report)
    if found is None:
        return None
    leaf, key = found
    if seen is not None:
        if leaf in seen:
            return None
        seen.add(leaf)
    path = _at(named, "file", report)
    chain = _chain(leaf, [*contents.certificates, *others])
    _check_chain(name, chain, contents.certificates, path, report)
    _check(name, leaf, path, report)
    names = _names(leaf)
    for position, wanted in enumerate(named.names):
        if not _covered(wanted.lower(), names):
            report.warning(
                (*named.path, "names", position),
                f"the certificate in {name} is not for {wanted}: clients that ask for it refuse it",
                f"it is for {', '.join(names)}" if names else "it is for no name at all",
            )
    pem = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)
    if not _usable(name, pem, key, path, report):
        return None
    beside = f"{name}.ocsp"
    response = named.ocsp or (beside if os.path.exists(beside) else "")
    at = (*named.path, "ocsp") if named.ocsp else path
    issuer = chain[1] if len(chain) > 1 else None
    ocsp, until = read_ocsp(response, leaf, issuer, at, report) if response else NONE
    return Certificate(
        where=name,
        chain=pem,
        key=key,
        names=tuple(wanted.lower() for wanted in named.names) or names,
        not_after=leaf.not_valid_after_utc.timestamp(),
        ocsp=ocsp,
        ocsp_until=until,
        kind=_kind(leaf.public_key()),
    )


def _pair(
    named: Named, name: str, contents: _Contents, password: bytes | None, report: Report
) -> tuple[x509.Certificate, str] | None:
    """The certificate that has a key, and that as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    at = _at(named, "key" if named.key else "file", report)
    if not contents.keys:
        holder = named.key or name
        hint = "name its file as `key:`, or put it into FILE.key beside" if not named.key else "is it the right file?"
        report.error(at, f"{holder} holds no private key", hint)
        return None
    locked: list[tuple[str, str, str]] = []
    keys: list[tuple[str, PrivateKeyTypes]] = []
    for file, text in dict.fromkeys(contents.keys):
        key = _unlock(text, password)
        if isinstance(key, tuple):
            locked.append((file, *key))
        else:
            keys.append((file, key))
    for certificate in contents.certificates:
        for file, key in keys:
            if _same(key.public_key(), certificate.public_key()):
                _warn_of_mode(file, "the key", at, report)
                pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                return certificate, pem.decode()
    for file, message, hint in locked:
        report.error(at, f"the key in {file} {message}", hint)
    if not locked:
        file = keys[0][0] if len(keys) == 1 else "any file beside it"
        report.error(at, f"the key in {file} is not that of the certificate in {name}", "name the key it was made with")
    return None


def _unlock(text: str, password: bytes | None) -> PrivateKeyTypes | tuple[str, str]:
    """The key, or what keeps it from being read, and a hint."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    encrypted = "ENCRYPTED" in text
    if encrypted and password is None:
        return "is locked with a password", "name the file that holds it as `password_file:`"
    try:
        return load_pem_private_key(text.encode(), password if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            return "does not open with the password", "the first line of `password_file` is taken as it stands"
        return f"cannot be read: {reason_of(error)}", "has it been cut off, or edited?"


def _same(one: PublicKeyTypes, other: PublicKeyTypes) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return one.public_bytes(*form) == other.public_bytes(*form)


# chains


def _chain(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The leaf and what signed it, and so on, without the root: clients have that, or do not trust it."""
    chain = [leaf]
    while len(chain) < _LONGEST_CHAIN and not _self_signed(chain[-1]):
        issuer = next((other for other in others if other not in chain and _issued(chain[-1], other)), None)
        if issuer is None or _self_signed(issuer):
            break
        chain.append(issuer)
    return chain


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _check_chain(
    name: str, chain: Sequence[x509.Certificate], in_file: Sequence[x509.Certificate], path: Path, report: Report
) -> None:
    """Warn of an intermediate certificate that is likely missing, and of what leads nowhere."""
    last = chain[-1]
    if _self_signed(last) or any(_issued(last, other) for other in in_file):
        return
    stray = [other for other in in_file if other not in chain and not _self_signed(other)]
    if stray or (_says_where_issuer_is(last) and not _known_root(last)):
        issuer = last.issuer.rfc4514_string() or "who signed it"
        message = f"the chain in {name} has a gap: the certificate of {issuer} is missing"
        report.warning(path, message, "add the intermediate certificates, or clients may refuse it")


def _says_where_issuer_is(certificate: x509.Certificate) -> bool:
    """Public CAs say so in what an intermediate of theirs has signed; private ones that sign with their root do not."""
    from cryptography.x509 import AuthorityInformationAccess, ExtensionNotFound
    from cryptography.x509.oid import AuthorityInformationAccessOID

    try:
        access = certificate.extensions.get_extension_for_class(AuthorityInformationAccess).value
    except (ExtensionNotFound, ValueError):
        return False
    return any(entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in access)


def _known_root(certificate: x509.Certificate) -> bool:
    """Is its issuer one of those that this system trusts?"""
    issuer = certificate.issuer.public_bytes()
    return any(issuer in der for der in ssl.create_default_context().get_ca_certs(binary_form=True))


# what keeps it from being of use


def _check(name: str, leaf: x509.Certificate, path: Path, report: Report) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    begin, end, now = leaf.not_valid_before_utc, leaf.not_valid_after_utc, datetime.now(UTC)
    if now > end:
        report.warning(path, f"the certificate in {name} expired on {end:%Y-%m-%d}", "whoever sees it refuses it")
    elif now < begin:
        message = f"the certificate in {name} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
        report.warning(path, message, "is the clock right?")
    elif (end - now).days < _SOON:
        report.warning(path, f"the certificate in {name} expires on {end:%Y-%m-%d}", "renew it in time")
    algorithm = leaf.signature_hash_algorithm
    if algorithm is not None and algorithm.name in ("sha1", "md5"):
        message = f"the certificate in {name} is signed with {algorithm.name.upper()}"
        report.warning(path, message, "clients refuse it; get one that is signed with SHA-256")
    public = leaf.public_key()
    if isinstance(public, RSAPublicKey) and public.key_size < 2048:
        message = f"the RSA key of the certificate in {name} has {public.key_size} bits"
        report.warning(path, message, "clients refuse less than 2048")


def _usable(name: str, chain: str, key: str, path: Path, report: Report) -> bool:
    """Does OpenSSL, with the limits of this system, take it? Its weakest are refused when they are loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fd = os.memfd_create("certificate")
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write((key + chain).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    except ssl.SSLError as error:
        reason = (error.reason or "it gives no reason").replace("_", " ").lower()
        report.error(path, f"OpenSSL on this machine does not take the certificate in {name}: {reason}", "")
        return False
    finally:
        os.close(fd)
    return True


def _warn_of_mode(name: str, what: str, path: Path, report: Report) -> None:
    if os.stat(name).st_mode & stat.S_IROTH:
        report.warning(path, f"everybody on this machine can read {what} in {name}", f"chmod 600 {name}")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """What it is for, in lower case: the alternative names, the common name only if there are none (RFC 6125 6.4.4)."""
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, NameOID, SubjectAlternativeName

    try:
        names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).lower() for name in common[-1:])
    found = [name.lower() for name in names.get_values_for_type(DNSName)]
    found += [str(address) for address in names.get_values_for_type(IPAddress)]
    return tuple(dict.fromkeys(found))


def _covered(wanted: str, names: Sequence[str]) -> bool:
    return wanted in names or ("." in wanted and "*." + wanted.partition(".")[2] in names)


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):
        return False


def _kind(key: PublicKeyTypes) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
            return f"ECDSA {curve.get(key.curve.name, key.curve.name)}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def _at(named: Named, key: str, report: Report) -> Path:
    """The place of a key of the entry, or of the entry, of which plain text is the short form."""
    path = (*named.path, key)
    return path if path in report.document.marks else named.path
