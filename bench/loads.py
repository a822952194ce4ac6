"""The workloads: what is sent through a proxy, and the servers behind it.

wrk makes the requests, iperf3 the bulk, this process itself the idle tunnels; nginx answers. All of it runs on the
load's CPU. wrk's clock starts when it sends a request, so a latency here is: accept to dial to answer, without the TCP
(and, for `sni`, without the TLS) handshake.
"""

import contextlib
import datetime
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.peers import SNI_NAME, found, nginx_preamble
from bench.process import BenchError, free_port, running

AT_ONCE = 32  # connections in flight when every request has its own
BUSY_SECONDS = 10.0
_WRK_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load generator saw: operations done in `seconds`; latencies in seconds where it has them."""

    operations: float
    seconds: float
    errors: int = 0
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Servers:
    """The ports of the servers behind the proxies."""

    http: int
    tls: int
    iperf3: int


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load. `run(port, seconds, threads)` puts it on the proxy at that port."""

    name: str
    title: str
    operation: str
    by_name: bool
    target: Callable[[Servers], int]
    run: Callable[[int, int, int], Outcome]


def parse_wrk(output: str) -> Outcome:
    """Read what `wrk --latency` prints; raises BenchError when it is not that."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h)", output)
    shares = dict(re.findall(r"^\s+(50|99)%\s+(\S+)\s*$", output, re.MULTILINE))
    if not total or shares.keys() != {"50", "99"}:
        raise BenchError(f"wrk printed no result: {output[-400:].strip()}")
    errors = re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)", output)
    return Outcome(
        operations=int(total[1]),
        seconds=float(total[2]) * _WRK_UNITS[total[3]],
        errors=sum(map(int, errors)),
        p50=_wrk_seconds(shares["50"]),
        p99=_wrk_seconds(shares["99"]),
    )


def _wrk_seconds(text: str) -> float:
    number = text.rstrip("ushm")
    return float(number) * _WRK_UNITS[text[len(number) :]]


def parse_iperf3(output: str) -> Outcome:
    """Read what `iperf3 --json` prints; an operation is one gigabyte (10⁹ bytes) that arrived."""
    report = json.loads(output)
    if "error" in report:
        raise BenchError(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    return Outcome(operations=received["bytes"] / 1e9, seconds=received["seconds"])


def _output(command: list[str], limit: float) -> str:
    """Run a load generator to its end, `limit` seconds at most; returns what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"{command[0]} did not end within {limit:.0f} s") from late
    if not done.stdout:
        raise BenchError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def _wrk(url: str, connections: int, seconds: int, threads: int, *headers: str) -> Outcome:
    asked = [argument for header in headers for argument in ("-H", header)]
    threads = min(threads, connections)
    command = ["wrk", "--latency", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", *asked, url]
    return parse_wrk(_output(command, seconds + 15))


def _plain(port: int, seconds: int, threads: int) -> Outcome:
    return _wrk(f"http://127.0.0.1:{port}/", AT_ONCE, seconds, threads, "Connection: close")


def _sni(port: int, seconds: int, threads: int) -> Outcome:
    return _wrk(f"https://{SNI_NAME}:{port}/", AT_ONCE, seconds, threads, "Connection: close")


def _keep_alive(connections: int) -> Callable[[int, int, int], Outcome]:
    return lambda port, seconds, threads: _wrk(f"http://127.0.0.1:{port}/", connections, seconds, threads)


def _bulk(streams: int) -> Callable[[int, int, int], Outcome]:
    def run(port: int, seconds: int, _threads: int) -> Outcome:
        command = ["iperf3", "--json", "-c", "127.0.0.1", "-p", str(port), "-P", str(streams), "-t", str(seconds)]
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            output = _output(command, seconds + 15)
            if "server is busy" not in output or time.monotonic() > deadline:
                return parse_iperf3(output)
            time.sleep(0.1)  # the server has not seen the end of the test before yet

    return run


WORKLOADS = (
    Workload("plain", f"a connection per request, {AT_ONCE} at a time", "connection", False, lambda s: s.http, _plain),
    Workload(
        "sni", f"a TLS connection per request by SNI, {AT_ONCE} at a time", "connection", True, lambda s: s.tls, _sni
    ),
    Workload("keepalive1", "keep-alive requests on 1 connection", "request", False, lambda s: s.http, _keep_alive(1)),
    Workload(
        "keepalive64", "keep-alive requests on 64 connections", "request", False, lambda s: s.http, _keep_alive(64)
    ),
    Workload("bulk1", "bulk, 1 stream", "GB", False, lambda s: s.iperf3, _bulk(1)),
    Workload("bulk4", "bulk, 4 streams", "GB", False, lambda s: s.iperf3, _bulk(4)),
)


@contextlib.contextmanager
def servers(folder: Path, cpus: set[int]) -> Iterator[Servers]:
    """Run the servers behind the proxies until the block ends."""
    ports = Servers(http=free_port(), tls=free_port(), iperf3=free_port())
    _certificate(folder)
    config = folder / "nginx.conf"
    config.write_text(_server_config(folder, ports, len(cpus)))
    nginx = [found("nginx"), "-p", str(folder), "-c", str(config)]
    iperf3 = ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(ports.iperf3)]
    with (
        running(nginx, cpus, (ports.http, ports.tls), folder / "nginx.log"),
        running(iperf3, cpus, (ports.iperf3,), folder / "iperf3.log"),
    ):
        yield ports


def _server_config(folder: Path, ports: Servers, workers: int) -> str:
    bodies = "\n    ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
{nginx_preamble(folder, workers, 1000)}
http {{
    access_log off;
    {bodies}
    keepalive_requests 1000000000;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    ssl_session_cache off;
    ssl_session_tickets off;
    server {{
        listen 127.0.0.1:{ports.http} backlog=4096;
        listen 127.0.0.1:{ports.tls} ssl backlog=4096;
        location / {{ return 200 "across\\n"; }}
    }}
}}
"""


def _certificate(folder: Path) -> None:
    """Write server.pem: an ECDSA P-256 key and its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SNI_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SNI_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)


def open_tunnels(port: int, server: socket.socket, count: int, held: contextlib.ExitStack) -> None:
    """Open `count` connections through the proxy at `port` to the listening `server`, exchange a few bytes each way on
    every one, and leave them idle; `held` closes them. Raises BenchError when one does not come up."""
    server.settimeout(10)
    for number in range(count):
        try:
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(b"ping")
            accepted = held.enter_context(server.accept()[0])
            accepted.settimeout(10)
            there = accepted.recv(16)
            accepted.sendall(b"pong")
            back = client.recv(16)
        except OSError as error:
            raise BenchError(f"tunnel {number + 1} of {count}: {error}") from error
        if (there, back) != (b"ping", b"pong"):
            raise BenchError(f"tunnel {number + 1} of {count}: sent ping and pong, got {there!r} and {back!r}")
