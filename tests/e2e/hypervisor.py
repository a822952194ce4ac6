"""Hypervisor hosts for tests of OpenNebula's transparent proxies: namespaces for network, mounts and processes.

    with Host() as host:
        host.bridge("br0")
        guest = host.guest("br0", "one-0-0")
        host.ferryman("up", "br0", "--network", "vnet0")

A host has empty folders where such hosts keep things (_FOLDERS), so nothing is ever written to the machine's own, and
its network devices are its own. All of it is gone when the `with` ends, or the test process. Needs root.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest
from ferry import PATIENCE

from ferryman.opennebula.names import ADDRESS, SETTINGS

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_FOLDERS = ("/run", "/var/log", "/var/lib", "/var/tmp")
_DRIVER = """
import json, os, sys, types
sys.modules["ferryman.opennebula.daemons"] = types.SimpleNamespace(follow=lambda *file: [], start=list)
from ferryman.cli.main import Ferryman
from ferryman.cli.tproxy_bridges import apply, down, heal, up
from ferryman.config import load
from ferryman.opennebula import driver, settings
print("ready", flush=True)
for line in sys.stdin:
    arguments, path, said = json.loads(line)
    child = os.fork()
    if not child:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(said + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.environ["PATH"] = path + os.environ["PATH"]
        Ferryman("tproxy", commands=[up, down, apply, heal])(arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs the driver half again and again, each time in a process of its own that need not import anything."""
_CABLES = itertools.count()


def demand(*programs: str) -> None:
    """Skip where hosts cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("simulated hosts need root")
    wanted = ("ip", "nft", "unshare", "nsenter", "setpriv", *programs)
    if missing := [program for program in wanted if shutil.which(program) is None]:
        pytest.skip(f"not installed: {missing}")


class Host:
    """A hypervisor; its first process only waits, and takes all others along when it is killed."""

    def __init__(self) -> None:
        demand()
        # ended children are nobody's, as with an init; what /sys shows depends on who mounts it
        setup = ["set -e", *(f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in _FOLDERS)]
        setup += ["mount -t sysfs sysfs /sys", "ip link set lo up", "echo ready"]
        setup += ["exec env --ignore-signal=CHLD sleep infinity"]
        self._first = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
             "--mount-proc", "sh", "-c", "\n".join(setup)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._drivers: list[Driver] = []
        assert self._first.stdout is not None
        assert self._first.stderr is not None
        try:
            if self._first.stdout.readline() != "ready\n":
                pytest.skip(f"no simulated host can be made here: {self._first.stderr.read().strip()}")
            children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text()
            self.pid = int(children)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._first.kill()
        self._first.communicate()
        for driver in self._drivers:
            driver.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def path(self, name: str) -> Path:
        """A file of the host, as the test can open it."""
        return Path(f"/proc/{self.pid}/root{name}")

    def network(self, namespace: str = "") -> str:
        """The file of one of its network namespaces, by default the one of the host itself."""
        return str(self.path(f"/run/netns/{namespace}")) if namespace else f"/proc/{self.pid}/ns/net"

    def command(self, *command: str, namespace: str = "") -> list[str]:
        """A command line that runs another one on the host. What is run there ends with whoever waits for it."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", f"--net={self.network(namespace)}", "--wdns=/"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", *command]

    def run(
        self, *command: str, namespace: str = "", check: bool = True, text: str = "", seconds: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """A program to its end; `text` is its standard input. Fails where the program does, unless `check` is False."""
        ended = subprocess.run(
            self.command(*command, namespace=namespace),
            input=text, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        said = f"{ended.stdout}{ended.stderr}"
        assert not check or ended.returncode == 0, f"{' '.join(command)}: {ended.returncode}\n{said}"
        return ended

    def popen(self, *command: str, namespace: str = "", **options: Any) -> subprocess.Popen[Any]:
        """A program, left running. Killing this process kills it; signals do not get through."""
        return subprocess.Popen(self.command(*command, namespace=namespace), **options)

    def ferryman(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`ferryman tproxy` to its end."""
        return self.run(sys.executable, "-m", "ferryman", "tproxy", *arguments, check=check)

    def driver(self, *arguments: str, check: bool = True, path: str = "") -> subprocess.CompletedProcess[str]:
        """`ferryman tproxy up`, `down`, `apply` or `heal` without what follows: no daemon is started.

        `path` goes before PATH, such as "/run/steps:".
        """
        if not self._drivers:
            self._drivers.append(Driver(self))
        ended = self._drivers[0].begin(*arguments, path=path).finish()
        assert not check or ended.returncode == 0, f"{arguments}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
        return ended

    def drivers(self, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
        """Several of them at once."""
        self._drivers += [Driver(self) for _ in range(len(commands) - len(self._drivers))]
        begun = [driver.begin(*command) for driver, command in zip(self._drivers, commands, strict=False)]
        return [driver.finish() for driver in begun]

    def ip(self, words: str, namespace: str = "") -> str:
        return self.run("ip", *words.split(), namespace=namespace).stdout

    def inside(self, do: Callable[[], T], namespace: str = "") -> T:
        """Call it in a thread that is in a network namespace: sockets stay where they were made."""

        def there() -> T:
            with open(self.network(namespace), "rb") as file:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return do()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(there).result()

    def write_settings(self, text: str) -> None:
        """OpenNebulaNetwork.conf."""
        self.path(SETTINGS).parent.mkdir(parents=True, exist_ok=True)
        self.path(SETTINGS).write_text(text)

    def bridge(self, name: str, *options: str) -> None:
        self.run("ip", "link", "add", name, "type", "bridge", *options)
        self.run("ip", "link", "set", name, "up")

    def guest(self, bridge: str, name: str, address: str = "10.0.0.2/24") -> Guest:
        """A machine on a bridge, whose port is called `name`; on none yet, if that is ""."""
        guest = Guest(self, f"guest_{name}", name, address.partition("/")[0])
        self.run("ip", "netns", "add", guest.namespace)
        # its IPv6 address is valid at once
        self.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", namespace=guest.namespace)
        master = f"master {bridge}" if bridge else ""
        self.ip(f"link add {name} {master} type veth peer name eth0 netns {guest.namespace}")
        self.ip(f"link set {name} up")
        inside = ["link set lo up", f"address add {address} dev eth0", "link set eth0 up"]
        inside += [f"route add {ADDRESS} dev eth0 scope link"]
        self.run("ip", "-batch", "-", namespace=guest.namespace, text="\n".join(inside))
        return guest

    def uplink(self, other: Host, bridge: str) -> str:
        """A cable from the bridge to the one of the same name on another host; gives the name of both its ends."""
        cable = f"up{next(_CABLES)}"
        ends = ["link", "add", cable, "type", "veth", "peer", "name", cable, "netns", str(other.pid)]
        subprocess.run(["nsenter", f"--net={self.network()}", "ip", *ends], timeout=PATIENCE, check=True)
        for host in (self, other):
            host.ip(f"link set {cable} master {bridge} up")
        return cable


class Driver:
    """Runs the driver half of ferryman on a host, as often as it is told to."""

    def __init__(self, host: Host) -> None:
        self._host = host
        pipe = subprocess.PIPE
        self._process = host.popen(sys.executable, "-c", _DRIVER, stdin=pipe, stdout=pipe, text=True)
        self._said = f"/run/driver{self._process.pid}."
        self._arguments: Sequence[str] = ()
        assert self._read() == "ready\n"

    def begin(self, *arguments: str, path: str = "") -> Driver:
        self._arguments = arguments
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([arguments, path, self._said]) + "\n")
        self._process.stdin.flush()
        return self

    def finish(self) -> subprocess.CompletedProcess[str]:
        code = int(self._read())
        out, err = (self._host.path(f"{self._said}{name}").read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(self._arguments, code, out, err)

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return str(self._process.stdout.readline())


@dataclass(frozen=True, slots=True)
class Guest:
    """A machine on a bridge of a host: a namespace with one device, eth0."""

    host: Host
    namespace: str
    port: str  # of the bridge
    address: str

    def run(self, *command: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        return self.host.run(*command, namespace=self.namespace, check=check, text=text)

    def inside(self, do: Callable[[], T]) -> T:
        """Call it in a thread that is in the guest."""
        return self.host.inside(do, self.namespace)

    def connect(self, port: int, address: str = ADDRESS, seconds: float = PATIENCE) -> socket.socket:
        """A connection, with a limit for everything that is done with it."""
        return self.inside(lambda: socket.create_connection((address, port), seconds))

    @property
    def mac(self) -> str:
        return str(json.loads(self.run("ip", "-json", "link", "show", "eth0").stdout)[0]["address"])

    def neighbour(self, address: str = ADDRESS) -> str:
        """The MAC it knows for an address, or nothing."""
        words = self.run("ip", "neighbour", "show", address, "dev", "eth0").stdout.split()
        return words[words.index("lladdr") + 1] if "lladdr" in words else ""

    def forget(self) -> None:
        """Know no neighbours."""
        self.run("ip", "neighbour", "flush", "dev", "eth0")
