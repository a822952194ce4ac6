"""`ferryman doctor` at HAProxy, Squid, Traffic Server, stunnel, nginx and rsync as somebody has misconfigured them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import programs
import pytest
from doctoring import Diagnosis, diagnose, far_end, haproxy, opens, rsync_target
from ferry import free_port, until
from namespaces import Network, demand
from pki import Pki
from programs import Peer
from trafficserver import TrafficServer

from ferryman.doctor.farend import FarEnd

FERRYMAN = [sys.executable, "-m", "ferryman"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    """rsync behind stunnel."""
    folder = tmp_path_factory.mktemp("target")
    peer = rsync_target(folder, Pki(folder), "localhost")
    at_the_end.callback(peer.daemon.stop)  # type: ignore[attr-defined]
    at_the_end.callback(peer.stop)
    return peer


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    """A sound proxy."""
    peer = programs.tinyproxy(tmp_path_factory.mktemp("tinyproxy"))
    at_the_end.callback(peer.stop)
    return peer


def through(port: int, target: int, *more: str, user: str = "", scheme: str = "http") -> Diagnosis:
    at = f"{user}@" if user else ""
    return diagnose(f"localhost:{target}", "--via", f"{scheme}://{at}127.0.0.1:{port}", *more)


BASIC = 'hdr Proxy-Authenticate "Basic realm=proxy"'
IN_FRONT = {
    "no client is let in": ({"ACL_RESET"}, ["tcp-request connection reject"]),
    "a web server's way to ask": (
        {"NONSTANDARD_AUTH"}, ['http-request return status 401 hdr WWW-Authenticate "Basic realm=proxy"']),
    "Basic by its letters": (
        {"CASE_SENSITIVE_SCHEME"},
        [f'http-request return status 407 {BASIC} unless {{ req.hdr(Proxy-Authorization) -m beg "Basic " }}']),
    "gone": ({"CONNECT_REFUSED"}, ["http-request deny deny_status 410"]),
    "hints before the answer": ({"INTERIM_ANSWER", "OPEN_PROXY"}, ['http-request early-hint Link "</x>; rel=preload"']),
    "silently dropped": ({"CLOSED_WITHOUT_ANSWER"}, ["tcp-request inspect-delay 5s", "tcp-request content reject"]),
    "a tarpit": ({"NO_ANSWER"}, ["timeout tarpit 60s", "http-request tarpit"]),
    "too many": ({"PROXY_BUSY"}, ["http-request deny deny_status 429"]),
    "its own page for all": (
        {"BYTES_AFTER_200", "EARLY_200", "OPEN_PROXY"},
        ['http-request return status 200 content-type text/plain string "welcome"']),
}  # fmt: skip
"""What is found, and the lines of HAProxy in front of a sound proxy."""


@pytest.mark.parametrize("name", IN_FRONT)
def test_haproxy_in_front_of_a_proxy(name: str, target: Peer, behind: Peer, tmp_path: Path) -> None:
    codes, lines = IN_FRONT[name]
    port = free_port()
    text = "".join(f"  {line}\n" for line in lines)
    front = haproxy(
        tmp_path,
        port,
        f"listen front\n  mode http\n  bind 127.0.0.1:{port}\n{text}  server proxy 127.0.0.1:{behind.port}\n",
    )
    try:
        found = through(port, target.port, "--timeout", "2", user="walter:right")
    finally:
        front.stop()
    assert found.codes == codes, found.output


# proxies


def test_traffic_server_allows_only_its_connect_ports(target: Peer, tmp_path: Path) -> None:
    port = free_port()
    records = f"""
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.http.connect_ports STRING 443 {target.port}
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 0
"""
    allow = "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n"
    running = TrafficServer(tmp_path / "ats", {"records.config": records, "ip_allow.yaml": allow})
    try:
        until(lambda: opens(port, target.port), "it to have read its names")
        sound = through(port, target.port)
        found = through(port, target.port, "--port", "6443")
    finally:
        running.close()
    assert sound.codes == set(), sound.output
    assert found.codes == {"PORT_BLOCKED"}
    assert "connect_ports: 443 6443" in found.found("PORT_BLOCKED")["remedy"]


def test_tinyproxy_before_a_target_that_refuses(behind: Peer) -> None:
    assert through(behind.port, free_port()).codes == {"UPSTREAM_FAILED"}


def test_a_proxy_that_asks_nobody_for_credentials(target: Peer, behind: Peer) -> None:
    found = through(behind.port, target.port, user="walter:right")
    assert found.codes == {"OPEN_PROXY"}
    assert found.exit_code == 0


def test_rsync_in_the_place_of_the_proxy(target: Peer) -> None:
    daemon: Peer = target.daemon  # type: ignore[attr-defined]
    found = through(daemon.port, target.port)
    assert found.codes == {"NOT_HTTP"}
    assert "@RSYNCD" in found.found("NOT_HTTP")["said"]


def test_a_proxy_behind_stunnel_is_a_hint(target: Peer, behind: Peer, tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    front = programs.stunnel(
        tmp_path, "front", f"connect = 127.0.0.1:{behind.port}\ncert = {pki.issue('front.pem', '127.0.0.1')}"
    )
    try:
        found = through(front.port, target.port, "--via-ca", pki.ca, scheme="https")
        plain = through(front.port, target.port)
    finally:
        front.stop()
    assert found.codes == {"TLS_TO_PROXY"}
    assert plain.codes == {"PROXY_WANTS_TLS"}


def test_nginx_answers_with_a_status_line_of_its_own(target: Peer, tmp_path: Path) -> None:
    module, port = Path("/usr/lib/nginx/modules/ngx_stream_module.so"), free_port()
    if not module.exists():
        pytest.skip(f"there is no {module}")
    (tmp_path / "conf").write_text(
        f"load_module {module}; daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f'stream {{ server {{ listen 127.0.0.1:{port}; return "HTTP/2 200\r\n\r\n"; }} }}\n'
    )
    command = [programs.program("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "conf"), "-e", "stderr"]
    server = Peer(tmp_path, port, command)
    try:
        found = through(port, target.port, "--timeout", "2")
    finally:
        server.stop()
    assert "STATUS_LINE_REFUSED" in found.codes, found.output


# routers and targets


def test_a_router_that_lets_silent_connections_go(tmp_path: Path) -> None:
    port = free_port()
    with far_end() as end:
        router = haproxy(
            tmp_path,
            port,
            f"listen router\n  mode tcp\n  bind 127.0.0.1:{port}\n  timeout client 5s\n  timeout server 5s\n"
            f"  server far 127.0.0.1:{end.port}\n",
        )
        try:
            found = diagnose(f"localhost:{port}", "--far-end", end.token.text(), "--idle", "0.4,60")
        finally:
            router.stop()
    assert found.codes == {"IDLE_CUT"}
    assert [row["state"] for row in found.data["checks"] if row["probe"] == "idle"] == ["ok", "found"]


def test_a_router_that_gives_up_on_a_target_that_reads_slowly(tmp_path: Path) -> None:
    port = free_port()
    with far_end() as end:
        router = haproxy(
            tmp_path,
            port,
            f"listen router\n  mode tcp\n  bind 127.0.0.1:{port}\n  timeout client 3s\n  timeout server 3s\n"
            f"  server far 127.0.0.1:{end.port}\n",
        )
        try:
            found = diagnose(f"localhost:{port}", "--far-end", end.token.text(), "--throughput", "14")
        finally:
            router.stop()
    assert found.codes == {"TRANSFER_CUT"}
    assert "did not read for 7 s" in found.found("TRANSFER_CUT")["said"]


def test_a_firewall_that_lets_one_version_of_tls_through(tmp_path: Path) -> None:
    port = free_port()
    only_13 = "{ req.payload(0,0),hex -m sub 002B0003020304 }"  # supported_versions
    with far_end() as end:
        firewall = haproxy(
            tmp_path,
            port,
            f"listen firewall\n  mode tcp\n  bind 127.0.0.1:{port}\n  tcp-request inspect-delay 5s\n"
            f"  tcp-request content reject if {{ req.ssl_hello_type 1 }} {only_13}\n"
            f"  tcp-request content accept if {{ req.len gt 0 }}\n  server far 127.0.0.1:{end.port}\n",
        )
        try:
            found = diagnose(f"localhost:{port}", "--far-end", end.token.text())
        finally:
            firewall.stop()
    assert "TLS_VERSION_BLOCKED" in found.codes


def test_a_target_that_is_frozen(tmp_path: Path) -> None:
    peer = rsync_target(tmp_path, Pki(tmp_path), "localhost")
    daemon: Peer = peer.daemon  # type: ignore[attr-defined]
    try:
        os.kill(daemon.process.pid, signal.SIGSTOP)
        without_rsync = diagnose(f"localhost:{peer.port}", "--timeout", "2")
        os.kill(peer.process.pid, signal.SIGSTOP)
        without_tls = diagnose(f"localhost:{peer.port}", "--timeout", "2")
    finally:
        for each in (daemon, peer):
            os.kill(each.process.pid, signal.SIGCONT)
            each.stop()
    assert without_rsync.codes == {"RSYNC_SILENT"}
    assert without_tls.codes == {"TLS_SILENT"}


def test_a_daemon_that_is_slow_to_greet_is_a_daemon(tmp_path: Path) -> None:
    peer = rsync_target(tmp_path, Pki(tmp_path), "localhost")
    daemon: Peer = peer.daemon  # type: ignore[attr-defined]
    os.kill(daemon.process.pid, signal.SIGSTOP)

    def goes_on() -> None:  # once it was spoken to, since it did not greet
        until(lambda: asked(daemon.port), "somebody to speak first")
        os.kill(daemon.process.pid, signal.SIGCONT)

    thread = threading.Thread(target=goes_on, daemon=True)
    thread.start()
    try:
        found = diagnose(f"localhost:{peer.port}", "--module", "nothing")
    finally:
        thread.join()
        peer.stop()
        daemon.stop()
    assert found.codes == {"RSYNC_ERROR"}, found.output  # it was asked for the module all the same


def asked(port: int) -> bool:
    """Whether bytes wait at a connection to this port."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[3] == "01" and int(row[1][-4:], 16) == port and int(row[4][-8:], 16) for row in rows)


def test_a_target_that_wants_a_certificate_while_tls_begins(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    peer = rsync_target(tmp_path, pki, "localhost", f"verifyChain = yes\nCAfile = {pki.ca}\nsslVersionMax = TLSv1.2")
    try:
        found = diagnose(f"localhost:{peer.port}")
    finally:
        peer.stop()
        peer.daemon.stop()  # type: ignore[attr-defined]
    assert found.codes == {"TLS_REFUSED"}
    assert "--cert" in found.found("TLS_REFUSED")["remedy"]


def test_nginx_refuses_the_name(tmp_path: Path) -> None:
    port = free_port()
    web = programs.nginx(tmp_path, f"listen 127.0.0.1:{port} ssl; ssl_reject_handshake on;")
    try:
        found = diagnose(f"localhost:{port}")
    finally:
        web.stop()
    assert found.codes == {"ROUTE_NOT_FOUND"}
    assert "alert" in found.found("ROUTE_NOT_FOUND")["said"]


def test_a_token_at_a_real_target(target: Peer) -> None:
    with far_end() as end:
        found = diagnose(f"localhost:{target.port}", "--far-end", end.token.text(), "--timeout", "5")
    assert found.codes == {"CERTIFICATE_UNEXPECTED", "FAR_END_MISSING"}


def test_a_router_that_resets_what_it_has_not_sent_yet(tmp_path: Path) -> None:
    demand()
    path, port = programs.program("haproxy"), free_port()
    (tmp_path / "haproxy.cfg").write_text(f"""
defaults
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen router
  mode tcp
  bind 127.0.0.1:{port}
  server far 10.81.2.2:6443
  option nolinger
""")
    inside = ["ip", "netns", "exec"]
    with Network() as network, ExitStack() as stack:
        shape = "qdisc add dev eth0 root tbf rate 400kbit burst 2k latency 10s"
        slow = ["tc", "-n", network.client, *shape.split()]
        if (done := subprocess.run(slow, capture_output=True, text=True, check=False)).returncode:
            pytest.skip(f"a line cannot be made slow: {done.stderr}")
        serve = [*inside, network.server, *FERRYMAN, "doctor", "serve", "--listen", "10.81.2.2:6443"]
        end = stack.enter_context(subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        stack.callback(end.kill)
        assert end.stdout is not None
        token = end.stdout.readline().strip()
        router = [*inside, network.client, path, "-db", "-f", str(tmp_path / "haproxy.cfg")]
        stack.callback(stack.enter_context(subprocess.Popen(router)).kill)
        until(lambda: network.inside(network.client, lambda: listens(port)), "HAProxy to listen")
        command = [*FERRYMAN, "doctor", f"127.0.0.1:{port}", "--far-end", token, "--json"]
        done = network.run(network.client, *command)
        found = Diagnosis(done.returncode, json.loads(done.stdout), done.stdout)
    assert "HALF_CLOSE_LOST" in found.codes, found.output


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


# the control path


def test_nginx_says_101_and_goes_on_with_http(tmp_path: Path) -> None:
    port = free_port()
    file = Pki(tmp_path).issue("front.pem", "localhost")
    front = programs.nginx(
        tmp_path,
        f"listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file};\n"
        "location / { return 101; }",
    )
    try:
        with far_end() as end:
            found = control(end, port)
    finally:
        front.stop()
    assert found.codes == {"101_NOT_TUNNELLED"}, found.output


def control(end: FarEnd, port: int) -> Diagnosis:
    return diagnose(f"127.0.0.1:{end.port}", "--far-end", end.token.text(), "--control", f"https://localhost:{port}")
