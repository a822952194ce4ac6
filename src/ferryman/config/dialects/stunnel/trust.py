"""Whom the other side has to be: verify, verifyChain, verifyPeer, requireCert, CAfile, CRLfile, checkHost, checkIP.

Called by tls.py. With verifyPeer CAfile holds the peers' own certificates; these are read here, since the native
configuration knows them by their fingerprints.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ferryman.config.dialects.stunnel.reader import Options
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_LARGEST: Final = 16 << 20  # bytes
_SYSTEM: Final = ("/etc/ssl/certs", "/etc/pki/tls/certs")


@dataclass(slots=True)
class Demand:
    """What is asked of the other side's certificate. Each option changes what those before it made of this."""

    requested: bool = False
    required: bool = False
    chain: bool = False
    peer: bool = False
    word: Word | None = None  # the last one that said so

    @property
    def verifies(self) -> bool:
        return self.chain or self.peer


def demand(options: Options) -> Demand:
    """As stunnel has it once all lines are read."""
    found = Demand()
    for name, value in options.said:
        text = value.text.lower()
        if name == "verify":
            level = int(text)
            found = Demand(True, level >= 2, 1 <= level <= 3, level >= 3, value)
        elif name in ("verifychain", "verifypeer", "requirecert"):
            wanted = text == "yes"
            if wanted:
                found.requested = found.required = True
                found.word = value
            if name == "verifychain":
                found.chain = wanted
            elif name == "verifypeer":
                found.peer = wanted
            else:
                found.required = wanted
    return found


def of_server(options: Options, diagnostics: Diagnostics) -> dict[str, object]:
    """Keys of the native `tls` of a backend. Raises Mistake."""
    wanted = demand(options)
    _check(options, wanted)
    hosts, addresses = options.all("checkhost"), options.all("checkip")
    crl = options.last("crlfile")
    if not wanted.verifies:
        _warn_of_idle(options, diagnostics)
        return {"verify": At(False, options.mark)}
    assert wanted.word is not None
    if crl is not None and crl.text:
        message = "'CRLfile' of a client is stunnel's, not supported by ferryman yet"
        raise Mistake(crl, message, "write verifyPeer, with CAfile of the server's own certificate")
    if wanted.peer:
        pins = [At(each, wanted.word.mark) for each in _fingerprints(_pinned(options, hosts, addresses))]
        return {"fingerprints": pins}
    if len(names := [*hosts, *addresses]) > 1:
        message = "one of several names is stunnel's, not supported by ferryman yet"
        raise Mistake(names[1], message, "keep one checkHost, or write verifyPeer with the servers' own certificates")
    ca = _authorities(options)
    if not names:
        message = f"whoever has a certificate of this CA can pose as the server of [{options.name}]"
        diagnostics.warning(wanted.word.mark, message, "add checkHost with the name in the server's certificate")
    name = At(names[0].text, names[0].mark) if names else At("*", wanted.word.mark)
    return {"verify": True, "verify_name": name, **({"ca": ca} if ca is not None else {})}


def of_clients(options: Options, diagnostics: Diagnostics) -> tuple[At | None, list[object]]:
    """The native `clients` of a TLS case, and conditions under which a client is refused after the handshake.

    Raises Mistake.
    """
    wanted = demand(options)
    _check(options, wanted)
    if not wanted.verifies:
        if wanted.required and wanted.word is not None:
            message = (
                "a certificate that nobody verifies proves nothing: requireCert alone is not supported by ferryman"
            )
            raise Mistake(wanted.word, message, "add verifyChain or verifyPeer, and CAfile")
        _warn_of_idle(options, diagnostics)
        return None, []
    assert wanted.word is not None
    clients: dict[str, object] = {"certificate": "required" if wanted.required else "optional"}
    refused: list[object] = []
    hosts, addresses = options.all("checkhost"), options.all("checkip")
    if wanted.peer:
        pinned = _pinned(options, hosts, addresses)
        _check_verifiable(options, pinned)
        refused.append({"not": {"client_cert_fingerprint": {"is": _fingerprints(pinned)}}})
    elif names := [At(each.text, each.mark) for each in (*hosts, *addresses)]:
        refused.append({"not": {"client_cert_names": {"is": names, "ignore_case": True}}})
    if not wanted.required:
        refused = [{"all": [{"client_cert": True}, rule]} for rule in refused]
    ca = _authorities(options)
    if ca is None:
        message = (
            "all of the system's authorities for certificates of clients are stunnel's, not supported by ferryman yet"
        )
        raise Mistake(options.last("capath") or wanted.word, message, "write CAfile with those that sign for clients")
    clients["ca"] = ca
    if (crl := options.last("crlfile")) is not None and crl.text:
        clients["crl"] = At(crl.text, crl.mark)
    return At(clients, wanted.word.mark), refused


def _warn_of_idle(options: Options, diagnostics: Diagnostics) -> None:
    for name in ("CAfile", "CRLfile"):
        if (word := options.last(name.lower())) is not None and word.text:
            message = f"{name} is not looked at: [{options.name}] verifies no certificate"
            diagnostics.warning(word.mark, message, "add verifyChain = yes")


def _check(options: Options, wanted: Demand) -> None:
    """What stunnel refuses as well."""
    has_ca = any((word := options.last(name)) is not None and word.text for name in ("cafile", "capath"))
    if wanted.verifies and not has_ca:
        assert wanted.word is not None
        raise Mistake(wanted.word, "to verify certificates it has to be known who may have signed them", "add CAfile")
    checks = [*options.all("checkhost"), *options.all("checkip")]
    if checks and not wanted.verifies:
        message = "a name in a certificate that nobody verifies proves nothing"
        raise Mistake(checks[0], message, "add verifyChain = yes, and CAfile")


def _authorities(options: Options) -> At | None:
    """The native `ca`; None: the system's. Raises Mistake."""
    file, folder = options.last("cafile"), options.last("capath")
    if file is not None and not file.text:
        file = None
    if folder is not None and folder.text:
        usual = os.path.normpath(folder.text) in _SYSTEM
        if not usual or file is not None:
            message = "a folder of certificates (CApath) is stunnel's, not supported by ferryman yet"
            raise Mistake(folder, message, f"cat {folder.text}/*.0 > ca.pem, and write CAfile = ca.pem")
        return None
    return At(file.text, file.mark) if file is not None else None


def _pinned(options: Options, hosts: Sequence[Word], addresses: Sequence[Word]) -> list[Certificate]:
    """The peers' certificates in CAfile: those that pass checkHost and checkIP, if there are any. Raises Mistake."""
    from cryptography.x509 import load_pem_x509_certificates

    file = options.last("cafile")
    if file is None or not file.text:
        word = options.last("capath") or Word("", options.mark)
        raise Mistake(word, "a folder of peers' certificates (CApath) is stunnel's, not supported by ferryman yet",
                      "write CAfile with these certificates")  # fmt: skip
    try:
        with open(file.text, "rb") as opened:
            found = load_pem_x509_certificates(opened.read(_LARGEST))
    except OSError as error:
        raise Mistake(file, f"cannot read {file.text}: {error.strerror}") from None
    except ValueError:
        hint = "a PEM file with -----BEGIN CERTIFICATE----- is needed"
        raise Mistake(file, f"{file.text} holds no certificate that can be read", hint) from None
    wanted = {each.text.lower() for each in (*hosts, *addresses)}
    if not wanted:
        return found
    fitting = [each for each in found if any(_is_for(name, wanted) for name in _names(each))]
    if not fitting:
        first = (*hosts, *addresses)[0]
        raise Mistake(first, f"no certificate in {file.text} is for {first.text}", "every peer would be refused")
    return fitting


def _check_verifiable(options: Options, pinned: Sequence[Certificate]) -> None:
    """A client's certificate has to be signed by itself or by one that is in the file, too."""
    for certificate in pinned:
        if certificate.issuer not in {each.subject for each in _pinned(options, (), ())}:
            file = options.last("cafile")
            assert file is not None
            message = (
                f"{file.text} lacks the CA that has signed {certificate.subject.rfc4514_string()}: a client's "
                "certificate without it is stunnel's, not supported by ferryman yet"
            )
            raise Mistake(file, message, "append the CA's certificate to that file")


def _fingerprints(certificates: Sequence[Certificate]) -> list[str]:
    from cryptography.hazmat.primitives.hashes import SHA256

    return [each.fingerprint(SHA256()).hex() for each in certificates]


def _names(certificate: Certificate) -> list[str]:
    """Host names and addresses, as OpenSSL has it: the common name where there is no host name."""
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, NameOID, SubjectAlternativeName

    try:
        extension = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        hosts, addresses = [], []
    else:
        hosts = list(extension.get_values_for_type(DNSName))
        addresses = [str(each) for each in extension.get_values_for_type(IPAddress)]
    common = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [each.lower() for each in (*(hosts or common), *addresses)]


def _is_for(name: str, wanted: set[str]) -> bool:
    if name in wanted:
        return True
    return name.startswith("*.") and any(each.partition(".")[2] == name[2:] for each in wanted)
