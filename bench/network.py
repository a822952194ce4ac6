"""Three machines in a row, as network namespaces, for what needs addresses of its own. Called by __main__; needs root.

    client 10.83.1.2 ---- 10.83.1.1 proxy 10.83.2.1 ---- 10.83.2.2 server

All of it is gone when the block ends. What a packet costs on its way between namespaces is paid by whoever sends it.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Job, Place, found
from bench.process import BenchError, LogSink, inside_network

NEEDED = ("ip", "nft")
_SITE, _DOOR = "10.83.2.2", "10.83.1.1"


@dataclass(frozen=True, slots=True)
class Network:
    """Where its machines are, and the sink for the proxy's log."""

    place: Place
    at_server: tuple[str, ...]
    sink: LogSink

    @contextlib.contextmanager
    def intercepted(self, job: Job) -> Iterator[None]:
        """While the block runs, the kernel leads what is for the job's server to its proxy, where it is to."""
        if job.kind != "transparent":
            yield
            return
        ferryman = [*self.place.at_proxy, sys.executable, "-m", "ferryman", "transparent"]
        _run(*ferryman, "setup", "--tproxy", f"{job.target}={job.listen}", "--interface", "lan", "--apply")
        try:
            yield
        finally:
            _run(*ferryman, "clear", "--apply")


def why_not() -> str:
    """Why such a network cannot be made here; "": it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in NEEDED if not found(program)]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make it; raises BenchError."""
    with contextlib.ExitStack() as stack:
        client, proxy, server = (f"bench{os.getpid()}{side}" for side in "cps")
        for name in (client, proxy, server):
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "delete", name)
            _run("ip", "-netns", name, "link", "set", "lo", "up")
        _join(client, "10.83.1", proxy, "lan")
        _join(server, "10.83.2", proxy, "wan")
        inside = {name: ("ip", "netns", "exec", name) for name in (client, proxy, server)}
        place = Place(_DOOR, _SITE, at_proxy=inside[proxy], at_client=inside[client])
        yield Network(place, inside[server], stack.enter_context(inside_network(Path("/run/netns", proxy), LogSink)))


def _join(host: str, network: str, proxy: str, device: str) -> None:
    """A cable; the host is .2 and goes everywhere through the proxy, which is .1."""
    _run("ip", "link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", device, "netns", proxy)
    for name, end, number in ((host, "eth0", 2), (proxy, device, 1)):
        _run("ip", "-netns", name, "address", "add", f"{network}.{number}/24", "dev", end)
        _run("ip", "-netns", name, "link", "set", end, "up")
    _run("ip", "-netns", host, "route", "add", "default", "via", f"{network}.1")


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if ended.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
