"""`ferryman tproxy doctor` on simulated hypervisors: everything is really broken, found, and repaired by --fix."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from ferry import until
from hypervisor import Guest, Host, demand
from servers import EchoServer
from test_tproxy_openvswitch import START
from test_tproxy_openvswitch import guest as guest_of_switch

from ferryman.opennebula.names import ADDRESS, ADDRESS6, EXECUTABLE

ENTRY = """\
- :service_port: {port}
  :remote_addr: 127.0.0.1
  :remote_port: {remote}
"""
FINE = "this host is fine: guests reach the services on br0 (5030), br1 (5030)\n"


class Place:
    """A host with two bridges, a guest on each, and a service that both reach."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.guests: list[Guest] = []
        for number, bridge in enumerate(("br0", "br1")):
            host.bridge(bridge)
            self.guests.append(host.guest(bridge, f"one-{number}-0"))
        self.server = self.echo()
        self.write((5030, self.server.port))
        for bridge in ("br0", "br1"):
            host.driver("up", bridge, "--network", "vnet0")
        host.ferryman("start")

    def echo(self) -> EchoServer:
        return self.host.inside(lambda: EchoServer("127.0.0.1"))

    def write(self, *services: tuple[int, int], more: str = "") -> None:
        entries = "".join(ENTRY.format(port=port, remote=remote) for port, remote in services)
        self.host.write_settings(f":tproxy:\n{entries}{more}")

    def reach(self) -> None:
        for guest in self.guests:
            with guest.connect(5030) as sock:
                sock.sendall(b"hello")
                assert sock.recv(5) == b"hello"

    def pid(self, name: str) -> int:
        lines = (line.split(": ") for line in self.host.ferryman("status").stdout.splitlines())
        return next(int(pid) for daemon, pid in lines if daemon == name)

    def kill(self, *daemons: str) -> None:
        for pid in [self.pid(name) for name in daemons]:
            self.host.run("kill", f"-{int(signal.SIGKILL)}", str(pid))
            until(lambda pid=pid: not self.host.path(f"/proc/{pid}").exists(), "its end")

    def doctor(self, *options: str) -> list[tuple[str, str, str]]:
        """What it finds: severity, bridge (or "host") and message; exit code and severities agree."""
        ended = self.host.ferryman("doctor", "--json", *options, check=False)
        assert ended.stderr == ""
        found: list[dict[str, Any]] = json.loads(ended.stdout)["findings"]
        wrong = [each for each in found if each["severity"] != "hint"]
        assert ended.returncode == (1 if wrong else 0), ended.stdout
        return [(each["severity"], each["bridge"] or "host", each["message"]) for each in found]


@pytest.fixture
def place() -> Iterator[Place]:
    with Host() as host:
        yield Place(host)


def test_a_host_that_is_fine(place: Place) -> None:
    """And then guests that never ask, for want of a route: no fault, but worth a hint."""
    place.reach()
    ended = place.host.ferryman("doctor")
    assert (ended.stdout, ended.stderr) == (FINE, "")
    assert place.host.ferryman("doctor", "--fix").stdout == FINE
    new = place.host.guest("br0", "one-7-0", "10.0.0.7/24")
    new.run("ip", "route", "del", ADDRESS)
    with new.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.sendto(b"is anybody there?", ("10.0.0.2", 9))
    ended = place.host.ferryman("doctor")
    assert ended.stdout.splitlines() == [
        "br0:",
        f"  hint     the guest behind one-7-0 has not asked for {ADDRESS} lately",
        f"           → there, `ip route show to {ADDRESS}` is to print `{ADDRESS} dev eth0 scope link`; "
        f"`ip route add {ADDRESS} dev eth0 scope link` makes it so",
        FINE.strip(),
    ]


def test_what_is_broken_is_found_and_repaired(place: Place) -> None:
    host = place.host
    host.run("ip", "link", "set", "br0", "mtu", "1500")  # or it would follow its ports
    place.kill("one_tproxy", "one_tproxy_br1")
    for command in (
        "ip link set br0b nomaster mtu 1400",
        "ip -n one_tproxy_br0 route delete default",
        "ip netns exec one_tproxy_br0 sysctl -qw net.ipv4.conf.br0a.arp_ignore=1",
        "nft flush chain bridge one_tproxy guard",
        "nft flush set bridge one_tproxy doors",
        f"nft add element ip one_tproxy ep_br0 {{ 99 : 127.0.0.1 . {place.server.port} }}",
        "ip netns add one_tproxy_br7",
        "nft add chain bridge one_tproxy ch_br8",
        "touch /run/one_tproxy/br9.sock /run/one_tproxy_5030.socket",
        "chown root /var/log/one_tproxy_br0.log",
    ):
        host.run(*command.split(maxsplit=6 if "{" in command else -1))
    left = "it has no services, but parts of a proxy are left: a namespace, a device, or a chain of nftables"
    unknown = "nftables does not know {} (the set doors): it may stop guests' questions"
    rules = f"nftables has no rules in guard: others may answer as {ADDRESS}"
    expected = {
        ("error", "host", "one_tproxy is not running"),
        ("warning", "host", "/var/log/one_tproxy_br0.log does not belong to nobody, as whom the daemons write it"),
        ("hint", "host", "/run/one_tproxy_5030.socket is left of OpenNebula's own daemons"),
        ("warning", "br0", "port 99 is in nftables, and not in the settings for its networks"),
        ("error", "br0", "br0b is not in the bridge br0"),
        ("error", "br0", "the default route is missing"),
        ("error", "br0", "arp_ignore of br0a is not 0, so guests' questions may get no answer"),
        ("error", "br0", "br0b has the MTU 1400, the bridge has 1500: large packets may get lost"),
        *(("error", bridge, rules) for bridge in ("br0", "br1")),
        *(("error", bridge, unknown.format(f"{bridge}b")) for bridge in ("br0", "br1")),
        ("error", "br1", "one_tproxy_br1 is not running"),
        ("error", "br1", f"nobody listens at {ADDRESS}:5030"),
        ("error", "br1", f"nobody listens at [{ADDRESS6}]:5030"),
        ("warning", "br7", left),
        ("warning", "br8", left),
        ("warning", "br9", "/run/one_tproxy/br9.sock is left of a daemon that has gone"),
    }
    assert {each for each in place.doctor() if "not asked" not in each[2]} == expected
    ended = host.ferryman("doctor", "--fix")
    assert ended.stdout.splitlines()[:2] == [
        "br0: made again, since br0b is not in the bridge br0",
        "all bridges have what the settings say",
    ]
    assert set(ended.stdout.splitlines()[2:8]) == {
        "/run/one_tproxy_5030.socket is removed",
        "/var/log/one_tproxy_br0.log belongs to nobody",
        "/run/one_tproxy/br9.sock is removed",
        "br7: what was left is removed",
        "br8: what was left is removed",
        "the daemons run, and follow nftables",
    }
    place.reach()
    assert host.ferryman("doctor").stdout == FINE
    assert sorted(line.split()[0] for line in host.ip("netns list").splitlines() if "tproxy" in line) == [
        "one_tproxy_br0",
        "one_tproxy_br1",
    ]


def test_losses_of_whole_parts(place: Place) -> None:
    """A namespace that is another one now, a chain, a bridge that is gone or has another name; daemons that hang."""
    host = place.host
    hanging = place.pid("one_tproxy_br0")
    host.run("kill", f"-{int(signal.SIGSTOP)}", str(hanging))
    host.run("ip", "netns", "delete", "one_tproxy_br1")
    host.run("ip", "netns", "add", "one_tproxy_br1")
    host.run("nft", "delete", "chain", "bridge", "one_tproxy", "ch_br1")
    found = place.doctor()
    for expected in (
        ("error", "br0", "one_tproxy_br0 does not answer: it hangs, or is OpenNebula's own"),
        ("error", "br1", "nftables has no chain ch_br1"),
        ("error", "br1", "br1a is not in the namespace"),
        ("error", "br1", "one_tproxy_br1 is not in the namespace one_tproxy_br1"),
    ):
        assert expected in found
    host.run("kill", f"-{int(signal.SIGCONT)}", str(hanging))
    host.ferryman("doctor", "--fix")
    place.reach()
    host.ip("link delete br1")
    host.ip("link set br0 down")
    host.ip("link set br0 name br5 up")
    assert [each for each in place.doctor("--fix") if each[1] != "host"] == [
        ("error", "br0", "it is called br5 now"),
        ("error", "br1", "there is no such bridge"),
    ]


def test_what_only_people_can_repair(place: Place) -> None:
    """Settings that are wrong, remotes that are down: nothing changes, whatever is asked for."""
    host = place.host
    place.reach()
    closed = place.echo()
    closed.close()
    options = f':tproxy_options:\n- :service_port: 5030\n  :remotes: ["127.0.0.1:{closed.port}"]\n'
    place.write((5030, place.server.port), more=options)
    reason = "cannot be reached: Connection refused; it is port 5030 of br0"
    reserve = f"127.0.0.1:{closed.port} {reason} (in reserve), port 5030 of br1 (in reserve)"
    assert place.doctor() == [("warning", "host", reserve)]
    place.server.close()
    before = host.run("nft", "list", "ruleset").stdout
    place.write((5030, place.server.port), (99999, 1))
    for option in ((), ("--fix",)):
        (mistake, remote) = place.doctor(*option)
        assert mistake[:2] == remote[:2] == ("error", "host")
        assert mistake[2].endswith("OpenNebulaNetwork.conf:5:18: 99999 is no port")
        assert remote[2] == f"127.0.0.1:{place.server.port} {reason}, port 5030 of br1"
    place.write((5030, place.server.port), more=":tproxy_process_owner: nobodyatall\n")
    assert ("error", "host", "the daemons cannot run as nobodyatall: there is no such user") in place.doctor()
    assert host.run("nft", "list", "ruleset").stdout == before


def test_hints_about_guests_and_others(place: Place) -> None:
    """Security groups, other hosts behind a port, OpenNebula's own executable, and bridges its own driver made."""
    host = place.host
    place.reach()
    guest = place.guests[0]

    def crowd() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("eth0", 0))
            for number in range(3):
                sock.send(b"\xff" * 6 + bytes([2, 0, 0, 0, 7, number]) + b"\x08\x06" + bytes(46))

    guest.inside(crowd)
    host.path(EXECUTABLE).parent.mkdir(parents=True)
    host.path(EXECUTABLE).write_text("#!/usr/bin/ruby\n")
    text = "add map ip one_tproxy ep_br2 { type inet_service : ipv4_addr . inet_service ; }\n"
    text += f"add element ip one_tproxy ep_br2 {{ 80 : 127.0.0.1 . {place.server.port} }}\n"
    host.bridge("br2")
    host.run("nft", "-f", "-", text=text)
    host.path("/run/systemd/system").mkdir(parents=True)
    found = place.doctor()
    own = f"{EXECUTABLE} is OpenNebula's own, which starts daemons besides these"
    for expected in (
        ("hint", "br0", "4 addresses are behind one-0-0, as if there were other hosts"),
        ("warning", "host", own),
        ("hint", "host", "nothing makes the proxies again when the host has started, or somebody flushed nftables"),
        ("hint", "br2", "OpenNebula's own driver made its proxy, so `apply` and `heal` know nothing of it"),
        ("error", "br2", "the namespace one_tproxy_br2 is missing"),
    ):
        assert expected in found
    switch = host.path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists() or host.run("iptables", "-N", "one-1-0-o", check=False).returncode:
        pytest.skip("neither br_netfilter nor iptables here")
    switch.write_text("1")
    host.run("iptables", "-A", "one-1-0-o", "-p", "tcp", "-m", "multiport", "--dports", "80,443", "-j", "RETURN")
    host.run("iptables", "-A", "one-1-0-o", "-j", "DROP")
    hint = ("hint", "br1", "the security groups of one-1-0 do not let it out to 5030")
    assert hint in place.doctor()
    host.run("iptables", "-I", "one-1-0-o", "-p", "tcp", "-m", "multiport", "--dports", "1000:6000", "-j", "RETURN")
    assert hint not in place.doctor()


def test_a_bridge_of_open_vswitch() -> None:
    demand("ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovsdb-server")
    with Host() as host:
        server = host.inside(lambda: EchoServer("127.0.0.1"))
        host.write_settings(":tproxy:\n" + ENTRY.format(port=5030, remote=server.port))
        host.run("sh", "-c", START)
        host.run("ovs-vsctl", "add-br", "ovs0", "--", "set", "Bridge", "ovs0", "datapath_type=netdev")
        one = guest_of_switch(host, "one-0-0")
        host.ferryman("up", "ovs0")
        host.run("ovs-vsctl", "del-port", "ovs0b")
        said = host.ferryman("doctor", check=False)
        assert "Open vSwitch has no port ovs0b in it, or not its flows" in said.stdout
        said = host.ferryman("doctor", "--fix")
        assert said.stdout.splitlines()[-1] == "this host is fine: guests reach the services on ovs0 (5030)"
        one.connect(5030).close()
