"""Whom the other side has to be: each option changes what those before it made of it, as in stunnel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from tests.unit.config.dialects.stunnel.reading import CLIENT, SERVER, files, fine, mistake, parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files(tmp_path_factory.mktemp("trust"))


def fingerprint(file: Path) -> str:
    return load_pem_x509_certificate(file.read_bytes()).fingerprint(SHA256()).hex()


def of_clients(said: str) -> Any:
    listener = fine(f"{SERVER}{said}\n")["listeners"]["s"]
    return listener["tls"][0].get("clients"), [rule["when"] for rule in listener.get("inspect", [])]


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("verify = 0", None),
        ("verify = 1", "optional"),
        ("verify = 2", "required"),
        ("verifyChain = yes", "required"),
        ("verifyChain = yes\nrequireCert = no", "optional"),
        ("requireCert = no\nverifyChain = yes", "required"),
        ("verify = 1\nrequireCert = yes", "required"),
        ("verify = 2\nverify = 1", "optional"),
    ],
)
def test_whether_clients_show_a_certificate(said: str, level: str | None) -> None:
    _, found = parsed(f"{SERVER}CAfile = ca.pem\n{said}\n")
    if level is None:
        assert "CAfile is not looked at" in found[0]
        return
    clients, refused = of_clients(f"CAfile = ca.pem\n{said}")
    assert clients == {"certificate": level, "ca": "ca.pem"}
    assert refused == []


def test_clients_that_are_known_themselves(folder: Path) -> None:
    both = [fingerprint(folder / "client.crt"), fingerprint(folder / "ca.pem")]
    clients, refused = of_clients(f"CAfile = {folder}/both.pem\nverify = 3")
    assert clients["certificate"] == "required"
    assert refused == [{"not": {"client_cert_fingerprint": {"is": both}}}]
    _, refused = of_clients(f"CAfile = {folder}/both.pem\nverifyPeer = yes\nrequireCert = no\ncheckHost = client.test")
    assert refused == [{"all": [{"client_cert": True}, {"not": {"client_cert_fingerprint": {"is": both[:1]}}}]}]


def test_names_of_clients() -> None:
    _, refused = of_clients("CAfile = ca.pem\nverify = 2\ncheckHost = a.test\ncheckIP = 192.0.2.1")
    assert refused == [{"not": {"client_cert_names": {"is": ["a.test", "192.0.2.1"], "ignore_case": True}}}]


def test_servers(folder: Path) -> None:
    def tls(said: str) -> Any:
        found = fine(f"{CLIENT}{said}\n")["backends"]["s"]["tls"]
        return {key: found[key] for key in found if key not in ("server_name", "alpn")}

    assert tls("") == {"verify": False}
    assert tls("verify = 2\nCAfile = ca.pem\ncheckHost = a.test") == {
        "verify": True,
        "verify_name": "a.test",
        "ca": "ca.pem",
    }
    assert tls("verifyChain = yes\nCApath = /etc/ssl/certs/\ncheckIP = 192.0.2.1") == {
        "verify": True,
        "verify_name": "192.0.2.1",
    }
    assert tls(f"verify = 4\nCAfile = {folder}/server.crt") == {"fingerprints": [fingerprint(folder / "server.crt")]}


def test_any_certificate_of_a_ca_is_warned_of() -> None:
    data, found = parsed(f"{CLIENT}verify = 2\nCAfile = ca.pem\n")
    assert data["backends"]["s"]["tls"]["verify_name"] == "*"
    assert len(found) == 1
    assert "warning: whoever has a certificate of this CA can pose as the server of [s]; add checkHost" in found[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{CLIENT}verify = 2\n", "it has to be known who may have signed them; add CAfile"),
        (f"{CLIENT}checkHost = a.test\n", "a name in a certificate that nobody verifies proves nothing"),
        (f"{CLIENT}verify = 2\nCApath = /x\n", "a folder of certificates (CApath) is stunnel's, not supported"),
        (f"{CLIENT}verify = 4\nCApath = /x\n", "a folder of peers' certificates (CApath) is stunnel's, not supported"),
        (f"{CLIENT}verify = 4\nCAfile = /nothing\n", "cannot read /nothing"),
        (f"{CLIENT}verify = 2\nCAfile = c\nCRLfile = x\n", "'CRLfile' of a client is stunnel's, not supported"),
        (f"{CLIENT}verify = 2\nCAfile = c\ncheckHost = a\ncheckHost = b\n", "one of several names is stunnel's"),
        (f"{SERVER}requireCert = yes\n", "a certificate that nobody verifies proves nothing"),
        (f"{SERVER}verify = 2\nCApath = /etc/ssl/certs\n", "all of the system's authorities"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert message in mistake(text)


def test_a_peer_of_another_name_and_one_without_its_ca(folder: Path) -> None:
    text = f"{CLIENT}verify = 4\nCAfile = {folder}/server.crt\ncheckHost = other.test\n"
    assert "is for other.test; every peer would be refused" in mistake(text)
    assert "lacks the CA that has signed CN=client" in mistake(f"{SERVER}verify = 4\nCAfile = {folder}/client.crt\n")
