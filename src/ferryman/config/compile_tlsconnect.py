"""TLS with servers: `tls` of backends and servers to plan.TlsConnect.

Called by config.compile_backend.
"""

from __future__ import annotations

import os
import sys

from ferryman.config.certificates import read_certificates_of
from ferryman.config.compile_tlsaccept import named
from ferryman.config.compile_tlslimits import check_server_name, compile_limits
from ferryman.config.files import located, read_certificates
from ferryman.config.model_tls import CertificateSettings, TlsServerSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Certificate, TlsConnect

ANY_NAME = "*"
"""As `verify_name`: whoever has a certificate of a trusted CA will do."""


def compile_tls_connect(
    settings: TlsServerSettings | bool | None, address: Address, path: Path, report: Report
) -> TlsConnect | None:
    """`path` is where the settings stand: of the server, or of its backend."""
    if settings is None or settings is False:
        return None
    if settings is True:
        settings = TlsServerSettings()
    name, alpn = settings.server_name, settings.alpn
    asked = {"received": None, "none": ""}.get(name, name) if name is not None else None
    if name == "":
        report.error((*path, "server_name"), "which name?", "write `none` to ask for none")
    if asked:
        check_server_name(asked, (*path, "server_name"), report)
    _check_trust(settings, path, report)
    return TlsConnect(
        verify=settings.verify,
        ca=sys.intern(read_certificates(settings.ca, (*path, "ca"), report)) if settings.ca else "",  # for all servers
        fingerprints=tuple(settings.fingerprints),
        server_name=asked,
        verify_name=_verify_name(settings, asked, address, path, report),
        certificate=_certificate(settings.certificate, (*path, "certificate"), report),
        alpn=tuple(alpn) if isinstance(alpn, list) else () if alpn == "none" else None,
        limits=compile_limits(settings, path, report),
        resume=settings.resume,
    )


def _check_trust(settings: TlsServerSettings, path: Path, report: Report) -> None:
    if not settings.verify and not settings.fingerprints:
        message = "whoever sits in between can pose as the server: its certificate is not verified"
        report.warning((*path, "verify"), message, "say `ca: FILE`, or `fingerprints:` of its certificate")
    for key in ("ca", "verify_name"):
        if settings.fingerprints and key in settings.model_fields_set:
            message = f"`{key}` is not looked at: a certificate is trusted by its fingerprint alone"
            report.warning((*path, key), message, "keep one of them")
        elif not settings.verify and key in settings.model_fields_set:
            report.warning((*path, key), f"`{key}` is not looked at: nothing is verified", "remove `verify: false`")
    if settings.verify_name.startswith("."):  # to OpenSSL that is all names below it, however deep
        message = f"{settings.verify_name} is no name that a certificate has"
        report.error((*path, "verify_name"), message, "write a whole name, such as www.example.org")
    if settings.verify_name == ANY_NAME and settings.verify and not settings.fingerprints and not settings.ca:
        message = "whoever has a certificate of any CA can pose as the server"
        report.warning((*path, "verify_name"), message, "say which name, or `ca: FILE` with a CA of your own")


def _verify_name(settings: TlsServerSettings, asked: str | None, address: Address, path: Path, report: Report) -> str:
    """Said in full where the name that the server is asked for will not do."""
    if settings.verify_name or asked or not settings.verify or settings.fingerprints:
        return settings.verify_name
    if address.family in ("unix", "abstract"):
        if asked == "":
            message = f"for which name is the certificate of {address} to be?"
            report.error(path, message, "say `verify_name: NAME`")
        return ""
    return address.host if asked == "" else ""


def _certificate(entry: CertificateSettings | None, path: Path, report: Report) -> Certificate | None:
    if entry is None:
        return None
    if os.path.isdir(located(entry.file, (*path, "file"), report)):
        report.error(path, f"{entry.file} is a folder: which certificate is shown to the server?", "name one file")
        return None
    for key in ("ocsp", "names"):
        if key in entry.model_fields_set:
            message = f"`{key}` is of no use in a certificate that is shown to a server"
            report.error((*path, key), message, "remove it")
    found = read_certificates_of(named(entry, path, report), report)
    return found[0] if found else None
