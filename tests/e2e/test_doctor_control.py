"""`ferryman doctor --control`: what stands in front of an API server, and what it does to Connection and Upgrade."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
import squid
from doctoring import Diagnosis, diagnose, far_end, haproxy, odd
from ferry import free_port
from pki import Pki

from ferryman.doctor.farend import FarEnd


def control(end: FarEnd, port: int, *more: str) -> Diagnosis:
    """The way to the far end as an API server that is reached at a port; the path itself is sound."""
    api = ["--control", f"https://localhost:{port}"]
    return diagnose(f"127.0.0.1:{end.port}", "--far-end", end.token.text(), *api, *more)


def upgrade(found: Diagnosis) -> set[str]:
    return found.codes - {"API_MITM"}


def nginx(folder: Path, end: FarEnd, port: int, *lines: str) -> programs.Peer:
    file = Pki(folder).issue("front.pem", "localhost")
    listen = f"listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file};"
    place = f"location / {{ proxy_pass https://127.0.0.1:{end.port}; {' '.join(lines)} }}"
    return programs.nginx(folder, f"{listen}\n{place}")


def test_an_api_server_that_is_reached_as_it_is() -> None:
    with far_end() as end:
        found = control(end, end.port)
    assert found.codes == set()
    assert found.row("api tls")["state"] == "ok"
    assert found.row("upgrade")["said"] == "SPDY gets through, WebSocket as well"


def test_a_tcp_balancer_is_no_obstacle(tmp_path: Path) -> None:
    port = free_port()
    with far_end() as end:
        text = f"listen api\n  mode tcp\n  bind 127.0.0.1:{port}\n  server api 127.0.0.1:{end.port}\n"
        balancer = haproxy(tmp_path, port, text)
        try:
            found = control(end, port)
        finally:
            balancer.stop()
    assert found.codes == set()


NGINX = {
    "as it comes": ("CONNECTION_HEADER_STRIPPED", []),
    "HTTP/1.0": ("CONNECTION_HEADER_STRIPPED", ["proxy_set_header Upgrade $http_upgrade;"]),
    "without Upgrade": ("UPGRADE_STRIPPED", ["proxy_http_version 1.1;", 'proxy_set_header Connection "upgrade";']),
    "for WebSocket alone": (
        "SPDY_REFUSED",
        ["proxy_http_version 1.1;", "proxy_set_header Upgrade websocket;", "proxy_set_header Connection $spdy;"],
    ),
    "as it should be": (
        "",
        [
            "proxy_http_version 1.1;",
            "proxy_set_header Upgrade $http_upgrade;",
            'proxy_set_header Connection "upgrade";',
        ],
    ),
}


@pytest.mark.parametrize("name", NGINX)
def test_nginx_in_front(name: str, tmp_path: Path) -> None:
    code, lines = NGINX[name]
    port = free_port()
    if name == "for WebSocket alone":
        lines = ['set $spdy ""; if ($http_upgrade = "websocket") { set $spdy "upgrade"; }', *lines]
    with far_end() as end:
        front = nginx(tmp_path, end, port, *lines)
        try:
            found = control(end, port)
        finally:
            front.stop()
    assert upgrade(found) == ({code} if code else set())
    assert found.row("api tls")["state"] == "unknown"
    if code:
        assert "proxy_set_header" in found.found(code)["remedy"] or code == "SPDY_REFUSED"


def haproxy_in_front(folder: Path, end: FarEnd, port: int, server: str, *lines: str) -> programs.Peer:
    file = Pki(folder).issue("front.pem", "localhost")
    rules = "".join(f"  {line}\n" for line in lines)
    return haproxy(
        folder,
        port,
        f"listen api\n  mode http\n  bind 127.0.0.1:{port} ssl crt {file}\n{rules}"
        f"  server api 127.0.0.1:{end.port} ssl verify none {server}\n",
    )


HAPROXY = {
    "as it comes": ("", "", []),
    "deletes Connection and Upgrade": (
        "CONNECTION_HEADER_STRIPPED", "", ["http-request del-header Upgrade", "http-request del-header Connection"]),
    "a page for people": (
        "MIDDLEBOX_ANSWER", "",
        ['http-request return status 200 content-type text/html string "<html>please log in</html>"']),
    "not authorized": (
        "API_AUTH", "",
        ["http-request return status 403 content-type application/json string "
         '"{\\"kind\\":\\"Status\\",\\"apiVersion\\":\\"v1\\",\\"code\\":403}"']),
    "HTTP/2 to the API server": ("L7_HTTP2_OR_REPLY_FILTER", "proto h2", []),
}  # fmt: skip


@pytest.mark.parametrize("name", HAPROXY)
def test_haproxy_in_front(name: str, tmp_path: Path) -> None:
    code, server, lines = HAPROXY[name]
    port = free_port()
    with far_end() as end:
        front = haproxy_in_front(tmp_path, end, port, server, *lines)
        try:
            found = control(end, port)
        finally:
            front.stop()
    assert upgrade(found) == ({code} if code else set()), found.row("upgrade")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "CONNECTION_HEADER_STRIPPED"),
        (["http_upgrade_request_protocols websocket allow all"], "SPDY_REFUSED"),
        (
            ["http_upgrade_request_protocols SPDY/3.1 allow all", "http_upgrade_request_protocols websocket allow all"],
            "",
        ),
    ],
)
def test_squid_that_bumps_the_way_to_the_api_server(lines: list[str], code: str, tmp_path: Path) -> None:
    import trustme

    with squid.folder() as place, far_end() as end:
        operator = trustme.CA()
        (place / "operator.pem").write_bytes(operator.cert_pem.bytes() + operator.private_key_pem.bytes())
        (place / "operator.pem").chmod(0o644)
        port = free_port()
        listen = f"http_port 127.0.0.1:{port} ssl-bump generate-host-certificates=on tls-cert={place}/operator.pem"
        rules = ["http_access allow all", "sslproxy_cert_error allow all", "ssl_bump bump all", *lines]
        running = squid.Squid(place, "\n".join([listen, *rules]), port)
        try:
            ca = Pki(tmp_path).ca
            via = f"http://127.0.0.1:{port}"
            found = control(end, end.port, "--control-via", via, "--control-ca", ca)
        finally:
            running.close()
    assert "API_MITM" in found.codes
    assert upgrade(found) == ({code} if code else set()), found.row("upgrade")


def behind_tls(folder: Path, answer: bytes) -> Callable[[socket.socket, str], None]:
    """A server of TLS that answers every request so, and closes once more comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Pki(folder).issue("odd.pem", "localhost"))

    def handler(plain: socket.socket, head: str) -> None:
        with context.wrap_socket(plain, server_side=True) as sock:
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            sock.sendall(answer)
            sock.recv(65536)

    return handler


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n", "101_NOT_TUNNELLED"),
        (
            b'HTTP/1.1 500 Error\r\nContent-Length: 44\r\n\r\nhttp2: invalid Upgrade request header: "SPDY"',
            "L7_HTTP2_OR_REPLY_FILTER",
        ),
    ],
)
def test_a_front_that_does_not_switch(answer: bytes, code: str, tmp_path: Path) -> None:
    with far_end() as end, odd(behind_tls(tmp_path, answer), wait=False) as port:
        found = control(end, port)
    assert upgrade(found) == {code}


def test_the_authority_decides_who_shows_the_certificate(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with far_end() as end:
        pki, port = Pki(tmp_path), free_port()
        file = pki.issue("front.pem", "localhost")
        text = (
            f"listen api\n  mode http\n  bind 127.0.0.1:{port} ssl crt {file}\n"
            f"  server api 127.0.0.1:{end.port} ssl verify none\n"
        )
        front = haproxy(tmp_path, port, text)
        try:
            good = control(end, port, "--control-ca", pki.ca)
            bad = control(end, port, "--control-ca", Pki(other).ca)
        finally:
            front.stop()
    assert good.row("api tls")["state"] == "ok"
    assert bad.found("API_MITM")["evidence"]["issuer"]


def test_an_api_server_that_is_not_there() -> None:
    with far_end() as end:
        found = control(end, free_port())
    assert found.codes == {"API_UNREACHED"}
