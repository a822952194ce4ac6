"""`make bench BENCH="--only volumes"`: `ferryman migrate` against rsync over stunnel, within one machine.

Both move the same tree with the same rsync and the same flags, through TLS 1.3 with the same cipher and certificates at
both ends, from a folder to an empty one. What counts is the CPU of all processes, from the first that is started to the
last that has ended, and the time on the clock for the same. They take turns, and the medians are compared; beside them
stands the least of each, since a machine that is shared makes runs longer and never shorter.

`python -m bench.volumes --help` has sizes and places.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import CIPHER, found
from bench.process import BenchError, free_port, is_listening
from ferryman.migrate import certificates, rsync

RESULTS = Path(__file__).parent / "results" / "volumes.json"
START_SECONDS = 30.0
MEMORY = Path("/dev/shm")
MOST_SECONDS = 1800
BLOCK = 1 << 20
SMALL = 8000  # bytes of a small file, at most
TARGET = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Tree:
    """What is moved."""

    name: str
    make: Callable[[Path], None]


def large(megabytes: int) -> Tree:
    """Files of 256 MB, which cannot be compressed."""

    def make(folder: Path) -> None:
        noise = random.Random(1).randbytes(BLOCK)
        for number in range(max(1, megabytes // 256)):
            with (folder / f"{number}").open("wb") as file:
                for block in range(min(256, megabytes)):
                    file.write(block.to_bytes(8, "big") + noise[8:])

    return Tree(f"{megabytes} MB in large files", make)


def small(count: int) -> Tree:
    """Files of up to 8 kB, a hundred to a folder."""

    def make(folder: Path) -> None:
        rng = random.Random(2)
        noise = rng.randbytes(BLOCK)
        for number in range(count):
            place = folder / str(number // 100)
            place.mkdir(exist_ok=True)
            start = rng.randrange(BLOCK - SMALL)
            (place / str(number)).write_bytes(noise[start : start + rng.randrange(SMALL)])

    return Tree(f"{count} small files", make)


def with_ferryman(source: Path, target: Path, scratch: Path) -> None:
    """Raises BenchError."""
    command = [sys.executable, "-m", "ferryman", "migrate", "copy", str(source), str(target), "--quiet"]
    _run([*command, "--state", str(scratch / "state")], scratch)


def with_stunnel(source: Path, target: Path, scratch: Path) -> None:
    """As DVM has it: two stunnels, and a daemon. Raises BenchError."""
    ends = {}
    for end in ("client", "server"):
        made = certificates.make("client" if end == "client" else "server")
        (scratch / f"{end}.pem").write_text(made.certificate + made.key)
        (scratch / f"{end}.pem").chmod(0o600)
        ends[end] = free_port()
    daemon = free_port()
    (target / rsync.UNFINISHED).mkdir()  # so that even --temp-dir is the same
    (scratch / "secrets").write_text("root:password\n")
    (scratch / "secrets").chmod(0o600)
    (scratch / "rsyncd.conf").write_text(
        f"use chroot = yes\nnumeric ids = yes\nuid = {os.geteuid()}\ngid = {os.getegid()}\n[volume]\npath = {target}\n"
        f"read only = no\nauth users = root\nsecrets file = {scratch}/secrets\nlog file = {scratch}/rsyncd.log\n"
    )
    tls = f"foreground = yes\npid =\nsslVersion = TLSv1.3\nciphersuites = {CIPHER}\nverifyPeer = yes\nlog = overwrite\n"
    services = {
        "client": f"client = yes\naccept = 127.0.0.1:{ends['client']}\nconnect = 127.0.0.1:{ends['server']}\n",
        "server": f"accept = 127.0.0.1:{ends['server']}\nconnect = 127.0.0.1:{daemon}\n",
    }
    for end, service in services.items():
        other = "server" if end == "client" else "client"
        own = f"output = {scratch}/{end}.log\ncert = {scratch}/{end}.pem\nCAfile = {scratch}/{other}.pem\n"
        (scratch / f"{end}.conf").write_text(f"{tls}{own}[{end}]\n{service}")
    with contextlib.ExitStack() as stack:
        place = f"--address=127.0.0.1 --port={daemon} --config={scratch}/rsyncd.conf".split()
        stack.enter_context(served(["rsync", "--daemon", "--no-detach", *place], daemon))
        for end, port in ends.items():
            stack.enter_context(served([stunnel_program(), str(scratch / f"{end}.conf")], port))
        flags, program = rsync.Flags(), rsync.find()
        _run(rsync.command(program, flags, str(source), "volume", ("127.0.0.1", ends["client"])), scratch)


def stunnel_program() -> str:
    """Debian's name for it, or everybody else's."""
    return found("stunnel4") or found("stunnel") or "stunnel"


def _run(command: Sequence[str], scratch: Path) -> None:
    environment = rsync.environment("password")
    with (scratch / "output").open("wb") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, timeout=MOST_SECONDS
        )
    if done.returncode != 0:
        said = (scratch / "output").read_text(errors="replace")[-600:]
        raise BenchError(f"{command[0]} ended with {done.returncode}: {said}")


@contextlib.contextmanager
def served(command: Sequence[str], port: int) -> Iterator[None]:
    """Runs until the end of the block; begins once it listens. Raises BenchError."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_listening(port, process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{command[0]} does not listen")
            time.sleep(0.005)
        yield
    finally:
        process.terminate()
        process.wait()


def cost(move: Callable[[Path, Path, Path], None], source: Path, place: Path) -> Cost:
    """One run, to an empty folder, checked to have moved everything. Raises BenchError."""
    target, scratch = place / "target", place / "scratch"
    for folder in (target, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    os.sync()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    move(source, target, scratch)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(target / rsync.UNFINISHED, ignore_errors=True)
    if _size(target) != _size(source):
        raise BenchError("not everything was moved")
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def _size(folder: Path) -> tuple[int, int]:
    sizes = [os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


MOVERS: dict[str, Callable[[Path, Path, Path], None]] = {"ferryman": with_ferryman, "stunnel": with_stunnel}


def compare(tree: Tree, rounds: int, place: Path) -> dict[str, Cost]:
    """Medians, printed as they come. Raises BenchError."""
    source = place / "source"
    source.mkdir()
    tree.make(source)
    costs: dict[str, list[Cost]] = {name: [] for name in MOVERS}
    for _ in range(rounds):
        for name, move in MOVERS.items():
            costs[name].append(cost(move, source, place))
    shutil.rmtree(source)
    result = {name: _summary(statistics.median, each) for name, each in costs.items()}
    least = {name: _summary(min, each) for name, each in costs.items()}
    print(f"\n{tree.name}")
    for name, median in result.items():
        shortest = f"(least {least[name].cpu:.2f}, {least[name].wall:.2f})"
        print(f"  {name:10} {median.cpu:7.2f} s CPU  {median.wall:7.2f} s  {shortest}")
    for what in ("cpu", "wall"):
        ratio, of_least = (getattr(one["ferryman"], what) / getattr(one["stunnel"], what) for one in (result, least))
        verdict = "met" if ratio <= TARGET else "MISSED"
        print(f"  {what:4} ferryman/stunnel {ratio:.2f} (target {TARGET:.2f}: {verdict}); of the least {of_least:.2f}")
    return result


def _summary(choose: Callable[[list[float]], float], costs: Sequence[Cost]) -> Cost:
    return Cost(choose([one.cpu for one in costs]), choose([one.wall for one in costs]))


def main(arguments: Sequence[str]) -> int:
    """0, 1 when a run failed, 2 when it cannot be made here."""
    parser = argparse.ArgumentParser(prog="python -m bench.volumes", description="migrate against rsync over stunnel.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--megabytes", type=int, default=2000, help="of the large files (default 2000); 0: none")
    parser.add_argument("--files", type=int, default=20_000, help="small ones (default 20000); 0: none")
    parser.add_argument(
        "--folder",
        type=Path,
        default=MEMORY if os.access(MEMORY, os.W_OK) else None,
        help="where; default: /dev/shm, so that no disk is measured",
    )
    parser.add_argument("--quick", action="store_true", help="does it run at all?")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.rounds, asked.megabytes, asked.files = 1, 100, 500
    if missing := [name for name in ("rsync", "stunnel4") if not found(name)]:
        print(f"bench: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    trees = [*([large(asked.megabytes)] if asked.megabytes else []), *([small(asked.files)] if asked.files else [])]
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        for tree in trees:
            try:
                results[tree.name] = compare(tree, asked.rounds, Path(folder))
            except (BenchError, subprocess.TimeoutExpired) as error:
                print(f"FAILED {tree.name}: {error}", file=sys.stderr)
                return 1
    told = {
        name: {mover: {"cpu": round(one.cpu, 3), "wall": round(one.wall, 3)} for mover, one in costs.items()}
        for name, costs in results.items()
    }
    RESULTS.write_text(json.dumps({"rounds": asked.rounds, "results": told}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
