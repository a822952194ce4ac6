"""`ferryman doctor` where TLS is opened, cut or goes to somebody else: each has its own verdict."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import programs
import pytest
import squid
import trustme
from doctoring import Diagnosis, diagnose, far_end, haproxy, odd, pump, relay, rsync_target, tunnels
from ferry import free_port
from pki import Pki
from programs import Peer

from ferryman.wire.clienthello import ClientHello, parse

BUMPING = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={folder}/operator.pem"
PEEKING = ["acl step1 at_step SslBump1", "ssl_bump peek step1", "ssl_bump splice all"]
OTHER = f"sha256:{'ab' * 32}"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with squid.folder() as folder:
        operator = trustme.CA()
        (folder / "operator.pem").write_bytes(operator.cert_pem.bytes() + operator.private_key_pem.bytes())
        (folder / "operator.pem").chmod(0o644)
        yield folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    folder = tmp_path_factory.mktemp("target")
    peer = rsync_target(folder, Pki(folder), "localhost")
    at_the_end.callback(peer.daemon.stop)  # type: ignore[attr-defined]
    at_the_end.callback(peer.stop)
    return peer


@pytest.fixture(scope="module")
def squids(place: Path, at_the_end: ExitStack) -> Callable[..., str]:
    """The URL of a Squid with these lines about bumping."""

    def start(*lines: str) -> str:
        port = free_port()
        listen = f"http_port 127.0.0.1:{port} {BUMPING.format(folder=place)}"
        trusting = "sslproxy_cert_error allow all"
        here = squid.Squid(place, "\n".join([listen, "http_access allow all", trusting, *lines]), port)
        at_the_end.callback(here.close)
        return f"http://127.0.0.1:{port}"

    return start


def test_squid_that_bumps_is_found_out_by_comparing(target: Peer, squids: Callable[..., str]) -> None:
    via = squids("ssl_bump bump all")
    right: str = target.certificate  # type: ignore[attr-defined]
    by_file = diagnose(f"localhost:{target.port}", "--via", via, "--expect-cert", right, "--no-direct")
    assert by_file.codes >= {"MITM", "EARLY_200"}
    row = by_file.found("MITM")
    assert row["at_fault"] == "proxy"
    assert "ssl_bump splice" in row["remedy"]
    assert len(row["evidence"]["sha256"]) == 64
    without_proxy = diagnose(f"localhost:{target.port}", "--via", via)
    assert "MITM" in without_proxy.codes
    by_other_name = diagnose(f"localhost:{target.port}", "--via", via, "--no-direct")
    assert "MITM" in by_other_name.codes
    assert "does not exist" in by_other_name.found("MITM")["said"]


def test_squid_that_looks_at_the_server_and_copies_its_certificate(target: Peer, squids: Callable[..., str]) -> None:
    via = squids("acl step1 at_step SslBump1", "ssl_bump peek step1", "ssl_bump stare all", "ssl_bump bump all")
    right: str = target.certificate  # type: ignore[attr-defined]
    found = diagnose(f"localhost:{target.port}", "--via", via, "--expect-cert", right)
    row = found.found("MITM")
    assert "localhost" in row["evidence"]["names"]  # it looks like the target's own
    assert "BUMPED_NON_HTTP" in found.codes


def test_the_far_end_sees_another_hello_behind_squid_that_bumps(squids: Callable[..., str]) -> None:
    with far_end() as end:
        found = diagnose(
            f"localhost:{end.port}", "--far-end", end.token.text(), "--via", squids("ssl_bump bump all"), "--no-direct"
        )
    assert found.codes >= {"MITM", "HELLO_CHANGED"}
    evidence = found.found("HELLO_CHANGED")["evidence"]
    assert evidence["sent"] != evidence["arrived"]


def test_squid_that_peeks_lets_nothing_but_tls_through(squids: Callable[..., str]) -> None:
    with far_end() as end:
        more = ["--via", squids(*PEEKING), "--timeout", "4"]
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *more)
    assert found.codes == {"TLS_ONLY", "WAITS_FOR_CLIENT", "COALESCED_LOST"}
    assert found.exit_code == 4
    assert found.row("far end")["state"] == "ok"


def test_squid_that_goes_by_server_names(squids: Callable[..., str]) -> None:
    names = "acl route ssl::server_name --client-requested localhost"
    via = squids(
        "acl step1 at_step SslBump1", "ssl_bump peek step1", names, "ssl_bump splice route", "ssl_bump terminate all"
    )
    with far_end() as end:
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), "--via", via, "--timeout", "5")
    assert "SNI_POLICY" in found.codes


def test_squid_that_terminates(target: Peer, squids: Callable[..., str]) -> None:
    via = squids("acl step1 at_step SslBump1", "ssl_bump peek step1", "ssl_bump terminate all")
    assert "TLS_CUT_BY_PROXY" in diagnose(f"localhost:{target.port}", "--via", via).codes
    blind = diagnose(f"localhost:{target.port}", "--via", via, "--no-direct")
    assert "TLS_CUT" in blind.codes
    assert blind.found("TLS_CUT")["at_fault"] == "unclear"


# routers and targets


ROUTER = """
listen router
  mode tcp
  bind 127.0.0.1:{port}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend far if {{ req.ssl_sni -i there.test }}
  {default}
backend far
  mode tcp
  server far 127.0.0.1:1
frontend own
  mode http
  bind abns@own{port} accept-proxy ssl crt {certificate}
backend default
  mode tcp
  server own abns@own{port} send-proxy
"""


@pytest.mark.parametrize("default", ["", "default_backend default"])
def test_a_router_without_such_a_route(default: str, tmp_path: Path) -> None:
    port = free_port()
    certificate = Pki(tmp_path).issue("default.pem", "*.apps.test")
    router = haproxy(tmp_path, port, ROUTER.format(port=port, certificate=certificate, default=default))
    try:
        found = diagnose(f"localhost:{port}", "--expect-cert", OTHER)
        without_pin = diagnose(f"localhost:{port}")
    finally:
        router.stop()
    assert found.codes == {"ROUTE_NOT_FOUND"}
    assert without_pin.codes == {"ROUTE_NOT_FOUND"}
    assert "use_backend migration if { req.ssl_sni -i localhost }" in found.found("ROUTE_NOT_FOUND")["remedy"]


def test_the_wrong_certificate(target: Peer) -> None:
    found = diagnose(f"localhost:{target.port}", "--expect-cert", OTHER)
    assert found.codes == {"CERTIFICATE_UNEXPECTED"}
    assert found.found("CERTIFICATE_UNEXPECTED")["at_fault"] == "target"


def test_the_wrong_certificate_through_a_proxy_is_the_targets_fault(target: Peer) -> None:
    with odd(tunnels(target.port)) as port:
        found = diagnose(f"localhost:{target.port}", "--via", f"http://127.0.0.1:{port}", "--expect-cert", OTHER)
    assert found.codes == {"CERTIFICATE_UNEXPECTED"}


def test_an_expired_certificate(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    past = datetime.now(UTC) - timedelta(days=3)
    file = pki.issue("old.pem", "localhost", not_before=past - timedelta(days=1), not_after=past)
    (tmp_path / "module").mkdir()
    daemon = programs.rsyncd(tmp_path, str(tmp_path / "module"))
    peer = programs.stunnel(tmp_path, "old", f"connect = 127.0.0.1:{daemon.port}\ncert = {file}")
    try:
        found = diagnose(f"localhost:{peer.port}", "--expect-cert", file)
    finally:
        peer.stop()
        daemon.stop()
    assert found.codes == {"CERTIFICATE_EXPIRED"}
    assert found.exit_code == 4


def test_a_target_that_speaks_something_else_within_tls(tmp_path: Path) -> None:
    file, port = Pki(tmp_path).issue("web.pem", "localhost"), free_port()
    web = programs.nginx(tmp_path, f"listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file};")
    try:
        found = diagnose(f"localhost:{port}")
    finally:
        web.stop()
    assert found.codes == {"NOT_RSYNC"}


def test_a_target_without_tls(target: Peer) -> None:
    daemon: Peer = target.daemon  # type: ignore[attr-defined]
    found = diagnose(f"localhost:{daemon.port}")
    assert found.codes == {"NOT_TLS"}
    assert "@RSYNCD" in found.found("NOT_TLS")["said"]


def test_tls_behind_which_nobody_speaks(tmp_path: Path) -> None:
    def hang(sock: socket.socket, head: str) -> None:
        while sock.recv(65536):
            pass

    with odd(hang, wait=False) as silent:
        file = Pki(tmp_path).issue("s.pem", "localhost")
        peer = programs.stunnel(tmp_path, "silent", f"connect = 127.0.0.1:{silent}\ncert = {file}")
        try:
            found = diagnose(f"localhost:{peer.port}", "--timeout", "2")
        finally:
            peer.stop()
    assert found.codes == {"RSYNC_SILENT"}


def test_an_rsync_daemon_that_has_no_such_module(target: Peer) -> None:
    assert diagnose(f"localhost:{target.port}", "--module", "data").codes == set()
    found = diagnose(f"localhost:{target.port}", "--module", "nothing")
    assert found.codes == {"RSYNC_ERROR"}
    assert "@ERROR: Unknown module" in found.found("RSYNC_ERROR")["said"]


def test_a_target_that_wants_a_client_certificate(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    own = pki.issue("client.pem", "client.test")
    peer = rsync_target(tmp_path, pki, "localhost", f"verifyChain = yes\nCAfile = {pki.ca}")
    try:
        without = diagnose(f"localhost:{peer.port}")
        with_it = diagnose(f"localhost:{peer.port}", "--cert", own)
    finally:
        peer.stop()
        peer.daemon.stop()  # type: ignore[attr-defined]
    assert without.codes == set()
    assert without.row("rsync")["state"] == "unknown"
    assert "--cert" in without.row("rsync")["said"]
    assert with_it.row("rsync")["state"] == "ok"


def test_a_target_that_refuses_tls_and_one_that_is_silent(tmp_path: Path) -> None:
    def alert(sock: socket.socket, head: str) -> None:
        sock.recv(65536)
        sock.sendall(b"\x15\x03\x03\0\x02\x02\x28")

    def unrecognized(sock: socket.socket, head: str) -> None:
        sock.recv(65536)
        sock.sendall(b"\x15\x03\x03\0\x02\x02\x70")

    def hang(sock: socket.socket, head: str) -> None:
        while sock.recv(65536):
            pass

    for handler, code in ((alert, "TLS_REFUSED"), (unrecognized, "ROUTE_NOT_FOUND"), (hang, "TLS_SILENT")):
        with odd(handler, wait=False) as port:
            assert diagnose(f"localhost:{port}", "--timeout", "1").codes == {code}


# tunnels that lose something


def lossy(carry: Callable[[socket.socket, socket.socket], None]) -> Diagnosis:
    with far_end() as end, odd(tunnels(end.port, carry=carry)) as port:
        return diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), "--via", f"http://127.0.0.1:{port}")


def test_a_proxy_that_drops_what_came_right_before_the_end() -> None:
    def carry(client: socket.socket, server: socket.socket) -> None:
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        held = b""
        while data := client.recv(65536):
            held += data
            if held[:1] == b"\x16" or len(held) < 1000:  # TLS, and small messages, are passed on at once
                server.sendall(held)
                held = b""
        # what is held when the end comes is lost

    found = lossy(carry)
    assert "HALF_CLOSE_LOST" in found.codes


def test_a_token_of_another_far_end() -> None:
    with far_end() as end, far_end() as other:
        found = diagnose(f"localhost:{end.port}", "--far-end", other.token.text())
    assert "FAR_END_MISSING" in found.codes


def test_a_proxy_that_wants_a_server_name() -> None:
    def carry(client: socket.socket, server: socket.socket) -> None:
        hello = parse(client.recv(4096, socket.MSG_PEEK))
        if not isinstance(hello, ClientHello) or hello.sni:
            relay(client, server)

    with far_end() as end, odd(tunnels(end.port, carry=carry)) as port:
        more = ["--via", f"http://127.0.0.1:{port}", "--timeout", "5"]
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *more)
    assert found.found("SNI_POLICY")["said"].startswith("with no server name: ")


def test_a_firewall_that_knows_one_version_only() -> None:
    def carry(client: socket.socket, server: socket.socket) -> None:
        if b"\x00\x2b" not in client.recv(4096, socket.MSG_PEEK):  # supported_versions: TLS 1.3
            return
        relay(client, server)

    with far_end() as end, odd(tunnels(end.port, carry=carry)) as port:
        more = ["--via", f"http://127.0.0.1:{port}", "--timeout", "5"]
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *more)
    assert "TLS_VERSION_BLOCKED" in found.codes
