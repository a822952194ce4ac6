"""Who answers for 169.254.16.9: the host's own proxy, on every bridge, whatever other hosts and guests say."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from ferry import PATIENCE, until
from hypervisor import Guest, Host

from ferryman.opennebula.names import ADDRESS, ADDRESS6, MAC

SERVICES = """
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
- :service_port: 1234
  :remote_addr: 10.11.12.34
  :remote_port: 1234
"""
OTHERS = "06:00:00:00:00:66"
REQUEST, REPLY = 1, 2
_ALL, _ARP = 3, 0x0806  # ETH_P_ALL, ETH_P_ARP


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def make(stack: ExitStack, *bridges: str) -> Host:
    host = stack.enter_context(Host())
    host.write_settings(SERVICES)
    for bridge in bridges:
        host.bridge(bridge)
    return host


def make_as_opennebula(stack: ExitStack) -> Host:
    """What OpenNebula's own driver makes of a host with one bridge, br0."""
    host = make(stack, "br0")
    host.ip("link add br0b type veth peer name br0a")
    host.ip("link set dev br0b master br0 up")
    host.ip("netns add one_tproxy_br0")
    host.ip("link set dev br0a netns one_tproxy_br0")
    host.ip(f"address replace {ADDRESS}/32 dev br0a", "one_tproxy_br0")
    host.ip("link set br0a up", "one_tproxy_br0")
    host.ip("route replace default dev br0a", "one_tproxy_br0")
    rules = [
        "add table bridge one_tproxy",
        "add chain bridge one_tproxy ch_br0 { type filter hook forward priority filter; policy accept; }",
        # a host with one bridge needs no `meta ibrname`, which not every kernel has
        f'add rule bridge one_tproxy ch_br0 oifname != "br0b" arp operation request arp daddr ip {ADDRESS} drop',
    ]
    host.run("nft", "-f", "-", text="\n".join(rules) + "\n")
    return host


class Proxy:
    """Listens in the namespace of a bridge and says its name to whoever comes, then repeats what they say."""

    def __init__(self, stack: ExitStack, host: Host, bridge: str, name: str, port: int = 5030) -> None:
        self._name = name
        where = f"one_tproxy_{bridge}"
        self._socks = [host.inside(lambda: socket.create_server((ADDRESS, port)), where)]
        if host.path("/proc/sys/net/ipv6").exists():
            self._socks.append(host.inside(lambda: _listen6(f"{bridge}a", port), where))
        self._open: list[socket.socket] = []
        for sock in self._socks:
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()
        stack.callback(self.close)

    def close(self) -> None:
        for sock in [*self._socks, *self._open]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock = listening.accept()[0]
                self._open.append(sock)
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.sendall(f"{self._name}\n".encode())
            while data := sock.recv(4096):
                sock.sendall(data)


def _listen6(device: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.bind((ADDRESS6, port, 0, socket.if_nametoindex(device)))
        sock.listen()
    except OSError:
        sock.close()  # what OpenNebula makes has no such address
    return sock


def greeting(guest: Guest, port: int = 5030) -> str:
    with guest.connect(port) as sock:
        return sock.makefile().readline().strip()


def greeting6(guest: Guest, port: int = 5030) -> str:
    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect((ADDRESS6, port, 0, socket.if_nametoindex("eth0")))
        return sock

    with guest.inside(connect) as sock:
        return sock.makefile().readline().strip()


class Wire:
    """What comes by a device, and a way to put anything on it."""

    def __init__(self, stack: ExitStack, host: Host, namespace: str, device: str = "eth0") -> None:
        self.sock = host.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)), namespace)
        stack.enter_context(self.sock)
        self.sock.bind((device, _ALL))
        self.sock.settimeout(PATIENCE)

    def arp(self, operation: int, sender: str, target: str, mac: str = OTHERS) -> None:
        """A broadcast."""
        body = bytes.fromhex("0001080006040001"[:-1] + str(operation)) + _mac(mac) + socket.inet_aton(sender)
        self.sock.send(bytes(b"\xff" * 6) + _mac(mac) + _ARP.to_bytes(2) + body + bytes(6) + socket.inet_aton(target))

    def until(self, address: str) -> list[tuple[int, str, str]]:
        """The ARP packets that came, up to one that is about an address: (operation, sender, target)."""
        found = []
        while True:
            frame, source = self.sock.recvfrom(2048)
            if frame[12:14] != _ARP.to_bytes(2) or source[2] == socket.PACKET_OUTGOING:
                continue
            found.append((frame[21], socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])))
            if found[-1][2] == address:
                return found


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def test_every_bridge_has_a_proxy_of_its_own(stack: ExitStack) -> None:
    host = make(stack, "br0", "br1")
    guests = {bridge: host.guest(bridge, f"one-{bridge}-0") for bridge in ("br0", "br1")}  # with the same address
    for bridge in guests:
        host.driver("up", bridge)
        for port in (5030, 1234):
            Proxy(stack, host, bridge, f"{bridge} {port}", port)
    for bridge, guest in guests.items():
        for port in (5030, 1234):
            assert greeting(guest, port) == f"{bridge} {port}"
            assert greeting6(guest, port) == f"{bridge} {port}"
        assert guest.neighbour() == MAC


def test_nobody_else_hears_the_question(stack: ExitStack) -> None:
    host = make(stack, "br0", "br1")
    guest, other = host.guest("br0", "one-0-0"), host.guest("br0", "one-1-0", "10.0.0.3/24")
    for bridge in ("br0", "br1"):
        host.driver("up", bridge)
    Proxy(stack, host, "br0", "mine")
    wire = Wire(stack, host, other.namespace)
    assert greeting(guest) == "mine"
    Wire(stack, host, guest.namespace).arp(REQUEST, "10.0.0.2", "10.0.0.99")
    heard = wire.until("10.0.0.99")
    assert [each for each in heard if each[2] == ADDRESS] == []


def test_a_guest_cannot_be_the_proxy(stack: ExitStack) -> None:
    host = make(stack, "br0")
    guest, liar = host.guest("br0", "one-0-0"), host.guest("br0", "one-1-0", "10.0.0.3/24")
    host.driver("up", "br0")
    Proxy(stack, host, "br0", "mine")
    assert greeting(guest) == "mine"
    heard, wire = Wire(stack, host, guest.namespace), Wire(stack, host, liar.namespace)
    for mac in (OTHERS, MAC):
        wire.arp(REQUEST, ADDRESS, ADDRESS, mac)
        wire.arp(REQUEST, ADDRESS, "10.0.0.2", mac)
        wire.arp(REPLY, ADDRESS, "10.0.0.2", mac)
    wire.arp(REQUEST, "10.0.0.3", "10.0.0.99")
    assert [each for each in heard.until("10.0.0.99") if each[1] == ADDRESS] == []
    assert guest.neighbour() == MAC
    assert greeting(guest) == "mine"


def test_a_guest_cannot_have_the_proxys_mac(stack: ExitStack) -> None:
    host = make(stack, "br0")
    guest, liar = host.guest("br0", "one-0-0"), host.guest("br0", "one-1-0", "10.0.0.3/24")
    host.driver("up", "br0")
    Proxy(stack, host, "br0", "mine")
    assert greeting(guest) == "mine"
    heard, wire = Wire(stack, host, guest.namespace), Wire(stack, host, liar.namespace)
    wire.arp(REQUEST, "10.0.0.3", "10.0.0.98", MAC)
    wire.arp(REQUEST, "10.0.0.3", "10.0.0.99")
    assert (REQUEST, "10.0.0.3", "10.0.0.98") not in heard.until("10.0.0.99")
    ports = json.loads(host.run("bridge", "-json", "fdb", "show", "br", "br0").stdout)
    assert [port["ifname"] for port in ports if port["mac"] == MAC] == ["br0b"]


def pair(stack: ExitStack, first: Host, second: Host) -> tuple[Guest, Guest, Proxy, Proxy, str]:
    """A guest on each of two hosts that share a network, and what listens in their namespaces."""
    guests = first.guest("br0", "one-0-0", "10.0.0.2/24"), second.guest("br0", "one-1-0", "10.0.0.3/24")
    proxies = Proxy(stack, first, "br0", "first"), Proxy(stack, second, "br0", "second")
    return *guests, *proxies, first.uplink(second, "br0")


def ask(stack: ExitStack, host: Host, target: str) -> None:
    """The proxy of a host has forgotten a guest and asks for it."""
    host.ip("neighbour flush dev br0a", "one_tproxy_br0")
    mac = host.ip("-o link show br0a", "one_tproxy_br0").partition("link/ether ")[2][:17]
    Wire(stack, host, "one_tproxy_br0", "br0a").arp(REQUEST, ADDRESS, target, mac)


def test_the_leak_of_opennebulas_rules(stack: ExitStack) -> None:
    """Why there is more than OpenNebula's one rule: another host's proxy takes a guest's connection away."""
    first, second = make_as_opennebula(stack), make_as_opennebula(stack)
    guest, *_ = pair(stack, first, second)
    with guest.connect(5030) as sock:
        lines = sock.makefile()
        assert lines.readline() == "first\n"
        before = guest.neighbour()

        def another() -> bool:
            ask(stack, second, "10.0.0.3")
            return guest.neighbour() not in ("", before)

        until(another, "the guest to believe another host's proxy")
        sock.sendall(b"still there\n")
        with pytest.raises(ConnectionError):
            lines.readline()


@pytest.mark.parametrize("far", ["ours", "OpenNebula's"])
def test_another_hosts_proxy_takes_nothing_away(stack: ExitStack, far: str) -> None:
    first = make(stack, "br0")
    second = make(stack, "br0") if far == "ours" else make_as_opennebula(stack)
    ours = (first, second) if far == "ours" else (first,)
    for host in ours:
        host.driver("up", "br0")
    guest, other, _, _, uplink = pair(stack, first, second)
    for host in ours:
        host.driver("up", "br0", "--uplink", uplink)
    with guest.connect(5030) as sock:
        lines = sock.makefile()
        assert lines.readline() == "first\n"
        heard = Wire(stack, first, guest.namespace)
        ask(stack, second, "10.0.0.3")
        Wire(stack, second, other.namespace).arp(REQUEST, "10.0.0.3", "10.0.0.99")
        assert (REQUEST, ADDRESS, "10.0.0.3") not in heard.until("10.0.0.99")
        assert guest.neighbour() == MAC
        sock.sendall(b"still there\n")
        assert lines.readline() == "still there\n"


def test_nothing_of_it_goes_to_other_hosts(stack: ExitStack) -> None:
    first, second = make(stack, "br0"), make(stack, "br0")  # the second one has no rules at all
    first.driver("up", "br0")
    guest, other = first.guest("br0", "one-0-0"), second.guest("br0", "one-1-0", "10.0.0.3/24")
    uplink = first.uplink(second, "br0")
    first.driver("up", "br0", "--uplink", uplink)
    heard = Wire(stack, second, other.namespace)
    ask(stack, first, "10.0.0.3")
    wire = Wire(stack, first, guest.namespace)
    wire.arp(REQUEST, "10.0.0.2", ADDRESS)
    wire.arp(REQUEST, "10.0.0.2", "10.0.0.99")
    assert [each for each in heard.until("10.0.0.99") if ADDRESS in each] == []


def test_the_nearest_host_answers(stack: ExitStack) -> None:
    first, second = make(stack, "br0"), make(stack, "br0")
    for host in (first, second):
        host.driver("up", "br0")
    guest, other, _, _, uplink = pair(stack, first, second)
    wire = Wire(stack, first, "", uplink)
    for host in (first, second):
        host.driver("up", "br0", "--uplink", uplink)
    for _ in range(3):
        for each, name in ((guest, "first"), (other, "second")):
            each.forget()
            assert (greeting(each), greeting6(each)) == (name, name)
    # nothing of it was ever on the wire between them
    Wire(stack, second, other.namespace).arp(REQUEST, "10.0.0.3", "10.0.0.99")
    assert [each for each in wire.until("10.0.0.99") if ADDRESS in each] == []


def test_outsiders_are_not_served(stack: ExitStack) -> None:
    first, second = make(stack, "br0"), make(stack, "br0")
    first.driver("up", "br0")
    guest, outsider = first.guest("br0", "one-0-0"), second.guest("br0", "one-1-0", "10.0.0.3/24")
    uplink = first.uplink(second, "br0")
    first.driver("up", "br0", "--uplink", uplink)
    wire = Wire(stack, first, "one_tproxy_br0", "br0a")
    Wire(stack, second, outsider.namespace).arp(REQUEST, "10.0.0.3", ADDRESS)
    Wire(stack, first, guest.namespace).arp(REQUEST, "10.0.0.2", ADDRESS)
    assert wire.until(ADDRESS) == [(REQUEST, "10.0.0.2", ADDRESS)]
    assert first.run("ip", "neighbour", "show", "10.0.0.3", namespace="one_tproxy_br0").stdout == ""


def test_a_guest_that_moved_finds_it_without_asking(stack: ExitStack) -> None:
    first, second = make(stack, "br0"), make(stack, "br0")
    for host in (first, second):
        host.driver("up", "br0")
    guest = second.guest("br0", "one-0-0")
    Proxy(stack, second, "br0", "second")
    guest.run("ip", "neighbour", "replace", ADDRESS, "lladdr", MAC, "dev", "eth0", "nud", "permanent")
    assert greeting(guest) == "second"


def test_uplinks_are_guessed_by_their_kind(stack: ExitStack) -> None:
    host = make(stack, "br0")
    host.ip("link add vx7 master br0 type vxlan id 7 dstport 4789 local 127.0.0.1 remote 127.0.0.2")
    host.guest("br0", "one-0-0")
    host.driver("up", "br0")
    assert '"vx7"' in (listed := host.run("nft", "list", "set", "bridge", "one_tproxy", "uplinks").stdout)
    assert '"one-0-0"' not in listed
