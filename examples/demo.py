"""The demonstration behind `make demo`: real TLS servers on IPv6, ferryman before them on IPv4, one server taken away.

Everything runs on loopback and is stopped at the end; KEEP=1 in the environment leaves it running until Ctrl-C.
Needs the package and its development dependencies (trustme makes the certificates), nothing else; curl is used as the
client where it is installed, Python's own HTTPS client otherwise.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme

CONFIGURATION = Path(__file__).parent / "ipv4-to-ipv6-by-sni" / "haproxy.cfg"
NAME = "api.cluster0.example"
FRONT, STATS = 26443, 26404
SERVERS = {"master0": 26501, "master1": 26502, "master2": 26503}
CLIENTS = [f"127.0.0.{number}" for number in range(2, 14)]


def say(text: str = "") -> None:
    print(text, flush=True)


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting for {what}")
        threading.Event().wait(0.05)


class Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def tls_server(name: str, port: int, authority: trustme.CA, serving: list[Server6]) -> Server6:
    """A real HTTPS server on [::1] that says its name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{name}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    server = Server6(("::1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    serving.append(server)
    return server


def request(client: str, authority_file: str) -> str:
    """One HTTPS request over IPv4 from a client address of its own; the server's answer."""
    if shutil.which("curl"):
        command = ["curl", "--silent", "--show-error", "--max-time", "30", "--cacert", authority_file]
        command += ["--interface", client, "--connect-to", f"{NAME}:{FRONT}:127.0.0.1:{FRONT}"]
        done = subprocess.run([*command, f"https://{NAME}:{FRONT}/"], capture_output=True, text=True, check=False)
        return done.stdout.strip() or f"failed: {done.stderr.strip()}"
    context = ssl.create_default_context(cafile=authority_file)
    try:
        raw = socket.create_connection(("127.0.0.1", FRONT), timeout=30, source_address=(client, 0))
        connection = http.client.HTTPSConnection(NAME, FRONT, context=context)
        with context.wrap_socket(raw, server_hostname=NAME) as connection.sock:
            connection.request("GET", "/")
            return connection.getresponse().read().decode().strip()
    except OSError as error:
        return f"failed: {error}"


def requests(authority_file: str) -> int:
    """A request from each client; prints who answered whom, gives the number of failures."""
    answers = {client: request(client, authority_file) for client in CLIENTS}
    by_server = collections.defaultdict(list)
    for client, answer in answers.items():
        by_server[answer].append(client)
    for answer, clients in sorted(by_server.items()):
        say(f"    {answer:10} answered {len(clients):2} clients: {', '.join(c[7:] for c in clients)}")
    return sum(answer not in SERVERS for answer in answers.values())


def server_states(control: str) -> dict[str, str]:
    command = [sys.executable, "-m", "ferryman", "status", "--json", "--control", control]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {}
    backends = {row["name"]: row for row in json.loads(done.stdout)["backends"]}
    return {row["name"]: row["status"] for row in backends["cluster0"]["servers"]}


@contextlib.contextmanager
def ferryman(folder: str) -> Iterator[tuple[str, Path]]:
    """ferryman in the foreground of a process of its own; its control socket and its log."""
    control, log = os.path.join(folder, "control.sock"), Path(folder) / "log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "ferryman", "run", str(CONFIGURATION), "--control", control]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or bool(server_states(control)), "ferryman to start")
        if process.poll() is not None:
            raise SystemExit(f"ferryman did not start:\n{log.read_text()}")
        yield control, log
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    serving: list[Server6] = []
    authority = trustme.CA()
    with tempfile.TemporaryDirectory(prefix="ferryman-demo-") as folder:
        authority_file = os.path.join(folder, "ca.pem")
        authority.cert_pem.write_to_path(authority_file)
        say("Three HTTPS servers on IPv6 loopback: " + ", ".join(f"{n} [::1]:{p}" for n, p in SERVERS.items()))
        servers = {name: tls_server(name, port, authority, serving) for name, port in SERVERS.items()}
        with ferryman(folder) as (control, log):
            say(f"ferryman in front of them on IPv4, 127.0.0.1:{FRONT}, with {CONFIGURATION.relative_to(Path.cwd())}")
            until(lambda: all(s.startswith("UP") for s in server_states(control).values()), "all servers to be up")
            say(f"\n{len(CLIENTS)} clients ask https://{NAME}/ (routed by SNI, `balance source`):")
            failures = requests(authority_file)

            say("\nmaster1 is taken away; the same clients ask again at once:")
            servers["master1"].shutdown()
            servers["master1"].server_close()
            failures += requests(authority_file)
            until(lambda: server_states(control).get("master1", "").startswith("DOWN"), "master1 to be found down")
            say("\nhealth checks have found it: " + ", ".join(f"{n} {s}" for n, s in server_states(control).items()))
            say("the same clients once more:")
            failures += requests(authority_file)

            say("\nWhat the log says of it (last lines):")
            for line in log.read_text().splitlines()[-5:]:
                say(f"    {line}")
            say(f"\nStats page: http://127.0.0.1:{STATS}/stats   metrics: http://127.0.0.1:{STATS}/metrics")
            say(f"{3 * len(CLIENTS)} requests, {failures} failed.")
            if os.environ.get("KEEP"):
                say("Everything stays up (KEEP=1); Ctrl-C ends it.")
                with contextlib.suppress(KeyboardInterrupt):
                    threading.Event().wait()
        for server in serving:
            server.server_close()
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
