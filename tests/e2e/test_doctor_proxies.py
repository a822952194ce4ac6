"""`ferryman doctor` at proxies that refuse, that answer oddly, or that are not there: each has its own verdict."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import programs
import pytest
import squid
from doctoring import Diagnosis, diagnose, odd, rsync_target, says, tunnels
from ferry import free_port
from pki import Pki
from programs import Peer


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    """rsync behind stunnel."""
    folder = tmp_path_factory.mktemp("target")
    peer = rsync_target(folder, Pki(folder), "localhost")
    at_the_end.callback(peer.daemon.stop)  # type: ignore[attr-defined]
    at_the_end.callback(peer.stop)
    return peer


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with squid.folder() as folder:
        yield folder


def through(port: int, target: int, *more: str, user: str = "", scheme: str = "http") -> Diagnosis:
    at = f"{user}@" if user else ""
    return diagnose(f"localhost:{target}", "--via", f"{scheme}://{at}127.0.0.1:{port}", *more)


def refusals(status: str, *fields: str) -> str:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "Content-Length: 0", "", ""])


def test_a_proxy_that_is_not_there() -> None:
    found = through(free_port(), 443)
    assert found.codes == {"NO_PROXY_LISTENER"}
    assert found.exit_code == 1
    states = found.states()
    assert (states["name"], states["reach"]) == ("ok", "found")
    assert {state for probe, state in states.items() if probe not in ("name", "reach")} == {"skipped"}
    assert found.row("tls")["said"] == "the first hop is not reached"


def test_a_proxy_whose_name_does_not_resolve() -> None:
    found = diagnose("localhost:443", "--via", "http://no-such-proxy.invalid:3128")
    assert found.codes == {"PROXY_NAME_UNKNOWN"}
    assert found.found("PROXY_NAME_UNKNOWN")["at_fault"] == "network"


def test_a_target_whose_name_does_not_resolve() -> None:
    assert diagnose("no-such-route.invalid").codes == {"TARGET_NAME_UNKNOWN"}


def test_a_target_where_nobody_listens() -> None:
    assert diagnose(f"127.0.0.1:{free_port()}").codes == {"TARGET_REFUSED"}


def test_a_proxy_that_resets_whom_it_does_not_know() -> None:
    def reset(sock: socket.socket, head: str) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with odd(reset, wait=False) as port:
        assert through(port, 443).codes == {"ACL_RESET"}


# Squid


def a_squid(place: Path, at_the_end: ExitStack, *lines: str, listen: str = "") -> int:
    port = free_port()
    text = "\n".join([f"http_port 127.0.0.1:{port} {listen}".rstrip(), *lines])
    running = squid.Squid(place, text.replace("{place}", str(place)), port)
    at_the_end.callback(running.close)
    return port


def test_squid_that_allows_only_port_443(target: Peer, place: Path, at_the_end: ExitStack) -> None:
    rules = ["acl SSL_ports port 443", "http_access deny CONNECT !SSL_ports", "http_access allow all"]
    found = through(a_squid(place, at_the_end, *rules), target.port)
    assert found.codes == {"PORT_BLOCKED"}
    row = found.found("PORT_BLOCKED")
    assert "403" in row["evidence"]["answer"]
    assert f"acl SSL_ports port {target.port}" in row["remedy"]


def test_squid_that_denies_the_destination(target: Peer, place: Path, at_the_end: ExitStack) -> None:
    found = through(a_squid(place, at_the_end, "http_access deny all"), target.port)
    assert found.codes == {"DEST_BLOCKED"}
    assert found.found("DEST_BLOCKED")["evidence"]["X-Squid-Error"].startswith("ERR_ACCESS_DENIED")


def test_squid_that_cannot_resolve_the_target(place: Path, at_the_end: ExitStack) -> None:
    port = a_squid(place, at_the_end, "http_access allow all", "dns_timeout 1 seconds")
    found = diagnose("no-such-route.invalid:443", "--via", f"http://127.0.0.1:{port}")
    assert found.codes == {"UPSTREAM_NAME"}


def test_squid_before_a_target_that_refuses(place: Path, at_the_end: ExitStack) -> None:
    found = through(a_squid(place, at_the_end, "http_access allow all"), free_port())
    assert found.codes == {"UPSTREAM_REFUSED"}
    assert found.found("UPSTREAM_REFUSED")["at_fault"] == "target"


def test_squid_and_credentials(target: Peer, place: Path, at_the_end: ExitStack) -> None:
    made = programs.run("openssl", "passwd", "-apr1", "right").stdout.strip()
    (place / "passwords").write_text(f"walter:{made}\n")
    rules = [
        f"auth_param basic program {squid.HELPERS}/basic_ncsa_auth {{place}}/passwords",
        "acl known proxy_auth REQUIRED",
        "http_access allow known",
    ]
    port = a_squid(place, at_the_end, *rules)
    assert through(port, target.port).codes == {"CREDENTIALS_NEEDED"}
    wrong = through(port, target.port, user="walter:wrong")
    assert wrong.codes == {"BAD_CREDENTIALS"}
    assert wrong.found("BAD_CREDENTIALS")["at_fault"] == "credentials"
    assert "wrong" not in wrong.output
    assert through(port, target.port, user="walter:right").codes == set()


def test_squid_that_wants_ntlm_only(target: Peer, place: Path, at_the_end: ExitStack) -> None:
    helper = squid.HELPERS / "ntlm_fake_auth"
    if not helper.exists():
        pytest.skip(f"there is no {helper}")
    rules = [f"auth_param ntlm program {helper}", "acl known proxy_auth REQUIRED", "http_access allow known"]
    found = through(a_squid(place, at_the_end, *rules), target.port, user="walter:right")
    assert found.codes == {"OTHER_AUTH_ONLY"}
    assert found.found("OTHER_AUTH_ONLY")["evidence"]["Proxy-Authenticate"] == "NTLM"


# proxies that answer oddly


ODD_ANSWERS: dict[str, tuple[str, str]] = {
    "digest and negotiate in one field": (
        "OTHER_AUTH_ONLY", refusals("407 No", 'Proxy-Authenticate: Digest realm="a, Basic b", nonce="x", Negotiate')),
    "401 in place of 407": ("NONSTANDARD_AUTH", refusals("401 No", 'WWW-Authenticate: Basic realm="x"')),
    "closed": ("CLOSED_WITHOUT_ANSWER", ""),
    "SSH": ("NOT_HTTP", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
    "HTTP/2 frames": ("HTTP2_ONLY", "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80"),
    "a TLS alert": ("PROXY_WANTS_TLS", "\x15\x03\x01\0\x02\x02\x46"),
    "a web server": ("NOT_A_PROXY", refusals("405 Not Allowed", "Allow: GET")),
    "busy": ("PROXY_BUSY", refusals("503 Busy", "Retry-After: 5")),
    "a strange status": ("CONNECT_REFUSED", refusals("418 Teapot")),
    "another proxy's words for a denial": (
        "DEST_BLOCKED", refusals("502 Bad Gateway", "Proxy-Status: p.test; error=destination_ip_prohibited")),
    "an upstream that fails": ("UPSTREAM_FAILED", refusals("504 Gateway Timeout")),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_odd_answer(name: str) -> None:
    code, answer = ODD_ANSWERS[name]
    with odd(says(answer)) as port:
        found = through(port, 443, "--timeout", "5", user="walter:right")
    assert found.codes == {code}
    assert found.exit_code == (4 if code == "PROXY_BUSY" else 1)
    assert found.found(code)["remedy"]


def test_a_proxy_that_does_not_answer() -> None:
    def hang(sock: socket.socket, head: str) -> None:
        sock.recv(1)

    with odd(hang) as port:
        found = through(port, 443, "--timeout", "0.5")
    assert found.codes == {"NO_ANSWER"}


def test_a_proxy_that_answers_in_http2_or_with_an_interim_status(target: Peer) -> None:
    with odd(tunnels(target.port, answer=b"HTTP/2 200\r\n\r\n")) as port:
        assert through(port, target.port).codes == {"STATUS_LINE_REFUSED"}
    with odd(tunnels(target.port, before=b"HTTP/1.1 100 Continue\r\n\r\n")) as port:
        found = through(port, target.port)
    assert found.codes == {"INTERIM_ANSWER"}
    assert "100 Continue" in found.found("INTERIM_ANSWER")["said"]


def test_a_proxy_that_compares_the_scheme_with_case(target: Peer) -> None:
    def refuse(head: str) -> str:
        return "" if "Authorization: Basic " in head else refusals("407 No", "Proxy-Authenticate: Basic realm=x")

    with odd(tunnels(target.port, refuse)) as port:
        assert through(port, target.port, user="walter:right").codes == {"CASE_SENSITIVE_SCHEME"}


def test_a_proxy_that_takes_anybody(target: Peer) -> None:
    with odd(tunnels(target.port)) as port:
        found = through(port, target.port, user="walter:right")
    assert found.codes == {"OPEN_PROXY"}
    assert found.exit_code == 0


def test_a_proxy_with_a_banner_after_its_200(target: Peer) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome"
    with odd(tunnels(target.port, answer=answer)) as port:
        assert "BYTES_AFTER_200" in through(port, target.port).codes


def test_a_proxy_that_says_200_to_everything() -> None:
    def early(sock: socket.socket, head: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.recv(1)

    with odd(early) as port:
        found = through(port, free_port())
    assert "EARLY_200" in found.codes
    assert found.found("TLS_CUT")["at_fault"] == "unclear"


def test_one_late_answer_does_not_clear_it() -> None:
    late = iter([True])

    def early(sock: socket.socket, head: str) -> None:
        if ".invalid:" not in head or not next(late, False):
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.recv(1)

    with odd(early) as port:
        assert "EARLY_200" in through(port, free_port()).codes


def test_a_port_that_is_asked_for_besides(target: Peer) -> None:
    def refuse(head: str) -> str:
        return refusals("403 Tunnel Forbidden") if ":30443" in head else ""

    with odd(tunnels(target.port, refuse)) as port:
        found = through(port, target.port, "--port", "30443", "--port", "6443")
    assert found.codes == {"PORT_BLOCKED"}
    assert "connect_ports: 443 30443" in found.found("PORT_BLOCKED")["remedy"]


# real programs that are no such proxy


def test_nginx_is_no_proxy(tmp_path: Path) -> None:
    web = programs.nginx(tmp_path, "")
    try:
        found = through(web.port, 443)
    finally:
        web.stop()
    assert found.codes == {"NOT_A_PROXY"}
    assert found.found("NOT_A_PROXY")["evidence"]["Server"].startswith("nginx")


def test_nginx_that_speaks_http2_only(tmp_path: Path) -> None:
    port = free_port()
    web = programs.nginx(tmp_path, f"listen 127.0.0.1:{port} http2;")
    try:
        found = through(port, 443)
    finally:
        web.stop()
    assert found.codes == {"HTTP2_ONLY"}


def test_a_tls_port_without_and_with_tls(tmp_path: Path) -> None:
    pki, port = Pki(tmp_path), free_port()
    file = pki.issue("proxy.pem", "localhost")
    web = programs.nginx(tmp_path, f"listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file};")
    try:
        assert through(port, 443).codes == {"PROXY_WANTS_TLS"}
        distrusted = through(port, 443, scheme="https")
    finally:
        web.stop()
    assert distrusted.codes == {"PROXY_CERTIFICATE"}


def test_a_sound_https_proxy_is_a_hint(target: Peer, tmp_path: Path, run_ferry: Any) -> None:
    pki, port = Pki(tmp_path), free_port()
    file = pki.issue("proxy.pem", "localhost", "127.0.0.1")
    run_ferry(f"""
listeners:
  door:
    bind: 127.0.0.1:{port}
    tls: {{certificates: {file}}}
    connect: {{egress_allow: [127.0.0.1, "::1"]}}
""")
    found = through(port, target.port, "--via-ca", pki.ca, scheme="https")
    assert found.codes == {"TLS_TO_PROXY"}
    assert found.exit_code == 0
