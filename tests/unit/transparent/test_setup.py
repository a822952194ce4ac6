"""From listeners, and from words, to what is intercepted."""

from __future__ import annotations

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.plan import Plan
from ferryman.transparent.setup import (
    Catch,
    Setup,
    catches,
    parse_catch,
    parse_interface,
    parse_network,
    parse_ports,
)


def plan(*listeners: str) -> Plan:
    text = "".join(f"  l{number}: {{to: b, {listener}}}\n" for number, listener in enumerate(listeners))
    found = load([Source("f.yaml", f"listeners:\n{text}backends: {{b: {{servers: '192.0.2.7:1'}}}}\n")], environment={})
    assert found.plan is not None, [str(finding) for finding in found.diagnostics.found]
    return found.plan


def test_without_ports_a_listener_is_for_those_it_listens_at() -> None:
    found = catches(plan("bind: ['*:443', '*:8000-8001'], transparent: tproxy", "bind: '*:1'"), {})
    assert found == [
        Catch("l0", "tproxy", ((port, port),), ("", port), None) for port in (443, 8000, 8001)
    ]  # fmt: skip


def test_ports_are_led_to_the_first_address_of_each_family() -> None:
    binds = "bind: ['127.0.0.1:8443', '*:8444', '[2001:db8::1]:8445'], transparent: tproxy"
    ports = ((80, 80), (443, 445))
    assert catches(plan(binds), {"": ports}) == [
        Catch("l0", "tproxy", ports, ("127.0.0.1", 8443), ("2001:db8::1", 8445))
    ]
    both = catches(plan("bind: '[::]:8443', transparent: redirect"), {"l0": ports})
    assert both == [Catch("l0", "redirect", ports, ("", 8443), ("", 8443))]
    alone = catches(plan("bind: {address: '[::]:8443', v6only: true}, transparent: redirect"), {"l0": ports})
    assert alone[0].ipv4 is None


def test_ports_of_nobody_in_particular() -> None:
    two = plan("bind: '*:1', transparent: tproxy", "bind: '*:2', transparent: redirect")
    with pytest.raises(ValueError, match="several listeners are transparent"):
        catches(two, {"": ((443, 443),)})
    with pytest.raises(ValueError, match="no transparent listener web"):
        catches(two, {"web": ((443, 443),)})
    found = catches(two, {"l0": ((443, 443),), "": ((80, 80),)})
    assert [catch.ports for catch in found] == [((443, 443),), ((80, 80),)]


def test_words() -> None:
    assert parse_ports("80,443,8000-8010") == ((80, 80), (443, 443), (8000, 8010))
    assert parse_catch("tproxy", "80,443=8443") == Catch(
        "port 8443", "tproxy", ((80, 80), (443, 443)), ("", 8443), ("", 8443)
    )
    assert parse_network("192.0.2.7") == "192.0.2.7/32"
    assert parse_interface("eth0.7") == "eth0.7"


@pytest.mark.parametrize("text", ["", "0", "65536", "9-8", "80,", "http", "80 443", "1-2-3"])
def test_what_is_no_list_of_ports(text: str) -> None:
    with pytest.raises(ValueError, match="ports"):
        parse_ports(text)


@pytest.mark.parametrize("text", ["443", "443=", "443=x", "=1", "443=70000"])
def test_what_is_no_catch(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_catch("tproxy", text)


def test_names_cannot_leave_their_place() -> None:
    for text in ("", 'a"b', "a b", "a/b", "x" * 16):
        with pytest.raises(ValueError, match="network interface"):
            parse_interface(text)
    with pytest.raises(ValueError, match="host bits set"):
        parse_network("192.0.2.7/24")


def test_what_has_to_be_delivered_here() -> None:
    to = ("", 1)
    assert Setup(answers=True).local_delivery
    assert Setup((Catch("a", "tproxy", (), to, None),)).local_delivery
    assert not Setup((Catch("a", "redirect", (), to, None),)).local_delivery
