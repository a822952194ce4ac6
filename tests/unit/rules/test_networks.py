"""Networks: how they are written, and which addresses they hold."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.rules.networks import Network, Networks, abbreviated, network


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("192.0.2.0/24", Network(4, 8, 0xC00002)),
        ("192.0.2.9", Network(4, 0, 0xC0000209)),
        ("192.0.2.9/255.255.255.0", Network(4, 8, 0xC00002)),
        ("0.0.0.0/0", Network(4, 32, 0)),
        ("127.1", Network(4, 0, 0x7F000001)),
        ("127.1/8", Network(4, 24, 127)),
        ("10/8", Network(4, 24, 0)),
        ("2001:db8::/32", Network(6, 96, 0x20010DB8)),
        ("::1", Network(6, 0, 1)),
    ],
)
def test_networks_are_read(pattern: str, expected: Network) -> None:
    assert network(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    ["", "/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.256", "010.0.0.1", "0x7f.1", "1.2.3.4.5",
     "example.org", "::1/129", ":::", "10.0.0.0/255.0.255.0", "10.0.0.0/255.0.0.0.0", "10.0.0.1 ",
     "１.2.3.4", "::1%lo", "1.2.3.4\0"],
)  # fmt: skip
def test_what_is_no_network_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        network(pattern)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (
            "10.0.0.0/8",
            ["10.1.2.3", "::ffff:10.1.2.3", "::10.1.2.3", "2002:0a01:0203::5"],
            ["11.0.0.1", "::ffff:b01:1"],
        ),
        ("::ffff:127.0.0.0/104", ["127.9.9.9", "::ffff:127.0.0.1"], ["128.0.0.1"]),
        ("fe80::/10", ["fe80::1", "fe80::1%eth0"], ["fec0::1"]),
        ("0.0.0.0/0", ["1.2.3.4", "::ffff:1.2.3.4"], ["2001:db8::1"]),
        ("::/0", ["1.2.3.4", "2001:db8::1"], ["unix", "", "1.2.3", "1.2.3.4\0", ":\0"]),
    ],
)
def test_which_addresses_they_hold(pattern: str, inside: list[str], outside: list[str]) -> None:
    networks = Networks.of([network(pattern)])
    assert [networks.hold(address) for address in inside + outside] == [True] * len(inside) + [False] * len(outside)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), min_size=1, max_size=20),
    st.lists(st.ip_addresses(v=4), min_size=1),
)
def test_many_networks_hold_what_one_of_them_holds(
    nets: list[tuple[ipaddress.IPv4Address, int]], addresses: list[ipaddress.IPv4Address]
) -> None:
    table = Networks.of(network(f"{address}/{bits}") for address, bits in nets)
    known = [ipaddress.ip_network(f"{address}/{bits}", strict=False) for address, bits in nets]
    for address in addresses:
        assert table.hold(str(address)) == any(address in net for net in known)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("10/8", ("0.0.0.10/8", "10.0.0.0/8")),
        ("172.16/12", ("172.0.0.16/12", "172.16.0.0/12")),
        ("127.1/8", None),
        ("127.1", None),
        ("10.0.0.0/8", None),
        ("::/8", None),
    ],
)
def test_short_forms_that_mislead(pattern: str, expected: tuple[str, str] | None) -> None:
    assert abbreviated(pattern) == expected
