"""A hypervisor with a guest on it, as network namespaces: what OpenNebula's transparent proxies serve.

    guest 10.84.0.2 ---- bridge ---- 169.254.16.9 in a namespace; the proxy and its servers are on the host

Called by __main__ for the loads of that kind; `python -m bench.guests` measures what it takes to bring bridges up.
Needs root. What is made is made by `ferryman tproxy up`, in namespaces of its own for mounts, processes and network.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Place
from bench.process import BenchError, LogSink, inside_network

NEEDED = ("ip", "nft", "unshare", "nsenter", "setpriv")
ADDRESS = "169.254.16.9"
BRIDGE = "bench0"
BRIDGES = 50
_FOLDERS = ("/run", "/var/log", "/var/lib", "/var/tmp")
_SETTINGS = "/var/tmp/one/etc/vnm/OpenNebulaNetwork.conf"
_TPROXY = (sys.executable, "-m", "ferryman", "tproxy")


@dataclass(frozen=True, slots=True)
class Host:
    """By its first process."""

    pid: int

    def command(self, *command: str, namespace: str = "") -> tuple[str, ...]:
        """A command line, or the beginning of one, that runs there."""
        network = f"/proc/{self.pid}/root/run/netns/{namespace}" if namespace else f"/proc/{self.pid}/ns/net"
        return ("nsenter", f"--target={self.pid}", "--mount", "--pid", f"--net={network}", *command)

    def run(self, *command: str, namespace: str = "", text: str = "") -> str:
        """A command to its end. Raises BenchError."""
        ended = subprocess.run(
            self.command(*command, namespace=namespace), input=text, capture_output=True, text=True, check=False
        )
        if ended.returncode != 0:
            raise BenchError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def write_settings(self, *services: tuple[int, int]) -> None:
        """OpenNebulaNetwork.conf: service ports and where on the host they lead."""
        entry = "- :service_port: {}\n  :remote_addr: 127.0.0.1\n  :remote_port: {}\n"
        text = ":tproxy:\n" + "".join(entry.format(*service) for service in services)
        path = Path(f"/proc/{self.pid}/root{_SETTINGS}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """Make one; raises BenchError."""
    setup = [*(f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in _FOLDERS), "ip link set lo up", "echo ready"]
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-ec",
    ]
    script = "\n".join(["trap '' CHLD", *setup, "exec sleep infinity"])
    first = subprocess.Popen([*command, script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        if first.stdout.readline() != "ready\n":
            raise BenchError("cannot make a simulated host here")
        yield Host(int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text()))
    finally:
        first.kill()
        first.communicate()


@contextlib.contextmanager
def guest() -> Iterator[tuple[Place, LogSink]]:
    """A guest on a bridge whose namespace a proxy is to listen in, which runs on the host; and a sink for its log."""
    with host() as made:
        made.run("ip", "link", "add", BRIDGE, "type", "bridge")
        made.run("ip", "link", "set", BRIDGE, "up")
        made.run("ip", "netns", "add", "guest")
        made.run("ip", *f"link add tap0 master {BRIDGE} up type veth peer name eth0 netns guest".split())
        made.run("ip", "link", "set", "tap0", "up")
        lines = ["link set lo up", "address add 10.84.0.2/24 dev eth0", "link set eth0 up"]
        made.run("ip", "-batch", "-", namespace="guest", text="\n".join([*lines, f"route add {ADDRESS} dev eth0"]))
        made.write_settings((5030, 1))
        made.run(*_TPROXY, "up", BRIDGE)
        made.run(*_TPROXY, "stop")  # the namespace stays; in it listens the proxy that is measured
        inner = f"one_tproxy_{BRIDGE}"
        witness = subprocess.Popen(["nsenter", f"--net=/proc/{made.pid}/root/run/netns/{inner}", "sleep", "infinity"])
        try:
            place = Place(ADDRESS, "127.0.0.1", made.command(), made.command(namespace="guest"), inner, witness.pid)
            with inside_network(Path(f"/proc/{made.pid}/ns/net"), LogSink) as sink:
                yield place, sink
        finally:
            witness.kill()
            witness.wait()


def why_not() -> str:
    """Why such a host cannot be made here; "": it can."""
    if os.geteuid() != 0:
        return "simulated hosts need root"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def _bare(made: Host, bridge: str) -> float:
    """Seconds for what OpenNebula's driver runs for a bridge, one command after the other."""
    end, inner, name = f"{bridge}a", f"{bridge}b", f"one_tproxy_{bridge}"
    map_ = "{ type inet_service : ipv4_addr . inet_service; }"
    rules = [
        f"add table bridge one_tproxy\nadd chain bridge one_tproxy ch_{bridge} "
        "{ type filter hook forward priority filter; policy accept; }\n"
        f"flush chain bridge one_tproxy ch_{bridge}\n"
        f'add rule bridge one_tproxy ch_{bridge} oifname != "{inner}" '
        f"arp operation request arp daddr ip {ADDRESS} drop\n",
        f"add table ip one_tproxy\nadd map ip one_tproxy ep_{bridge} {map_}\nflush map ip one_tproxy ep_{bridge}\n"
        f"add element ip one_tproxy ep_{bridge} {{ 5030 : 127.0.0.1 . 1 }}\n",
    ]
    inside = ("ip", "netns", "exec", name)
    commands: list[tuple[str, ...]] = [
        ("sh", "-c", f"ip link show {inner} || true"),
        ("ip", "link", "add", inner, "type", "veth", "peer", "name", end),
        ("ip", "link", "set", "dev", inner, "master", bridge, "up"),
        ("sh", "-c", f"ip netns pids {name} || true"),
        ("ip", "netns", "add", name),
        (*inside, "sysctl", "-w", "net.ipv4.conf.all.arp_ignore=0"),
        (*inside, "sysctl", "-w", "net.ipv4.conf.default.arp_ignore=0"),
        ("ip", "link", "set", end, "netns", name),
        (*inside, "ip", "address", "replace", f"{ADDRESS}/32", "dev", end),
        (*inside, "ip", "link", "set", end, "up"),
        (*inside, "ip", "route", "replace", "default", "dev", end),
    ]
    start = time.perf_counter()
    for command in commands:
        made.run(*command)
    for text in rules:
        made.run("nft", "-f", "-", text=text)
    return time.perf_counter() - start


def _timed(made: Host, *command: str) -> float:
    start = time.perf_counter()
    made.run(*_TPROXY, *command)
    return time.perf_counter() - start


def _enter(made: Host) -> float:
    """Seconds that `run` itself takes, in all of these figures."""
    start = time.perf_counter()
    made.run("true")
    return time.perf_counter() - start


def main() -> int:
    """Print what it takes to bring bridges up, and to bring many to other settings."""
    if reason := why_not():
        print(f"bench: {reason}", file=sys.stderr)
        return 2
    with host() as made:
        names = [f"b{number}" for number in range(BRIDGES)]
        text = "".join(f"link add {name} type bridge\nlink set {name} up\n" for name in [*names, "bare"])
        made.run("ip", "-batch", "-", text=text)
        made.write_settings((5030, 1))
        first = _timed(made, "up", names[0])
        rest = [_timed(made, "up", name) for name in names[1:]]
        again = _timed(made, "up", names[0])
        made.write_settings((5030, 2), (2633, 2))
        applied = _timed(made, "apply")
        down = [_timed(made, "down", name) for name in names]
        bare = _bare(made, "bare")
        enter = statistics.median(_enter(made) for _ in range(20))
    _print("up, the first (starts the daemons)", first)
    _print(f"up, the median of {len(rest)} more", statistics.median(rest))
    _print("up, of one that is up", again)
    _print(f"apply to {BRIDGES} bridges, a changed and a new service", applied)
    _print(f"down, the median of {BRIDGES}", statistics.median(down))
    _print("the bare commands of one up, one by one", bare)
    _print("of each of these: entering the simulated host, once a command", enter)
    return 0


def _print(what: str, seconds: float) -> None:
    print(f"{what:<64} {seconds * 1000:8.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
