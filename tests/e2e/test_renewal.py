"""Certificates that are replaced on disk: new connections are shown the new one, live ones live on, nobody is asked."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority, EchoServer


def connect(port: int, authority: Authority) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    return authority.client_context().wrap_socket(plain, server_hostname="web.example.org")


def serial(sock: ssl.SSLSocket) -> str:
    return str((sock.getpeercert() or {})["serialNumber"])


def write(authority: Authority, file: Path, certificate: trustme.LeafCert | None = None) -> None:
    """As a renewal does it: beside, then renamed."""
    made = certificate or authority.ca.issue_cert("web.example.org")
    fresh = file.with_suffix(".new")
    fresh.touch(0o600)
    made.private_key_and_cert_chain_pem.write_to_path(str(fresh))
    fresh.rename(file)


@pytest.fixture
def site(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], authority: Authority, tmp_path: Path
) -> tuple[Ferry, int, Path]:
    file, port = tmp_path / "web.pem", free_port()
    write(authority, file)
    ferry = run_ferry(f"""
listeners:
  web: {{bind: "127.0.0.1:{port}", tls: {{certificates: {file}}}, servers: "{echo().address}"}}
""")
    return ferry, port, file


def test_a_new_certificate_needs_no_reload(site: tuple[Ferry, int, Path], authority: Authority) -> None:
    ferry, port, file = site
    with connect(port, authority) as live:
        first = serial(live)
        write(authority, file)

        def renewed() -> bool:
            with connect(port, authority) as sock:
                return serial(sock) != first

        until(renewed, "the new certificate", 40)
        live.sendall(b"still here")
        assert live.recv(10) == b"still here"
    assert f"changed: {file}" in ferry.log
    assert ferry.log.count("reloaded") == 1


def test_one_that_is_of_no_use_changes_nothing(site: tuple[Ferry, int, Path], authority: Authority) -> None:
    ferry, port, file = site
    with connect(port, authority) as sock:
        first = serial(sock)
    file.write_text("half a certifica")
    until(lambda: "not reloaded" in ferry.log, "the refusal", 40)
    assert f"{file} holds no certificate" in ferry.log
    with connect(port, authority) as sock:
        assert serial(sock) == first
    write(authority, file)
    until(lambda: "notice: reloaded" in ferry.log, "the next change", 40)


def test_texts_are_only_read_when_somebody_asks(site: tuple[Ferry, int, Path], authority: Authority) -> None:
    ferry, port, file = site
    ferry.file.write_text("this: is no configuration\n")
    write(authority, file)
    until(lambda: "notice: reloaded" in ferry.log, "the renewal", 40)
    with connect(port, authority) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert ferry.client.reload()["ok"] is False


def test_no_file_is_looked_at_without_need(run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]) -> None:
    ferry = run_ferry(f'listeners: {{a: {{bind: "127.0.0.1:{free_port()}", servers: "{echo().address}"}}}}\n')
    os.utime(ferry.file)
    assert ferry.client.reload()["ok"] is True
    assert "changed:" not in ferry.log
