"""OCSP responses from files, to be stapled: whether they are of this certificate, and still hold (RFC 6960).

Used by config.certificates. What is over, or says that a certificate is revoked, is left out with a warning: a file
that was not renewed in time is no reason not to start.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Final

from ferryman.config.files import reason_of
from ferryman.config.source import Path, Report

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.ocsp import OCSPResponse


NONE: Final = b"", inf


def read_ocsp(
    name: str, leaf: x509.Certificate, issuer: x509.Certificate | None, path: Path, report: Report
) -> tuple[bytes, float]:
    """The response in DER, and until when it holds (seconds since the epoch).

    NONE when it is not to be stapled, which is reported. An empty file is no response.
    """
    from cryptography.x509.ocsp import load_der_ocsp_response

    report.files.add(name)
    try:
        with open(name, "rb") as file:
            raw = file.read(1 << 20)
    except OSError as error:
        report.error(path, f"cannot read {name}: {error.strerror or error}")
        return NONE
    if not raw:
        return NONE
    try:
        response = load_der_ocsp_response(raw)
        problem = _problem(name, response, leaf, issuer)
    except ValueError as error:
        message = f"{name} is no OCSP response in DER: {reason_of(error)}"
        report.error(path, message, "`openssl ocsp -respout FILE` writes one")
        return NONE
    if problem is None:
        return raw, _until(response, leaf)
    message, fatal = problem
    if fatal:
        report.error(path, message, "get one for this certificate, or remove it")
    else:
        report.warning(path, message, "it is left out; get a new one")
    return NONE


def _until(response: OCSPResponse, leaf: x509.Certificate) -> float:
    single = next(each for each in response.responses if each.serial_number == leaf.serial_number)
    return single.next_update_utc.timestamp() if single.next_update_utc is not None else inf


def _problem(
    name: str, response: OCSPResponse, leaf: x509.Certificate, issuer: x509.Certificate | None
) -> tuple[str, bool] | None:
    """What is wrong with it, and whether that is a mistake. Raises ValueError where it is malformed."""
    from cryptography.hazmat.primitives.hashes import Hash
    from cryptography.x509.ocsp import OCSPCertStatus, OCSPRequestBuilder, OCSPResponseStatus

    if response.response_status is not OCSPResponseStatus.SUCCESSFUL:
        return f"the OCSP response in {name} says {response.response_status.name.lower()}", False
    single = next((each for each in response.responses if each.serial_number == leaf.serial_number), None)
    if single is None:
        return f"the OCSP response in {name} is of another certificate", True
    digest = Hash(single.hash_algorithm)
    digest.update(leaf.issuer.public_bytes())
    if digest.finalize() != single.issuer_name_hash:
        return f"the OCSP response in {name} is of another CA's certificate", True
    if issuer is not None:
        wanted = OCSPRequestBuilder().add_certificate(leaf, issuer, single.hash_algorithm).build()
        if wanted.issuer_key_hash != single.issuer_key_hash:
            return f"the OCSP response in {name} is of another CA's certificate", True
    if single.certificate_status is not OCSPCertStatus.GOOD:
        status = single.certificate_status.name.lower()
        return f"the OCSP response in {name} says that the certificate is {status}", False
    now = datetime.now(UTC)
    if single.next_update_utc is not None and single.next_update_utc < now:
        return f"the OCSP response in {name} was good until {single.next_update_utc:%Y-%m-%d %H:%M} UTC", False
    if single.this_update_utc > now:
        return f"the OCSP response in {name} is from the future: is the clock right?", False
    return None
