"""Names in certificates, as another reader of X.509 writes and reads them."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire.certificate import MAX_NAMES, certificate_names, is_for

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject: list[x509.NameAttribute[str]], alternative: list[x509.GeneralName]) -> bytes:
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer.example")]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=not subject)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def common_name(text: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, text)


SMALL = certificate([common_name("a.example")], [x509.DNSName("b.example")])


def test_all_names_in_order() -> None:
    der = certificate(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), common_name("API.example.org")],
        [
            x509.DNSName("api.example.org"),
            x509.DNSName("*.Apps.Example.org"),
            x509.RFC822Name("a@example.org"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
            x509.UniformResourceIdentifier("https://example.org/"),
        ],
    )
    assert certificate_names(der) == ("api.example.org", "*.apps.example.org", "192.0.2.7", "2001:db8::7")


def test_whom_it_is_for() -> None:
    names = [
        x509.DNSName("www.Example.org"),
        x509.DNSName("*.apps.example"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
    ]
    der = certificate([common_name("old.example")], names)
    for name in ("www.example.org", "a.apps.example", "2001:db8::7"):
        assert is_for(der, name), name
    for name in ("old.example", "example.org", "apps.example", "a.b.apps.example", "2001:db8::8", ""):
        assert not is_for(der, name), name
    assert not is_for(certificate([common_name("a.example")], []), "a.example"), "clients do not go by common names"
    assert not is_for(der[:-200], "www.example.org")


def test_a_certificate_without_names() -> None:
    assert certificate_names(certificate([], [])) == ()


def test_a_common_name_that_is_no_host_is_left_out() -> None:
    for text in ("Example Company", "bücher.example", "a\nb", "b.example,c.example"):
        assert certificate_names(certificate([common_name(text)], [x509.DNSName("a.example")])) == ("a.example",)


def test_two_common_names() -> None:
    der = certificate([common_name("a.example"), common_name("b.example.")], [x509.DNSName("b.example")])
    assert certificate_names(der) == ("a.example", "b.example")


def test_names_without_end_are_cut() -> None:
    der = certificate([], [x509.DNSName(f"host{number}.example") for number in range(MAX_NAMES + 5)])
    assert certificate_names(der)[-1] == f"host{MAX_NAMES - 1}.example"


def test_no_prefix_is_a_certificate() -> None:
    assert certificate_names(SMALL) == ("a.example", "b.example")
    for end in range(len(SMALL)):
        assert certificate_names(SMALL[:end]) == ()


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x02\x30\x00",
        b"\x02\x01\x00",
        b"\x30\x80\x00\x00",
        b"\x30\x85\0\0\0\0\0",
        b"\x1f\x81\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x0e\x30\x0c" + b"\x02\x00" * 6,
    ],
)
def test_what_is_no_certificate(der: bytes) -> None:
    assert certificate_names(der) == ()


host = st.from_regex(r"(\*\.)?[a-z0-9]{1,20}(\.[a-z]{2,8}){1,3}", fullmatch=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(host, unique=True, max_size=5), st.lists(st.ip_addresses(), unique=True, max_size=3))
def test_what_is_written_is_read(
    hosts: list[str], addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> None:
    der = certificate([], [*map(x509.DNSName, hosts), *map(x509.IPAddress, addresses)])
    numeric = {ipaddress.ip_address(name) for name in certificate_names(der) if name not in hosts}
    assert numeric == set(addresses)
    assert set(hosts) <= set(certificate_names(der))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_gives_clean_names_or_none(data: st.DataObject) -> None:
    der = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(der) - 1))
        der[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    assert all(name.isascii() and name.isprintable() for name in certificate_names(bytes(der)))
