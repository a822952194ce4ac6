"""Bridges of Open vSwitch have proxies too: the pair's end is a port of theirs, and OpenFlow keeps the address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from ferry import until
from hypervisor import Guest, Host, demand
from test_tproxy_arp import OTHERS, REPLY, REQUEST, Proxy, Wire, greeting, greeting6

from ferryman.opennebula.names import ADDRESS, MAC, STATE
from ferryman.opennebula.openvswitch import COOKIE, sum_in_software

SERVICES = """
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
"""
START = """
set -e
mkdir -p /run/openvswitch /var/log/openvswitch /var/lib/openvswitch
cd /var/lib/openvswitch
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --detach --no-chdir --pidfile --log-file --remote=punix:/run/openvswitch/db.sock conf.db
ovs-vsctl --no-wait init
ovs-vswitchd --detach --no-chdir --pidfile --log-file
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def host(stack: ExitStack) -> Host:
    """With the bridge ovs0, in user space: no kernel need know of it."""
    demand("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovsdb-server")
    host = stack.enter_context(Host())
    host.write_settings(SERVICES)
    host.run("sh", "-c", START)
    host.run("ovs-vsctl", "add-br", "ovs0", "--", "set", "Bridge", "ovs0", "datapath_type=netdev")
    return host


def guest(host: Host, name: str, address: str = "10.0.0.2/24", vlan: int | None = None) -> Guest:
    made = host.guest("", name, address)
    tag = [f"tag={vlan}"] if vlan else []
    host.run("ovs-vsctl", "add-port", "ovs0", name, *tag)
    made.inside(lambda: sum_in_software("eth0"))
    return made


def flows(host: Host) -> str:
    return host.run("ovs-ofctl", "dump-flows", "ovs0", f"cookie={COOKIE:#x}/-1").stdout


def ports(host: Host) -> list[str]:
    return host.run("ovs-vsctl", "list-ports", "ovs0").stdout.split()


def test_up_and_down(host: Host) -> None:
    host.run("ovs-ofctl", "add-flow", "ovs0", "cookie=0x7,priority=7,arp,actions=NORMAL")
    before = host.run("ovs-ofctl", "dump-flows", "--no-stats", "ovs0").stdout
    host.driver("up", "ovs0")
    once = flows(host).count("\n")
    host.driver("up", "ovs0")
    assert flows(host).count("\n") == once > 5
    assert ports(host) == ["ovs0b"]
    assert host.driver("heal").stderr == ""
    host.run("ovs-ofctl", "del-flows", "ovs0", f"cookie={COOKIE:#x}/-1")
    assert "made again, since Open vSwitch has no port ovs0b in it, or not its flows" in host.driver("heal").stderr
    assert flows(host).count("\n") == once
    assert json.loads(host.path(STATE).read_text())["bridges"]["ovs0"]["openvswitch"] is True
    host.driver("down", "ovs0")
    assert ports(host) == []
    assert host.run("ovs-ofctl", "dump-flows", "--no-stats", "ovs0").stdout == before
    assert host.run("nft", "list", "ruleset").stdout == ""
    assert "ovs0b" not in host.ip("link")


@pytest.mark.parametrize("vlan", [None, 7])
def test_guests_reach_it_and_cannot_be_it(stack: ExitStack, host: Host, vlan: int | None) -> None:
    mine, liar = guest(host, "one-0-0", vlan=vlan), guest(host, "one-1-0", "10.0.0.3/24", vlan=vlan)
    host.driver("up", "ovs0", *(["--vlan", str(vlan)] if vlan else []))
    Proxy(stack, host, "ovs0", "mine")
    assert greeting(mine) == "mine"
    assert greeting6(mine) == "mine"
    assert mine.neighbour() == MAC
    heard, wire = Wire(stack, host, mine.namespace), Wire(stack, host, liar.namespace)
    for mac in (OTHERS, MAC):
        wire.arp(REQUEST, ADDRESS, "10.0.0.2", mac)
        wire.arp(REPLY, ADDRESS, "10.0.0.2", mac)
    wire.arp(REQUEST, "10.0.0.3", "10.0.0.99")
    assert [each for each in heard.until("10.0.0.99") if each[1] == ADDRESS] == []
    assert mine.neighbour() == MAC


def test_the_question_goes_to_the_proxy_alone(stack: ExitStack, host: Host) -> None:
    mine, other = guest(host, "one-0-0"), guest(host, "one-1-0", "10.0.0.3/24")
    host.driver("up", "ovs0")
    heard, inside = Wire(stack, host, other.namespace), Wire(stack, host, "one_tproxy_ovs0", "ovs0a")
    wire = Wire(stack, host, mine.namespace)
    wire.arp(REQUEST, "10.0.0.2", ADDRESS)
    wire.arp(REQUEST, "10.0.0.2", "10.0.0.99")
    assert (REQUEST, "10.0.0.2", ADDRESS) not in heard.until("10.0.0.99")
    inside.until(ADDRESS)


def test_other_vlans_have_no_part(stack: ExitStack, host: Host) -> None:
    mine, stranger = guest(host, "one-0-0", vlan=7), guest(host, "one-1-0", "10.0.0.3/24", vlan=8)
    host.driver("up", "ovs0", "--vlan", "7")
    inside = Wire(stack, host, "one_tproxy_ovs0", "ovs0a")
    Wire(stack, host, stranger.namespace).arp(REQUEST, "10.0.0.3", ADDRESS)
    Wire(stack, host, mine.namespace).arp(REQUEST, "10.0.0.2", ADDRESS)
    assert inside.until(ADDRESS) == [(REQUEST, "10.0.0.2", ADDRESS)]
    assert host.run("ip", "neighbour", "show", "10.0.0.3", namespace="one_tproxy_ovs0").stdout == ""


def test_a_switch_that_does_not_answer(host: Host) -> None:
    host.driver("up", "ovs0")
    host.run("sh", "-c", "kill $(cat /run/openvswitch/ovsdb-server.pid)")
    until(lambda: not host.path("/run/openvswitch/db.sock").exists(), "the database to end")
    for verb in ("apply", "heal"):
        said = host.driver(verb, check=False)
        assert said.returncode == 1
        assert "is Open vSwitch running?" in said.stderr
    assert "one_tproxy_ovs0" in host.ip("netns list")
