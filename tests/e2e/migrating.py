"""Runs `ferryman migrate` and its serving end for tests, and the whole way between them: Squid and HAProxy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import squid
from ferry import PATIENCE, free_port, until
from programs import program, run

USER, PASSWORD = "mig", "p@ss:w%/rd"
ESCAPED = "p%40ss:w%25%2Frd"


class Migrating:
    """One process of `ferryman migrate …`; what it says is in files. It is ended with the test, children and all."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            os.chown(folder, user, user)
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ferryman", "migrate", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "FERRYMAN_MIGRATIONS": str(folder / "state"), **(environment or {})},
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def said(self) -> str:
        return f"{self.out}\n{self.err}"

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Of --json, so far."""
        whole = self.out.rpartition("\n")[0]
        found = [json.loads(line) for line in whole.splitlines()]
        return [event for event in found if event["event"] == kind] if kind else found

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.said[-4000:]}") from None
        assert "Traceback" not in self.err, self.err
        return code

    def until_said(self, text: str) -> None:
        def there() -> bool:
            assert text in self.said or self.process.poll() is None, f"it ended:\n{self.said}"
            return text in self.said

        until(there, f"{text!r} to be said; so far:\n{self.said[-2000:]}")

    def children(self) -> dict[int, str]:
        """All processes below it, with their command lines."""
        return dict(descendants(self.process.pid))

    def worker(self) -> int:
        """The process that carries the bytes."""
        return next(pid for pid, line in self.children().items() if "ferryman.dataplane" in line)

    def kill(self) -> None:
        """kill -9, and of it alone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        if self.process.poll() is None:
            self.kill()


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                with suppress(OSError):
                    yield int(child), Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield from descendants(int(child))


class Proxy:
    """Squid, which wants Basic credentials. Can be killed, stopped for a while, and started again at the same port."""

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        self._place = place
        self._started = 0
        users = place / "users"
        hashed = run("openssl", "passwd", "-apr1", PASSWORD).stdout.strip()
        users.write_text(f"{USER}:{hashed}\n")
        users.chmod(0o644)
        self._text = f"""http_port 127.0.0.1:{self.port}
auth_param basic program {squid.HELPERS}/basic_ncsa_auth {users}
auth_param basic children 1 startup=1 idle=1
acl known proxy_auth REQUIRED
http_access allow CONNECT known
http_access deny all
shutdown_lifetime 0 seconds
"""
        self.squid = self.start()

    def start(self) -> squid.Squid:
        self._started += 1
        place = self._place / str(self._started)
        place.mkdir()
        place.chmod(0o777)
        self.squid = squid.Squid(place, self._text, self.port)
        return self.squid

    @property
    def url(self) -> str:
        return f"http://{USER}:{ESCAPED}@127.0.0.1:{self.port}"

    def close(self) -> None:
        self.squid.process.send_signal(signal.SIGCONT)
        self.squid.close()


class Router:
    """HAProxy, which passes TLS on by its server name (localhost), as a cluster's router does."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        self._folder = folder / "haproxy"
        self._folder.mkdir()
        self._admin = f"/tmp/ferryman-test-{os.getpid()}-{self.port}.sock"
        (self._folder / "cfg").write_text(f"""
global
    stats socket {self._admin} level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend routes
    bind 127.0.0.1:{self.port}
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend volume if {{ req.ssl_sni -i localhost }}
backend volume
    server serving 127.0.0.1:{target}
""")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with open(self._folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [program("haproxy"), "-db", "-f", str(self._folder / "cfg")], stdout=output, stderr=output
            )
        until(self._listens, "haproxy to listen")
        return self.process

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self._folder / "output").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def reset(self) -> None:
        """Cut what goes through, and go on listening."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self._admin)
            sock.sendall(b"shutdown sessions server volume/serving\n")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    def close(self) -> None:
        self.kill()
        with suppress(OSError):
            os.unlink(self._admin)


def used(folder: Path) -> int:
    """Bytes of the files below a folder, also of those being written."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total
