"""Files that a configuration names: certificates, keys, lists of users. Read once, when the configuration is.

Used by the compile_* modules. Whatever opens a file itself asks `located` first. Every function reports what is wrong
at the place of the file's name. cryptography is imported only where there is a certificate to look at: it takes its
time to load.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ferryman.config.dialects.native import NAME as NATIVE
from ferryman.config.source import Path, Report

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_LARGEST: Final = 16 << 20  # bytes


def located(name: str, path: Path, report: Report) -> str:
    """Where a file is that stands at `path`: relative to the folder of the native configuration that names it.

    In other dialects, on standard input and on the command line relative to the current folder, as the programs that
    they come from have it. "" stays what it is.
    """
    mark = report.document.mark(path)
    native = mark is not None and report.document.dialect == NATIVE
    return os.path.abspath(os.path.join(os.path.dirname(mark.file) if mark and native else "", name)) if name else ""


def read_text(name: str, path: Path, report: Report) -> str | None:
    """The text of a file, or None when it cannot be had."""
    name = located(name, path, report)
    report.files.add(name)
    try:
        with open(name, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        report.error(path, f"cannot read {name}: {error.strerror or error}")
        return None
    if len(raw) > _LARGEST:
        report.error(path, f"{name} is larger than {_LARGEST >> 20} MiB", "is it the right file?")
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        report.error(path, f"{name} is not text: byte {error.start + 1} is not UTF-8", "is it the right file?")
        return None


def read_certificates(name: str, path: Path, report: Report) -> str:
    """The text of a PEM file with certificates that verify others; "" when it is not that."""
    text = read_text(name, path, report)
    found = certificates(name, text, path, report) if text is not None else []
    if not found or text is None:
        return ""
    if all(certificate.not_valid_after_utc < datetime.now(UTC) for certificate in found):
        until = max(certificate.not_valid_after_utc for certificate in found)
        message = f"what {name} holds expired on {until:%Y-%m-%d}"
        report.warning(path, message, "every certificate that it should verify is refused")
    elif not any(_is_authority(certificate) or certificate.subject == certificate.issuer for certificate in found):
        message = f"{name} holds no certificate of a CA: every certificate that it should verify is refused"
        report.warning(path, message, "name the file of the CA that signed it")
    return text


def certificates(name: str, text: str, path: Path, report: Report) -> list[Certificate]:
    """The certificates in a text; none is an error."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError as error:
        if "BEGIN CERTIFICATE" not in text:
            report.error(path, f"{name} holds no certificate", "a PEM file with -----BEGIN CERTIFICATE----- is needed")
        else:
            report.error(path, f"{name} holds a certificate that cannot be read: {reason_of(error)}")
        return []


def reason_of(error: Exception) -> str:
    """What cryptography found, without the advice and the innards that it adds."""
    return re.split(r"[.:({]", str(error))[0].strip() or "it makes no sense"


def check_authority(certificate_file: str, path: Path, key_file: str, key_path: Path, report: Report) -> None:
    """See to it that a CA's certificate may sign others, is valid today, and that the key is its own."""
    text = read_text(certificate_file, path, report)
    found = certificates(certificate_file, text, path, report) if text is not None else []
    key_text = text if key_file == certificate_file else read_text(key_file, key_path, report)
    if found:
        _check_certificate(found[0], certificate_file, path, report)
    if key_text is not None:
        _check_key(found[0] if found else None, key_file, key_text, key_path, report)


def _check_certificate(certificate: Certificate, name: str, path: Path, report: Report) -> None:
    from cryptography.x509 import ExtensionNotFound, KeyUsage

    authority = _is_authority(certificate)
    if not authority:
        hint = "a certificate with CA:TRUE is needed, such as openssl req -x509 makes"
        report.error(path, f"the certificate in {name} is not that of a CA: clients refuse what it signs", hint)
    try:
        signs = certificate.extensions.get_extension_for_class(KeyUsage).value.key_cert_sign
    except (ExtensionNotFound, ValueError):
        signs = True
    if authority and not signs:
        message = f"the CA in {name} may not sign certificates: its key usage says so"
        report.error(path, message, "make it with keyCertSign")
    begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    if now > end:
        report.error(path, f"the CA certificate in {name} expired on {end:%Y-%m-%d}", "make a new one")
    elif now < begin:
        message = f"the CA certificate in {name} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
        report.error(path, message, "is the clock right?")
    elif (end - now).days < 30:
        report.warning(path, f"the CA certificate in {name} expires on {end:%Y-%m-%d}", "make a new one in time")


def _is_authority(certificate: Certificate) -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):
        return False


def _check_key(certificate: Certificate | None, name: str, text: str, path: Path, report: Report) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    if "PRIVATE KEY-----" not in text:
        report.error(path, f"{name} holds no private key", "name the file with -----BEGIN PRIVATE KEY----- as `key:`")
        return
    try:
        key = load_pem_private_key(text[_start_of_key(text) :].encode(), None)
    except TypeError:
        hint = "`openssl pkey -in KEY -out UNLOCKED` removes it"
        report.error(path, f"the key in {name} is locked with a password", hint)
        return
    except (ValueError, UnsupportedAlgorithm) as error:
        report.error(path, f"the key in {name} cannot be read: {reason_of(error)}")
        return
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if certificate is not None and key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        report.error(path, f"the key in {name} is not that of the CA certificate", "name the key it was made with")
    if os.stat(name).st_mode & stat.S_IROTH:
        report.warning(path, f"everybody on this machine can read the CA's key in {name}", f"chmod 600 {name}")


def _start_of_key(text: str) -> int:
    """Where the block begins that holds the private key."""
    return text.rindex("-----BEGIN", 0, text.index("PRIVATE KEY-----"))
