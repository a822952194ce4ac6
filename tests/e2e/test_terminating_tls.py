"""TLS that ends in ferryman, with the clients people use: curl, openssl, Python, Chromium, and plain ones astray."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from pki import Pki
from programs import Peer, nginx, program, run
from servers import EchoServer

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER on, 0 seconds

NATIVE = """
global: {{workers: 2}}
listeners:
  h2: {{bind: 127.0.0.1:{h2}, tls: {{certificates: [{rsa}, {ecdsa}]}}, to: https}}
  web: {{bind: 127.0.0.1:{web}, tls: {{certificates: [{rsa}, {ecdsa}], alpn: [http/1.1]}}, to: http}}
  echo:
    bind: 127.0.0.1:{echo}
    tls:
      certificates: [{rsa}, {ecdsa}, {wildcard}, {{file: {locked}, key: {key}, password_file: {password}}}]
    to: echo
  strict: {{bind: 127.0.0.1:{strict}, tls: {{certificates: [{rsa}, {wildcard}], strict: true}}, to: echo}}
  plain: {{bind: 127.0.0.1:{plain}, to: echo}}
  abrupt: {{bind: 127.0.0.1:{abrupt}, tls: {{certificates: {rsa}}}, to: abrupt}}
backends:
  http: {{servers: ["{http_server}"]}}
  https: {{servers: ["{https_server}"], tls: {{ca: {ca}}}}}
  echo: {{servers: ["{echo_server}"]}}
  abrupt: {{servers: ["127.0.0.1:{abrupt_server}"]}}
"""
HAPROXY = """
global
    nbthread 2
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen h2
    bind 127.0.0.1:{h2} ssl crt {rsa} crt {ecdsa} alpn h2,http/1.1 ssl-min-ver TLSv1.2
    server https {https_server} ssl ca-file {ca} sni ssl_fc_sni alpn h2
listen web
    bind 127.0.0.1:{web} ssl crt {rsa} crt {ecdsa} alpn http/1.1 ssl-min-ver TLSv1.2
    server http {http_server}
listen echo
    bind 127.0.0.1:{echo} ssl crt {rsa} crt {ecdsa} crt {wildcard} crt {locked_open}
    server echo {echo_server}
listen strict
    bind 127.0.0.1:{strict} ssl crt {rsa} crt {wildcard} strict-sni
    server echo {echo_server}
listen plain
    bind 127.0.0.1:{plain}
    server echo {echo_server}
listen abrupt
    bind 127.0.0.1:{abrupt} ssl crt {rsa}
    server abrupt 127.0.0.1:{abrupt_server}
"""


class Site:
    def __init__(self, start: Callable[..., Ferry], folder: Path, dialect: str, stack: ExitStack) -> None:
        self.pki = pki = Pki(folder)
        files = {
            "rsa": pki.issue("rsa.pem", "front.example", rsa=True),
            "ecdsa": pki.issue("ecdsa.pem", "front.example"),
            "wildcard": pki.issue("wildcard.pem", "*.wild.example"),
            "locked_open": pki.issue("locked.pem", "locked.example"),
            "ca": pki.ca,
        }
        files["locked"], files["key"], files["password"] = pki.lock(files["locked_open"], "open sesame")
        for name in ("rsa", "ecdsa"):
            pki.staple(files[name])
        self.ports = {name: free_port() for name in ("h2", "web", "echo", "strict", "plain", "abrupt")}
        self.server = self._nginx(folder)
        stack.callback(self.server.stop)
        self.echo = EchoServer()
        stack.callback(self.echo.close)
        self.abrupt = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        text = (NATIVE if dialect == "native" else HAPROXY).format(
            **self.ports,
            **files,
            http_server=self.server.address,
            https_server=f"127.0.0.1:{self.tls_port}",
            echo_server=self.echo.address,
            abrupt_server=self.abrupt.getsockname()[1],
        )
        self.ferry = start(text, "ferryman.yaml" if dialect == "native" else "haproxy.cfg")

    def _nginx(self, folder: Path) -> Peer:
        self.tls_port = free_port()
        shown = self.pki.issue("server.pem", "front.example", "127.0.0.1", rsa=True)
        return nginx(
            folder,
            f"""
        listen 127.0.0.1:{self.tls_port} ssl http2;
        ssl_certificate {shown}; ssl_certificate_key {shown}; ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ return 200 "$server_protocol over ${{ssl_protocol}}.\\n"; }}
""",
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.pki.ca)

    def client(
        self, listener: str, name: str = "front.example", context: ssl.SSLContext | None = None
    ) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE)
        try:
            return (context or self.context()).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def openssl(self, listener: str, *options: str, name: str = "front.example") -> str:
        address = f"127.0.0.1:{self.ports[listener]}"
        names = ("-servername", name) if name else ("-noservername",)
        command = ("openssl", "s_client", "-connect", address, *names, "-CAfile", self.pki.ca, *options)
        done = run(*command, stdin=b"Q\n")
        return done.stdout + done.stderr

    def curl(self, listener: str, *options: str) -> str:
        port = self.ports[listener]
        where = ("--resolve", f"front.example:{port}:127.0.0.1", f"https://front.example:{port}/")
        done = run("curl", "-sS", "--max-time", "60", "--cacert", self.pki.ca, *options, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["native", "haproxy"])
def site(
    request: pytest.FixtureRequest,
    run_shared_ferry: Callable[..., Ferry],
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
) -> Site:
    program("nginx")
    return Site(run_shared_ferry, tmp_path_factory.mktemp("site"), request.param, at_the_end)


# curl, Chromium


def test_curl_speaks_http_2_with_a_server_that_does(site: Site) -> None:
    assert site.curl("h2", "--http2") == "HTTP/2.0 over TLSv1.3.\n"


def test_curl_speaks_http_1_1_with_a_plain_server(site: Site) -> None:
    assert site.curl("web", "--http2") == "HTTP/1.1 over .\n", "it offers h2, and is answered http/1.1"
    assert site.curl("web", "--http1.1", "--tls-max", "1.2") == "HTTP/1.1 over .\n"


def test_chromium(site: Site, tmp_path: Path) -> None:
    port = site.ports["h2"]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--dump-dom"]
    options += [f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP front.example 127.0.0.1"]
    done = run("chromium", *options, f"https://front.example:{port}/")
    assert "HTTP/2.0 over TLSv1.3." in done.stdout, done.stderr[-1000:]


# certificates


def test_rsa_and_ecdsa_side_by_side(site: Site) -> None:
    for algorithms, kind in (("rsa_pss_rsae_sha256", "RSA-PSS"), ("ecdsa_secp256r1_sha256", "ECDSA")):
        said = site.openssl("echo", "-tls1_3", "-sigalgs", algorithms)
        assert f"Peer signature type: {kind}" in said
        assert "Verification: OK" in said
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        assert f"Cipher is {cipher}" in site.openssl("echo", "-tls1_2", "-cipher", cipher)


def test_ocsp_is_stapled_for_either(site: Site) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        for algorithms in ("rsa_pss_rsae_sha256", "ecdsa_secp256r1_sha256"):
            said = site.openssl("echo", "-status", version, "-sigalgs", algorithms)
            assert "OCSP Response Status: successful" in said
            assert "Cert Status: good" in said
    assert "OCSP response: no response sent" in site.openssl("echo", "-status", name="a.wild.example")


def test_names_choose_the_certificate(site: Site) -> None:
    for name in ("front.example", "FRONT.example", "a.wild.example", "locked.example"):
        with site.client("echo", name) as sock:
            sock.sendall(name.encode())
            assert sock.recv(100) == name.encode()
    for name in ("wild.example", "a.b.wild.example", "other.example"):
        with pytest.raises(ssl.SSLCertVerificationError):
            site.client("echo", name)
    assert "front.example" in site.openssl("echo", "-verify_hostname", "front.example", name="")


def test_a_strict_listener_refuses_other_names(site: Site) -> None:
    for name in ("front.example", "a.wild.example"):
        site.client("strict", name).close()
    for name in ("other.example", "wild.example"):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            site.client("strict", name)
    assert "unrecognized name" in site.openssl("strict", name="")


# sessions


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed_by_either_worker(site: Site, version: str, tmp_path: Path) -> None:
    kept = str(tmp_path / "session")
    with socket.create_connection(("127.0.0.1", site.ports["web"])):  # a worker is taken by turns
        command = (version, "-sess_out", kept)
        address = f"127.0.0.1:{site.ports['web']}"
        ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        options = ("-connect", address, "-servername", "front.example", "-ign_eof")
        assert "New, TLS" in run("openssl", "s_client", *options, *command, stdin=ask).stdout
    counted = site.ferry.listener("web")["counts"]
    for _ in range(8):
        assert "Reused, TLS" in run("openssl", "s_client", *options, version, "-sess_in", kept, stdin=ask).stdout
    until(lambda: site.ferry.listener("web")["counts"]["resumed"] >= counted["resumed"] + 8, "them to be counted")


# bytes


def test_20_mb_both_ways(site: Site) -> None:
    data = random.Random(1).randbytes(20 << 20)
    digest, share = hashlib.sha256(), 1 << 17
    with site.client("echo") as sock:  # from one thread: an object of the ssl module is not for two
        for start in range(0, len(data), share):
            sock.sendall(data[start : start + share])
            left = share
            while left:
                piece = sock.recv(left)
                assert piece, "it ended too early"
                digest.update(piece)
                left -= len(piece)
    assert digest.digest() == hashlib.sha256(data).digest()


def test_the_end_of_one_direction_is_not_that_of_the_other(site: Site) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = site.context().wrap_bio(incoming, outgoing, server_hostname="front.example")
    with socket.create_connection(("127.0.0.1", site.ports["echo"]), PATIENCE) as sock:

        def until_done(act: Callable[[], object]) -> object:
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))

        until_done(tls.do_handshake)
        sock.sendall(outgoing.read())
        tls.write(b"x" * 5000)
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()  # close_notify
        sock.sendall(outgoing.read())
        sock.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    assert len(said) > 5000, "the echo of what came before the end, and the server's own end"


def test_a_reset_by_the_client_reaches_the_server(site: Site) -> None:
    until(lambda: not site.echo.open, "what was before to end")
    sock = site.client("echo")
    sock.sendall(b"ping")
    assert sock.recv(4) == b"ping"
    (server,) = site.echo.open
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
    until(lambda: server not in site.echo.open, "the server to see the end")


def test_a_reset_by_the_server_reaches_the_client(site: Site) -> None:
    with site.client("abrupt") as sock:
        server, _ = site.abrupt.accept()
        sock.sendall(b"ping")
        assert server.recv(4) == b"ping"
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        server.close()
        with socket.socket(fileno=sock.detach()) as plain:  # the ssl module would take RST for an end
            plain.settimeout(PATIENCE)
            with pytest.raises(ConnectionResetError):
                b"".join(iter(lambda: plain.recv(65536), b""))


# astray


def test_a_plain_client_at_a_tls_port_is_ended(site: Site) -> None:
    done = run("curl", "-sS", "--max-time", "60", f"http://127.0.0.1:{site.ports['web']}/")
    assert done.returncode in (52, 56), done.stderr
    if site.ferry.file.name == "ferryman.yaml":
        line = site.ferry.line(lambda line: "HTTP" in (line["reason"] or ""))
        assert line["reason"] == "client: TLS handshake: it speaks HTTP, not TLS"


def test_a_tls_client_at_a_plain_port_is_carried_to_what_speaks_no_tls(site: Site) -> None:
    with pytest.raises(ssl.SSLError):  # its own hello comes back
        site.client("plain")


def test_a_client_that_says_nothing_more_after_the_handshake(site: Site) -> None:
    with site.client("echo") as sock:
        sock.sendall(b"ping")
        assert sock.recv(4) == b"ping"
        sock.unwrap()
    command = [program("curl"), "-sS", "--max-time", "60", "--cacert", site.pki.ca, "-I"]
    where = ["--resolve", f"front.example:{site.ports['web']}:127.0.0.1", f"https://front.example:{site.ports['web']}"]
    assert b"200" in subprocess.run(command + where, capture_output=True, check=True).stdout
