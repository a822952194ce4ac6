"""Durations and addresses: what is read, how it is written again, and what a person is told about the rest."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.values import (
    format_seconds,
    format_size,
    parse_connect_address,
    parse_listen_address,
    parse_log_target,
    parse_seconds,
    parse_size,
    split_addresses,
)
from ferryman.plan import Address


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("1m", 60.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("1m30s", 90.0),
        ("1.5s", 1.5),
        (" 3s ", 3.0),
        ("7", 7.0),
        (7, 7.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "bad", ["", "s", "10 s", "-1s", -1, True, None, [], "1x", "1s!", "٣s", "1e3", 1e300, "9" * 50 + "d", "1" * 61]
)
def test_what_is_no_duration(bad: object) -> None:
    with pytest.raises(ValueError, match=r"duration|hundred years"):
        parse_seconds(bad)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90.0, "90s"),
        (0.5, "500ms"),
        (60.0, "1m"),
        (86400.0, "1d"),
        (0.0, "0s"),
        (0.000001, "1us"),
        (1e-7, "0.0000001s"),
    ],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=1e9))
def test_a_written_duration_reads_back_the_same(seconds: float) -> None:
    text = format_seconds(seconds)
    if len(text) <= 60:
        assert parse_seconds(text) == seconds


V4 = "0.0.0.0"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("*:443", Address("inet", V4, 443)),
        (":443", Address("inet", V4, 443)),
        ("127.0.0.1:8000-8010", Address("inet", "127.0.0.1", 8000, 8010)),
        ("127.0.0.1:80-80", Address("inet", "127.0.0.1", 80)),
        (":::443", Address("inet6", "::", 443)),
        ("[::]:443", Address("inet6", "::", 443)),
        ("ipv6@*:443", Address("inet6", "::", 443)),
        ("ipv6@:443", Address("inet6", "::", 443)),
        ("ipv4@*:443", Address("inet", V4, 443)),
        ("tcp@127.0.0.1:1", Address("inet", "127.0.0.1", 1)),
        ("[fe80::1%lo]:65535", Address("inet6", "fe80::1%lo", 65535)),
        ("2620:52:0:1305::100:6443", Address("inet6", "2620:52:0:1305::100", 6443)),
        ("unix@/run/x.sock", Address("unix", "/run/x.sock")),
        ("/run/x:1.sock", Address("unix", "/run/x:1.sock")),
        ("abns@name", Address("abstract", "name")),
    ],
)
def test_where_to_listen(text: str, address: Address) -> None:
    assert parse_listen_address(text) == address
    assert parse_listen_address(str(address)) == address


def test_v6only_is_said_in_the_long_form() -> None:
    address = parse_listen_address({"address": "[::]:443", "v6only": True})
    assert address == Address("inet6", "::", 443, v6only=True)
    assert parse_listen_address(address) is address


def test_a_namespace_is_said_in_the_long_form() -> None:
    address = parse_listen_address({"address": "[::]:443", "v6only": True, "namespace": "one_tproxy_br0"})
    assert address == Address("inet6", "::", 443, v6only=True, namespace="one_tproxy_br0")
    assert (str(address), address.text) == ("[::]:443 in one_tproxy_br0", "[::]:443")
    assert parse_listen_address({"address": "abns@x", "namespace": "a.b"}).namespace == "a.b"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "missing"),
        (443, "text such as"),
        ("443", r'write "\*:443" if that is the port'),
        ("127.0.0.1", "says no port; write 127.0.0.1:443"),
        ("[::1]", r"says no port; write \[::1\]:443"),
        ("*:", "says no port"),
        ("*:0", "ports are 1 to 65535"),
        ("*:65536", "ports are 1 to 65535"),
        ("*:http", "not a port"),
        ("*:-5", "not a port"),
        ("*:٣", "not a port"),
        ("*:20-10", "run backwards; write 10-20"),
        ("::1", r"without brackets.*write \[::1\]:443"),
        ("fe80::1", r"without brackets.*write \[fe80::1\]:443"),
        ("fd@3", "not supported yet"),
        ("quic4@*:443", "QUIC"),
        ("udp@*:53", "UDP"),
        ("foo@*:53", "unknown prefix foo@"),
        ("localhost:80", "names a host"),
        ("ipv4@[::1]:80", "does not fit"),
        ("ipv6@127.0.0.1:80", "does not fit"),
        ("256.0.0.1:80", "not an IPv4 address"),
        ("[zz]:80", "not an IPv6 address"),
        ("[::1:80", "not an IPv6 address"),
        ("unix@", "no path"),
        ("abns@", "no name"),
        ("/" + "x" * 107, "107 bytes"),
        ("* :80", "has a blank"),
        ({"adress": "*:1"}, "unknown key 'adress'"),
        ({"address": "*:1", "v6only": True}, "IPv6 address only"),
        ({"address": "[::]:1", "v6only": "yes"}, "true or false"),
        ({"address": {"address": "*:1"}}, "is text"),
        ({"address": "*:1", "namespace": "../x"}, "is no name of a network namespace"),
        ({"address": "*:1", "namespace": ".."}, "is no name of a network namespace"),
        ({"address": "*:1", "namespace": 7}, "is no name of a network namespace"),
        ({"address": "/run/x", "namespace": "a"}, "in no network namespace"),
    ],
)
def test_where_one_cannot_listen(text: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:443", Address("inet", "192.0.2.7", 443)),
        ("2620:52:0:1305::100:6443", Address("inet6", "2620:52:0:1305::100", 6443)),
        ("[2620:52:0:1305::100]:6443", Address("inet6", "2620:52:0:1305::100", 6443)),
        ("host.example:443", Address("name", "host.example", 443)),
        ("ipv4@192.0.2.7:1", Address("inet", "192.0.2.7", 1)),
        ("192.0.2.7", Address("inet", "192.0.2.7", from_client=True)),
        ("192.0.2.7:0", Address("inet", "192.0.2.7", from_client=True)),
        ("[::1]", Address("inet6", "::1", from_client=True)),
        ("[::1]:+100", Address("inet6", "::1", 100, from_client=True)),
        ("host:-80", Address("name", "host", -80, from_client=True)),
        ("unix@/run/x", Address("unix", "/run/x")),
    ],
)
def test_where_to_connect(text: str, address: Address) -> None:
    assert parse_connect_address(text) == address
    assert parse_connect_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("*:443", "names no host"),
        (":443", "names no host"),
        ("::1", "without brackets"),
        ("a:1-2", "several servers"),
        ("a:+x", "no offset"),
        ("a:+70000", "no offset"),
        ("a:70000", "ports are 1 to 65535"),
        ("-a:1", "neither an address nor a host name"),
        ("a..b:1", "neither an address nor a host name"),
        ("ä.example:1", "xn--"),
        ("ipv4@host:1", "cannot be demanded"),
        ("1.2.3:80", "not an IPv4 address"),
        (None, "text such as"),
    ],
)
def test_where_one_cannot_connect(text: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_connect_address(text)


@settings(deadline=None)
@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_and_port_reads_back(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    family = "inet" if ip.version == 4 else "inet6"
    address = Address(family, str(ip), port)
    assert parse_listen_address(str(address)) == address
    assert parse_connect_address(str(address)) == address
    if ip.version == 6:
        assert parse_connect_address(f"{ip}:{port}") == address


@settings(deadline=None)
@given(st.text() | st.text(alphabet="[]:*@.-+0123456789abfx/,%"))
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    for parse in (parse_listen_address, parse_connect_address, parse_log_target, split_addresses, parse_seconds):
        with contextlib.suppress(ValueError):
            assert parse(text) is not None


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("stdout", ("stdout", "", 0)),
        ("fd@3", ("fd", "3", 0)),
        ("file:/var/log/x.log", ("file", "/var/log/x.log", 0)),
        ("unix:/dev/log", ("unix", "/dev/log", 0)),
        ("udp:127.0.0.1:5140", ("udp", "127.0.0.1", 5140)),
        ("udp:127.0.0.1", ("udp", "127.0.0.1", 514)),
        ("udp:[::1]:514", ("udp", "::1", 514)),
        ("udp:logs.example", ("udp", "logs.example", 514)),
    ],
)
def test_log_targets(text: str, target: tuple[str, str, int]) -> None:
    assert parse_log_target(text) == target


@pytest.mark.parametrize(
    "bad", ["", "syslog", "file:x", "udp:", "udp:*:1", "udp:a:+1", "udp:unix@/x", "fd@x", "udp:::1"]
)
def test_what_is_no_log_target(bad: str) -> None:
    with pytest.raises(ValueError, match=r"write |names no host"):
        parse_log_target(bad)


def test_a_comma_separates_addresses() -> None:
    assert split_addresses("*:80, *:443") == ["*:80", "*:443"]
    with pytest.raises(ValueError, match="comma"):
        split_addresses("*:80,")


@pytest.mark.parametrize(
    ("text", "size", "written"),
    [
        ("64KiB", 65536, "64KiB"),
        ("4MB", 4 << 20, "4MiB"),
        ("4 MB", 4 << 20, "4MiB"),
        ("1G", 1 << 30, "1GiB"),
        ("2k", 2048, "2KiB"),
        ("1000", 1000, 1000),
        ("5B", 5, 5),
        (0, 0, 0),
        (1536, 1536, 1536),
    ],
)
def test_sizes(text: object, size: int, written: object) -> None:
    assert parse_size(text) == size
    assert format_size(size) == written
    assert parse_size(written) == size


@pytest.mark.parametrize("value", ["", "4XB", "-1", -1, True, 1.5, "1.5MB", None])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write it as"):
        parse_size(value)
