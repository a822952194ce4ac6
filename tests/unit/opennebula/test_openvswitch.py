"""The flows. What becomes of them: tests/e2e/test_tproxy_openvswitch.py."""

from __future__ import annotations

import socket

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import openvswitch


def test_questions_go_to_the_proxy() -> None:
    first, *rest = openvswitch.flows("br0b", None, ["eth0"])
    assert first == "delete cookie=0x6f6e65745052/-1"
    assert all(line.startswith("add cookie=0x6f6e65745052,priority=") for line in rest)
    assert rest[0].endswith("in_port=br0b,actions=NORMAL")
    assert any(line.endswith("priority=50000,arp,arp_op=1,arp_tpa=169.254.16.9,actions=output:br0b") for line in rest)
    assert any(line.endswith("in_port=eth0,arp,arp_op=1,arp_tpa=169.254.16.9,actions=drop") for line in rest)


def test_in_a_vlan_they_are_switched() -> None:
    assert not any("output:" in line for line in openvswitch.flows("br0b", 7, []))


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert openvswitch.bridges() == []
    with pytest.raises(StartError, match="ovs-vsctl is not installed; it is in the package openvswitch-switch"):
        openvswitch.ports("br0")


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(OSError, match="No such device"):
        openvswitch.sum_in_software("no-such-device")
    assert socket.if_nameindex()
