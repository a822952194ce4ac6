"""TLS with clients: `tls` of a listener to plan.TlsCase, with what is likely to go wrong pointed out.

Called by config.compile_listener. Certificates are read by config.certificates.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferryman.config.certificates import Named, kind_of_key, read_certificates_of
from ferryman.config.compile_rules import Tests, compile_condition, refuse_facts, warn_of_unreachable
from ferryman.config.compile_tlslimits import ciphers_for, compile_limits
from ferryman.config.files import located, read_certificates, read_text, reason_of
from ferryman.config.model_tls import CertificateSettings, TlsCaseSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Backend, Certificate, TlsAccept, TlsCase, TlsLimits


def compile_tls_cases(
    settings: Sequence[TlsCaseSettings], path: Path, tests: Tests, mode: str, report: Report
) -> tuple[TlsCase, ...]:
    """`path` is that of `tls`, which may be one mapping instead of a list."""
    if settings and mode == "pages":
        report.error(path, "pages are not shown with TLS", "put a listener with `tls` before them, which leads there")
        return ()
    cases = tuple(
        _case(case, (*path, number) if (*path, number) in report.document.marks else path, tests, mode, report)
        for number, case in enumerate(settings)
    )
    warn_of_unreachable(cases, path, report)
    message = "is not known here: no client has named a target"
    refuse_facts(cases, path, ("target",), message, "client_address, local_port and sni are", report)
    message = "is not known here: it comes with the handshake that this is about"
    refuse_facts(cases, path, ("handshake",), message, "decide in `inspect`, `routes` or `access`", report)
    return cases


def _case(settings: TlsCaseSettings, path: Path, tests: Tests, mode: str, report: Report) -> TlsCase:
    condition = compile_condition(settings.when, (*path, "when"), tests, report)
    where = report.where(path)
    if settings.terminate:
        return TlsCase(condition, where, _accept(settings, path, mode, report))
    for key in sorted(settings.model_fields_set - {"when", "terminate"}):
        message = f"`{key}` is of no use where the stream stays untouched"
        report.error((*path, key), message, "remove it, or `terminate: false`")
    return TlsCase(condition, where, None)


def _accept(settings: TlsCaseSettings, path: Path, mode: str, report: Report) -> TlsAccept:
    before = report.diagnostics.errors
    certificates = _certificates(settings.certificates, (*path, "certificates"), report)
    if not settings.certificates:
        hint = "add `certificates: FILE`, or `terminate: false` to leave the stream untouched"
        report.error(path, "to terminate TLS, a certificate is needed", hint)
    elif settings.strict and report.diagnostics.errors == before and not any(one.names for one in certificates):
        message = "`strict` refuses everybody: no certificate is for any name"
        report.error((*path, "strict"), message, "say which, as `names:` of the certificates")
    if mode == "connect" and "h2" in settings.alpn:
        report.error((*path, "alpn"), "an explicit proxy does not speak h2", "write http/1.1")
    _warn_of_duplicates(certificates, (*path, "certificates"), report)
    limits = compile_limits(settings, path, report)
    if limits.ciphers and certificates and report.diagnostics.errors == before:
        _check_ciphers(limits, certificates, (*path, "ciphers"), report)
    verify, ca, crl = _clients(settings, (*path, "clients"), report)
    return TlsAccept(
        certificates=tuple(certificates),
        strict=settings.strict,
        limits=limits,
        alpn=tuple(settings.alpn),
        verify=verify,
        ca=ca,
        crl=crl,
        tickets=settings.tickets,
        timeout=settings.handshake_timeout,
    )


def _check_ciphers(limits: TlsLimits, certificates: Sequence[Certificate], path: Path, report: Report) -> None:
    """Those that OpenSSL has, but no certificate is good for, are never agreed on."""
    kinds = [kind_of_key(one.chain) for one in certificates]
    if limits.min_version != "1.2" or ciphers_for(limits, kinds):
        return
    names = ", ".join(sorted({kind.partition(" ")[0] for kind in kinds}))
    message, hint = (
        f"none of these ciphers goes with the certificates, whose keys are {names}",
        f"name some with {names}",
    )
    if limits.max_version == "1.2":
        report.error(path, f"{message}: no handshake would succeed", hint)
    else:
        report.warning(path, f"{message}: clients with TLS 1.2 are refused", f"{hint}, or say `min_version: 1.3`")


def _certificates(entries: Sequence[CertificateSettings], path: Path, report: Report) -> list[Certificate]:
    found: list[Certificate] = []
    for number, entry in enumerate(entries):
        at = (*path, number) if (*path, number) in report.document.marks else path
        found += read_certificates_of(named(entry, at, report), report)
    return found


def check_handshake(cases: Sequence[TlsCase], reached: Sequence[Backend], path: Path, report: Report) -> None:
    """Some rule or server of the listener needs what a handshake has come to. `reached`: where it may lead."""
    if not any(case.accept for case in cases):
        message = f"no TLS ends at listener {path[-1]}: what rules ask of the handshake is never known"
        report.warning(path, message, "add `tls: {certificates: FILE}`")
        return
    servers = [server for backend in reached for server in backend.servers]
    asking = next((server.name for server in servers if server.tls is not None and server.tls.alpn is None), "")
    if asking and any(case.accept is not None and not case.accept.alpn for case in cases):
        message = (
            f"no application protocol is agreed on with clients: the handshake with these comes before it is "
            f"known that server {asking} is the one that chooses"
        )
        report.warning((*path, "tls"), message, "add `alpn: [h2, http/1.1]` to `tls`")


def named(entry: CertificateSettings, path: Path, report: Report) -> Named:
    return Named(
        located(entry.file, (*path, "file"), report),
        path,
        located(entry.key, (*path, "key"), report),
        located(entry.password_file, (*path, "password_file"), report),
        located(entry.ocsp, (*path, "ocsp"), report),
        tuple(entry.names),
    )


def _warn_of_duplicates(certificates: Sequence[Certificate], path: Path, report: Report) -> None:
    """Of several for one name and kind of key only one is ever shown."""
    first: dict[tuple[str, str], Certificate] = {}
    for certificate in certificates:
        kind = kind_of_key(certificate.chain).partition(" ")[0]
        doubled = [name for name in certificate.names if first.setdefault((name, kind), certificate) is not certificate]
        if doubled:
            other = first[doubled[0], kind].where
            message = f"two {kind} certificates are for {', '.join(doubled)}: those in {other} and {certificate.where}"
            report.warning(path, message, "remove one of them, or say `names:`")


def _clients(settings: TlsCaseSettings, path: Path, report: Report) -> tuple[str, str, str]:
    """Whether they show certificates, and the PEM of who may have signed and of what is revoked."""
    clients = settings.clients
    if clients is None or clients.certificate == "none":
        for key in ("ca", "crl"):
            if clients is not None and key in clients.model_fields_set:
                message = f"`{key}` is of no use where no certificate is asked for"
                report.warning((*path, key), message, "say `certificate: required`, or remove it")
        return "none", "", ""
    if not clients.ca:
        message = "to verify the certificates of clients it has to be known who may have signed them"
        report.error(path, message, "add `ca: FILE`")
    ca = read_certificates(clients.ca, (*path, "ca"), report) if clients.ca else ""
    crl = _revoked(clients.crl, ca, (*path, "crl"), report) if clients.crl else ""
    return clients.certificate, ca, crl


def _revoked(name: str, ca: str, path: Path, report: Report) -> str:
    """The text of a file with lists of revoked certificates, each of which may be over. `ca`: whose they have to be."""
    from datetime import UTC, datetime

    from cryptography.x509 import load_pem_x509_certificates, load_pem_x509_crl

    text = read_text(name, path, report)
    if text is None:
        return ""
    blocks = text.split("-----BEGIN X509 CRL-----")[1:]
    if not blocks:
        hint = "a PEM file with -----BEGIN X509 CRL----- is needed"
        report.error(path, f"{name} holds no list of revoked certificates", hint)
    found = set()
    for block in blocks:
        try:
            listed = load_pem_x509_crl(f"-----BEGIN X509 CRL-----{block}".encode())
            until = listed.next_update_utc
            found.add(listed.issuer)
        except ValueError as error:
            report.error(path, f"{name} holds a list of revoked certificates that cannot be read: {reason_of(error)}")
            continue
        if until is not None and until < datetime.now(UTC):
            message = f"the list of revoked certificates in {name} was good until {until:%Y-%m-%d}"
            report.warning(path, message, "every client's certificate is refused until there is a new one")
    for authority in load_pem_x509_certificates(ca.encode()) if ca and found else ():
        if authority.subject not in found:
            message = f"{name} has no list of what {authority.subject.rfc4514_string()} has revoked"
            report.warning(path, message, "all certificates that it has signed are refused; add its list")
    return text
