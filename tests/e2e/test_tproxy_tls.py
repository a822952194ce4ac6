"""TLS from a hypervisor to the remotes of its guests, who speak none; and options that do not fit."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ferry import until
from hypervisor import Host
from pki import Pki
from test_tproxy_daemons import Place, all_of, refused, services

FOLDER = "/var/lib/pki"
NAME = "one.example.org"


class Remote:
    """A server that demands a certificate, says whose it is, and answers what it hears."""

    def __init__(self, pki: Pki) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.ca)
        self._context.load_cert_chain(pki.issue("server.pem", NAME))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._serve(connection)
                except OSError:
                    continue  # it does not trust us

    def _serve(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            tls.do_handshake()
            shown = tls.getpeercert()
            assert shown is not None
            tls.sendall(f"{shown['subjectAltName']} ".encode())
            while data := tls.recv(65536):
                tls.sendall(data)
            tls.unwrap()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Host() as host:
        yield Place(host)


@pytest.fixture
def remote(place: Place, tmp_path: Path) -> Iterator[Remote]:
    """Its certificates are on the host in FOLDER, the keys for the daemons as well: `client.pem`; for root alone:
    `root.pem`; and an authority that has nothing to do with it."""
    place.host.path(FOLDER).mkdir(exist_ok=True)
    pki = Pki(place.host.path(FOLDER))
    os.chown(pki.issue("client.pem", "hypervisor.example.org"), 65534, 65534)
    pki.issue("root.pem", "hypervisor.example.org")
    Path(Pki(tmp_path).ca).rename(tmp_path / "other.pem")
    place.host.path(f"{FOLDER}/other.pem").write_bytes((tmp_path / "other.pem").read_bytes())
    server = place.host.inside(lambda: Remote(pki))
    yield server
    server.close()


def settings(remote: Remote, certificate: str = "client.pem", name: str = NAME, ca: str = "ca.pem") -> str:
    tls = f"{{server_name: {name}, ca: {FOLDER}/{ca}, certificate: {FOLDER}/{certificate}}}"
    options = f":tproxy_options:\n- :service_port: 5030\n  :backend: {{tls: {tls}}}\n"
    return services((5030, "127.0.0.1", remote.port, "vnet0"), more=options)


def greeted(place: Place) -> bool:
    with place.guests[0].connect(5030) as guest:
        return all_of(guest, b"hello") == b"(('DNS', 'hypervisor.example.org'),) hello"


def test_the_way_to_the_remote_is_encrypted_and_both_are_known(place: Place, remote: Remote) -> None:
    """And nobody who is not the remote hears anything."""
    place.up(settings(remote))
    assert greeted(place)
    for wrong, reason in (
        (settings(remote, ca="other.pem"), "its certificate: self-signed certificate in certificate chain"),
        (settings(remote, name="two.example.org"), "its certificate: Hostname mismatch"),
    ):
        place.apply(wrong)
        before = len(place.lines("br0"))
        assert refused(place.guests[0], 5030)
        line = until(lambda: place.lines("br0")[before:], "its line")[0]  # noqa: B023
        assert f"127.0.0.1:{remote.port}: {reason}" in line["reason"]
    place.apply(settings(remote))
    assert greeted(place)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("server_name", "server_nam", "did you mean 'server_name'?"),
        ("client.pem", "root.pem", f"cannot read {FOLDER}/root.pem: Permission denied"),
    ],
)
def test_options_that_do_not_fit_change_nothing(
    place: Place, remote: Remote, right: str, wrong: str, message: str
) -> None:
    """The daemons follow changes as nobody, and must not begin with what only root can read."""
    place.up(settings(remote))
    services = place.host.run("nft", "list", "table", "ip", "one_tproxy").stdout
    place.host.write_settings(settings(remote).replace(right, wrong).replace(f"{remote.port}", "1"))
    told = place.host.ferryman("apply", check=False)
    assert (told.returncode, message in told.stderr) == (1, True)
    assert place.host.run("nft", "list", "table", "ip", "one_tproxy").stdout == services
    for verb in ("reload", "restart"):
        assert message in place.host.ferryman(verb).stderr
        assert greeted(place)
    assert message in place.host.ferryman("check", check=False).stdout
    assert message in place.host.ferryman("doctor", check=False).stdout
