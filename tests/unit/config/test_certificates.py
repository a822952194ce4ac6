"""Certificates from files: what is put together, and what is said of what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit.config.leaves import ca, issue, pem, write
from tests.unit.controlplane.authorities import Ca, openssl, private_pem

from ferryman.config.certificates import Named, kind_of_key, read_certificates_of
from ferryman.config.source import Diagnostics, Document, Report
from ferryman.plan import Certificate

PATH = ("listeners", "web", "tls", "certificates", 0)
WEAK = rsa.generate_private_key(65537, 1024)


@pytest.fixture
def root(tmp_path: Path) -> Ca:
    return ca(tmp_path / "pki")


def read(named: Named | str) -> tuple[list[Certificate], list[str]]:
    """The certificates, and what is said of them."""
    diagnostics = Diagnostics()
    entry = Named(named, PATH) if isinstance(named, str) else named
    found = read_certificates_of(entry, Report(Document("ferryman", {}), diagnostics))
    return found, [f"{each.severity}: {each.message}; {each.hint}" for each in diagnostics.found]


def fine(named: Named | str) -> Certificate:
    found, said = read(named)
    assert said == []
    assert len(found) == 1
    return found[0]


def subjects(certificate: Certificate) -> list[str]:
    chain = x509.load_pem_x509_certificates(certificate.chain.encode())
    return [one.subject.rfc4514_string() for one in chain]


def test_one_file_with_everything_in_any_order(tmp_path: Path, root: Ca) -> None:
    middle = ca(tmp_path, "middle", root)
    leaf, key = issue(middle, ["Www.Example.org", "*.example.org", "192.0.2.7"], common_name="leaf")
    file = write(tmp_path / "web.pem", root.certificate, middle.certificate, key, leaf)
    got = fine(file)
    assert subjects(got) == ["CN=leaf", "CN=middle"]
    assert got.names == ("www.example.org", "*.example.org", "192.0.2.7")
    assert got.not_after == leaf.not_valid_after_utc.timestamp()
    assert got.key == private_pem(key).decode()
    assert got.where == file
    assert kind_of_key(got.chain) == "ECDSA P-256"
    assert "PRIVATE" not in repr(got)


def test_the_common_name_counts_only_where_there_are_no_others(tmp_path: Path, root: Ca) -> None:
    leaf, key = issue(root, common_name="Old.example")
    assert fine(write(tmp_path / "old.pem", leaf, key)).names == ("old.example",)
    leaf, key = issue(root, ["new.example"], common_name="old.example")
    assert fine(write(tmp_path / "new.pem", leaf, key)).names == ("new.example",)


def test_files_beside(tmp_path: Path, root: Ca) -> None:
    middle = ca(tmp_path, "middle", root)
    leaf, key = issue(middle, ["a.example"], common_name="leaf")
    file = write(tmp_path / "a.pem", leaf)
    write(tmp_path / "a.pem.key", key)
    write(tmp_path / "a.pem.issuer", middle.certificate)
    assert subjects(fine(file)) == ["CN=leaf", "CN=middle"]


def test_rsa_and_ecdsa_side_by_side(tmp_path: Path, root: Ca) -> None:
    write(tmp_path / "web.pem.rsa", *issue(root, ["a.example"], key=rsa.generate_private_key(65537, 2048)))
    write(tmp_path / "web.pem.ecdsa", *issue(root, ["a.example"]))
    found, said = read(str(tmp_path / "web.pem"))
    assert [kind_of_key(one.chain) for one in found] == ["RSA 2048", "ECDSA P-256"]
    assert [one.kind for one in found] == ["RSA 2048", "ECDSA P-256"]
    assert said == []


def test_a_folder_as_certbot_leaves_it(tmp_path: Path, root: Ca) -> None:
    """cert, chain, fullchain and privkey are one certificate."""
    middle = ca(tmp_path, "middle", root)
    leaf, key = issue(middle, ["a.example"], common_name="leaf", public=True)
    folder = tmp_path / "live"
    write(folder / "cert.pem", leaf)
    write(folder / "chain.pem", middle.certificate)
    write(folder / "fullchain.pem", leaf, middle.certificate)
    write(folder / "privkey.pem", key)
    assert subjects(fine(str(folder))) == ["CN=leaf", "CN=middle"]


def test_a_folder_in_the_order_of_its_names(tmp_path: Path, root: Ca) -> None:
    for name in ("b", "a", "c"):
        write(tmp_path / "certs" / f"{name}.pem", *issue(root, [f"{name}.example"]))
    write(tmp_path / "certs" / "notes.txt", b"nothing of ours")
    write(tmp_path / "certs" / ".hidden.pem", b"nothing of ours")
    found, said = read(str(tmp_path / "certs"))
    assert [one.names[0] for one in found] == ["a.example", "b.example", "c.example"]
    assert said == []


def test_what_of_a_folder_is_left_out(tmp_path: Path, root: Ca) -> None:
    write(tmp_path / "certs" / "a.pem", *issue(root, ["a.example"]))
    write(tmp_path / "certs" / "b.cert", *issue(root, ["b.example"]))
    (tmp_path / "certs" / "old").mkdir()
    found, said = read(str(tmp_path / "certs"))
    assert [one.names for one in found] == [("a.example",)]
    assert said == [
        f"warning: the certificate in {tmp_path}/certs/b.cert is left out; files that end in .pem, .crt, .rsa, .ecdsa "
        "are looked at"
    ]


def test_an_empty_folder(tmp_path: Path) -> None:
    found, said = read(str(tmp_path))
    assert found == []
    assert said == [
        f"error: there is no certificate with a key in {tmp_path}; files that end in .pem, .crt, .rsa, .ecdsa "
        "are looked at"
    ]


def test_what_of_a_folder_cannot_be_said_of_all(tmp_path: Path, root: Ca) -> None:
    write(tmp_path / "certs" / "a.pem", *issue(root, ["a.example"]))
    _, said = read(Named(str(tmp_path / "certs"), PATH, names=("b.example",)))
    assert said == [f"error: {tmp_path}/certs is a folder: `names` cannot be said of all that is in it; "]


@pytest.mark.parametrize("password", [b"secret", "größe".encode()])
def test_a_locked_key(tmp_path: Path, root: Ca, password: bytes) -> None:
    leaf, key = issue(root, ["a.example"])
    file = write(tmp_path / "a.pem", leaf, private_pem(key, password))
    right = write(tmp_path / "right", password + b"\r\nnot this\n")
    assert "ENCRYPTED" not in fine(Named(file, PATH, password_file=right)).key
    wrong = write(tmp_path / "wrong", b"guess\n")
    assert read(Named(file, PATH, password_file=wrong))[1] == [
        f"error: the key in {file} does not open with the password; the first line of `password_file` is taken as it "
        "stands"
    ]
    assert read(file)[1] == [
        f"error: the key in {file} is locked with a password; name the file that holds it as `password_file:`"
    ]


def test_a_password_that_is_not_needed_or_not_there(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root, ["a.example"]))
    assert fine(Named(file, PATH, password_file=write(tmp_path / "password", b"x")))
    assert read(Named(file, PATH, password_file="/nowhere"))[1] == [
        "error: cannot read /nowhere: No such file or directory; "
    ]


def test_key_and_certificate_that_are_not_there(tmp_path: Path, root: Ca) -> None:
    leaf, key = issue(root, ["a.example"])
    alone, only_key = write(tmp_path / "a.pem", leaf), write(tmp_path / "a.key", key)
    other = write(tmp_path / "other.key", issue(root)[1])
    assert read("/nowhere")[1] == ["error: cannot read /nowhere: No such file or directory; "]
    assert read(only_key)[1] == [
        f"error: {only_key} holds no certificate; a PEM file with -----BEGIN CERTIFICATE----- is needed"
    ]
    assert read(alone)[1] == [
        f"error: {alone} holds no private key; name its file as `key:`, or put it into FILE.key beside"
    ]
    assert fine(Named(alone, PATH, key=only_key))
    assert read(Named(alone, PATH, key=other))[1] == [
        f"error: the key in {other} is not that of the certificate in {alone}; name the key it was made with"
    ]
    assert read(Named(alone, PATH, key=alone))[1] == [f"error: {alone} holds no private key; is it the right file?"]


def test_a_key_of_another_certificate_does_not_bring_that_certificate_along(tmp_path: Path, root: Ca) -> None:
    leaf, _ = issue(root, ["a.example"])
    other, key = issue(root, ["b.example"])
    file, wrong = write(tmp_path / "a.pem", leaf), write(tmp_path / "b.pem", key, other)
    assert read(Named(file, PATH, key=wrong)) == (
        [],
        [f"error: the key in {wrong} is not that of the certificate in {file}; name the key it was made with"],
    )
    write(tmp_path / "a.pem.key", key, other)
    assert read(file)[0] == []


def test_what_cannot_be_read(tmp_path: Path, root: Ca) -> None:
    leaf, key = issue(root, ["a.example"])
    broken = pem(leaf).replace(b"MII", b"AAA", 1)
    _, (said,) = read(write(tmp_path / "a.pem", broken, key))
    assert said == f"error: {tmp_path}/a.pem holds a certificate that cannot be read: error parsing asn1 value; "
    _, (said,) = read(write(tmp_path / "b.pem", leaf, private_pem(key).replace(b"M", b"A", 2)))
    assert said.startswith(f"error: the key in {tmp_path}/b.pem cannot be read: ")
    _, (said,) = read(write(tmp_path / "d.pem", leaf, private_pem(key)[:80], b"\n-----END PRIVATE KEY-----\n"))
    assert said.startswith(f"error: the key in {tmp_path}/d.pem cannot be read: ")
    assert "https" not in said
    _, (said,) = read(write(tmp_path / "c.pem", b"\xff\xfe"))
    assert said == f"error: {tmp_path}/c.pem is not text: byte 1 is not UTF-8; is it the right file?"


def test_dates(tmp_path: Path, root: Ca) -> None:
    def said(begin: float, end: float) -> str:
        found, (said,) = read(write(tmp_path / "a.pem", *issue(root, ["a.example"], days=(begin, end))))
        assert len(found) == 1  # for it may be what there is
        return said.replace(str(tmp_path), "")

    assert "warning: the certificate in /a.pem expired on 20" in said(-10, -1)
    assert said(-10, -1).endswith("; whoever sees it refuses it")  # a client, or a server that it is shown to
    assert "warning: the certificate in /a.pem expires on 20" in said(-10, 29)
    assert "is not valid before 20" in said(2, 90)


def test_what_clients_refuse(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root, ["a.example"], key=WEAK))
    said = read(file)[1]
    assert said[0] == f"warning: the RSA key of the certificate in {file} has 1024 bits; clients refuse less than 2048"


def test_an_old_signature(tmp_path: Path) -> None:
    file, key = tmp_path / "a.pem", tmp_path / "a.key"
    openssl(
        *("req", "-x509", "-sha1", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a.example", "-days", "90"),
        *("-out", str(file), "-keyout", str(key)),
    )
    assert read(Named(str(file), PATH, key=str(key)))[1][0] == (
        f"warning: the certificate in {file} is signed with SHA1; "
        "clients refuse it; get one that is signed with SHA-256"
    )


def test_what_openssl_does_not_take(tmp_path: Path, root: Ca) -> None:
    """Where the system's limits are such that a weak key cannot even be loaded, that is said before it runs."""
    file = write(tmp_path / "a.pem", *issue(root, ["a.example"], key=rsa.generate_private_key(65537, 1024)))
    found, said = read(file)
    if found:
        pytest.skip("this system's OpenSSL takes weak keys")
    assert said[-1] == f"error: OpenSSL on this machine does not take the certificate in {file}: ee key too small; "


def test_a_gap_in_the_chain(tmp_path: Path, root: Ca) -> None:
    """Of a public CA it is known that there is an intermediate; what a private root has signed is whole."""
    middle = ca(tmp_path, "middle", root)
    file = write(tmp_path / "a.pem", *issue(middle, ["a.example"], public=True))
    assert read(file)[1] == [
        f"warning: the chain in {file} has a gap: the certificate of CN=middle is missing; "
        "add the intermediate certificates, or clients may refuse it"
    ]
    stray = ca(tmp_path, "stray", root)
    file = write(tmp_path / "b.pem", *issue(middle, ["a.example"]), stray.certificate)
    assert "has a gap" in read(file)[1][0]
    assert fine(write(tmp_path / "c.pem", *issue(root, ["a.example"])))


def test_names_it_is_to_be_used_for(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root, ["a.example", "*.b.example"]))
    assert fine(Named(file, PATH, names=("A.example", "x.b.example"))).names == ("a.example", "x.b.example")
    found, said = read(Named(file, PATH, names=("b.example",)))
    assert found[0].names == ("b.example",)
    assert said == [
        f"warning: the certificate in {file} is not for b.example: clients that ask for it refuse it; "
        "it is for a.example, *.b.example"
    ]


def test_who_may_read_the_key(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root, ["a.example"]), mode=0o644)
    assert read(file)[1] == [f"warning: everybody on this machine can read the key in {file}; chmod 600 {file}"]


@pytest.mark.parametrize(
    ("key", "kind"), [(ec.generate_private_key(ec.SECP384R1()), "ECDSA P-384"), (WEAK, "RSA 1024")]
)
def test_kinds_of_keys(root: Ca, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, kind: str) -> None:
    assert kind_of_key(pem(issue(root, key=key)[0]).decode()) == kind


def test_a_file_beside_is_stapled(tmp_path: Path, root: Ca) -> None:
    file = write(tmp_path / "a.pem", *issue(root, ["a.example"]))
    beside = write(tmp_path / "a.pem.ocsp", b"")
    assert fine(file).ocsp == b""  # an empty one is none
    Path(beside).write_bytes(b"nonsense")
    assert f"error: {beside} is no OCSP response in DER" in read(file)[1][0]
    elsewhere = replace(Named(file, PATH), ocsp="/nowhere")
    assert read(elsewhere)[1] == ["error: cannot read /nowhere: No such file or directory; "]
