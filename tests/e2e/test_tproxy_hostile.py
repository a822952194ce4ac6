"""OpenNebula's daemons among people who mean no good, and on hosts where something is broken."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ferry import PATIENCE, until
from hypervisor import Host
from test_tproxy_daemons import Place, echoes, refused, services

from ferryman.opennebula.names import CONTROL, PUBLISHED, RUN

NOBODY = "65534"
SOMEBODY = "12345"
TAKE = """
import json, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
there.sendall(b'{"do": "bind", "host": "169.254.16.9", "port": 5030, "backlog": 0, "key": ""}\\n')
print(len(socket.recv_fds(there, 4096, 1)[1]))
"""


@pytest.fixture
def place() -> Iterator[Place]:
    with Host() as host:
        yield Place(host)


def as_user(place: Place, user: str, *command: str) -> subprocess.CompletedProcess[str]:
    return place.host.run("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command, check=False)


def test_whoever_calls_a_process_so_is_no_daemon(place: Place) -> None:
    """It is not ended, and keeps nothing from being started, found, or ended. OpenNebula's own tools do believe it."""
    server = place.echo()
    others: list[subprocess.Popen[bytes]] = []

    def pretend(name: str, user: str) -> None:
        command = (
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--clear-groups",
            "bash",
            "-c",
            f"exec -a {name} cat",
        )
        others.append(place.host.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert others[-1].stdin is not None
        assert others[-1].stdout is not None
        others[-1].stdin.write(b"x")
        others[-1].stdin.flush()
        assert others[-1].stdout.read(1) == b"x"

    pretend("one_tproxy", NOBODY)
    pretend("one_tproxy_br0", SOMEBODY)
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    before = place.pids()
    pretend("one_tproxy", SOMEBODY)  # of several processes the last one was taken
    pretend("one_tproxy_br0", NOBODY)
    assert place.pids() == before
    place.host.ferryman("start")
    assert place.pids() == before
    place.host.ferryman("restart")
    assert not set(place.pids().values()) & set(before.values())
    assert echoes(place.guests[0], 5030) == b"hello"
    place.host.ferryman("stop")
    assert refused(place.guests[0], 5030)
    for other in others:
        with other:
            assert other.poll() is None
            other.kill()


def test_another_program_of_the_same_user_gets_nothing(place: Place) -> None:
    """Many things run as nobody; none of them may take guests' connections, or end the daemons."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    assert as_user(place, NOBODY, sys.executable, "-c", TAKE, f"{RUN}/br0.sock").stdout == "0\n"
    assert as_user(place, NOBODY, "test", "-e", CONTROL).returncode == 1
    assert as_user(place, SOMEBODY, "cat", PUBLISHED).stdout == ""
    assert echoes(place.guests[0], 5030) == b"hello"


def test_a_bridge_called_control(place: Place) -> None:
    """Its daemon and the outer one have different sockets."""
    server = place.echo()
    place.host.bridge("control")
    guest = place.host.guest("control", "one-2-0")
    place.host.write_settings(services((5030, "127.0.0.1", server.port, "vnet0")))
    place.host.ferryman("up", "control", "--network", "vnet0")
    assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_control"]
    place.host.ferryman("start")
    assert echoes(guest, 5030) == b"hello"


def test_what_cannot_be_listened_on_is_no_matter_of_the_rest(place: Place) -> None:
    """A port that is taken in one bridge's namespace, a kernel or a namespace without IPv6."""
    server = place.echo()
    text = services((5030, "127.0.0.1", server.port, "vnet0, vnet1"), (80, "127.0.0.1", server.port, "vnet0"))
    place.host.write_settings(text)
    for number in (0, 1):
        place.host.driver("up", f"br{number}", "--network", f"vnet{number}")
    with place.host.inside(lambda: socket.create_server(("0.0.0.0", 5030)), "one_tproxy_br0"):
        place.host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", namespace="one_tproxy_br1")
        place.host.ferryman("start")
        told = place.host.ferryman("reload").stderr
        assert "bridge br0: cannot listen on 169.254.16.9:5030: Address already in use" in told
        assert "bridge br1: no IPv6 in its namespace, so services are there by IPv4" in told
        assert echoes(place.guests[0], 80) == b"hello"
        assert echoes(place.guests[1], 5030) == b"hello"
    place.host.ferryman("reload")
    assert echoes(place.guests[0], 5030) == b"hello"


def test_a_full_disk_stops_nothing(place: Place) -> None:
    """OpenNebula's drivers fail to start a machine when the proxies cannot be started."""
    server = place.echo()
    place.host.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/var/log")
    place.host.run("sh", "-c", "cat /dev/zero > /var/log/full", check=False)
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    place.apply(services((1234, "127.0.0.1", server.port, "vnet0")))
    assert echoes(place.guests[0], 1234) == b"hello"
    assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_br0"]


def test_an_inner_daemon_that_hangs_holds_nobody_up(place: Place) -> None:
    """It is replaced; meanwhile other bridges follow nftables."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0, vnet1")))
    before = place.pids()
    place.signal(before["one_tproxy_br0"], signal.SIGSTOP)
    elements = [f"add element ip one_tproxy ep_br{n} {{ 99 : 127.0.0.1 . {server.port} }}" for n in (0, 1)]
    place.host.run("nft", "-f", "-", text="\n".join(elements))
    until(lambda: place.listening("br1") == {99, 5030}, "following")
    assert [echoes(guest, 5030) for guest in place.guests] == [b"hello", b"hello"]
    place.host.ferryman("start")
    assert place.pids()["one_tproxy_br0"] != before["one_tproxy_br0"]
    assert echoes(place.guests[0], 99) == b"hello"


def test_a_user_that_does_not_exist(place: Place) -> None:
    server = place.echo()
    place.host.write_settings(
        services((5030, "127.0.0.1", server.port, "vnet0"), more=":tproxy_process_owner: martian\n")
    )
    ended = place.host.ferryman("up", "br0", "--network", "vnet0", check=False)
    assert ended.returncode == 1
    expected = "user martian does not exist here; create it, or name another at `:tproxy_process_owner:`"
    assert f"OpenNebulaNetwork.conf: {expected}" in ended.stderr


def test_a_log_that_was_deleted_is_there_after_the_next_start(place: Place) -> None:
    """The daemons may not make it themselves: they are not root."""
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    place.host.run("rm", "/var/log/one_tproxy_br0.log", "/var/log/one_tproxy.log")
    place.host.ferryman("start")

    def logged() -> bool:
        echoes(place.guests[0], 5030)
        return bool(place.lines("br0"))

    until(logged, "a line in the new file")


def test_a_command_that_is_killed_leaves_nothing_that_the_next_does_not_mend(place: Place) -> None:
    server = place.echo()
    place.up(services((5030, "127.0.0.1", server.port, "vnet0")))
    for _ in range(3):
        before = place.pids()
        restart = place.host.popen(sys.executable, "-m", "ferryman", "tproxy", "restart")
        until(lambda: place.pids() != before, "something to happen")  # noqa: B023
        restart.kill()
        restart.wait(PATIENCE)
        place.host.ferryman("start")
        assert sorted(place.pids()) == ["one_tproxy", "one_tproxy_br0"]
        assert echoes(place.guests[0], 5030) == b"hello"
    text = place.host.run("ps", "-eo", "args=").stdout
    # the worker's command line is another one
    assert sorted(line for line in text.splitlines() if line.startswith("one_tproxy")) == [
        "one_tproxy",
        "one_tproxy_br0",
    ]
