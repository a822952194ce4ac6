"""The workloads: what is sent through a proxy, and the servers behind it.

wrk makes the requests, iperf3 the bulk, this process itself the idle tunnels and what needs clients of another kind
(bench.clients); nginx answers. All of it runs on the load's CPU. wrk's clock starts when it sends a request, so a
latency here is: accept to dial to answer, without the TCP (and, where there is TLS, without the TLS) handshake.
"""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from operator import attrgetter
from pathlib import Path

from bench import certificates, clients
from bench.peers import SNI_NAME, Job, Kind, found, nginx_preamble
from bench.process import BenchError, free_port, running

AT_ONCE = 32  # connections in flight when every request has its own
BUSY_SECONDS = 10.0
BULK_SIZE = 32 << 20  # of the file that is downloaded again and again
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
    names: int  # TLS with a certificate of its own for every name
    proxied: int  # HTTP behind a PROXY header
    iperf3: int


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load. `run(job, seconds, threads)` puts it on a proxy with that job.

    `peers` names the proxies it is for; the second is the one that the others are compared with in the table. Where it
    has a `scene`, it is one of bench.__main__.SCENES.
    """

    name: str
    title: str
    operation: str
    kind: Kind
    peers: tuple[str, ...]
    target: Callable[[Servers], int]
    run: Callable[[Job, int, int], Outcome]
    scene: str = ""


@dataclass(frozen=True, slots=True)
class Idle:
    """Tunnels that do nothing, for their memory; like a Workload."""

    name: str
    kind: Kind
    peers: tuple[str, ...]


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


def _wrk(job: Job, url: str, connections: int, seconds: int, threads: int, *headers: str) -> Outcome:
    asked = [argument for header in headers for argument in ("-H", header)]
    threads = min(threads, connections)
    command = ["wrk", "--latency", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", *asked, url]
    return parse_wrk(_output([*job.place.at_client, *command], seconds + 15))


def _plain(job: Job, seconds: int, threads: int) -> Outcome:
    return _wrk(job, f"http://{job.door}/", AT_ONCE, seconds, threads, "Connection: close")


def _one_by_one(job: Job, seconds: int, threads: int) -> Outcome:
    return _wrk(job, f"http://{job.door}/", 1, seconds, threads, "Connection: close")


def _sni(job: Job, seconds: int, threads: int) -> Outcome:
    return _wrk(job, f"https://{SNI_NAME}:{job.listen}/", AT_ONCE, seconds, threads, "Connection: close")


def _keep_alive(connections: int) -> Callable[[Job, int, int], Outcome]:
    return lambda job, seconds, threads: _wrk(job, f"http://{job.door}/", connections, seconds, threads)


def _trusting(job: Job, authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(job.certificates / authority))


def _tls_full(job: Job, seconds: int, _threads: int) -> Outcome:
    context = _trusting(job, certificates.SERVER_AUTHORITY)
    return Outcome(*clients.crowd((clients.terminated(job, context, SNI_NAME) for _ in repeat(None)), AT_ONCE, seconds))


def _tls_resumed(job: Job, seconds: int, _threads: int) -> Outcome:
    context = _trusting(job, certificates.SERVER_AUTHORITY)
    kept: list[ssl.SSLSession] = []
    clients.crowd(iter([clients.terminated(job, context, SNI_NAME, kept)]), 1, seconds)
    if not kept:
        raise BenchError("gave no session to resume")
    talks = (clients.terminated(job, context, SNI_NAME, kept) for _ in repeat(None))
    return Outcome(*clients.crowd(talks, AT_ONCE, seconds))


def _tls_keep_alive(job: Job, seconds: int, threads: int) -> Outcome:
    context = _trusting(job, certificates.SERVER_AUTHORITY)
    clients.crowd(
        iter([clients.terminated(job, context, SNI_NAME)]), 1, seconds
    )  # whose TLS is looked at, unlike wrk's
    return _wrk(job, f"https://{SNI_NAME}:{job.listen}/", 64, seconds, threads)


def _tls_bulk(job: Job, seconds: int, _threads: int) -> Outcome:
    context = _trusting(job, certificates.SERVER_AUTHORITY)
    taken, passed = clients.download_secured(job, seconds, context, SNI_NAME)
    return Outcome(taken / 1e9, passed)


def _bulk(streams: int) -> Callable[[Job, int, int], Outcome]:
    def run(job: Job, seconds: int, _threads: int) -> Outcome:
        command = ["iperf3", "--json", "-c", job.place.proxy, "-p", str(job.listen)]
        command = [*job.place.at_client, *command, "-P", str(streams), "-t", str(seconds)]
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            output = _output(command, seconds + 15)
            if "server is busy" not in output or time.monotonic() > deadline:
                return parse_iperf3(output)
            time.sleep(0.1)  # the server has not seen the end of the test before yet

    return run


def _request(job: Job, seconds: int, _threads: int) -> Outcome:
    return Outcome(*clients.crowd((clients.request(job) for _ in repeat(None)), AT_ONCE, seconds))


def _connect_bulk(job: Job, seconds: int, _threads: int) -> Outcome:
    taken, passed = clients.download(job, seconds)
    return Outcome(taken / 1e9, passed)


def _bump(job: Job, seconds: int, _threads: int) -> Outcome:
    return _opened(job, repeat(SNI_NAME), seconds)


_names = cycle(range(certificates.COUNT))  # goes on, so that a warm-up uses other names than the measured load


def _mint(job: Job, seconds: int, _threads: int) -> Outcome:
    names = certificates.names(job.certificates)
    return _opened(job, (names[number] for number in islice(_names, certificates.COUNT // 2)), seconds)


def _opened(job: Job, names: Iterable[str], seconds: int) -> Outcome:
    """A TLS connection for each of the names, with the proxy's certificate."""
    context = _trusting(job, certificates.PROXY_AUTHORITY)
    return Outcome(*clients.crowd((clients.request(job, context, name) for name in names), AT_ONCE, seconds))


FORWARDERS = ("ferryman", "haproxy", "nginx")
TERMINATORS = ("ferryman", "haproxy", "nginx", "stunnel", "hitch")
GUESTS = ("ferryman", "ferryman-tcp")
TO_PLAIN = ("ferryman", "ferryman-tcp", "haproxy")
ASKED = ("ferryman", "squid", "tinyproxy", "ferryman-tcp")
CARRYING = ("ferryman", "ferryman-tcp", "squid", "tinyproxy")
BUMPING = ("ferryman", "squid")

_http, _tls, _iperf3 = attrgetter("http"), attrgetter("tls"), attrgetter("iperf3")
_each = f"{AT_ONCE} at a time"
WORKLOADS = (
    Workload("plain", f"a connection per request, {_each}", "connection", "forward", FORWARDERS, _http, _plain),
    Workload("sni", f"a TLS connection per request, {_each}", "connection", "by_name", FORWARDERS, _tls, _sni),
    Workload("keepalive1", "keep-alive, 1 connection", "request", "forward", FORWARDERS, _http, _keep_alive(1)),
    Workload("keepalive64", "keep-alive, 64 connections", "request", "forward", FORWARDERS, _http, _keep_alive(64)),
    Workload("bulk1", "bulk, 1 stream", "GB", "forward", FORWARDERS, _iperf3, _bulk(1)),
    Workload("bulk4", "bulk, 4 streams", "GB", "forward", FORWARDERS, _iperf3, _bulk(4)),
    Workload(
        "tls-full", f"TLS ends here, full handshakes, {_each}", "handshake", "terminate", TERMINATORS, _http, _tls_full
    ),
    Workload(
        "tls-resumed", f"TLS ends here, resumed, {_each}", "handshake", "terminate", TERMINATORS, _http, _tls_resumed
    ),
    Workload(
        "tls-keepalive",
        "TLS ends here, keep-alive, 64 connections",
        "request",
        "terminate",
        TERMINATORS,
        _http,
        _tls_keep_alive,
    ),
    Workload("tls-bulk", "TLS ends here, a download", "GB", "terminate", TERMINATORS, _http, _tls_bulk),
    Workload("proxy-in", f"PROXY header from the client, {_each}", "connection", "proxy_in", TO_PLAIN, _http, _request),
    Workload(
        "proxy-out",
        f"PROXY header for the server, {_each}",
        "connection",
        "proxy_out",
        TO_PLAIN,
        attrgetter("proxied"),
        _plain,
    ),
    Workload("transparent", f"TPROXY, {_each}", "connection", "transparent", TO_PLAIN, _http, _plain, scene="routed"),
    Workload("tproxy", f"a hypervisor's guest, {_each}", "connection", "tproxy", GUESTS, _http, _plain, scene="guests"),
    Workload("tproxy-bulk", "a guest's bulk", "GB", "tproxy", GUESTS, _iperf3, _bulk(1), scene="guests"),
    Workload(
        "prewarm",
        "TLS with the server, connections held ready, 1 client",
        "connection",
        "prewarm",
        ("ferryman", "ferryman-cold"),
        _tls,
        _one_by_one,
    ),
    Workload("connect", f"CONNECT and a request, {_each}", "connection", "connect", ASKED, _http, _request),
    Workload("connect-bulk", "a download through CONNECT", "GB", "connect", CARRYING, _http, _connect_bulk),
    Workload("bump", f"TLS opened, warm, {_each}", "handshake", "bump", BUMPING, _tls, _bump),
    Workload("mint", f"TLS opened, new names, {_each}", "name", "mint", BUMPING, attrgetter("names"), _mint),
)
IDLES = (
    Idle("idle", "forward", FORWARDERS),
    Idle("connect-idle", "connect", ("ferryman", "haproxy", "squid", "tinyproxy")),
)


@contextlib.contextmanager
def servers(folder: Path, cpus: set[int]) -> Iterator[Servers]:
    """Run the servers behind the proxies until the block ends."""
    ports = Servers(http=free_port(), tls=free_port(), names=free_port(), proxied=free_port(), iperf3=free_port())
    certificates.write(folder, SNI_NAME)
    with (folder / "bulk").open("wb") as bulk:
        bulk.truncate(BULK_SIZE)
    config = folder / "nginx.conf"
    config.write_text(_server_config(folder, ports, len(cpus)))
    nginx = [found("nginx"), "-p", str(folder), "-c", str(config)]
    iperf3 = ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(ports.iperf3)]
    with (
        running(nginx, cpus, (ports.http, ports.tls, ports.names, ports.proxied), folder / "nginx.log"),
        running(iperf3, cpus, (ports.iperf3,), folder / "iperf3.log"),
    ):
        yield ports


@contextlib.contextmanager
def scene_servers(folder: Path, cpus: set[int], host: str, at_server: tuple[str, ...]) -> Iterator[Servers]:
    """Run an HTTP server and iperf3 in another network until the block ends."""
    http, iperf3 = free_port(), free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_scene_config(folder, host, http, len(cpus)))
    nginx = [*at_server, found("nginx"), "-p", str(folder), "-c", str(config)]
    bulk = [*at_server, found("iperf3"), "-s", "-B", host, "-p", str(iperf3)]
    with running(nginx, cpus, (http,), folder / "nginx.log"), running(bulk, cpus, (iperf3,), folder / "iperf3.log"):
        yield Servers(http=http, tls=0, names=0, proxied=0, iperf3=iperf3)


def _scene_config(folder: Path, host: str, port: int, workers: int) -> str:
    return f"""\
{nginx_preamble(folder, workers, 1000)}
http {{
    access_log off;
    {_temporary(folder)}
    keepalive_requests 1000000000;
    server {{
        listen {host}:{port} backlog=4096;
        location / {{ return 200 "across\\n"; }}
    }}
}}
"""


def _temporary(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n    ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


def _server_config(folder: Path, ports: Servers, workers: int) -> str:
    server = folder / certificates.SERVER
    return f"""\
{nginx_preamble(folder, workers, 1000)}
http {{
    access_log off;
    {_temporary(folder)}
    keepalive_requests 1000000000;
    sendfile on;
    ssl_certificate_key {server};
    ssl_session_cache off;
    ssl_session_tickets off;
    server {{
        listen 127.0.0.1:{ports.http} backlog=4096;
        listen 127.0.0.1:{ports.tls} ssl backlog=4096;
        ssl_certificate {server};
        location / {{ return 200 "across\\n"; }}
        location = /bulk {{ alias {folder}/bulk; }}
    }}
    server {{
        listen 127.0.0.1:{ports.proxied} proxy_protocol backlog=4096;
        location / {{ return 200 "across\\n"; }}
    }}
    server {{
        listen 127.0.0.1:{ports.names} ssl backlog=4096;
        ssl_certificate {folder}/{certificates.NAMES}/$ssl_server_name.pem;
        location / {{ return 200 "across\\n"; }}
    }}
}}
"""


def open_tunnels(job: Job, server: socket.socket, count: int, held: contextlib.ExitStack) -> None:
    """Open `count` connections through the proxy to the listening `server`, its target, exchange a few bytes each way
    on every one, and leave them idle; `held` closes them. Raises BenchError when one does not come up."""
    server.settimeout(10)
    for number in range(count):
        try:
            client = held.enter_context(clients.opened(job))
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
