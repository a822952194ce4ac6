"""rsync as a client: which one there is, its command line, what its exit codes mean. Starts nothing but `rsync -V`.

The flags are DVM's (--archive --hard-links --partial) with what reading its progress needs, but --delete only if it is
asked for, and --timeout, without which a connection that is silent for good hangs for half a day.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.migrate import MigrationError

OLDEST: Final = (3, 1, 0)
"""--info=progress2 and --outbuf."""
USER: Final = "root"
"""Whom our own daemons ask for; the daemons of DVM have the same."""
UNFINISHED: Final = ".ferryman-unfinished"
"""A folder at the top of a destination for what is being written, so that a crash leaves nothing elsewhere."""
VERIFY_TIMEOUT: Final = 3600
"""Seconds: whoever computes checksums of large files has nothing to say meanwhile."""

CODES: Final = {
    1: "rsync was called in a way that it does not know",
    2: "the two rsyncs have no protocol in common",
    3: "files cannot be selected",
    4: "one of the two rsyncs cannot do what was asked for",
    5: "the daemon did not begin (wrong password, no such module, or what answered is no rsync)",
    6: "the daemon cannot write its log",
    10: "connection broken",
    11: "reading or writing a file failed",
    12: "connection cut in the middle",
    13: "rsync cannot say what it wants to say",
    14: "a connection between processes of rsync broke",
    20: "rsync was ended from outside, here or there",
    21: "a process of rsync failed",
    22: "out of memory",
    23: "some files could not be moved",
    24: "some files vanished while they were read",
    25: "--delete would have removed more than it may",
    30: "nothing came for too long",
    35: "the daemon did not answer",
}
"""rsync(1), EXIT VALUES."""
NETWORK: Final = frozenset({5, 10, 12, 20, 30, 35})
"""Codes that a connection is to blame for, or may be; 20: a serving end that is stopped ends its daemons."""
VANISHED: Final = 24
PARTIAL: Final = 23


@dataclass(frozen=True, slots=True)
class Flags:
    """What is asked for. `bwlimit`: as rsync takes it, "": none; `timeout`: seconds of silence, 0: never."""

    delete: bool = False
    sparse: bool = False
    hard_links: bool = True
    xattrs: bool = False
    acls: bool = False
    dry_run: bool = False
    bwlimit: str = ""
    timeout: int = 30
    excludes: tuple[str, ...] = ("lost+found",)

    def arguments(self) -> list[str]:
        """Those that make a difference to what comes out."""
        chosen = ["--archive", "--numeric-ids", "--partial"]
        for wanted, flag in (
            (self.hard_links, "--hard-links"),
            (self.sparse, "--sparse"),
            (self.xattrs, "--xattrs"),
            (self.acls, "--acls"),
            (self.delete, "--delete"),
            (self.dry_run, "--dry-run"),
        ):
            if wanted:
                chosen.append(flag)
        return [*chosen, *(f"--exclude={pattern}" for pattern in self.excludes)]


def find() -> str:
    """The path of rsync. Raises MigrationError if there is none, or one that is too old."""
    path = shutil.which("rsync")
    if path is None:
        raise MigrationError("rsync is not installed; it moves the files, so install it at both ends")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, check=False, env=environment(), timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MigrationError(f"{path} cannot be run: {error}") from None
    version = parse_version(done.stdout.decode(errors="replace"))
    if version is None:
        raise MigrationError(f"{path} is not the rsync that is known here: it does not say its version")
    if version < OLDEST:
        need, have = (".".join(map(str, one)) for one in (OLDEST, version))
        raise MigrationError(f"{path} is rsync {have}; it has to be {need} or newer")
    return path


def parse_version(text: str) -> tuple[int, int, int] | None:
    """From the first line of `rsync --version`."""
    found = re.match(r"rsync\s+version v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def environment(password: str = "") -> dict[str, str]:
    """Without what changes rsync's ways (RSYNC_PROXY would take the daemon's connection elsewhere)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RSYNC_")}
    return kept | {"LC_ALL": "C"} | ({"RSYNC_PASSWORD": password} if password else {})


def command(
    rsync: str, flags: Flags, source: str, module: str, place: tuple[str, int], *, user: str = USER, ours: bool = True
) -> list[str]:
    """To copy what is in `source` to a daemon's module. `ours`: the daemon is of migrate.rsyncd."""
    more = ["--info=progress2,name0,stats2", "--no-inc-recursive", "--no-human-readable", "--outbuf=N"]
    if flags.bwlimit:
        more.append(f"--bwlimit={flags.bwlimit}")
    return [*_common(rsync, flags, flags.timeout, ours), *more, *_ends(source, module, place, user)]


def verification(
    rsync: str, flags: Flags, source: str, module: str, place: tuple[str, int], *, user: str = USER, ours: bool = True
) -> list[str]:
    """To compare both sides by checksums: each line of output is a difference. Changes nothing."""
    more = ["--checksum", "--dry-run", "--out-format=%i %n", "--no-human-readable", "--info=stats2", "--outbuf=L"]
    timeout = max(flags.timeout, VERIFY_TIMEOUT) if flags.timeout else 0
    return [*_common(rsync, flags, timeout, ours), *more, *_ends(source, module, place, user)]


def _common(rsync: str, flags: Flags, timeout: int, ours: bool) -> list[str]:
    begin = [rsync, *flags.arguments(), f"--timeout={timeout}"]
    if ours:
        begin += [f"--exclude=/{UNFINISHED}/"]
        if not flags.dry_run:
            begin += [f"--temp-dir={UNFINISHED}"]
    return begin


def _ends(source: str, module: str, place: tuple[str, int], user: str) -> Sequence[str]:
    host, port = place
    return ["--", os.path.join(os.path.abspath(source), ""), f"rsync://{user}@{host}:{port}/{module}/"]
