"""What tests of `ferryman doctor` share: calling it, targets as a migration has them, and odd peers on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import programs
from click.testing import CliRunner
from ferry import PATIENCE
from pki import Pki
from programs import Peer

from ferryman.cli.main import main
from ferryman.doctor.farend import FarEnd

Handler = Callable[[socket.socket, str], None]
"""Is given a connection and the head of the request that came by it."""


@dataclass(frozen=True)
class Diagnosis:
    """What `ferryman doctor --json` found."""

    exit_code: int
    data: Mapping[str, Any]
    output: str

    @property
    def codes(self) -> set[str]:
        return {check["code"] for check in self.data["checks"] if "code" in check}

    def row(self, probe: str) -> Mapping[str, Any]:
        """The first row of a probe."""
        row: Mapping[str, Any] = next(check for check in self.data["checks"] if check["probe"] == probe)
        return row

    def found(self, code: str) -> Mapping[str, Any]:
        """The row with this verdict."""
        row: Mapping[str, Any] | None = next((each for each in self.data["checks"] if each.get("code") == code), None)
        assert row is not None, f"no {code} in {self.output}"
        return row

    def states(self) -> dict[str, str]:
        return {check["probe"]: check["state"] for check in self.data["checks"]}


def diagnose(*arguments: str, environment: Mapping[str, str] | None = None) -> Diagnosis:
    """Call the verb as users do, in this process: starting another one takes longer than most examinations."""
    called = CliRunner().invoke(main, ["doctor", *arguments, "--json"], env=dict(environment or {}))
    assert called.exit_code in (0, 1, 4), called.output + repr(called.exception)
    assert called.exception is None or isinstance(called.exception, SystemExit), called.exception
    return Diagnosis(called.exit_code, json.loads(called.stdout), called.output)


def rsync_target(folder: Path, pki: Pki, name: str = "dvm.apps.test", more: str = "") -> Peer:
    """rsync behind stunnel, as at the end of a migration; the certificate is `folder`/target.pem."""
    (folder / "module").mkdir(exist_ok=True)
    daemon = programs.rsyncd(folder, str(folder / "module"))
    file = pki.issue(f"{name}.pem", name)
    target = programs.stunnel(folder, "target", f"connect = 127.0.0.1:{daemon.port}\ncert = {file}\n{more}")
    target.certificate = file  # type: ignore[attr-defined]
    target.daemon = daemon  # type: ignore[attr-defined]
    return target


def haproxy(folder: Path, port: int, text: str) -> Peer:
    """HAProxy that listens on this port, as its text says."""
    path = programs.program("haproxy")
    here = folder / f"haproxy{port}"
    here.mkdir()
    head = "defaults\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
    (here / "haproxy.cfg").write_text(head + text)
    return Peer(here, port, [path, "-db", "-f", str(here / "haproxy.cfg")])


@contextlib.contextmanager
def odd(handler: Handler, wait: bool = True) -> Iterator[int]:
    """A server that does as `handler` does with every connection; its port. `wait`: for the head of a request."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(PATIENCE)
            head = b""
            while wait and not head.endswith(b"\r\n\r\n"):
                byte = sock.recv(1)
                if not byte:
                    return
                head += byte
            handler(sock, head.decode("latin-1"))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def opens(proxy: int, port: int) -> bool:
    """Whether a proxy on this machine opens a tunnel to localhost."""
    with socket.create_connection(("127.0.0.1", proxy), PATIENCE) as sock:
        sock.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        return sock.recv(12)[9:] == b"200"


def says(answer: str) -> Handler:
    """Answers every request so, and closes."""

    def handler(sock: socket.socket, head: str) -> None:
        sock.sendall(answer.encode("latin-1"))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    return handler


def tunnels(
    port: int,
    refuse: Callable[[str], str] = lambda head: "",
    before: bytes = b"",
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
    carry: Callable[[socket.socket, socket.socket], None] | None = None,
) -> Handler:
    """A proxy for which every name is a server on this machine, but those under .invalid.

    `refuse` gives the answer to a head that is refused; `before` comes before the answer.
    """

    def handler(sock: socket.socket, head: str) -> None:
        said = refuse(head)
        if not said and ".invalid:" in head.split("\r\n", 1)[0]:
            said = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        if said:
            sock.sendall(said.encode())
            return
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as server:
            sock.sendall(before + answer)
            (carry or relay)(sock, server)

    return handler


def relay(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways, each direction to its own end."""
    thread = threading.Thread(target=pump, args=(other, one), daemon=True)
    thread.start()
    pump(one, other)
    thread.join(PATIENCE)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes one way, to the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def far_end(public: tuple[str, int] | None = None, host: str = "127.0.0.1") -> Iterator[FarEnd]:
    """`ferryman doctor serve`, in this process."""
    end = FarEnd(host, 0, public)
    threading.Thread(target=end.serve, daemon=True).start()
    try:
        yield end
    finally:
        end.close()
