"""OpenNebula's daemons on a simulated hypervisor: what its tools and users look for, and what guests get."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ferry import PATIENCE, until
from hypervisor import Guest, Host
from servers import EchoServer

from ferryman.opennebula.names import ADDRESS, ADDRESS6, STATE

ENTRY = """\
- :service_port: {port}
  :remote_addr: {host}
  :remote_port: {remote}
  :networks: [{networks}]
"""


def services(*entries: tuple[int, str, int, str], more: str = "") -> str:
    """OpenNebulaNetwork.conf with (service port, remote address, remote port, networks) each."""
    text = "".join(ENTRY.format(port=p, host=h, remote=r, networks=n) for p, h, r, n in entries)
    return f":tproxy_debug_level: 2\n:tproxy:\n{text}{more}"


class Place:
    """A host with two bridges and a guest on each; `echo` starts a server where the host's own processes are."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.guests: list[Guest] = []
        self.came_up = False
        self.read: dict[str, int] = {}  # how much of each log is earlier tests'
        for number, bridge in enumerate(("br0", "br1")):
            host.bridge(bridge)
            self.guests.append(host.guest(bridge, f"one-{number}-0"))

    def echo(self, port: int = 0, greeting: bytes = b"", host: str = "127.0.0.1") -> EchoServer:
        return self.host.inside(lambda: EchoServer(host, greeting, port))

    def up(self, text: str) -> None:
        """Have these settings, on bridges that come up with the first of them."""
        self.host.write_settings(text)
        if self.came_up:
            self.host.ferryman("apply")
        else:
            for number in (0, 1):
                self.host.ferryman("up", f"br{number}", "--network", f"vnet{number}")
            self.came_up = True

    def apply(self, text: str) -> None:
        self.host.write_settings(text)
        self.host.ferryman("apply")

    def pids(self) -> dict[str, int]:
        """As `status` tells them."""
        lines = self.host.ferryman("status").stdout.splitlines()
        return {name: int(pid) for name, _, pid in (line.partition(": ") for line in lines)}

    def listening(self, bridge: str) -> set[int]:
        """Ports inside a bridge's namespace, as `ss -N` shows them."""
        text = self.host.run("ss", "-4Hltn", namespace=f"one_tproxy_{bridge}").stdout
        return {int(line.split()[3].rpartition(":")[2]) for line in text.splitlines()}

    def signal(self, pid: int, number: signal.Signals) -> None:
        self.host.run("kill", f"-{int(number)}", str(pid))

    def log(self, name: str) -> str:
        return self.host.path(f"/var/log/{name}.log").read_text()

    def lines(self, bridge: str) -> list[dict[str, Any]]:
        """Of connections."""
        text = self.log(f"one_tproxy_{bridge}")[self.read.get(bridge, 0) :]
        found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in found if "listener" in line]


@pytest.fixture(scope="module")
def one_for_all() -> Iterator[Place]:
    with Host() as host:
        yield Place(host)


@pytest.fixture
def place(one_for_all: Place) -> Place:
    """The host that most tests share; each begins with `up`."""
    for log in one_for_all.host.path("/var/log").glob("one_tproxy_*.log"):
        one_for_all.read[log.stem.removeprefix("one_tproxy_")] = len(log.read_text())
    return one_for_all


@pytest.fixture
def alone() -> Iterator[Place]:
    """A host for tests that begin with nothing."""
    with Host() as host:
        yield Place(host)


def echoes(guest: Guest, port: int, address: str = ADDRESS) -> bytes:
    """What a server answers `hello`; all of it, after half a close."""
    with guest.connect(port, address) as sock:
        return all_of(sock, b"hello")


def all_of(sock: socket.socket, said: bytes) -> bytes:
    sock.sendall(said)
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while data := sock.recv(65536):
        got += data
    return got


def refused(guest: Guest, port: int) -> bool:
    """Does a guest learn that nobody is there? By a reset, or since nobody listens; an orderly end would be a lie."""
    try:
        with guest.connect(port) as sock:
            sock.recv(1)
    except (ConnectionResetError, ConnectionRefusedError):
        return True
    return False


def test_two_bridges_and_two_services(place: Place) -> None:
    """The first conformance case; and names, places and lines that OpenNebula's users know."""
    one, other = place.echo(greeting=b"gate "), place.echo(greeting=b"custom ")
    everywhere = "vnet0, vnet1"
    place.up(services((5030, "127.0.0.1", one.port, everywhere), (1234, "127.0.0.1", other.port, everywhere)))
    for _ in range(5):
        for guest in place.guests:
            assert echoes(guest, 5030) == b"gate hello"
            assert echoes(guest, 1234) == b"custom hello"
    status = place.host.ferryman("status")
    assert re.fullmatch(r"one_tproxy: \d+\none_tproxy_br0: \d+\none_tproxy_br1: \d+\n", status.stdout)
    assert (status.stderr, status.returncode) == ("", 0)
    for name, pid in place.pids().items():
        process = place.host.path(f"/proc/{pid}")
        assert (process / "cmdline").read_bytes() == name.encode() + b"\0", "as its tools look for it"
        assert (process / "status").read_text().count("Uid:\t65534\t65534\t65534\t65534") == 1, "root was given up"
        there = os.stat(process / "ns/net").st_ino
        assert (there == os.stat(place.host.network(name if name != "one_tproxy" else "")).st_ino) is True
    logs = sorted(path.name for path in place.host.path("/var/log").iterdir())
    assert logs == ["one_tproxy.log", "one_tproxy_br0.log", "one_tproxy_br1.log"]
    assert place.listening("br0") == place.listening("br1") == {1234, 5030}
    line = until(lambda: place.lines("br1"), "a line")[0]
    assert (line["client"].rpartition(":")[0], line["listener"]) == ("10.0.0.2", "br1:5030")
    assert line["bytes"] == {"in": 5, "out": 10}


class OneGate(http.server.BaseHTTPRequestHandler):
    """As much of OneGate's API as `onegate vm show -j` asks for: a machine that shows its token sees itself."""

    def do_GET(self) -> None:
        known = (self.headers["X-ONEGATE-TOKEN"], self.headers["X-ONEGATE-VMID"]) == ("s3cret", "7")
        body = json.dumps({"VM": {"NAME": "example0-0", "ID": "7"}} if known else {"error": "no"}).encode()
        self.send_response(200 if known and self.path == "/vm" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_guest_asks_onegate_who_it_is(place: Place) -> None:
    server = place.host.inside(lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneGate))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        place.up(services((5030, "127.0.0.1", server.server_port, "vnet0")))
        ask = ("curl", "-sS", "-H", "X-ONEGATE-VMID: 7", f"http://{ADDRESS}:5030/vm", "-H")
        shown = place.guests[0].run(*ask, "X-ONEGATE-TOKEN: s3cret").stdout
        assert json.loads(shown)["VM"]["NAME"] == "example0-0"
        assert "no" in place.guests[0].run(*ask, "X-ONEGATE-TOKEN: guessed").stdout
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_guest_that_vanishes_is_noticed(place: Place) -> None:
    """By keep-alive, which in the namespace does not take the two hours of Linux."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    with place.guests[0].connect(5030) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        timers = place.host.run("ss", "-Htno", "state", "established", namespace="one_tproxy_br0").stdout
    found = re.search(r"timer:\(keepalive,(?:(\d+)min)?", timers)
    assert found, timers
    assert int(found[1] or 0) <= 2, timers


def test_nothing_configured_is_quiet(alone: Place) -> None:
    for settings in ("", ":vxlan_mtu: 1500\n"):
        alone.host.write_settings(settings)
        for verb in ("status", "start", "reload", "restart", "stop"):
            ended = alone.host.ferryman(verb)
            assert (ended.stdout, ended.stderr) == ("", "")
    assert not alone.pids()


def test_the_same_port_leads_elsewhere_on_each_bridge(place: Place) -> None:
    """OpenNebula's own daemon has one destination for a port, whatever the bridge."""
    one, other = place.echo(greeting=b"one "), place.echo(greeting=b"other ")
    place.up(services((80, "127.0.0.1", one.port, "vnet0"), (80, "127.0.0.1", other.port, "vnet1")))
    assert [echoes(guest, 80) for guest in place.guests] == [b"one hello", b"other hello"]


def test_reload_changes_only_what_changed(place: Place) -> None:
    """OpenNebula's own daemons cut live connections, ignore a changed remote, and listen on ports that are gone."""
    first, second = place.echo(greeting=b"first "), place.echo(greeting=b"second ")
    guest = place.guests[0]
    place.up(services((5030, "127.0.0.1", first.port, "vnet0"), (1234, "127.0.0.1", first.port, "vnet0")))
    with guest.connect(5030) as kept, guest.connect(1234) as drained:
        assert kept.recv(100) == drained.recv(100) == b"first "
        before = place.pids()
        place.apply(services((5030, "127.0.0.1", second.port, "vnet0"), (2345, "127.0.0.1", first.port, "vnet0")))
        assert place.listening("br0") == {5030, 2345}, "as soon as the command has returned"
        assert refused(guest, 1234)
        assert echoes(guest, 5030) == b"second hello"
        assert echoes(guest, 2345) == b"first hello"
        assert all_of(kept, b"still ") == b"still ", "connections go on where they were"
        assert all_of(drained, b"here") == b"here", "also those of a port that is gone"
    assert place.pids() == before, "no process was needed anew"


def test_what_others_write_to_nftables_counts(place: Place) -> None:
    """OpenNebula's drivers write the maps; `reload` waits until the daemons have followed. The second and third
    conformance case."""
    server = place.echo()
    both = "vnet0, vnet1"
    place.up(services((1234, "127.0.0.1", server.port, both)))
    nft = f"delete element ip one_tproxy ep_br0 {{ 1234 }}\nadd element ip one_tproxy ep_br0 {{ 2345 : 127.0.0.1 . {server.port} }}"  # noqa: E501
    place.host.run("nft", "-f", "-", text=nft)
    place.host.ferryman("reload")
    assert place.listening("br0") == {2345}
    assert echoes(place.guests[0], 2345) == b"hello"
    place.host.run("nft", "delete", "map", "ip", "one_tproxy", "ep_br0")
    place.host.ferryman("start")
    assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_br1"]
    assert refused(place.guests[0], 2345)
    assert echoes(place.guests[1], 1234) == b"hello"
    place.host.run("nft", "add", "element", "ip", "one_tproxy", "ep_br1", f"{{ 99 : 127.0.0.1 . {server.port} }}")
    until(lambda: place.listening("br1") == {99, 1234}, "following without being told")


def test_one_direction_may_end_before_the_other(place: Place) -> None:
    """OpenNebula's own daemons close both when one ends, and lose what is on its way."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    data = os.urandom(3_000_000)
    with place.guests[0].connect(5030) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        got = bytearray()
        while chunk := sock.recv(1 << 20):
            got += chunk
        sender.join()
    assert bytes(got) == data


def test_a_remote_that_is_down_is_told_by_a_reset(place: Place) -> None:
    """By OpenNebula's own daemons the guest sees an orderly end without data, as if that were the answer."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    server.close()
    assert refused(place.guests[0], 5030)
    line = until(lambda: place.lines("br0"), "its line")[0]
    assert (line["how"], line["reason"]) == ("rst", f"127.0.0.1:{server.port}: Connection refused")


def test_a_remote_that_does_not_answer_is_given_up(place: Place) -> None:
    """OpenNebula's own daemon waits for as long as the kernel does."""
    server = place.echo()
    chain = f"type filter hook input priority 0; tcp dport {server.port} drop;"
    place.host.run("nft", "-f", "-", text=f"table inet silent {{ chain in {{ {chain} }}; }}")
    try:
        place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
        before = len(place.lines("br0"))
        assert refused(place.guests[0], 5030)
        (line,) = until(lambda: place.lines("br0")[before:], "its line")
        assert line["reason"] == f"127.0.0.1:{server.port}: no answer within 5 s"
    finally:
        place.host.run("nft", "delete", "table", "inet", "silent")


def test_a_thousand_guests_of_a_dead_remote(alone: Place) -> None:
    """Afterwards all is as before: OpenNebula's own daemon has a dead port for ever once descriptors have run out."""
    server = alone.echo()
    alone.host.write_settings(services((5030, "127.0.0.1", server.port, "vnet0"), (80, "127.0.0.1", 1, "vnet0")))
    up = (sys.executable, "-m", "ferryman", "tproxy", "up", "br0", "--network", "vnet0")
    alone.host.run("prlimit", "--nofile=200:200", *up)
    guest = alone.guests[0]

    def many() -> list[socket.socket]:
        made = []
        for _ in range(1000):
            made.append(socket.socket())
            made[-1].setblocking(False)
            made[-1].connect_ex((ADDRESS, 80))
        return made

    for sock in guest.inside(many):
        sock.settimeout(PATIENCE)
        with pytest.raises(OSError, match=r"reset|refused"):
            sock.recv(1)
        sock.close()
    assert echoes(guest, 5030) == b"hello"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_stop_and_restart_are_done_when_they_return(place: Place, verb: str) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    before = place.pids()
    assert sorted(before) == ["one_tproxy", "one_tproxy_br0"]
    place.host.ferryman(verb)
    after = place.pids()
    if verb == "stop":
        assert after == {}
        assert refused(place.guests[0], 5030)
        place.host.ferryman("start")
    else:
        assert after.keys() == before.keys()
        assert not set(after.values()) & set(before.values())
    assert echoes(place.guests[0], 5030) == b"hello"


def test_nobody_is_refused_while_the_outer_daemon_is_away(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    place.signal(place.pids()["one_tproxy"], signal.SIGKILL)
    until(lambda: "one_tproxy" not in place.pids(), "its end")
    with place.guests[0].connect(5030) as waiting:
        place.host.ferryman("start")
        assert all_of(waiting, b"patient") == b"patient"


def test_an_inner_daemon_that_died_is_started_again(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0"), (1234, "127.0.0.1", server.port, "vnet0")))
    with place.guests[0].connect(5030) as open_one:
        place.signal(place.pids()["one_tproxy_br0"], signal.SIGKILL)
        until(lambda: "one_tproxy_br0" not in place.pids(), "its end")
        assert echoes(place.guests[0], 5030) == b"hello", "the outer one has the sockets as well"
        place.host.ferryman("start")
        assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_br0"]
        assert echoes(place.guests[0], 1234) == b"hello"
        assert all_of(open_one, b"on") == b"on"


def test_daemons_of_opennebulas_own_are_replaced(alone: Place) -> None:
    """Where ours is put in the alone of the original while that runs."""
    server = alone.echo()
    script = "import ctypes, sys; from ferryman.dataplane import privileges; privileges.title_process(sys.argv[1]); "
    script += "print(flush=True); input()"
    strangers = []
    for name in ("one_tproxy", "one_tproxy_br0"):
        command = (sys.executable, "-c", script, name)
        strangers.append(alone.host.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert strangers[-1].stdout.readline() == b"\n"
    assert sorted(commands(alone)) == ["one_tproxy", "one_tproxy_br0"]
    alone.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    assert echoes(alone.guests[0], 5030) == b"hello"
    assert sorted(commands(alone)) == ["one_tproxy", "one_tproxy_br0"], "one of each"
    for stranger in strangers:
        with stranger:
            assert stranger.wait(PATIENCE) == -signal.SIGTERM


def commands(place: Place) -> list[str]:
    """Command lines on the host that are a daemon's, or begin like one's."""
    text = place.host.run("ps", "-eo", "args=").stdout
    return [line.split()[0] for line in text.splitlines() if line.startswith("one_tproxy")]


def ruleset(place: Place) -> list[str]:
    """In no order, since that tells only which bridge was first."""
    return sorted(place.host.run("nft", "list", "ruleset").stdout.splitlines())


def test_a_flushed_ruleset_heals_by_itself(place: Place) -> None:
    """And connections do not even notice."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0, vnet1")))
    rules = ruleset(place)
    with place.guests[1].connect(5030) as kept:
        place.host.run("nft", "flush", "ruleset")
        until(lambda: ruleset(place) == rules, "the same rules as before")
        assert all_of(kept, b"unaware") == b"unaware"
    assert [echoes(guest, 5030) for guest in place.guests] == [b"hello", b"hello"]
    assert "the table one_tproxy was gone from nftables: written again" in place.log("one_tproxy")
    place.host.run("nft", "flush", "ruleset")
    place.host.ferryman("start")
    assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_br0", "one_tproxy_br1"], "no reason to end anything"


def test_nftables_that_cannot_be_read_are_no_empty_ones(alone: Place) -> None:
    """OpenNebula's own tools end all daemons then."""
    server = alone.echo()
    broken = alone.host.path("/run/broken")
    tool = alone.host.path("/run/bin/nft")
    tool.parent.mkdir()
    real = alone.host.run("sh", "-c", "command -v nft").stdout.strip()
    tool.write_text(f'#!/bin/sh\n[ -e /run/broken ] && echo "netlink: Error: busy" >&2 && exit 1\nexec {real} "$@"\n')
    tool.chmod(0o755)
    ferryman: Callable[..., Any] = lambda *words, **more: alone.host.run(  # noqa: E731
        "env", f"PATH=/run/bin:{os.environ['PATH']}", sys.executable, "-m", "ferryman", "tproxy", *words, **more
    )
    alone.host.write_settings(services((5030, "127.0.0.1", server.port, "vnet0")))
    ferryman("up", "br0", "--network", "vnet0")
    before = alone.pids()
    broken.touch()
    for verb in ("reload", "start", "status"):
        ended = ferryman(verb, check=False)
        assert ended.returncode == 1
        assert "netlink: Error: busy" in ended.stderr
    assert echoes(alone.guests[0], 5030) == b"hello"
    alone.signal(before["one_tproxy"], signal.SIGHUP)
    until(lambda: "not reloaded: the present configuration stays" in alone.log("one_tproxy"), "its complaint")
    broken.unlink()
    assert alone.pids() == before
    assert echoes(alone.guests[0], 5030) == b"hello"


def test_a_namespace_that_was_deleted_under_them(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0, vnet1")))
    place.host.run("ip", "netns", "delete", "one_tproxy_br0")
    told = place.host.ferryman("heal")
    assert "br0: made again, since the namespace one_tproxy_br0 is missing" in told.stderr
    assert [echoes(guest, 5030) for guest in place.guests] == [b"hello", b"hello"]


def test_logs_that_are_rotated_go_on_in_the_new_file(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    echoes(place.guests[0], 5030)
    until(lambda: place.lines("br0"), "a line")
    host = place.host
    old, new = host.path("/var/log/one_tproxy_br0.log.1"), host.path("/var/log/one_tproxy_br0.log")
    host.run("mv", "/var/log/one_tproxy_br0.log", "/var/log/one_tproxy_br0.log.1")
    host.run("install", "-o", "nobody", "-g", "nogroup", "-m", "640", "/dev/null", "/var/log/one_tproxy_br0.log")
    size = old.stat().st_size

    def moved() -> bool:
        echoes(place.guests[0], 5030)
        return new.stat().st_size > 0

    until(moved, "a line in the new file")
    assert old.stat().st_size >= size


def test_guests_reach_the_services_by_ipv6_as_well(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_INET6)
        sock.settimeout(PATIENCE)
        sock.connect((ADDRESS6, 5030, 0, socket.if_nametoindex("eth0")))
        return sock

    with place.guests[0].inside(connect) as sock:
        assert all_of(sock, b"six") == b"six"
    with place.guests[0].inside(connect) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        shown = json.loads(place.host.ferryman("status", "--json").stdout)["bridges"][0]["guests"]
        ours = {"address": sock.getsockname()[0].partition("%")[0], "mac": place.guests[0].mac, "connections": 1}
        assert ours in shown, "by its MAC address as well"


MORE = """\
:tproxy_options:
- :service_port: 5030
  :remotes: ["127.0.0.1:{other}"]
- :service_port: 80
  :bridges: [br0]
  :listener: {{max_per_client: 2}}
- :service_port: 81
  :backend: {{send_proxy: v2}}
"""


def test_options_of_services(place: Place) -> None:
    """Another remote when the first is down; limits per guest; PROXY headers that tell who the guest is."""
    one, other = place.echo(greeting=b"one "), place.echo(greeting=b"other ")
    both = "vnet0, vnet1"
    entries = [(port, "127.0.0.1", one.port, both) for port in (5030, 80, 81)]
    place.up(services(*entries, more=MORE.format(other=other.port)))
    first, second = place.guests
    assert echoes(first, 5030) == b"one hello"

    with first.connect(80) as a, first.connect(80) as b, second.connect(80) as c, second.connect(80) as d:
        assert [sock.recv(100) for sock in (a, b, c, d)] == [b"one "] * 4
        assert refused(first, 80)
        assert echoes(second, 80) == b"one hello", "the limit is for br0"
    assert "has 2 connections here already (max_per_client)" in until(
        lambda: next((line["reason"] for line in place.lines("br0") if line["how"] == "policy"), ""), "its line"
    )

    header = echoes(second, 81)
    assert header.startswith(b"one \r\n\r\n\0\r\nQUIT\n\x21\x11")
    assert header.endswith(b"hello")
    assert header[20:24] == socket.inet_aton("10.0.0.2")

    one.close()
    until(lambda: not refused(first, 5030), "the other remote")
    assert echoes(first, 5030) == b"other hello"


def test_names_are_looked_up_again(place: Place) -> None:
    """OpenNebula's own drivers look once, when a guest is started."""
    one = place.echo(greeting=b"one ")
    other = place.echo(one.port, b"two ", "127.0.0.2")
    hosts = place.host.path("/run/hosts")
    hosts.write_text("127.0.0.1 localhost\n127.0.0.1 gate.example\n")
    place.host.run("mount", "--bind", "/run/hosts", "/etc/hosts")
    place.up(services((5030, "gate.example", one.port, "vnet0")))
    assert echoes(place.guests[0], 5030) == b"one hello"
    hosts.write_text("127.0.0.1 localhost\n127.0.0.2 gate.example\n")
    until(lambda: echoes(place.guests[0], 5030) == b"two hello", "the new address")
    assert other.connections


def test_status_as_json(place: Place) -> None:
    """At ports that no other test has counted at, like the next."""
    server = place.echo()
    place.up(services((6001, "127.0.0.1", server.port, "vnet0")))
    echoes(place.guests[0], 6001)
    with place.guests[0].connect(6001) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

        def shown() -> Any:
            return json.loads(place.host.ferryman("status", "--json").stdout)

        found = until(
            lambda: (now := shown())["bridges"][0]["services"][0]["connections"] == {"now": 1, "total": 2} and now,
            "both connections",
        )
    pids = place.pids()
    assert found["daemon"] == pids["one_tproxy"]
    (bridge,) = (one for one in found["bridges"] if one["bridge"] == "br0")
    assert (bridge["daemon"], bridge["networks"]) == (pids["one_tproxy_br0"], ["vnet0"])
    guest = place.guests[0]
    assert {"address": "10.0.0.2", "mac": guest.mac, "connections": 1} in bridge["guests"]
    assert {each["mac"] for each in bridge["guests"]} == {guest.mac}
    assert bridge["services"][0]["remote"] == f"127.0.0.1:{server.port}"


def test_the_page_shows_bridges_services_and_guests(place: Place) -> None:
    server = place.echo()
    text = services((6003, "127.0.0.1", server.port, "vnet0, vnet1"), (6004, "127.0.0.1", 1, "vnet0"))
    place.up(f"{text}:tproxy_page: 127.0.0.1:8404\n")
    first, second = place.guests
    assert refused(first, 6004)
    assert echoes(second, 6003) == b"hello"
    with first.connect(6003) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        page = place.host.run("curl", "-sS", "http://127.0.0.1:8404/").stdout
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.S)]
    assert ["br0", "vnet0", "6004", "127.0.0.1:1", "0", "1", "0 B", "0 B", "1"] in rows
    assert any(row[:6] == ["br0", "vnet0", "6003", f"127.0.0.1:{server.port}", "1", "1"] for row in rows)
    assert ["10.0.0.2", first.mac, "br0", "1"] in rows
    assert ["10.0.0.2", second.mac, "br1", "0"] in rows


def test_a_page_that_cannot_be_shown_is_no_matter_of_the_guests(place: Place) -> None:
    one, other = place.echo(greeting=b"one "), place.echo(greeting=b"other ")
    place.up(services((5030, "127.0.0.1", one.port, "vnet0")))
    page = f":tproxy_page: 127.0.0.1:{one.port}\n"
    text = services((5030, "127.0.0.1", other.port, "vnet0"), more=page)
    place.host.write_settings(text)
    told = place.host.ferryman("apply").stderr
    assert f"cannot listen on 127.0.0.1:{one.port}: the address is in use by another process" in told
    assert echoes(place.guests[0], 5030) == b"other hello"
    place.host.ferryman("restart")
    assert echoes(place.guests[0], 5030) == b"other hello"
    one.close()
    place.host.ferryman("reload")
    assert "Guests" in place.host.run("curl", "-sS", f"http://127.0.0.1:{one.port}/").stdout


def test_broken_settings_change_nothing(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    place.host.write_settings(services((99999, "127.0.0.1", server.port, "vnet0")))
    told = place.host.ferryman("reload")
    assert "OpenNebulaNetwork.conf:3:18: error: 99999 is no port" in told.stderr
    assert echoes(place.guests[0], 5030) == b"hello"
    place.host.ferryman("restart")
    assert echoes(place.guests[0], 5030) == b"hello"


def test_a_daemon_that_cannot_follow_is_told(place: Place) -> None:
    """What was brought about in the kernel is not what guests have then."""
    one, other = place.echo(greeting=b"one"), place.echo(greeting=b"other")
    place.up(services((5030, "127.0.0.1", one.port, "vnet0")))
    os.chmod(place.host.path(STATE).parent, 0o700)  # the daemons are nobody
    place.host.write_settings(services((5030, "127.0.0.1", other.port, "vnet0")))
    told = place.host.ferryman("apply", check=False)
    assert told.returncode == 1
    assert f"nftables has changed, but one_tproxy goes on as before:\ncannot read {STATE}: " in told.stderr
    assert echoes(place.guests[0], 5030) == b"onehello"
    os.chmod(place.host.path(STATE).parent, 0o755)
    assert place.host.ferryman("apply").stderr == ""
    assert echoes(place.guests[0], 5030) == b"otherhello"
