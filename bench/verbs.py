"""How long commands take that somebody waits for: `doctor`'s whole table, `policy check` of 5000 policies.

Each runs as users run it, as a process of its own; what counts is the time on the clock, from start to end, of which
the median and the least are told. Called by bench.__main__.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.peers import found
from bench.process import BenchError, free_port
from bench.volumes import MEMORY, served, stunnel_program
from ferryman.migrate import certificates

TARGET = 2.0  # seconds
POLICIES = 5000
MOST_SECONDS = 120
_FINDS = (0, 1, 4)  # exit codes of verbs that have answered


def doctor(rounds: int, folder: Path) -> list[float]:
    """The whole table but for idle probes, of a healthy path: tinyproxy, stunnel, rsync. Raises BenchError."""
    identity, ports = certificates.make("server"), [free_port() for _ in range(3)]
    proxy, target, daemon = ports
    (folder / "target.pem").write_text(identity.certificate + identity.key)
    (folder / "target.pem").chmod(0o600)
    (folder / "module").mkdir()
    (folder / "rsyncd.conf").write_text(f"use chroot = no\nlog file = {folder}/log\n[module]\npath = {folder}/module\n")
    (folder / "stunnel.conf").write_text(
        f"foreground = yes\npid =\noutput = {folder}/stunnel.log\ncert = {folder}/target.pem\n"
        f"[rsync]\naccept = 127.0.0.1:{target}\nconnect = 127.0.0.1:{daemon}\n"
    )
    (folder / "tinyproxy.conf").write_text(f"Listen 127.0.0.1\nPort {proxy}\nAllow 127.0.0.1\nMaxClients 100\n")
    place = f"--address=127.0.0.1 --port={daemon} --config={folder}/rsyncd.conf".split()
    expected = ["--expect-cert", identity.fingerprint]
    with contextlib.ExitStack() as stack:
        for port, command in (
            (daemon, ["rsync", "--daemon", "--no-detach", *place]),
            (target, [stunnel_program(), str(folder / "stunnel.conf")]),
            (proxy, ["tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")]),
        ):
            stack.enter_context(served(command, port))
        command = ["doctor", f"localhost:{target}", "--via", f"http://127.0.0.1:{proxy}", *expected, "--json"]
        return [_timed(command, folder) for _ in range(rounds)]


def policies(rounds: int, folder: Path) -> list[float]:
    """5000 NetworkPolicies in 500 namespaces, as JSON. Raises BenchError."""
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}], "ports": [{"protocol": "TCP", "port": 80}]}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [rule], "policyTypes": ["Ingress"]}
    items = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"p{number}", "namespace": f"n{number % 500}"},
            "spec": spec,
        }
        for number in range(POLICIES)
    ]
    file = folder / "policies.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return [_timed(["policy", "check", str(file), "--proxy", "192.0.2.7:3128"], folder) for _ in range(rounds)]


def _timed(arguments: Sequence[str], folder: Path) -> float:
    """Seconds."""
    with (folder / "output").open("wb") as output:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "ferryman", *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=MOST_SECONDS,
        )  # fmt: skip
        seconds = time.monotonic() - begun
    if done.returncode not in _FINDS:
        raise BenchError(f"{arguments[0]} ended with {done.returncode}: {(folder / 'output').read_text()[-600:]}")
    return seconds


VERBS = {
    "doctor": ("doctor's whole table, through a proxy to rsync behind stunnel", doctor, ("rsync", "tinyproxy")),
    "policy": (f"policy check of {POLICIES} NetworkPolicies", policies, ()),
}


def run(name: str, rounds: int) -> int:
    """Print how long it took. 0; 1 when a run failed, 2 when it cannot be made here."""
    title, measure, needed = VERBS[name]
    if missing := [program for program in needed if not found(program)]:
        print(f"bench: left out: {name} (not installed: {', '.join(missing)})", file=sys.stderr)
        return 2
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as folder:
        try:
            seconds = measure(rounds, Path(folder))
        except (BenchError, subprocess.TimeoutExpired) as error:
            print(f"FAILED {name}: {error}", file=sys.stderr)
            return 1
    median, least = statistics.median(seconds), min(seconds)
    print(f"\n{name}: {title}\n  {median:.2f} s, the shortest of {rounds} {least:.2f} s", end="")
    print(f" (target {TARGET:g}: {'met' if median <= TARGET else 'MISSED'})")
    return 0
