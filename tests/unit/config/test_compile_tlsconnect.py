"""TLS with servers: from the configuration to the plan, and what is pointed out on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.findings import loaded, said
from tests.unit.config.leaves import ca, issue, write

from ferryman.config.load import Loaded
from ferryman.plan import TlsConnect

PRINT = "AB:" * 31 + "AB"


def with_server(body: str, address: str = "192.0.2.7:443", server: str = "") -> Loaded:
    return loaded(
        f"listeners: {{web: {{bind: '*:1', to: app}}}}\n"
        f"backends: {{app: {{tls: {body}, servers: {{address: '{address}', {server}}}}}}}"
    )


def connect(body: str, address: str = "192.0.2.7:443", server: str = "") -> TlsConnect | None:
    found = with_server(body, address, server)
    assert found.plan is not None, said(found)
    assert said(found) == []
    return found.plan.servers[0].tls


def test_on_and_off() -> None:
    assert connect("false") is None
    assert connect("true") == TlsConnect()
    assert connect("{}") == TlsConnect()
    assert connect("true", server="tls: false") is None
    assert connect("false", server="tls: {resume: false}") == TlsConnect(resume=False)


def test_everything(tmp_path: Path) -> None:
    root = ca(tmp_path)
    own = write(tmp_path / "own.pem", *issue(root, common_name="us"))
    got = connect(
        f"{{ca: {root.cert_path}, server_name: a.example, verify_name: b.example, certificate: {own}, "
        "alpn: [h2], min_version: '1.3', resume: false}"
    )
    assert got is not None
    assert (got.server_name, got.verify_name, got.alpn, got.resume) == ("a.example", "b.example", ("h2",), False)
    assert got.ca == Path(root.cert_path).read_text()
    assert got.certificate is not None
    assert got.certificate.where == own
    assert got.limits.min_version == "1.3"


@pytest.mark.parametrize(
    ("body", "address", "expected"),
    [
        ("true", "192.0.2.7:1", (None, "")),
        ("{server_name: none}", "192.0.2.7:1", ("", "192.0.2.7")),
        ("{server_name: none}", "a.example:1", ("", "a.example")),
        ("{server_name: none, verify_name: b.example}", "a.example:1", ("", "b.example")),
        ("{server_name: none, fingerprints: F}", "a.example:1", ("", "")),
        ("{server_name: b.example}", "a.example:1", ("b.example", "")),
    ],
)
def test_names(body: str, address: str, expected: tuple[str | None, str]) -> None:
    got = connect(body.replace("F", f"'{PRINT}'"), address)
    assert got is not None
    assert (got.server_name, got.verify_name) == expected


@pytest.mark.parametrize(
    ("alpn", "expected"), [("received", None), ("none", ()), ("h2", ("h2",)), ("[a, b]", ("a", "b"))]
)
def test_protocols(alpn: str, expected: tuple[str, ...] | None) -> None:
    got = connect(f"{{alpn: {alpn}}}")
    assert got is not None
    assert got.alpn == expected


def test_a_fingerprint_stands_for_trust() -> None:
    got = connect(f"{{fingerprints: '{PRINT}', verify: false}}")
    assert got is not None
    assert got.fingerprints == ("ab" * 32,)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{verify: false}",
         "warning: whoever sits in between can pose as the server: its certificate is not verified; say `ca: FILE`, or "
         "`fingerprints:` of its certificate"),
        ("{fingerprints: P, verify_name: a}",
         "warning: `verify_name` is not looked at: a certificate is trusted by its fingerprint alone; keep one of "
         "them"),
        ("{verify_name: '*'}",
         "warning: whoever has a certificate of any CA can pose as the server; say which name, or `ca: FILE` with a CA "
         "of your own"),
        ("{verify_name: .example.org}",
         "error: .example.org is no name that a certificate has; write a whole name, such as www.example.org"),
        ("{fingerprints: abc}",
         "error: backends.app.tls.fingerprints: 'abc' is no SHA-256 fingerprint, which has 64 hexadecimal digits; "
         "`openssl x509 -noout -fingerprint -sha256 -in FILE` shows it"),
        ("{certificate: /tmp}",
         "error: /tmp is a folder: which certificate is shown to the server?; name one file"),
        ("{server_name: ''}", "error: which name?; write `none` to ask for none"),
        ("{server_name: received}",
         "warning: no name is ever received: listener web does not look at what clients send; let a rule there ask for "
         "sni, or write the name"),
        ("{ca: /nowhere}", "error: cannot read /nowhere: No such file or directory"),
    ],
)  # fmt: skip
def test_what_is_pointed_out(body: str, expected: str) -> None:
    assert said(with_server(body.replace("P,", f"'{PRINT}',"))) == [expected]


def test_the_certificate_of_a_unix_socket_is_for_a_name() -> None:
    assert said(with_server("{server_name: none}", "unix@/run/x")) == [
        "error: for which name is the certificate of unix@/run/x to be?; say `verify_name: NAME`"
    ]


def test_what_a_backend_says_is_wrong_once_for_all_its_servers() -> None:
    found = loaded(
        "listeners: {web: {bind: '*:1', to: app}}\nbackends: {app: {tls: {ca: /nowhere}, servers: ['a:1', 'b:1']}}"
    )
    assert said(found) == ["error: cannot read /nowhere: No such file or directory"]


@pytest.mark.parametrize(
    "name", ["a..example", ".example", "x" * 64 + ".example", "*.example", "a b", "x." * 140 + "y"]
)
def test_a_name_that_no_server_can_be_asked_for(name: str) -> None:
    """It would fail every connection, and every check."""
    mistake = f"error: no server can be asked for {name!r}; write a host name, such as backend.example.org"
    assert said(with_server(f"{{server_name: '{name}'}}")) == [mistake]
    assert said(with_server("true", server=f"check: {{server_name: '{name}'}}")) == [mistake]
    proxy = f"{{url: 'https://192.0.2.9:443', server_name: '{name}'}}"
    found = loaded(f"listeners: {{p: {{bind: '127.0.0.1:1', connect: {{via: [{{through: {proxy}}}]}}}}}}")
    assert mistake in said(found)


@pytest.mark.parametrize("name", ["a.example", "a.example.", "ex_am.example", "localhost", "192.0.2.7", "2001:db8::1"])
def test_names_that_are_asked_for(name: str) -> None:
    assert connect(f"{{server_name: '{name}'}}") == TlsConnect(server_name=name)
