"""Certificates that are replaced on disk: new connections are shown the new one, live ones live on, nobody is asked."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Site:
    """A ferryman and its certificate, whose first serial number was `first`; `live` is a connection from that time."""

    ferry: Ferry
    port: int
    file: Path
    live: ssl.SSLSocket
    first: str


@pytest.fixture(scope="module")
def sites(
    run_shared_ferry: Callable[..., Ferry],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
) -> dict[str, Site]:
    """Each with what its test does first: files are looked at every few seconds, and so all wait at the same time."""
    echo = EchoServer()
    at_the_end.callback(echo.close)
    made = {}
    for name in ("renewed", "broken", "renewed beside a broken text"):
        file, port = tmp_path_factory.mktemp("site") / "web.pem", free_port()
        write(authority, file)
        ferry = run_shared_ferry(f"""
listeners:
  web: {{bind: "127.0.0.1:{port}", tls: {{certificates: {file}}}, servers: "{echo.address}"}}
""")
        live = at_the_end.enter_context(connect(port, authority))
        made[name] = Site(ferry, port, file, live, serial(live))
    write(authority, made["renewed"].file)
    made["broken"].file.write_text("half a certifica")
    last = made["renewed beside a broken text"]
    last.ferry.file.write_text("this: is no configuration\n")
    write(authority, last.file)
    return made


def test_a_new_certificate_needs_no_reload(sites: dict[str, Site], authority: Authority) -> None:
    site = sites["renewed"]

    def renewed() -> bool:
        with connect(site.port, authority) as sock:
            return serial(sock) != site.first

    until(renewed, "the new certificate")
    site.live.sendall(b"still here")
    assert site.live.recv(10) == b"still here"
    until(lambda: "reloaded" in site.ferry.log, "the message")
    assert f"changed: {site.file}" in site.ferry.log
    assert site.ferry.log.count("reloaded") == 1


def test_one_that_is_of_no_use_changes_nothing(sites: dict[str, Site], authority: Authority) -> None:
    site = sites["broken"]
    until(lambda: "not reloaded" in site.ferry.log, "the refusal")
    assert f"{site.file} holds no certificate" in site.ferry.log
    with connect(site.port, authority) as sock:
        assert serial(sock) == site.first
    write(authority, site.file)
    until(lambda: "notice: reloaded" in site.ferry.log, "the next change")


def test_texts_are_only_read_when_somebody_asks(sites: dict[str, Site], authority: Authority) -> None:
    site = sites["renewed beside a broken text"]
    until(lambda: "notice: reloaded" in site.ferry.log, "the renewal")
    with connect(site.port, authority) as sock:
        assert serial(sock) != site.first
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert site.ferry.client.reload()["ok"] is False


def test_no_file_is_looked_at_without_need(run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]) -> None:
    ferry = run_ferry(f'listeners: {{a: {{bind: "127.0.0.1:{free_port()}", servers: "{echo().address}"}}}}\n')
    os.utime(ferry.file)
    assert ferry.client.reload()["ok"] is True
    assert "changed:" not in ferry.log
