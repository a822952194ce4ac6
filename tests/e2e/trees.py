"""Folders full of what a volume may have in it, and whether two of them are the same. For tests of `migrate`."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import random
import shutil
import socket
import stat
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ODD = [
    b"line\nbreak",
    b"\xff\xfe no utf-8 \x80",
    b"-rf",
    b"--delete",
    b"n" * 255,
    "żółć 漢字".encode(),
    b" blanks ",
    b"quote'\"`$(x)",
    b"back\\slash",
    b"\\#012",
    b"#hash",
    b"~tilde~",
    b"[a]*?",
    b"a:b",
    b".hidden",
    b"tab\tcr\r",
]
"""Names of files."""


def build(folder: Path, files: int, megabytes: int, seed: int = 7) -> None:
    """About so many files with about so much in them, and one or more of every kind there is."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    noise = rng.randbytes(1 << 20)
    kept = small_files(folder, files, noise, rng)
    large(folder, max(1, megabytes - kept // 1_000_000), noise, rng)
    root = os.fsencode(folder)
    os.mkdir(os.path.join(root, b"odd"))
    for number, name in enumerate(ODD):
        Path(os.fsdecode(os.path.join(root, b"odd", name))).write_bytes(noise[: number * 100])
    strange(folder, rng)
    dates(folder, rng)


def small_files(folder: Path, files: int, noise: bytes, rng: random.Random) -> int:
    """In folders of a hundred, some of them deep; how many bytes."""
    kept = 0
    for number in range(files):
        place = folder / f"d{number // 100 % 50}" / f"e{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        size, start = rng.randrange(8000) if number % 10 else 0, rng.randrange(1 << 19)
        (place / f"f{number}").write_bytes(noise[start : start + size])
        kept += size
    return kept


def large(folder: Path, megabytes: int, noise: bytes, rng: random.Random) -> None:
    (folder / "large").mkdir()
    each = 64 if megabytes > 256 else 8
    for number in range(max(1, megabytes // each)):
        with open(folder / "large" / f"{number}.bin", "wb") as file:
            for _ in range(min(each, megabytes)):
                file.write(rng.randbytes(64) + noise[64:])


def strange(folder: Path, rng: random.Random) -> None:
    """All that is no plain file."""
    there = folder / "strange"
    (there / "empty" / "within" / "empty").mkdir(parents=True)
    (there / "nothing").touch()
    with open(there / "sparse", "wb") as file:
        for place in (0, 3_000_000, 7_900_000):
            file.seek(place)
            file.write(rng.randbytes(5000))
        file.truncate(8_000_000)
    (there / "first").write_bytes(b"linked" * 1000)
    (folder / "other").mkdir()
    for name in ("strange/second", "other/third"):
        os.link(there / "first", folder / name)
    for name, target in (("dangling", "no/where"), ("absolute", "/etc/hostname"), ("dir", "empty"), ("up", "../other")):
        (there / name).symlink_to(target)
    os.mkfifo(there / "fifo", 0o640)
    for name, mode in (("none", 0), ("setuid", 0o4755), ("setgid", 0o2711), ("read-only", 0o444)):
        (there / name).write_bytes(name.encode())
        (there / name).chmod(mode)
    (there / "sticky").mkdir()
    (there / "sticky").chmod(0o1777)
    if os.geteuid() == 0:
        os.mknod(there / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(there / "block", stat.S_IFBLK | 0o600, os.makedev(7, 200))
        with socket.socket(socket.AF_UNIX) as sock:
            here = os.getcwd()
            os.chdir(there)  # the whole path may be longer than a socket's may be
            sock.bind("socket")
            os.chdir(here)
        for name in ("nothing", "sticky", "dangling"):
            os.lchown(there / name, 12345, 54321)
    (there / "attributed").write_bytes(b"x")
    with suppress(OSError):
        os.setxattr(there / "attributed", "user.colour", b"green\x00\xff")
        os.setxattr(there / "sticky", "user.note", b"")
    if shutil.which("setfacl"):
        (there / "listed").write_bytes(b"y")
        subprocess.run(["setfacl", "-m", "u:12345:r", str(there / "listed")], check=False, capture_output=True)


def dates(folder: Path, rng: random.Random) -> None:
    """Of long ago and with nanoseconds; folders last, from below."""
    for path, folders, files in os.walk(os.fsencode(folder), topdown=False):
        for name in [*files, *folders]:
            when = rng.randrange(10**17, 17 * 10**17)
            os.utime(os.path.join(path, name), ns=(when, when), follow_symlinks=False)


@dataclass
class Entry:
    """What there is to compare of one."""

    kind: int
    mode: int
    owner: tuple[int, int]
    size: int
    time: int
    device: int
    content: str
    attributes: dict[str, bytes]
    blocks: int = field(compare=False)
    inode: int = field(compare=False)


def entries(folder: Path) -> dict[bytes, Entry]:
    """Everything below a folder, and the folder itself, by its path."""
    root = os.fsencode(folder)
    found: dict[bytes, Entry] = {b".": entry(root)}
    for path in _below(root):
        found[os.path.relpath(path, root)] = entry(path)
    return found


def _below(folder: bytes) -> Iterator[bytes]:
    for each in os.scandir(folder):
        yield each.path
        if each.is_dir(follow_symlinks=False):
            yield from _below(each.path)


def entry(path: bytes) -> Entry:
    is_ = os.lstat(path)
    content = ""
    if stat.S_ISREG(is_.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
    elif stat.S_ISLNK(is_.st_mode):
        content = os.fsdecode(os.readlink(path))
    return Entry(
        stat.S_IFMT(is_.st_mode),
        stat.S_IMODE(is_.st_mode),
        (is_.st_uid, is_.st_gid),
        0 if stat.S_ISDIR(is_.st_mode) else is_.st_size,
        is_.st_mtime_ns,
        is_.st_rdev,
        content,
        attributes(path),
        is_.st_blocks,
        is_.st_ino,
    )


def attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        return {}


def links(found: dict[bytes, Entry]) -> set[frozenset[bytes]]:
    """Which names are the same file."""
    together: defaultdict[int, set[bytes]] = defaultdict(set)
    for path, one in found.items():
        if one.kind != stat.S_IFDIR:
            together[one.inode].add(path)
    return {frozenset(names) for names in together.values() if len(names) > 1}


def assert_same(source: Path, target: Path, *, attributes: bool = True) -> None:
    """In every respect, but for when somebody last read it."""
    one, other = entries(source), entries(target)
    assert one.keys() == other.keys(), f"{sorted(one.keys() ^ other.keys())[:10]}"
    if not attributes:
        for each in (*one.values(), *other.values()):
            each.attributes = {}
    different = {path: (one[path], other[path]) for path in one if one[path] != other[path]}
    assert not different, f"{len(different)}: {list(different.items())[:3]}"
    assert links(one) == links(other)


def synced() -> None:
    """So that numbers of blocks are what they will be."""
    ctypes.CDLL(None).sync()
