"""`ferryman doctor` in front of peers that are out for something: its token, its memory, its terminal, its time."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from doctoring import Handler, diagnose, far_end, odd, says, tunnels
from ferry import PATIENCE
from pki import Pki

STEERING = "\x1b]0;taken over\x07\x9b2J"


def in_tls(folder: Path, talk: Callable[[ssl.SSLSocket], None]) -> Handler:
    """A server of TLS that reads a request and does `talk`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Pki(folder).issue("peer.pem", "localhost"))

    def handler(sock: socket.socket, head: str) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            talk(tls)

    return handler


@pytest.mark.parametrize("verifies", [True, False])
def test_the_bearer_token_is_kept_from_who_is_not_the_api_server(verifies: bool, tmp_path: Path) -> None:
    heard: list[bytes] = []

    def talk(tls: ssl.SSLSocket) -> None:
        heard.append(tls.recv(65536))
        tls.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    (tmp_path / "other").mkdir()
    (tmp_path / "bearer").write_text("a-token-of-the-cluster\n")
    more = ["--control-ca", Pki(tmp_path / "other").ca] if verifies else []
    with far_end() as end, odd(in_tls(tmp_path, talk), wait=False) as port:
        found = diagnose(
            f"127.0.0.1:{end.port}", "--control", f"https://localhost:{port}",
            "--control-token-file", str(tmp_path / "bearer"), *more,
        )  # fmt: skip
    assert any(b"Upgrade" in each for each in heard), "it was asked all the same"
    assert not any(b"a-token" in each for each in heard)
    assert "the bearer token was kept back" in found.row("upgrade")["said"]
    assert "--control-ca" in found.row("upgrade")["said"]


def test_the_api_server_gets_the_bearer_token(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def talk(tls: ssl.SSLSocket) -> None:
        heard.append(tls.recv(65536))
        tls.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    (tmp_path / "bearer").write_text("a-token-of-the-cluster\n")
    with far_end() as end, odd(in_tls(tmp_path, talk), wait=False) as port:
        diagnose(
            f"127.0.0.1:{end.port}", "--control", f"https://localhost:{port}", "--control-ca", str(tmp_path / "ca.pem"),
            "--control-token-file", str(tmp_path / "bearer"),
        )  # fmt: skip
    assert sum(b"Authorization: Bearer a-token-of-the-cluster\r\n" in each for each in heard) == 2


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 No", "407 No", "403 No", f"200 {STEERING}"])
def test_what_a_proxy_says_steers_no_terminal(status: str) -> None:
    fields = (
        f"X-Squid-Error: ERR_X{STEERING} 1\r\nProxy-Status: x; error={STEERING}\r\nVia: {STEERING}\r\n"
        f"Proxy-Authenticate: x{STEERING} realm=a\r\nServer{STEERING}: {STEERING}\r\nContent-Length: 0\r\n\r\n"
    )
    with odd(says(f"HTTP/1.1 {status}\r\n{fields}")) as port:
        done = subprocess.run(
            [sys.executable, "-m", "ferryman", "doctor", "target.test", "--via", f"http://u:p@127.0.0.1:{port}",
             "--timeout", "3", "--no-direct"],
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert all(line.isprintable() for line in done.stdout.split("\n")), repr(done.stdout)


def test_a_length_that_no_body_has(tmp_path: Path) -> None:
    def talk(tls: ssl.SSLSocket) -> None:
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")

    with far_end() as end, odd(in_tls(tmp_path, talk), wait=False) as port:
        control = ["--control", f"https://localhost:{port}", "--timeout", "3"]
        found = diagnose(f"127.0.0.1:{port}", "--far-end", end.token.text(), *control)
    found.found("FAR_END_MISSING")
    found.found("MIDDLEBOX_ANSWER")


@pytest.mark.parametrize("status", [b"200 OK", b"101 Switching Protocols"])
def test_an_answer_without_end_is_not_read_to_its_end(status: bytes, tmp_path: Path) -> None:
    def talk(tls: ssl.SSLSocket) -> None:
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            tls.sendall(bytes(65536))

    with far_end() as end, odd(in_tls(tmp_path, talk), wait=False) as port:
        token = end.token.text()
        done = subprocess.run(
            [sys.executable, "-m", "ferryman", "doctor", f"127.0.0.1:{port}", "--far-end", token,
             "--control", f"https://localhost:{port}"],
            capture_output=True, text=True, check=False, timeout=PATIENCE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)),
        )  # fmt: skip
    assert done.returncode == 1, done.stderr


def test_bytes_that_are_no_answer_of_the_far_ends() -> None:
    def carry(client: socket.socket, server: socket.socket) -> None:
        from doctoring import relay

        first = client.recv(65536)
        if b" count " in first:
            client.sendall(b"\xff\xfe\x1b[2J")
        elif b" echo " not in first or len(first) < 10_000:
            server.sendall(first)
            relay(client, server)

    with far_end() as end, odd(tunnels(end.port, carry=carry)) as port:
        found = diagnose(
            f"127.0.0.1:{end.port}",
            "--far-end",
            end.token.text(),
            "--via",
            f"http://127.0.0.1:{port}",
            "--timeout",
            "3",
        )
    assert all(row["said"].isprintable() for row in found.data["checks"])
