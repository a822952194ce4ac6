"""TLS through CONNECT is not opened: what each side sends is what the other gets, by its SHA-256."""

from __future__ import annotations

import hashlib
import re
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import programs
import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority, TlsServer
from talk import Talk

pytestmark = pytest.mark.twin

NAME = "dvm-ns.apps.example.org"


class Tap:
    """Carries what comes to it elsewhere and keeps it: one sits before the proxy, one behind it."""

    def __init__(self, to: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._to = to
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        """What each connection carried, one entry for each."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to), PATIENCE) as server:
            kept, other = {client: b"", server: b""}, {client: server, server: client}
            speaking = {client, server}
            while speaking:
                for side in select.select(list(speaking), [], [])[0]:
                    chunk = b""
                    with suppress(ConnectionResetError):
                        chunk = side.recv(65536)
                    kept[side] += chunk
                    if not chunk:
                        speaking.remove(side)
                    with suppress(OSError):  # it is gone; what this side says is kept all the same
                        other[side].sendall(chunk) if chunk else other[side].shutdown(socket.SHUT_WR)
            self.down.append(kept[server])
            self.up.append(kept[client])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Site:
    """client - front tap - ferryman - back tap - TLS server."""

    def __init__(self, run: Callable[..., Ferry], authority: Authority, end: ExitStack) -> None:
        self.server = TlsServer("origin", authority, [NAME, "127.0.0.1"], host="127.0.0.1")
        end.callback(self.server.close)
        port = free_port()
        run(f"""
global: {{workers: 1}}
listeners: {{out: {{bind: "127.0.0.1:{port}", connect: {{egress_allow: [127.0.0.1]}}}}}}
""")
        self.back, self.front = Tap(self.server.port), Tap(port)
        end.callback(self.back.close)
        end.callback(self.front.close)
        self.target = f"127.0.0.1:{self.back.port}"
        self.certificate = ssl.get_server_certificate(("127.0.0.1", self.server.port)).strip()

    def flights(self) -> tuple[list[str], list[str]]:
        """SHA-256 of ClientHello and ServerHello flights before the proxy and behind it, for the last connection."""
        until(lambda: self.front.up and self.back.up, "the connection to end")
        before = [self.front.up.pop().partition(b"\r\n\r\n")[2], self.front.down.pop().partition(b"\r\n\r\n")[2]]
        behind = [self.back.up.pop(), self.back.down.pop()]
        for data in (*before, *behind):
            assert data[0] == 22, "TLS, from the first byte"
        first = [record(data) for data in before], [record(data) for data in behind]
        digests = [[hashlib.sha256(data).hexdigest() for data in side] for side in first]
        assert (before, behind) == (behind, before), "and all that followed"
        return digests[0], digests[1]


def record(data: bytes) -> bytes:
    """The first TLS record: a ClientHello, or a ServerHello with what is in its flight in TLS 1.2."""
    return data[: 5 + int.from_bytes(data[3:5], "big")]


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], authority: Authority, at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, authority, at_the_end)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_and_the_server_see_each_others_first_flight(
    site: Site, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Talk(site.front.port) as talk:
        assert talk.connect(site.target).status == 200
        with context.wrap_socket(talk.sock, server_hostname=NAME, suppress_ragged_eofs=True) as sock:
            assert ssl.DER_cert_to_PEM_cert(sock.getpeercert(True) or b"").strip() == site.certificate
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.recv(4096).endswith(b"origin\n")
    before, behind = site.flights()
    assert before == behind


def test_the_hello_may_come_in_the_same_packet_as_connect(site: Site, authority: Authority) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with Talk(site.front.port) as talk:
        talk.send(f"CONNECT {site.target} HTTP/1.1\r\nHost: {site.target}\r\n\r\n".encode() + hello)
        assert talk.answer("CONNECT").status == 200
        assert talk.exactly(1) == b"\x16"
    until(lambda: site.back.up, "the connection to end")
    assert hashlib.sha256(site.back.up.pop()).digest() == hashlib.sha256(hello).digest()
    until(lambda: site.front.up, "the connection to end")
    site.front.up.pop(), site.front.down.pop(), site.back.down.pop()


def test_openssl_sees_the_servers_own_certificate(site: Site, authority: Authority) -> None:
    command = [
        programs.program("openssl"),
        "s_client",
        "-proxy",
        f"127.0.0.1:{site.front.port}",
        "-connect",
        site.target,
    ]
    command += ["-servername", NAME, "-CAfile", authority.file, "-verify_return_error", "-ign_eof"]
    request = "GET / HTTP/1.0\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Verification: OK" in done.stdout, done.stderr
    found = re.search(r"-----BEGIN.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert found is not None
    assert found.group(0) == site.certificate
    before, behind = site.flights()
    assert before == behind


def test_curl_verifies_the_servers_own_certificate(site: Site, authority: Authority) -> None:
    proxy = f"http://127.0.0.1:{site.front.port}"
    done = programs.run(
        *("curl", "-sS", "--max-time", "60", "-x", proxy, "--cacert", authority.file, "-w", "%{certs}"),
        *("--connect-to", f"{NAME}:443:{site.target}", f"https://{NAME}/"),
    )
    assert done.stdout.startswith("origin\n"), done.stderr
    assert site.certificate in done.stdout
    before, behind = site.flights()
    assert before == behind
