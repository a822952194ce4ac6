"""What is shown to clients and asked of servers, seen from the other side."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.config.leaves import ca, issue, write
from tests.unit.controlplane.authorities import DAY, NOW

from ferryman.dataplane import contexts, openssl
from ferryman.dataplane.contexts import Acceptor
from ferryman.dataplane.questions import Minted
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Certificate, TlsAccept, TlsConnect, TlsLimits

CA = trustme.CA()
CA_PEM = CA.cert_pem.bytes().decode()
LEAF = CA.issue_cert("api.example")
CHAIN = b"".join(blob.bytes() for blob in LEAF.cert_chain_pems)
KEY = LEAF.private_key_pem.bytes()


def certificate(*names: str, kind: trustme.KeyType = trustme.KeyType.ECDSA, ocsp: bytes = b"") -> Certificate:
    issued = CA.issue_cert(*names, key_type=kind)
    chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
    return Certificate(names[0], chain, issued.private_key_pem.bytes().decode(), names, 0.0, ocsp)


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(context)
    return context


def shake(
    serving: ssl.SSLContext,
    asking: ssl.SSLContext,
    name: str | None = "api.example",
    session: ssl.SSLSession | None = None,
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection in memory, after the handshake and one word from the server."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(up, down, server_side=True)
    client = asking.wrap_bio(down, up, server_hostname=name, session=session)
    waiting = [client, server]
    for _ in range(20):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            break
    server.write(b"x")
    assert client.read(1) == b"x"  # and with it the tickets of TLS 1.3
    return client, server


def name_shown(acceptor: Acceptor, name: str | None) -> str:
    context = acceptor.context(name or "", ())
    assert context is not None
    asking = client_context()
    asking.check_hostname = False
    shown = shake(context, asking, name)[0].getpeercert(binary_form=True)
    assert shown is not None
    extension = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return str(extension.value.get_values_for_type(x509.DNSName)[0])


# servers


def test_a_server_s_name_that_is_not_the_one_it_is_asked_for() -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(serving)
    for verify_name in ("api.example", "other.example"):
        terms = contexts.terms_of(TlsConnect(ca=CA_PEM), verify_name)
        if verify_name == "api.example":
            shake(serving, contexts.for_server(terms), "front.example")
            shake(serving, contexts.for_server(terms), None)
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                shake(serving, contexts.for_server(terms), "api.example")


def test_an_address_as_the_name_to_be_verified() -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("192.0.2.7").configure_cert(serving)
    shake(serving, contexts.for_server(contexts.terms_of(TlsConnect(ca=CA_PEM), "192.0.2.7")), None)
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        shake(serving, contexts.for_server(contexts.terms_of(TlsConnect(ca=CA_PEM), "192.0.2.8")), None)


def test_a_pinned_server_is_not_verified_otherwise() -> None:
    terms = contexts.terms_of(TlsConnect(fingerprints=("00" * 32,)), "")
    assert contexts.for_server(terms).verify_mode == ssl.CERT_NONE


def test_a_certificate_is_shown_to_the_server() -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(serving)
    serving.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(serving)
    connect = TlsConnect(ca=CA_PEM, certificate=certificate("we.example"))
    _, server = shake(serving, contexts.for_server(contexts.terms_of(connect, "")))
    assert (server.getpeercert() or {})["subjectAltName"] == (("DNS", "we.example"),)


# clients


def test_certificates_by_name() -> None:
    names = ["first.example", "*.apps.example", "a.apps.example"]
    acceptor = Acceptor(TlsAccept(tuple(certificate(name) for name in names)), b"")
    assert name_shown(acceptor, "A.Apps.Example.") == "a.apps.example"
    assert name_shown(acceptor, "b.apps.example") == "*.apps.example"
    assert name_shown(acceptor, "a.b.apps.example") == "first.example", "a wildcard stands for one label"
    assert name_shown(acceptor, "apps.example") == "first.example"
    assert name_shown(acceptor, None) == "first.example"


def test_strict_refuses_what_no_certificate_is_for() -> None:
    acceptor = Acceptor(TlsAccept((certificate("api.example"),), strict=True), b"")
    assert acceptor.context("api.example", ()) is not None
    assert acceptor.context("other.example", ()) is None
    assert acceptor.context("", ()) is None


def test_rsa_and_ecdsa_side_by_side() -> None:
    kinds = (trustme.KeyType.RSA, trustme.KeyType.ECDSA)
    acceptor = Acceptor(TlsAccept(tuple(certificate("api.example", kind=kind) for kind in kinds)), b"")
    for name in ("api.example", ""):
        context = acceptor.context(name, ())
        assert context is not None
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            asking = client_context()
            asking.maximum_version = ssl.TLSVersion.TLSv1_2
            asking.set_ciphers(cipher)
            assert (shake(context, asking)[0].cipher() or ("",))[0] == cipher


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_limits(version: str) -> None:
    limits = TlsLimits(version, version, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_128_GCM_SHA256", "P-384")
    context = Acceptor(TlsAccept((certificate("api.example"),), limits=limits), b"").context("", ())
    assert context is not None
    client, _ = shake(context, client_context())
    wanted = {"1.2": "ECDHE-ECDSA-AES256-GCM-SHA384", "1.3": "TLS_AES_128_GCM_SHA256"}
    assert (client.version(), (client.cipher() or ("",))[0]) == (f"TLSv{version}", wanted[version])


def test_limits_that_openssl_does_not_know() -> None:
    for limits in (TlsLimits(ciphers="none"), TlsLimits(ciphersuites="none"), TlsLimits(groups="none")):
        with pytest.raises(TlsFailure, match="TLS cannot be set up"):
            Acceptor(TlsAccept((certificate("api.example"),), limits=limits), b"").context("", ())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions_are_resumed_in_another_process_that_has_the_same_keys(version: str) -> None:
    accept = TlsAccept((certificate("api.example"),), limits=TlsLimits(version, version))
    keys, others = os.urandom(openssl.TICKET_KEYS), os.urandom(openssl.TICKET_KEYS)
    one, two = Acceptor(accept, keys), Acceptor(accept, keys)
    asking = client_context()
    first, second = one.context("", ()), two.context("", ())
    assert first is not None
    assert second is not None
    ticket = shake(first, asking)[0].session
    assert shake(second, asking, session=ticket)[0].session_reused
    two.follow_tickets(others)
    assert not shake(second, asking, session=ticket)[0].session_reused, "keys are replaced, also in contexts that exist"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_begun_elsewhere_is_no_substitute_for_a_certificate(version: str) -> None:
    keys, shown = os.urandom(openssl.TICKET_KEYS), (certificate("api.example"),)
    limits = TlsLimits(version, version)
    anybody = Acceptor(TlsAccept(shown, limits=limits), keys).context("", ())
    members = Acceptor(TlsAccept(shown, limits=limits, verify="required", ca=CA_PEM), keys).context("", ())
    assert anybody is not None
    assert members is not None
    asking = client_context()
    ticket = shake(anybody, asking)[0].session
    with pytest.raises(ssl.SSLError, match=r"(?i)peer.did.not.return.a.certificate"):
        shake(members, asking, session=ticket)


def test_a_session_does_not_bring_a_cipher_along_that_is_not_taken() -> None:
    keys, shown = os.urandom(openssl.TICKET_KEYS), (certificate("api.example"),)
    ciphers = "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-GCM-SHA384"
    old, new = (
        Acceptor(TlsAccept(shown, limits=TlsLimits("1.2", "1.2", each)), keys).context("", ()) for each in ciphers
    )
    assert old is not None
    assert new is not None
    asking = client_context()
    asking.set_ciphers(":".join(ciphers))
    ticket = shake(old, asking)[0].session
    assert (shake(new, asking, session=ticket)[0].cipher() or ("",))[0] == ciphers[1]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_is_not_resumed_where_other_certificates_are_shown(version: str) -> None:
    keys, limits = os.urandom(openssl.TICKET_KEYS), TlsLimits(version, version)
    one, other = (Acceptor(TlsAccept((certificate(name),), limits=limits), keys) for name in ("a.example", "b.example"))
    first, second = one.context("a.example", ()), other.context("a.example", ())
    assert first is not None
    assert second is not None
    asking = client_context()
    ticket = shake(first, asking, "a.example")[0].session
    assert shake(first, asking, "a.example", ticket)[0].session_reused
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(second, asking, "a.example", ticket)


@pytest.mark.parametrize(("version", "tickets"), [("1.2", True), ("1.2", False), ("1.3", False)])
def test_sessions_without_tickets_are_not_resumed_and_not_remembered(version: str, tickets: bool) -> None:
    accept = TlsAccept((certificate("api.example"),), tickets=tickets, limits=TlsLimits(version, version))
    context = Acceptor(accept, os.urandom(openssl.TICKET_KEYS)).context("", ())
    assert context is not None
    asking = client_context()
    if tickets:
        asking.options |= ssl.OP_NO_TICKET  # the client's, who could resume such a session by its number
    client, _ = shake(context, asking)
    assert context.session_stats()["number"] == 0
    assert not shake(context, asking, session=client.session)[0].session_reused


@pytest.mark.parametrize("verify", ["optional", "required"])
def test_certificates_of_clients(verify: str) -> None:
    other = trustme.CA()
    accept = TlsAccept((certificate("api.example"),), verify=verify, ca=CA_PEM)
    context = Acceptor(accept, b"").context("", ())
    assert context is not None
    asking = client_context()
    if verify == "required":
        with pytest.raises(ssl.SSLError, match=r"(?i)peer.did.not.return.a.certificate"):
            shake(context, asking)
    else:
        assert shake(context, asking)[1].getpeercert() is None
    CA.issue_cert("client.example").configure_cert(asking)
    assert shake(context, asking)[1].getpeercert()
    stranger = client_context()
    other.issue_cert("client.example").configure_cert(stranger)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context, stranger)


@pytest.mark.parametrize("revoked", ["", "leaf", "middle"])
def test_revoked_certificates_of_clients_and_of_those_who_signed_them(tmp_path: Path, revoked: str) -> None:
    root = ca(tmp_path)
    middle = ca(tmp_path, "middle", root)
    leaf, key = issue(middle, ["client.example"])
    numbers = {"leaf": leaf.serial_number, "middle": middle.certificate.serial_number}
    lists = []
    for authority, signed in ((root, "middle"), (middle, "leaf")):
        builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
        builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
        if signed == revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(numbers[signed]).revocation_date(NOW - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        lists.append(builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())
    trusted = Path(root.cert_path).read_text()
    accept = TlsAccept((certificate("api.example"),), verify="required", ca=trusted, crl="".join(lists))
    context = Acceptor(accept, b"").context("", ())
    assert context is not None
    asking = client_context()
    asking.load_cert_chain(write(tmp_path / "client.pem", leaf, middle.certificate, key))
    if not revoked:
        shake(context, asking)
        return
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        shake(context, asking)


@pytest.mark.parametrize("left", [60, -1])
def test_ocsp_responses_belong_to_their_certificates_and_are_stapled_while_they_hold(left: int) -> None:
    kinds, until = (trustme.KeyType.RSA, trustme.KeyType.ECDSA), time() + left
    shown = [certificate("api.example", kind=kind, ocsp=kind.name.encode()) for kind in kinds]
    shown = [replace(one, ocsp_until=until) for one in shown]
    context = Acceptor(TlsAccept(tuple(shown)), b"").context("", ())
    assert context is not None
    seen: list[bytes] = []
    # Python cannot read a stapled response, but a client that asks for one gets it in the clear with TLS 1.2
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        asking = client_context()
        asking.maximum_version = ssl.TLSVersion.TLSv1_2
        asking.set_ciphers(cipher)
        library = openssl._need()
        library.SSL_CTX_ctrl(openssl._pointer(asking), 127 - 62, 1, None)  # SSL_CTX_set_tlsext_status_type: OCSP
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        server, client = (
            context.wrap_bio(up, down, server_side=True),
            asking.wrap_bio(down, up, server_hostname="api.example"),
        )
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        seen.append(down.read())
    assert [b"RSA" in seen[0], b"ECDSA" in seen[1]] == [left > 0, left > 0]
    assert b"ECDSA" not in seen[0]


# kept


def test_the_system_s_authorities_are_read_again_with_a_new_plan() -> None:
    terms = contexts.ServerTerms("", True, (), True)
    before = contexts.for_server(terms)
    assert contexts.for_server(terms) is before
    contexts.forget_authorities()
    assert contexts.for_server(terms) is not before


def test_contexts_are_kept() -> None:
    assert contexts.context_for(CHAIN, KEY, ("h2",)) is contexts.context_for(CHAIN, KEY, ("h2",))
    assert contexts.context_for(CHAIN, KEY, ("h2",)) is not contexts.context_for(CHAIN, KEY, ())


def test_contexts_of_a_minted_certificate_are_kept_with_it_and_bounded() -> None:
    minted = Minted(CHAIN.decode(), KEY.decode())
    first = contexts.context_of(minted, ("h2",))
    assert contexts.context_of(minted, ("h2",)) is first
    for number in range(20):
        contexts.context_of(minted, (f"p{number}",))
    assert isinstance(minted.context, dict)
    assert len(minted.context) == contexts.PROTOCOLS


@pytest.mark.parametrize("key", [trustme.CA().issue_cert("a").private_key_pem.bytes(), b"", b"no key"])
def test_a_key_that_does_not_fit(key: bytes) -> None:
    with pytest.raises(TlsFailure, match="certificate and key cannot be used"):
        contexts.context_for(CHAIN, key, ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can chroot")
def test_a_chroot_without_proc_is_named_as_the_reason(tmp_path: Any) -> None:
    program = (
        "import os, sys\n"
        "from ferryman.dataplane import contexts\n"
        "os.environ.pop('SSL_CERT_FILE', None); os.environ.pop('SSL_CERT_DIR', None)\n"
        f"os.chroot({str(tmp_path)!r})\n"
        "server = lambda: contexts.for_server(contexts.ServerTerms('', True, (), True))\n"
        "for make in (lambda: contexts.context_for(b'c', b'k', ()), server):\n"
        "    try: make()\n"
        "    except contexts.TlsFailure as failure: print(failure.reason)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "TLS needs /proc, also in a chroot" in run.stdout, run.stderr
    assert "the system has no authorities to trust" in run.stdout
