"""`ferryman tproxy install`: called as OpenNebula's drivers call the original, it does what the manual shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ferry import PATIENCE, until
from hypervisor import Guest, Host
from servers import EchoServer

from ferryman.opennebula.names import ADDRESS, EXECUTABLE, MAC

ORIGINAL = '#!/bin/sh\necho "the original: $*"\n'
KEPT = f"{EXECUTABLE}.original"
ETC = ("/etc/logrotate.d", "/etc/systemd/system")
SERVICE, TIMER = (f"/etc/systemd/system/one-tproxy.{kind}" for kind in ("service", "timer"))
SYSTEMDS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""PATH for what systemd starts: systemd.exec(5)."""
STRANGER = """
import sys
from ferryman.dataplane import privileges
privileges.title_process(sys.argv[1])
print(flush=True)
input()
"""
"""Something that has the command line of one of the original's daemons."""


@pytest.fixture
def host() -> Iterator[Host]:
    """Nothing that is written to /etc gets to the machine's own."""
    with Host() as host:
        for folder in ETC:
            if not os.path.isdir(folder):
                pytest.skip(f"there is no {folder}")
            host.run("mount", "-t", "tmpfs", "tmpfs", folder)
        host.path(EXECUTABLE).parent.mkdir(parents=True)
        original(host)
        yield host


def original(host: Host, text: str = ORIGINAL) -> None:
    host.path(EXECUTABLE).write_text(text)
    host.path(EXECUTABLE).chmod(0o755)
    os.chown(host.path(EXECUTABLE), 9869, 9869)  # as OpenNebula's packages have it


def call(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As sudo does it for the drivers: without variables, from some folder."""
    return host.run("env", "-i", "--chdir=/var/tmp", EXECUTABLE, *arguments)


def files(host: Host) -> dict[str, str]:
    """All there is where `install` writes."""
    folders = [host.path(folder) for folder in (*ETC, os.path.dirname(EXECUTABLE))]
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {"/" + str(path.relative_to(host.path("/"))): path.read_text() for path in found}


def greeted(guest: Guest) -> bool:
    with guest.connect(5030) as sock:
        return sock.recv(100) == b"gate"


def test_in_the_place_of_the_original(host: Host) -> None:
    """With the original's daemons running; then every command of the manual's section on debugging; and back."""
    server = host.inside(lambda: EchoServer("127.0.0.1", b"gate"))
    host.write_settings(
        ":tproxy_debug_level: 2\n:tproxy:\n"
        f"- :service_port: 5030\n  :remote_addr: 127.0.0.1\n  :remote_port: {server.port}\n"
        "- :service_port: 1234\n  :remote_addr: 10.11.12.34\n  :remote_port: 1234\n  :networks: [vnet0]\n"
    )
    host.bridge("br0")
    guest = host.guest("br0", "one-0-0")
    host.driver("up", "br0", "--network", "vnet0")
    strangers = []
    for name in ("one_tproxy", "one_tproxy_br0"):
        command = (sys.executable, "-c", STRANGER, name)
        strangers.append(host.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert strangers[-1].stdout.readline() == b"\n"
    said = host.ferryman("install")
    assert said.stderr == ""
    assert said.stdout.splitlines() == [
        f"the original is kept as {KEPT}",
        f"{EXECUTABLE} is ferryman now",
        "/etc/logrotate.d/one_tproxy is written",
        f"{SERVICE} is written",
        f"{TIMER} is written",
        "`onehost sync` puts OpenNebula's own back, unless the front-end has ferryman too (--path)",
    ]
    for stranger in strangers:
        with stranger:
            assert stranger.wait(PATIENCE) == -signal.SIGTERM
    assert greeted(guest), "at once"

    stat = host.path(EXECUTABLE).stat()
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o755, 9869, 9869)
    first = call(host, "status").stdout
    assert re.fullmatch(r"one_tproxy: \d+\none_tproxy_br0: \d+\n", first)
    for verb in ("start", "reload"):
        ended = call(host, verb)
        assert (ended.stdout, ended.stderr) == ("", "")
        assert call(host, "status").stdout == first
    call(host, "restart")
    assert not set(call(host, "status").stdout.split()[1::2]) & set(first.split()[1::2])
    call(host, "stop")
    assert call(host, "status").stdout == ""
    assert (call(host).stdout, call(host).stderr) == ("", ""), "no verb, nothing"
    assert call(host, "status").stdout == ""
    call(host, "start")
    assert greeted(guest)

    logs = host.run("sh", "-c", "ls -1 /var/log/one_tproxy*.log").stdout
    assert logs == "/var/log/one_tproxy.log\n/var/log/one_tproxy_br0.log\n"
    listed = " ".join(host.run("nft", "list", "ruleset").stdout.split())
    elements = f"elements = {{ 1234 : 10.11.12.34 . 1234, 5030 : 127.0.0.1 . {server.port} }} }} }}"
    assert f"table ip one_tproxy {{ map ep_br0 {{ type inet_service : ipv4_addr . inet_service {elements}" in listed
    assert re.match(r"one_tproxy_br0( \(id: \d+\))?\n", host.ip("netns list"))
    addresses = host.run("ip", "netns", "exec", "one_tproxy_br0", "ip", "address").stdout
    assert re.search(r"1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN ", addresses)
    assert re.search(r"\d+: br0a@if\d+: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 .* state UP ", addresses)
    assert (
        f"link/ether {MAC} brd ff:ff:ff:ff:ff:ff link-netnsid 0\n    inet {ADDRESS}/32 scope global br0a" in addresses
    )
    routes = host.run("ip", "netns", "exec", "one_tproxy_br0", "ip", "route").stdout
    assert routes.strip() == "default dev br0a scope link"

    if shutil.which("logrotate"):
        rotated(host, guest)
    pids = [int(pid) for pid in call(host, "status").stdout.split()[1::2]]
    said = host.ferryman("uninstall")
    assert said.stdout.splitlines() == [
        "/etc/logrotate.d/one_tproxy is removed",
        f"{SERVICE} is removed",
        f"{TIMER} is removed",
        f"{EXECUTABLE} is the original again",
        "the daemons are ended; the original's begin with its `start`",
    ]
    assert call(host, "start").stdout == "the original: start\n"
    assert host.path(EXECUTABLE).stat().st_uid == 9869
    assert not [pid for pid in pids if host.path(f"/proc/{pid}").exists()]
    assert files(host) == {EXECUTABLE: ORIGINAL}


def rotated(host: Host, guest: Guest) -> None:
    """logrotate moves the logs away, and lines go to new files that belong to the same user."""
    before = host.path("/var/log/one_tproxy_br0.log").stat()
    assert before.st_size > 0
    host.run("logrotate", "--force", "--state", "/run/rotation", "/etc/logrotate.d/one_tproxy")
    assert host.path("/var/log/one_tproxy_br0.log.1").stat().st_ino == before.st_ino
    new = host.path("/var/log/one_tproxy_br0.log")
    assert (new.stat().st_uid, new.stat().st_mode) == (before.st_uid, before.st_mode)
    until(lambda: greeted(guest) and new.stat().st_size > 0, "a line in the new file")


def test_what_the_timer_runs(host: Host) -> None:
    """What systemd is told, and that its command line brings everything back."""
    host.path("/run/systemd/system").mkdir(parents=True)
    told = host.path("/run/told")
    systemctl = host.path("/run/bin/systemctl")
    systemctl.parent.mkdir()
    systemctl.write_text('#!/bin/sh\necho "$*" >> /run/told\n')
    systemctl.chmod(0o755)
    ferryman = ("env", f"PATH=/run/bin:{os.environ['PATH']}", sys.executable, "-m", "ferryman", "tproxy")
    before = files(host)
    planned = host.run(*ferryman, "install", "--dry-run").stdout
    assert (files(host), told.exists()) == (before, False)
    done = host.run(*ferryman, "install").stdout
    assert done == planned
    assert told.read_text() == "daemon-reload\nenable --now one-tproxy.timer\n"
    installed = files(host)
    again = host.run(*ferryman, "install").stdout
    assert f"{EXECUTABLE} is ferryman already\n" in again
    assert files(host) == installed
    if shutil.which("systemd-analyze"):
        verified = host.run("systemd-analyze", "verify", SERVICE, TIMER, check=False)
        assert "one-tproxy" not in verified.stderr

    server = host.inside(lambda: EchoServer("127.0.0.1", b"gate"))
    service = f"- :service_port: 5030\n  :remote_addr: 127.0.0.1\n  :remote_port: {server.port}\n"
    host.write_settings(f":tproxy:\n{service}")
    host.bridge("br0")
    guest = host.guest("br0", "one-0-0")
    host.driver("up", "br0", "--network", "vnet0")
    host.run("ip", "netns", "delete", "one_tproxy_br0")
    line = next(line for line in installed[SERVICE].splitlines() if line.startswith("ExecStart="))
    scope, *command = shlex.split(line.removeprefix("ExecStart="))
    assert scope == "systemd-run"
    host.run("env", "-i", f"PATH={SYSTEMDS}", *command[command.index("--collect") + 1 :])
    assert greeted(guest)

    told.unlink()
    host.run(*ferryman, "uninstall")
    assert told.read_text() == "disable --now one-tproxy.timer\ndaemon-reload\n"
    assert files(host) == before


def test_on_a_front_end(host: Host) -> None:
    """Only the executable; where `onehost sync` takes it to a host without ferryman, the original goes on."""
    path = "/var/lib/one/remotes/vnm/tproxy"
    host.path(path).parent.mkdir(parents=True)
    host.path(path).write_text(ORIGINAL)
    host.path(path).chmod(0o755)
    before = files(host)
    assert host.ferryman("install", "--path", path).stdout.splitlines() == [
        f"the original is kept as {path}.original",
        f"{path} is ferryman now",
    ]
    assert files(host) == before
    assert host.run(path, "status").stdout == ""
    newer = ORIGINAL.replace("original", "newer original")
    host.path(path).write_text(newer)  # as an upgrade of OpenNebula does
    host.ferryman("install", "--path", path)
    host.run("sh", "-c", f"cp -a {os.path.dirname(path)}/. {os.path.dirname(EXECUTABLE)}")
    said = host.ferryman("install", "--path", "/nowhere/vnm/tproxy", check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("ferryman: there is no folder /nowhere/vnm; ")
    assert host.ferryman("uninstall", "--path", path).stdout == f"{path} is the original again\n"
    assert host.path(path).read_text() == newer
    assert host.ferryman("uninstall", "--path", path).stdout == f"{path} is not ferryman: left as it is\n"
    host.run("mount", "-t", "tmpfs", "tmpfs", str(Path(sys.executable).parent))
    assert call(host, "status").stdout == "the newer original: status\n"
