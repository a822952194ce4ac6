"""The guard: which addresses are refused, in every spelling that ends there, and which are not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.rules.egress import prohibited, prohibited_name, spellings

LOOPBACK = "a loopback address"
LINK_LOCAL = "a link-local address"
METADATA = "a cloud metadata address"
UNSPECIFIED = "an unspecified address"
MULTICAST = "a multicast address"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("::1", LOOPBACK),
        ("0.0.0.0", UNSPECIFIED),
        ("0.1.2.3", UNSPECIFIED),
        ("::", UNSPECIFIED),
        ("169.254.0.1", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("febf:ffff::1", LINK_LOCAL),
        ("169.254.169.254", METADATA),
        ("169.254.170.2", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("fd00:ec2::254", METADATA),
        ("FD00:0EC2::0254", METADATA),
        ("fd20:ce::254", METADATA),
        ("224.0.0.1", MULTICAST),
        ("239.255.255.255", MULTICAST),
        ("ff02::1", MULTICAST),
        ("255.255.255.255", "the broadcast address"),
    ],
)
def test_what_is_refused(address: str, reason: str) -> None:
    assert prohibited(address) == reason
    assert prohibited_name(address) == (reason, address)


FORMS = {
    "mapped": "::ffff:{0}",
    "compatible": "::{0}",
    "translated": "::ffff:0:{0}",
    "nat64": "64:ff9b::{0}",
    "local nat64": "64:ff9b:1::{0}",
    "6to4": "2002:{1}::1",
    "teredo": "2001:0:1:2:3:4:{2}",
    "isatap": "2001:db8::5efe:{0}",
}


def spelled(form: str, address: str) -> str:
    packed = ipaddress.IPv4Address(address).packed
    halves = f"{packed[:2].hex()}:{packed[2:].hex()}"
    inverted = bytes(byte ^ 0xFF for byte in packed)
    return FORMS[form].format(address, halves, f"{inverted[:2].hex()}:{inverted[2:].hex()}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.1.2.3", "224.0.0.1", "100.100.100.200"])
def test_what_stands_for_a_refused_address_is_refused(form: str, address: str) -> None:
    assert prohibited(spelled(form, address)) == prohibited(address) != ""


@pytest.mark.parametrize("form", FORMS)
def test_what_stands_for_a_good_address_is_not(form: str) -> None:
    assert prohibited(spelled(form, "198.51.100.1")) == ""


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "100.64.0.1", "198.51.100.1", "128.0.0.1", "126.255.255.255", "169.253.1.1",
     "169.255.1.1", "223.1.1.1", "240.0.0.1", "2001:db8::1", "fd00::1", "fec0::1", "::2:0:0:1", "64:ff9c::7f00:1"],
)  # fmt: skip
def test_what_is_let_through(address: str) -> None:
    assert prohibited(address) == ""
    assert prohibited_name(address) == ("", address)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.7", {"192.0.2.7"}),
        ("2001:DB8:0::7", {"2001:db8::7"}),
        ("fe80::1%lo", {"fe80::1"}),
        ("::ffff:192.0.2.7", {"::ffff:192.0.2.7", "192.0.2.7"}),
        ("64:ff9b::192.0.2.7", {"64:ff9b::c000:207", "192.0.2.7"}),
        ("example.com", set()),
    ],
)
def test_spellings(address: str, found: set[str]) -> None:
    assert spellings(address) == found


@pytest.mark.parametrize("text", ["", "example.com", "1.2.3.4\0", "::g", "[::1]", "1.2.3.4.5", "１.2.3.4"])
def test_what_is_no_address_does_not_pass(text: str) -> None:
    assert prohibited(text) == "no IP address"
    assert prohibited_name(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.1", (LOOPBACK, "127.0.0.1")),
        ("2130706433", (LOOPBACK, "127.0.0.1")),
        ("0x7f.1", (LOOPBACK, "127.0.0.1")),
        ("0177.0.0.1", (LOOPBACK, "127.0.0.1")),
        ("2852039166", (METADATA, "169.254.169.254")),
        ("0", (UNSPECIFIED, "0.0.0.0")),
        ("10.1", ("", "10.0.0.1")),
    ],
)
def test_addresses_in_spellings_that_resolve_as_names_do(text: str, found: tuple[str, str]) -> None:
    assert prohibited(text) == "no IP address"
    assert prohibited_name(text) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("localhost", ("a loopback name", "127.0.0.1")),
        ("a.localhost", ("a loopback name", "127.0.0.1")),
        ("notlocalhost", ("", "notlocalhost")),
        ("localhost.example", ("", "localhost.example")),
        ("metadata.google.internal", ("a cloud metadata name", "169.254.169.254")),
        ("example.com", ("", "example.com")),
    ],
)
def test_names_that_give_themselves_away(name: str, found: tuple[str, str]) -> None:
    assert prohibited_name(name) == found


@given(st.ip_addresses())
def test_it_agrees_with_the_standard_library(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert prohibited(str(address))
    elif address.is_global and address.version == 4 and not str(address).startswith("168.63."):
        assert not prohibited(str(address))
