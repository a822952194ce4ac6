"""Three machines in a row, as network namespaces: client, router, server. Used by test_transparent.py; needs root.

    client 10.81.1.2 ---- 10.81.1.1 router 10.81.2.1 ---- 10.81.2.2 server, which is the site 198.51.100.7 as well
           fd81:1::2      fd81:1::1        fd81:2::1      fd81:2::2                              2001:db8:100::7

The router forwards. Sockets are made in a namespace by a thread that goes there; where a socket was made, it stays.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import pytest
from ferry import PATIENCE

T = TypeVar("T")

SITE = {4: "198.51.100.7", 6: "2001:db8:100::7"}
CLIENT = {4: "10.81.1.2", 6: "fd81:1::2"}
ROUTER = {4: "10.81.1.1", 6: "fd81:1::1"}

_CLONE_NEWNET = 0x40000000


def demand() -> None:
    """Skip where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [program for program in ("ip", "nft") if shutil.which(program) is None]:
        pytest.skip(f"not installed: {missing}")


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout


class Network:
    """The three of them; gone when the `with` ends."""

    def __init__(self) -> None:
        self._cleanup = ExitStack()
        self.client, self.router, self.server = (f"ferry{os.getpid()}{side}" for side in "crs")

    def __enter__(self) -> Network:
        try:
            self._build()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _build(self) -> None:
        for name in (self.client, self.router, self.server):
            _run("ip", "netns", "add", name)
            self._cleanup.callback(_run, "ip", "netns", "delete", name)
            self.ip(name, "link set lo up")
            # addresses are valid at once
            self.write(name, "net/ipv6/conf/default/accept_dad", "0")
        self._join(self.client, "eth0", self.router, "lan", "10.81.1", "fd81:1::")
        self._join(self.server, "eth0", self.router, "wan", "10.81.2", "fd81:2::")
        self.ip(self.server, f"address add {SITE[4]}/32 dev lo")
        self.ip(self.server, f"address add {SITE[6]}/128 dev lo")
        self.ip(self.router, f"route add {SITE[4]}/32 via 10.81.2.2")
        self.ip(self.router, f"-6 route add {SITE[6]}/128 via fd81:2::2")
        self.write(self.router, "net/ipv4/ip_forward", "1")
        self.write(self.router, "net/ipv6/conf/all/forwarding", "1")

    def _join(self, host: str, end: str, router: str, other: str, four: str, six: str) -> None:
        """A cable; the host is .2 and goes everywhere through the router, which is .1."""
        _run("ip", "link", "add", end, "netns", host, "type", "veth", "peer", "name", other, "netns", router)
        for name, device, number in ((host, end, 2), (router, other, 1)):
            self.ip(name, f"address add {four}.{number}/24 dev {device}")
            self.ip(name, f"-6 address add {six}{number}/64 dev {device} nodad")
            self.ip(name, f"link set {device} up")
        self.ip(host, f"route add default via {four}.1")
        self.ip(host, f"-6 route add default via {six}1")

    def ip(self, namespace: str, words: str) -> str:
        return _run("ip", "-netns", namespace, *words.split())

    def write(self, namespace: str, path: str, value: str) -> None:
        self.inside(namespace, lambda: Path("/proc/sys", path).write_text(value))  # of whoever opens it

    def run(self, namespace: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A program in a namespace; whatever its exit code."""
        return subprocess.run(
            ["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def inside(self, namespace: str, do: Callable[[], T]) -> T:
        """Call it in a thread that is in the namespace."""

        def there() -> T:
            with open(f"/run/netns/{namespace}", "rb") as file:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return do()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(there).result()

    def connect(self, host: str, port: int, seconds: float = PATIENCE) -> socket.socket:
        """The client calls somebody."""
        return self.inside(self.client, lambda: socket.create_connection((host, port), seconds))

    def listen(self, ports: Sequence[int]) -> dict[tuple[int, int], socket.socket]:
        """The server's listening sockets, by (4 or 6, port)."""

        def there() -> dict[tuple[int, int], socket.socket]:
            made = {}
            for port in ports:
                for version, family, host in ((4, socket.AF_INET, "0.0.0.0"), (6, socket.AF_INET6, "::")):
                    made[version, port] = socket.create_server((host, port), family=family)
                    made[version, port].settimeout(PATIENCE)
            return made

        found = self.inside(self.server, there)
        for sock in found.values():
            self._cleanup.callback(sock.close)
        return found
