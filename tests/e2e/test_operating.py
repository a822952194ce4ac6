"""What an operator sees and does while it runs: runtime commands, sessions, metrics, health, names, timeouts."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer


def ask(path: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(command.encode() + b"\n")
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    return answer.decode()


@pytest.fixture
def farm(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], tmp_path: Path
) -> tuple[Ferry, int, Path, list[EchoServer]]:
    """Two servers, a runtime socket for administrators, a stats page."""
    servers, port, stats = [echo(), echo()], free_port(), free_port()
    api = tmp_path / "stats.sock"
    ferry = run_ferry(
        f"""
global
    log stdout format raw local0
    stats socket {api} level admin
    nbthread 2
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    balance roundrobin
    server one {servers[0].address} check inter 100ms
    server two {servers[1].address} check inter 100ms
frontend stats
    mode http
    bind 127.0.0.1:{stats}
    stats enable
    stats uri /stats
""",
        "haproxy.cfg",
    )
    until(lambda: ferry.server("two")["status"] == "UP" and ferry.server("one")["status"] == "UP", "both to be up")
    return ferry, port, api, servers


def talk(sock: socket.socket) -> bool:
    sock.sendall(b"x")
    return sock.recv(1) == b"x"


def test_a_disabled_server_gets_nothing_new(farm: tuple[Ferry, int, Path, list[EchoServer]]) -> None:
    ferry, port, api, servers = farm
    assert ask(api, "disable server b/one").strip() == ""
    until(lambda: ferry.server("one")["status"] == "MAINT", "it to be shown")
    before = servers[0].connections
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            assert talk(sock)
    assert "is going DOWN for maintenance" in ferry.log
    assert ask(api, "enable server b/one").strip() == ""
    until(lambda: ferry.server("one")["status"].startswith("UP"), "it to be back")
    through = servers[0].connections - before
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            assert talk(sock)
    assert servers[0].connections - before > through
    assert "b,one," in ask(api, "show stat")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_runtime_socket_with_a_port(run_ferry: Callable[..., Ferry], host: str) -> None:
    runtime, port = free_port(host), free_port()
    run_ferry(
        f"""
global
    stats socket {host}:{runtime} level operator
listen l
    mode tcp
    bind 127.0.0.1:{port}
    server s 127.0.0.1:9
""",
        "haproxy.cfg",
    )
    for command, answer in (("show stat", "l,FRONTEND,"), ("disable server l/s", "Permission denied")):
        with socket.create_connection((host, runtime), PATIENCE) as sock:
            sock.sendall(command.encode() + b"\n")
            assert answer in sock.makefile().read()


def test_a_runtime_socket_whose_address_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = f"""
global: {{runtime_sockets: {{address: "{address}"}}}}
listeners: {{l: {{bind: "unix@{tmp_path}/l", servers: "127.0.0.1:9"}}}}
"""
        ferry = Ferry(tmp_path / "ferry", text, "ferryman.yaml")
        until(lambda: ferry.process.poll() is not None, "it to give up")
        assert ferry.stop() == 1
        assert f"runtime socket: cannot listen on {address}: the address is in use" in ferry.log


def test_sessions_are_listed_and_can_be_ended(farm: tuple[Ferry, int, Path, list[EchoServer]]) -> None:
    ferry, port, api, _ = farm
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as sock,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as o,
    ):
        assert talk(sock)
        assert talk(o)
        listing = ask(api, "show sess")
        name = f"127.0.0.1:{sock.getsockname()[1]}"
        line = next(line for line in listing.splitlines() if name in line)
        number = line.split(":")[0]
        assert ask(api, f"shutdown session {number}").strip() == ""
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert talk(o), "the other lives"
    until(lambda: " K" in ferry.log, "the log to say it was killed")


def test_metrics_and_health_answer(farm: tuple[Ferry, int, Path, list[EchoServer]]) -> None:
    ferry, port, _, servers = farm
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock)
    until(lambda: ferry.listener("f")["counts"]["bytes_out"] == 1, "the byte to be counted")
    stats = ferry.listener("stats")["addresses"][0]
    with urllib.request.urlopen(f"http://{stats}/metrics") as page:
        text = page.read().decode()
    assert 'haproxy_frontend_bytes_out_total{proxy="f"} 1' in text
    with urllib.request.urlopen(f"http://{stats}/healthz") as page:
        assert page.read().strip() == b"ok"
    for server in servers:
        server.close()
    until(lambda: ferry.status()["backends"][0]["status"] == "DOWN", "both servers to be found gone")
    with pytest.raises(urllib.error.HTTPError) as degraded:
        urllib.request.urlopen(f"http://{stats}/healthz")
    assert degraded.value.code == 503
    degraded.value.close()
    assert "backend b has no server available!" in ferry.log


def test_a_name_is_resolved_and_the_address_that_answers_is_used(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], tmp_path: Path
) -> None:
    """The name has ::1 and 127.0.0.1; the server listens on one of them only."""
    if os.geteuid() != 0:
        pytest.skip("only root may give ferryman a hosts file of its own")
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 both.example.org\n127.0.0.1 both.example.org\n")
    server, port = echo("127.0.0.1"), free_port()
    ferry = run_ferry(
        f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    servers: ['both.example.org:{server.port}']\n",
        prefix=["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)],
    )
    until(lambda: len(ferry.status()["backends"][0]["servers"][0]["state"]["addresses"]) == 2, "the name")
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock)
    assert ferry.line()["retries"] == 0, "the second address was tried within the same attempt"


def test_an_unresolvable_name_is_no_reason_not_to_start(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(
        f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n"
        f"    backend: {{balance: first, servers: ['nowhere.invalid:1', '{server.address}'], retries: 1}}\n"
    )
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock)
    until(lambda: "nowhere.invalid" in ferry.log, "the log to name it")


@pytest.mark.parametrize(("limit", "code"), [("client_timeout", "cD"), ("tunnel", "sD")])
def test_silence_is_cut_and_the_log_says_whose(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], limit: str, code: str
) -> None:
    server, port = echo(), free_port()
    listener = "    client_timeout: 300ms\n" if limit == "client_timeout" else "    client_timeout: 20s\n"
    backend = ", tunnel_timeout: 300ms" if limit == "tunnel" else ""
    ferry = run_ferry(
        f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n{listener}"
        f"    backend: {{servers: ['{server.address}'], server_timeout: 20s{backend}}}\n"
    )
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock)
        assert sock.recv(1) == b""
    line = ferry.line()
    assert (line["code"], line["how"]) == (code, "timeout")
    assert line["times"]["total"] >= 300


def test_half_closed_tunnels_have_their_own_limit(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ferry = run_ferry(
            f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    client_timeout: 20s\n    client_fin_timeout: 300ms\n"
            f"    servers: ['127.0.0.1:{server.getsockname()[1]}']\n"
        )
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            connection, _ = server.accept()
            with connection:
                sock.sendall(b"last")
                sock.shutdown(socket.SHUT_WR)
                assert connection.recv(10) == b"last"
                assert connection.recv(10) == b"", "the half-close arrives"
                assert sock.recv(1) == b"", "and is cut when the other side says nothing more"
    assert ferry.line()["how"] == "timeout"


def test_a_server_that_speaks_first_is_heard_at_once(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(greeting=b"220 ready\r\n"), free_port()
    run_ferry(f"listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    servers: ['{server.address}']\n")
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert sock.recv(100) == b"220 ready\r\n"
