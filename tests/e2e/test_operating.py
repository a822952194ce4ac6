"""What an operator sees and does while it runs: runtime commands, sessions, metrics, health, names, timeouts."""

from __future__ import annotations

import os
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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


Farm = tuple[Ferry, int, Path, list[EchoServer]]
"""ferryman, the port of its frontend, a runtime socket for administrators, two servers."""


@pytest.fixture(scope="module")
def shared_farm(
    run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> Farm:
    servers, port, stats = [EchoServer(), EchoServer()], free_port(), free_port()
    for server in servers:
        at_the_end.callback(server.close)
    api = tmp_path_factory.mktemp("api") / "stats.sock"
    ferry = run_shared_ferry(
        f"""
global
    log stdout format raw local0
    stats socket {api} level admin
    nbthread 2
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 1m
    timeout client 5m
    timeout server 5m
    timeout check 1m
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
    return ferry, port, api, servers


@pytest.fixture
def farm(shared_farm: Farm) -> Farm:
    """All of it, with both servers up."""
    ferry = shared_farm[0]
    until(lambda: ferry.server("two")["status"] == "UP" and ferry.server("one")["status"] == "UP", "both to be up")
    return shared_farm


def talk(sock: socket.socket) -> bool:
    sock.sendall(b"x")
    return sock.recv(1) == b"x"


def test_a_disabled_server_gets_nothing_new(farm: Farm) -> None:
    ferry, port, api, _ = farm

    def got() -> int:
        """Of six clients, how many the server got."""
        before = ferry.server("one")["counts"]["sessions"]
        for _ in range(6):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                assert talk(sock)
        return int(ferry.server("one")["counts"]["sessions"] - before)

    assert got() > 0
    assert ask(api, "disable server b/one").strip() == ""
    until(lambda: ferry.server("one")["status"] == "MAINT", "it to be shown")
    until(lambda: got() == 0, "the workers to hear of it")
    assert got() == 0
    assert "is going DOWN for maintenance" in ferry.log
    assert ask(api, "enable server b/one").strip() == ""
    until(lambda: ferry.server("one")["status"].startswith("UP"), "it to be back")
    until(lambda: got() > 0, "the workers to hear of it")
    assert "b,one," in ask(api, "show stat")


def test_runtime_sockets_with_a_port(run_ferry: Callable[..., Ferry]) -> None:
    four, six, port = free_port(), free_port("::1"), free_port()
    run_ferry(
        f"""
global
    stats socket 127.0.0.1:{four} level operator
    stats socket ::1:{six} level operator
listen l
    mode tcp
    bind 127.0.0.1:{port}
    server s 127.0.0.1:9
""",
        "haproxy.cfg",
    )
    for address in (("127.0.0.1", four), ("::1", six)):
        for command, answer in (("show stat", "l,FRONTEND,"), ("disable server l/s", "Permission denied")):
            with socket.create_connection(address, PATIENCE) as sock:
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


def test_sessions_are_listed_and_can_be_ended(farm: Farm) -> None:
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


class Silences:
    """A listener for each limit, and servers behind them."""

    def __init__(self, run: Callable[..., Ferry], end: ExitStack) -> None:
        echo, greeter = EchoServer(), EchoServer(greeting=b"220 ready\r\n")
        end.callback(echo.close)
        end.callback(greeter.close)
        self.server = end.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server.settimeout(PATIENCE)
        quiet = f"127.0.0.1:{self.server.getsockname()[1]}"
        listeners = {
            "client": f"client_timeout: 300ms, backend: {{servers: '{echo.address}', server_timeout: 5m}}",
            "tunnel": f"client_timeout: 5m, backend: {{servers: '{echo.address}', server_timeout: 5m, "
            "tunnel_timeout: 300ms}",
            "fin": f"client_timeout: 5m, client_fin_timeout: 300ms, servers: '{quiet}'",
            "greeter": f"servers: '{greeter.address}'",
        }
        self.ports = {name: free_port() for name in listeners}
        text = "".join(f"  {name}: {{bind: '127.0.0.1:{self.ports[name]}', {listeners[name]}}}\n" for name in listeners)
        self.ferry = run(f"listeners:\n{text}")

    def connect(self, listener: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE)

    def line(self, listener: str) -> dict[str, Any]:
        return self.ferry.line(lambda line: line["listener"] == listener)


@pytest.fixture(scope="module")
def silences(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> Silences:
    return Silences(run_shared_ferry, at_the_end)


@pytest.mark.parametrize(("limit", "code"), [("client", "cD"), ("tunnel", "sD")])
def test_silence_is_cut_and_the_log_says_whose(silences: Silences, limit: str, code: str) -> None:
    begun = time.monotonic()
    with silences.connect(limit) as sock:
        sock.sendall(b"x")
        said = b"".join(iter(lambda: sock.recv(100), b""))
        assert said in (b"x", b""), "nothing comes back if it took too long to say anything"
        assert time.monotonic() - begun > 0.3
    line = silences.line(limit)
    assert (line["code"], line["how"]) == (code, "timeout")
    assert line["times"]["total"] >= 300


def test_half_closed_tunnels_have_their_own_limit(silences: Silences) -> None:
    with silences.connect("fin") as sock:
        connection, _ = silences.server.accept()
        with connection:
            sock.sendall(b"last")
            sock.shutdown(socket.SHUT_WR)
            assert connection.recv(10) == b"last"
            assert connection.recv(10) == b"", "the half-close arrives"
            assert sock.recv(1) == b"", "and is cut when the other side says nothing more"
    assert silences.line("fin")["how"] == "timeout"


def test_a_server_that_speaks_first_is_heard_at_once(silences: Silences) -> None:
    with silences.connect("greeter") as sock:
        assert sock.recv(100) == b"220 ready\r\n"


def test_metrics_and_health_answer(farm: Farm) -> None:
    ferry, port, _, servers = farm
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock)
    until(lambda: ferry.listener("f")["counts"]["sessions_now"] == 0, "all to be counted")
    counted = ferry.listener("f")["counts"]["bytes_out"]
    assert counted > 0
    stats = ferry.listener("stats")["addresses"][0]
    with urllib.request.urlopen(f"http://{stats}/metrics") as page:
        text = page.read().decode()
    assert f'haproxy_frontend_bytes_out_total{{proxy="f"}} {counted}' in text
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
