"""Runs a real Squid for a test: in the foreground, in a folder that its user may use, without cache and access log.

Used by the tests that compare ferryman with it. Started by root it becomes the user of its package at once.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ferry import PATIENCE, until

SQUID = shutil.which("squid", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
HELPERS = Path("/usr/lib/squid")


def need() -> str:
    """The program; skips where it, or a part of it that the tests want, is missing."""
    if SQUID is None:
        pytest.skip("squid is not installed")
    for helper in ("basic_ncsa_auth", "security_file_certgen"):
        if not (HELPERS / helper).exists():
            pytest.skip(f"there is no {HELPERS / helper}: Debian's package that has it is squid-openssl")
    return SQUID


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for what Squid reads and writes: pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory(prefix="ferryman-squid-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o777)
        yield Path(name)


class Squid:
    """One running Squid, which listens on `port`, as `text` says among other things."""

    def __init__(self, place: Path, text: str, port: int) -> None:
        self.service = f"ferryman{port}"
        self.place = place / self.service
        self.place.mkdir()
        self.place.chmod(0o777)
        (self.place / "hosts").write_text("127.0.0.1 localhost\n::1 localhost6\n")
        file = self.place / "squid.conf"
        file.write_text("\n".join([*self._own(bump="ssl-bump" in text), text, ""]))
        with open(self.place / "output", "wb") as output:
            self.process = subprocess.Popen(
                [need(), "-N", "-n", self.service, "-f", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self.process.poll() is not None or _listens(port), "squid to listen")
        assert self.process.poll() is None, f"squid ended with {self.process.returncode}:\n{self.said()}"

    def _own(self, bump: bool) -> list[str]:
        """What keeps it to itself."""
        lines = [
            "pid_filename none",
            f"cache_log {self.place}/log",
            "access_log none",
            f"coredump_dir {self.place}",
            "pinger_enable off",
            f"hosts_file {self.place}/hosts",
            "dns_nameservers 127.0.0.1",
            "dns_retransmit_interval 200 milliseconds",
            "minimum_direct_rtt 0",  # it would avoid parents for servers that turned out to be near
            "minimum_direct_hops 0",
            "visible_hostname squid.test",
        ]
        user, group = _unprivileged()
        if os.getuid() == 0:
            lines += [f"cache_effective_user {user}", f"cache_effective_group {group}"]
        if bump:
            maker = [str(HELPERS / "security_file_certgen"), "-s", f"{self.place}/certificates", "-M", "4MB"]
            subprocess.run([*maker, "-c"], check=True, capture_output=True, user=user if os.getuid() == 0 else None)
            lines += [f"sslcrtd_program {' '.join(maker)}", "sslcrtd_children 2 startup=1 idle=1"]
        return lines

    def said(self) -> str:
        """Its messages."""
        return "".join(
            path.read_text(errors="replace") for path in (self.place / "output", self.place / "log") if path.exists()
        )

    def close(self) -> None:
        """End it, its helpers with it. It has nothing to save, and takes a second to find that out by itself."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for segment in Path("/dev/shm").glob(f"{self.service}-*.shm"):
            segment.unlink()


def _unprivileged() -> tuple[str, str]:
    """The user and the group that it becomes."""
    users = {entry.pw_name: entry.pw_gid for entry in pwd.getpwall()}
    user = next(name for name in ("proxy", "squid", "nobody") if name in users)
    return user, grp.getgrgid(users[user]).gr_name


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        return True
    return False
