"""The programs that a migration, a build or a person points at a proxy: each does its work through this one."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import programs
import pytest
import websockets.client
import websockets.sync.client
import websockets.sync.server
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority, TlsServer
from talk import Talk, basic
from websockets.uri import parse_uri

USER, PASSWORD = "alice", "se:cr:et-väl"
HASH = "$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1"
IN_URL = "alice:se%3Acr%3Aet-v%C3%A4l"
NAME = "dvm-ns.apps.example.org"


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder over HTTP/1.1, or 1.0 as it is by default; the log stays silent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


class Site:
    """A proxy that wants credentials and one that does not; a TLS server; files."""

    def __init__(self, run: Callable[..., Ferry], authority: Authority, folder: Path, end: ExitStack) -> None:
        self.asks, self.open = free_port(), free_port()
        self.folder, self.authority = folder, authority
        self.server = TlsServer("origin", authority, [NAME, "localhost"], host="127.0.0.1")
        end.callback(self.server.close)
        self.target = f"localhost:{self.server.port}"
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:
  asks:
    bind: 127.0.0.1:{self.asks}
    connect: {{egress_allow: [127.0.0.1, "::1"], users: {{{USER}: "{HASH}"}}}}
  open: {{bind: "127.0.0.1:{self.open}", connect: {{egress_allow: [127.0.0.1, "::1"]}}}}
""")
        self.end = end

    def files(self, authority: Authority | None = None) -> str:
        """The URL of a web server with the files of the folder, http or https."""
        web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(self.folder)))
        scheme = "http"
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.ca.issue_cert("localhost").configure_cert(context)
            web.socket = context.wrap_socket(web.socket, server_side=True)
            scheme = "https"
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        self.end.callback(web.server_close)
        self.end.callback(web.shutdown)
        return f"{scheme}://localhost:{web.server_address[1]}"


@pytest.fixture(scope="module")
def site(
    run_shared_ferry: Callable[..., Ferry],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
) -> Site:
    return Site(run_shared_ferry, authority, tmp_path_factory.mktemp("files"), at_the_end)


def curl(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run("curl", "-sS", "--max-time", "60", "--noproxy", "", "--cacert", site.authority.file, *arguments)


# curl


def test_curl_gives_credentials_at_once(site: Site) -> None:
    for proxy in (f"http://{IN_URL}@127.0.0.1:{site.asks}", f"http://127.0.0.1:{site.asks}"):
        done = curl(site, "-x", proxy, "--proxy-basic", "-U", f"{USER}:{PASSWORD}", f"https://{site.target}/")
        assert done.stdout == "origin\n", done.stderr
    done = curl(site, "-x", f"http://{IN_URL}@127.0.0.1:{site.asks}", f"https://{site.target}/")
    assert done.stdout == "origin\n", done.stderr


def test_curl_gives_credentials_when_asked_on_the_same_connection(site: Site) -> None:
    done = curl(
        *(site, "-v", "-x", f"http://127.0.0.1:{site.asks}", "--proxy-anyauth", "-U", f"{USER}:{PASSWORD}"),
        f"https://{site.target}/",
    )
    assert done.stdout == "origin\n", done.stderr
    assert "HTTP/1.1 407" in done.stderr
    assert "Connection #0 to host 127.0.0.1 left intact" in done.stderr or "#1" not in done.stderr


def test_curl_says_what_the_proxy_said(site: Site) -> None:
    proxy = f"http://127.0.0.1:{site.asks}"
    done = curl(site, "-x", proxy, "-w", "%{http_connect}", f"https://{site.target}/")
    assert (done.stdout, done.returncode) == ("407", 56)
    done = curl(site, "-x", proxy, "-U", f"{USER}:{PASSWORD}", "-w", "%{http_connect}", "https://127.0.0.1:1/")
    assert done.stdout == "502", done.stderr


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_curl_by_socks5(site: Site, scheme: str) -> None:
    done = curl(site, "-x", f"{scheme}://{IN_URL}@127.0.0.1:{site.asks}", f"https://{site.target}/")
    assert done.stdout == "origin\n", done.stderr
    done = curl(site, "-x", f"{scheme}://{USER}:wrong@127.0.0.1:{site.asks}", f"https://{site.target}/")
    assert done.returncode == 97, "CURLE_PROXY"


def test_curl_fetches_several_plain_urls_on_one_connection(site: Site, tmp_path: Path) -> None:
    server = programs.nginx(tmp_path, "location /old { keepalive_timeout 0; return 200 old; }")
    site.end.callback(server.stop)
    data = random.Random(1).randbytes(3_000_000)
    (tmp_path / "nginx" / "files" / "big").write_bytes(data)
    url = f"http://{server.address}"
    done = curl(
        *(
            site,
            "-x",
            f"http://127.0.0.1:{site.asks}",
            "-U",
            f"{USER}:{PASSWORD}",
            "-w",
            "%{num_connects}/%{http_code} ",
        ),
        *(f"{url}/big", "-o", str(tmp_path / "big"), f"{url}/old", "-o", "/dev/null", f"{url}/big", "-r", "5-14"),
        *("-o", str(tmp_path / "part"), f"{url}/none", "-o", "/dev/null"),
    )
    assert done.stdout.split() == ["1/206", "0/200", "0/206", "0/404"], done.stderr
    assert (tmp_path / "part").read_bytes() == data[5:15]


def test_curl_uploads_with_expect_to_a_real_server(site: Site, tmp_path: Path) -> None:
    server = programs.nginx(
        tmp_path, "location /put { dav_methods PUT; create_full_put_path on; client_max_body_size 9m; }"
    )
    site.end.callback(server.stop)
    (tmp_path / "up").write_bytes(random.Random(2).randbytes(4_000_000))
    done = curl(
        *(site, "-x", f"http://127.0.0.1:{site.open}", "-T", str(tmp_path / "up"), "-H", "Transfer-Encoding: chunked"),
        *("-w", "%{http_code}", f"http://{server.address}/put/here"),
    )
    assert done.stdout.endswith("201"), done
    assert (tmp_path / "nginx" / "files" / "put" / "here").read_bytes() == (tmp_path / "up").read_bytes()
    (tmp_path / "up").write_bytes(bytes(10_000_000))
    done = curl(
        *(site, "-x", f"http://127.0.0.1:{site.open}", "-T", str(tmp_path / "up"), "-w", "%{http_code}"),
        f"http://{server.address}/put/too-large",
    )
    assert done.stdout.endswith("413"), done


# others


def test_openssl_through_the_proxy(site: Site) -> None:
    command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{site.asks}", "-connect", site.target, "-quiet"]
    command += ["-CAfile", site.authority.file, "-verify_return_error", "-servername", NAME]
    done = programs.run(
        *command, "-proxy_user", USER, "-proxy_pass", f"pass:{PASSWORD}", stdin=b"GET / HTTP/1.0\r\n\r\n"
    )
    assert done.stdout.endswith("origin\n"), done.stderr
    done = programs.run(*command)
    assert "407" in done.stderr


def test_wget_https_and_http(site: Site, tmp_path: Path) -> None:
    (site.folder / "page").write_text("a page\n")
    proxy = f"http://127.0.0.1:{site.asks}"
    settings = {**os.environ, "https_proxy": proxy, "http_proxy": proxy, "no_proxy": ""}
    for url in (site.files(site.authority), site.files()):
        done = programs.run(
            *("wget", "-q", "-T", "20", "-t", "1", f"--proxy-user={USER}", f"--proxy-password={PASSWORD}"),
            *(f"--ca-certificate={site.authority.file}", "-O", "-", f"{url}/page"),
            environment=settings,
        )
        assert done.stdout == "a page\n", done.stderr


def test_pythons_own_client(site: Site) -> None:
    (site.folder / "page").write_text("a page\n")
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.asks, timeout=PATIENCE, context=site.authority.client_context()
    )
    field, _, value = basic(USER, PASSWORD).partition(": ")
    connection.set_tunnel("localhost", site.server.port, {field: value})
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"origin\n"
    connection.close()
    proxy = urllib.request.ProxyHandler({"http": f"http://{IN_URL}@127.0.0.1:{site.asks}"})
    with urllib.request.build_opener(proxy).open(f"{site.files()}/page", timeout=PATIENCE) as page:
        assert page.read() == b"a page\n"


def test_git_clones_over_https_and_http(site: Site, tmp_path: Path) -> None:
    git = partial(
        programs.run, "git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"
    )
    origin = site.folder / "origin.git"
    work = tmp_path / "work"
    settings = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "no_proxy": ""}
    settings["GIT_SSL_CAINFO"] = site.authority.file
    (tmp_path / "work").mkdir()
    (work / "file").write_text("content\n" * 1000)
    for command in (
        ("init", "-q", str(work)),
        ("-C", str(work), "add", "file"),
        ("-C", str(work), "commit", "-q", "-m", "one"),
        ("clone", "-q", "--bare", str(work), str(origin)),
        ("-C", str(origin), "update-server-info"),
    ):
        done = git(*command, environment=settings)
        assert done.returncode == 0, done.stderr
    for number, url in enumerate((site.files(site.authority), site.files())):
        proxy = f"http.proxy=http://{IN_URL}@127.0.0.1:{site.asks}"
        done = git(
            *("-c", proxy, "clone", "-q", f"{url}/origin.git", str(tmp_path / str(number))), environment=settings
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / str(number) / "file").read_text() == "content\n" * 1000


# WebSocket


@pytest.fixture
def web_socket(site: Site) -> str:
    """host:port of a WebSocket server that sends back what it gets."""

    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    server = websockets.sync.server.serve(echo, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.end.callback(server.shutdown)
    return f"127.0.0.1:{server.socket.getsockname()[1]}"


def test_a_websocket_through_connect(site: Site, web_socket: str) -> None:
    proxy = f"http://{IN_URL}@127.0.0.1:{site.asks}"
    with websockets.sync.client.connect(f"ws://{web_socket}/", proxy=proxy, open_timeout=PATIENCE) as connection:
        for message in ("hello", b"\x00\xff" * 40_000):
            connection.send(message)
            assert connection.recv(20) == message


def test_a_websocket_by_an_upgrade_of_a_plain_request(site: Site, web_socket: str) -> None:
    """As clients do that take a proxy for a server that all requests go to."""
    protocol = websockets.client.ClientProtocol(parse_uri(f"ws://{web_socket}/chat"))
    protocol.send_request(protocol.connect())
    (request,) = protocol.data_to_send()
    request = request.replace(b"GET /chat", f"GET http://{web_socket}/chat".encode())
    with Talk(site.asks) as talk:
        talk.send(request.replace(b"\r\n\r\n", f"\r\n{basic(USER, PASSWORD)}\r\n\r\n".encode()))
        while protocol.state is not websockets.protocol.State.OPEN:
            protocol.receive_data(talk.some())
            assert protocol.handshake_exc is None
        protocol.send_text(b"through an upgrade")
        talk.send(b"".join(protocol.data_to_send()))
        frames = protocol.events_received()[1:]
        while not frames:
            protocol.receive_data(talk.some())
            frames = protocol.events_received()
        assert frames[-1].data == b"through an upgrade"


# the migration's data path: rsync - stunnel - proxy - stunnel - rsyncd


@pytest.fixture
def migration(site: Site, tmp_path: Path) -> tuple[Path, programs.Peer]:
    """A folder that an rsync daemon behind a stunnel server serves, and the stunnel client that leads there."""
    folder = tmp_path / "volume"
    folder.mkdir()
    daemon = programs.rsyncd(tmp_path, str(folder))
    site.end.callback(daemon.stop)
    leaf = site.authority.ca.issue_cert(NAME)
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    server = programs.stunnel(tmp_path, "server", f"cert = {tmp_path / 'leaf.pem'}\nconnect = {daemon.address}")
    site.end.callback(server.stop)
    client = programs.stunnel(
        tmp_path,
        "client",
        f"""client = yes
connect = 127.0.0.1:{site.asks}
protocol = connect
protocolHost = localhost:{server.port}
protocolUsername = {USER}
protocolPassword = {PASSWORD}
sslVersion = TLSv1.2
CAfile = {site.authority.file}
verifyChain = yes
checkHost = {NAME}""",
    )
    site.end.callback(client.stop)
    return folder, client


def test_rsync_through_stunnel_through_the_proxy(
    site: Site, migration: tuple[Path, programs.Peer], tmp_path: Path
) -> None:
    folder, client = migration
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    for number in range(20):
        (source / "deep" / f"file{number}").write_bytes(random.Random(number).randbytes(50_000 * number))
    options = ["--archive", "--hard-links", "--delete", "--partial", "--human-readable", "--port", str(client.port)]
    done = programs.run("rsync", *options, f"{source}/", "rsync://root@127.0.0.1/data")
    assert done.returncode == 0, f"{done.stderr}\n{client.log}"
    assert "<- HTTP/1.1 200 Connection established" in client.log

    def digests(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    assert digests(folder) == digests(source)
    line = site.ferry.line(lambda line: (line.get("bytes") or {}).get("in", 0) > 9_000_000)
    assert (line["user"], line["protocol"]) == (USER, "connect")
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert PASSWORD not in site.ferry.log
    assert encoded not in site.ferry.log


def test_stunnel_gives_up_at_once_when_it_is_refused(site: Site, tmp_path: Path) -> None:
    """It waits for the empty line after the head of a refusal: for 5 minutes, if there is none."""
    client = programs.stunnel(
        tmp_path,
        "client",
        f"client = yes\nconnect = 127.0.0.1:{site.asks}\nprotocol = connect\nprotocolHost = localhost:1\n"
        f"protocolUsername = {USER}\nprotocolPassword = {PASSWORD}",
    )
    site.end.callback(client.stop)
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as sock, suppress(ConnectionResetError):
        assert sock.recv(10) == b""
    until(lambda: "CONNECT request rejected" in client.log, "stunnel to say so")
    assert "<- HTTP/1.1 502 Bad Gateway" in client.log
