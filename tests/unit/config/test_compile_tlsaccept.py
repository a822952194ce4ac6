"""TLS with clients: from the configuration to the plan, and what is pointed out on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.config.findings import loaded, said
from tests.unit.config.leaves import ca, issue, write
from tests.unit.controlplane.authorities import DAY, NOW, Ca

from ferryman.config.load import Loaded
from ferryman.plan import TlsAccept, TlsCase


@pytest.fixture
def root(tmp_path: Path) -> Ca:
    return ca(tmp_path / "pki")


@pytest.fixture
def file(tmp_path: Path, root: Ca) -> str:
    return write(tmp_path / "web.pem", *issue(root, ["www.example.org"]))


def with_tls(body: str, around: str = "") -> Loaded:
    return loaded(
        f"listeners: {{web: {{bind: '127.0.0.1:443', to: app, {around} tls: {body}}}}}\n"
        "backends: {app: {servers: '127.0.0.1:1'}}"
    )


def cases(body: str, around: str = "") -> tuple[TlsCase, ...]:
    found = with_tls(body, around)
    assert found.plan is not None, said(found)
    assert said(found) == []
    return found.plan.listeners[0].tls


def accept(body: str) -> TlsAccept:
    (case,) = cases(body)
    assert case.accept is not None
    return case.accept


def test_the_shortest(file: str) -> None:
    got = accept(f"{{certificates: {file}}}")
    assert [one.names for one in got.certificates] == [("www.example.org",)]
    assert (got.strict, got.alpn, got.verify, got.tickets, got.timeout) == (False, (), "none", True, 10.0)
    assert (got.limits.min_version, got.limits.max_version) == ("1.2", "")


def test_everything(tmp_path: Path, file: str, root: Ca) -> None:
    got = accept(
        f"{{certificates: [{{file: {file}, names: www.example.org}}], strict: true, alpn: [h2, http/1.1], "
        f"clients: {{certificate: optional, ca: {root.cert_path}}}, min_version: 1.2, max_version: '1.3', "
        "ciphers: 'ECDHE+AESGCM:!aNULL', ciphersuites: 'TLS_AES_128_GCM_SHA256', groups: 'X25519:P-256', "
        "tickets: false, handshake_timeout: 3s}"
    )
    assert (got.strict, got.alpn, got.verify, got.tickets, got.timeout) == (
        True, ("h2", "http/1.1"), "optional", False, 3.0,
    )  # fmt: skip
    assert got.ca == Path(root.cert_path).read_text()
    assert (got.limits.max_version, got.limits.groups) == ("1.3", "X25519:P-256")


def test_ciphers_that_no_certificate_is_good_for(file: str) -> None:
    rsa = "ciphers: 'ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA'"
    message = "none of these ciphers goes with the certificates, whose keys are ECDSA"
    assert said(with_tls(f"{{certificates: {file}, {rsa}}}")) == [
        f"warning: {message}: clients with TLS 1.2 are refused; name some with ECDSA, or say `min_version: 1.3`"
    ]
    assert said(with_tls(f"{{certificates: {file}, {rsa}, max_version: '1.2'}}")) == [
        f"error: {message}: no handshake would succeed; name some with ECDSA"
    ]
    assert accept(f"{{certificates: {file}, ciphers: 'AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256'}}")


def test_an_authority_that_can_verify_nobody(tmp_path: Path, file: str, root: Ca) -> None:
    over = write(tmp_path / "over.pem", issue(root, ["a.example"], days=(-9, -1))[0])
    assert said(with_tls(f"{{certificates: {file}, clients: {{ca: {file}}}}}")) == [
        f"warning: {file} holds no certificate of a CA: every certificate that it should verify is refused; "
        "name the file of the CA that signed it"
    ]
    assert said(with_tls(f"{{certificates: {file}, clients: {{ca: {over}}}}}")) == [
        f"warning: what {over} holds expired on {NOW - DAY:%Y-%m-%d}; "
        "every certificate that it should verify is refused"
    ]


def test_the_hello_is_always_looked_at(file: str) -> None:
    found = with_tls(f"{{certificates: {file}}}")
    assert found.plan is not None
    assert found.plan.listeners[0].needs_hello
    assert found.plan.listeners[0].inspect_timeout == 10.0
    assert not found.plan.listeners[0].needs_handshake


def test_cases(file: str) -> None:
    first, second = cases(f"[{{when: {{sni: '*.tunnel.example'}}, terminate: false}}, {{certificates: {file}}}]")
    assert first.condition is not None
    assert first.accept is None
    assert first.where == "f.yaml:1"
    assert second.condition is None
    assert second.accept is not None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "{}",
            "error: to terminate TLS, a certificate is needed; add `certificates: FILE`, or `terminate: false` to "
            "leave the stream untouched",
        ),
        (
            "{terminate: false, strict: true}",
            "error: `strict` is of no use where the stream stays untouched; remove it, or `terminate: false`",
        ),
        ("{certificates: F, min_version: '1.3', max_version: '1.2'}",
         "error: no version of TLS is left: the oldest is 1.3, the newest 1.2; remove one of them"),
        ("{certificates: F, ciphersuites: TLS_AES_256_GCM_SHA348}",
         "error: 'TLS_AES_256_GCM_SHA348' is no cipher suite of TLS 1.3; did you mean 'TLS_AES_256_GCM_SHA384'?"),
        ("{certificates: F, groups: 'X25519:P-265'}",
         "error: 'P-265' is no group for a key exchange; did you mean 'P-256'?"),
        ("{certificates: F, ciphers: nonsense}",
         "error: OpenSSL on this machine knows none of these ciphers; `openssl ciphers -v` lists what there is"),
        ("{certificates: F, ciphers: 'ECDHE+AESGCM:ECDHE-RSA-ROT13'}",
         "warning: OpenSSL on this machine has no cipher ECDHE-RSA-ROT13; the others are used"),
        ("{certificates: F, ciphers: 'HIGH', min_version: 1.3}",
         "warning: `ciphers` are of TLS 1.2, which is not spoken; write `ciphersuites:`"),
        ("{certificates: F, clients: {}}",
         "error: to verify the certificates of clients it has to be known who may have signed them; add `ca: FILE`"),
        ("{certificates: F, clients: {certificate: none, ca: x}}",
         "warning: `ca` is of no use where no certificate is asked for; say `certificate: required`, or remove it"),
        ("{certificates: F, alpn: ['h2,http/1.1']}",
         "error: listeners.web.tls.alpn.0: 'h2,http/1.1' is no application protocol; such as h2 or http/1.1, each an "
         "entry of the list"),
        ("[{certificates: F}, {terminate: false}]",
         "warning: this is never reached: f.yaml:1 always ends the list before it"),
        ("[{certificates: F, when: {user: a}}]",
         "error: user is not known here: no client has named a target; client_address, local_port and sni are"),
        ("[{certificates: F, when: {client_cert: true}}]",
         "error: client_cert is not known here: it comes with the handshake that this is about; decide in `inspect`, "
         "`routes` or `access`"),
    ],
)  # fmt: skip
def test_what_is_wrong(file: str, body: str, expected: str) -> None:
    assert said(with_tls(body.replace(" F", f" {file}"))) == [expected]


def test_strict_without_names(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root))
    assert said(with_tls(f"{{certificates: {file}, strict: true}}")) == [
        "error: `strict` refuses everybody: no certificate is for any name; say which, as `names:` of the certificates"
    ]


def test_two_for_one_name(tmp_path: Path, root: Ca, file: str) -> None:
    other = write(tmp_path / "other.pem", *issue(root, ["www.example.org", "b.example"]))
    assert said(with_tls(f"{{certificates: [{file}, {other}]}}")) == [
        f"warning: two ECDSA certificates are for www.example.org: those in {file} and {other}; "
        "remove one of them, or say `names:`"
    ]


def test_what_certificates_lack_is_said_where_they_are_named(tmp_path: Path) -> None:
    found = with_tls("{certificates: [/nowhere]}")
    assert said(found) == ["error: cannot read /nowhere: No such file or directory"]
    assert found.diagnostics.found[0].mark is not None
    assert found.diagnostics.found[0].mark.length == len("/nowhere")


def test_lists_of_what_is_revoked(tmp_path: Path, root: Ca, file: str) -> None:
    def revoked(until: int) -> list[str]:
        builder = x509.CertificateRevocationListBuilder().issuer_name(root.certificate.subject)
        builder = builder.last_update(NOW - 9 * DAY).next_update(NOW + until * DAY)
        crl = write(tmp_path / "crl.pem", builder.sign(root.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return said(with_tls(f"{{certificates: {file}, clients: {{ca: {root.cert_path}, crl: {crl}}}}}"))

    assert revoked(1) == []
    assert revoked(-1)[0].startswith(
        f"warning: the list of revoked certificates in {tmp_path}/crl.pem was good until 20"
    )
    assert said(with_tls(f"{{certificates: {file}, clients: {{ca: {root.cert_path}, crl: {file}}}}}")) == [
        f"error: {file} holds no list of revoked certificates; a PEM file with -----BEGIN X509 CRL----- is needed"
    ]


def test_an_authority_without_a_list_of_what_it_has_revoked(tmp_path: Path, root: Ca, file: str) -> None:
    middle = ca(tmp_path, "middle", root)
    builder = x509.CertificateRevocationListBuilder().issuer_name(middle.certificate.subject)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    crl = write(tmp_path / "crl.pem", builder.sign(middle.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    both = write(tmp_path / "both.pem", root.certificate, middle.certificate)
    name = root.certificate.subject.rfc4514_string()
    assert said(with_tls(f"{{certificates: {file}, clients: {{ca: {both}, crl: {crl}}}}}")) == [
        f"warning: {crl} has no list of what {name} has revoked; all certificates that it has signed are refused; "
        "add its list"
    ]


def test_of_pages_and_of_explicit_proxies(file: str) -> None:
    pages = loaded(f"listeners: {{p: {{bind: '127.0.0.1:1', pages: {{}}, tls: {{certificates: {file}}}}}}}")
    assert said(pages) == [
        "error: pages are not shown with TLS; put a listener with `tls` before them, which leads there"
    ]
    out = f"listeners: {{o: {{bind: '127.0.0.1:1', connect: {{}}, tls: {{certificates: {file}, alpn: h2}}}}}}"
    assert said(loaded(out)) == ["error: an explicit proxy does not speak h2; write http/1.1"]
    assert loaded(out.replace("h2", "http/1.1")).plan is not None


def test_rules_that_need_the_handshake(file: str, root: Ca) -> None:
    body = (
        "listeners: {{web: {{bind: '*:1', to: app, {rules}{tls}}}}}\n"
        f"backends: {{{{app: {{{{servers: '[::1]:1', tls: {{{{ca: {root.cert_path}}}}}}}}}}}}}"
    )
    rules = "inspect: [{action: reject, when: {not: {client_cert_subject(CN): alice}}}], "
    tls = f"tls: {{certificates: {file}, clients: {{ca: {root.cert_path}}}, alpn: h2}}"
    good = loaded(body.format(rules=rules, tls=tls))
    assert said(good) == []
    assert good.plan is not None
    assert good.plan.listeners[0].needs_handshake
    assert said(loaded(body.format(rules=rules, tls=tls.replace(", alpn: h2", "")))) == [
        "warning: no application protocol is agreed on with clients: the handshake with these comes before it is "
        "known that server [::1]:1 is the one that chooses; add `alpn: [h2, http/1.1]` to `tls`"
    ]
    assert said(loaded(body.format(rules=rules, tls=""))) == [
        "warning: no TLS ends at listener web: what rules ask of the handshake is never known; "
        "add `tls: {certificates: FILE}`"
    ]
    early = rules.replace("inspect", "connection")
    assert said(loaded(body.format(rules=early, tls=tls))) == [
        "error: a rule of `connection` cannot wait for a handshake; move it to `inspect`"
    ]


@pytest.mark.parametrize(("tlvs", "first"), [("[ssl, cert-cn]", True), ("[authority, crc32c]", False)])
def test_servers_that_are_told_of_the_handshake(file: str, root: Ca, tlvs: str, first: bool) -> None:
    found = loaded(
        f"listeners: {{web: {{bind: '*:1', to: app, tls: {{certificates: {file}, alpn: h2}}}}}}\n"
        f"backends: {{app: {{servers: '[::1]:1', tls: {{ca: {root.cert_path}}}, "
        f"send_proxy: {{version: v2, tlvs: {tlvs}}}}}}}"
    )
    assert said(found) == []
    assert found.plan is not None
    assert found.plan.listeners[0].needs_handshake is first


def test_a_hello_may_take_as_long_as_the_handshake(file: str) -> None:
    for said_so, seconds in (("", 10.0), (", handshake_timeout: 3s", 3.0)):
        found = with_tls(f"{{certificates: {file}{said_so}}}")
        assert found.plan is not None
        assert found.plan.listeners[0].inspect_timeout == seconds
