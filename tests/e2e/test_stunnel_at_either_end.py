"""ferryman in stunnel's place: the same stunnel.conf, at either end, with the real stunnel at the other.

Between them is nothing, or a proxy that wants Basic credentials, and what goes through is real rsync to a real rsyncd.
"""

from __future__ import annotations

import filecmp
import os
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import programs
import pytest
from ferry import PATIENCE, Ferry, free_port
from pki import Pki
from servers import EchoServer
from squid import HELPERS, Squid
from squid import folder as squid_folder

USER, PASSWORD = "migration", "p4ssword"
# as Direct Volume Migration writes them, but for ports, folders and the route's name, which has to lead here
DVM_CLIENT = """ pid =
 sslVersion = TLSv1.2
 client = yes
 syslog = no
 output = /dev/stdout
 foreground = yes
 [rsync]
 debug = 7
 accept = {port}
 cert = {folder}/tls.pem
 key = {folder}/tls.pem
{way}
"""
DVM_SERVER = """foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
debug = 7
sslVersion = TLSv1.2
output = /dev/stdout
syslog = no
[rsync]
accept = {port}
connect = {behind}
key = {folder}/tls.pem
cert = {folder}/tls.pem
TIMEOUTclose = 0
"""
BASICS = "foreground = yes\npid =\nsyslog = no\ndebug = 7\n"

Start = Callable[[str, str], "End"]


class End:
    """One end, as ferryman or as stunnel: where it listens, and what it said."""

    def __init__(self, port: int, said: Callable[[], str]) -> None:
        self.port = port
        self._said = said

    @property
    def log(self) -> str:
        return self._said()


@pytest.fixture
def start(tmp_path: Path, run_ferry: Callable[..., Ferry]) -> Iterator[Start]:
    """Start "ferryman" or "stunnel" on a text, in which {port} is where it is to accept."""
    with ExitStack() as stack:

        def begin(who: str, text: str) -> End:
            port = free_port()
            text = text.replace("{port}", str(port))
            if who == "ferryman":
                ferry = run_ferry(text, "stunnel.conf")
                return End(port, lambda: ferry.log)
            folder = tmp_path / f"stunnel{port}"
            folder.mkdir()
            (folder / "conf").write_text(text)
            peer = programs.Peer(folder, port, [programs.program("stunnel4"), str(folder / "conf")])
            stack.callback(peer.stop)
            return End(port, lambda: peer.log)

        yield begin


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """`tls` is for both ends, as with Direct Volume Migration; `server` and `client` are for one each."""
    made = Pki(tmp_path)
    for name in ("tls", "server", "client"):
        made.issue(f"{name}.pem", f"{name}.test", rsa=name == "tls")
    return made


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Start "tinyproxy" or "squid", which want Basic credentials; the port."""
    with ExitStack() as stack:

        def begin(kind: str) -> int:
            if kind == "tinyproxy":
                peer = programs.tinyproxy(tmp_path, f"BasicAuth {USER} {PASSWORD}")
                stack.callback(peer.stop)
                return int(peer.port)
            place, port = stack.enter_context(squid_folder()), free_port()
            (place / "users").write_text(f"{USER}:{programs.run('openssl', 'passwd', '-apr1', PASSWORD).stdout}")
            (place / "users").chmod(0o644)
            text = (
                f"http_port 127.0.0.1:{port}\nauth_param basic program {HELPERS}/basic_ncsa_auth {place}/users\n"
                "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
            )
            stack.callback(Squid(place, text, port).close)
            return int(port)

        yield begin


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[tuple[Path, programs.Peer]]:
    """A folder, and the rsync daemon that takes files into it."""
    folder = tmp_path / "volume"
    folder.mkdir()
    daemon = programs.rsyncd(tmp_path, str(folder))
    yield folder, daemon
    daemon.stop()


def fill(folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    for number in range(60):
        (folder / "deep" / f"file {number}").write_bytes(random.Random(number).randbytes(3_000 * number))
    os.link(folder / "deep" / "file 1", folder / "deep" / "er" / "hard link")
    (folder / "soft link").symlink_to("deep/er")


def same(left: Path, right: Path) -> bool:
    names = [str(path.relative_to(left)) for path in left.rglob("*") if path.is_file()]
    return filecmp.cmpfiles(left, right, names, shallow=False)[1:] == ([], [])


@pytest.mark.parametrize(
    ("client", "server", "between"),
    [
        ("ferryman", "stunnel", ""),
        ("stunnel", "ferryman", ""),
        ("ferryman", "stunnel", "tinyproxy"),
        ("stunnel", "ferryman", "tinyproxy"),
        ("ferryman", "ferryman", "squid"),
    ],
)
def test_rsync_as_direct_volume_migration_runs_it(
    client: str, server: str, between: str, start: Start, pki: Pki, proxy: Callable[[str], int],
    volume: tuple[Path, programs.Peer], tmp_path: Path,
) -> None:  # fmt: skip
    folder, daemon = volume
    source = tmp_path / "source"
    fill(source)
    far = start(server, DVM_SERVER.format(port="{port}", behind=daemon.address, folder=pki.folder))
    way = f" connect = localhost:{far.port}"
    if between:
        way = (
            f" protocol = connect\n connect = 127.0.0.1:{proxy(between)}\n protocolHost = 127.0.0.1:{far.port}\n"
            f" protocolUsername = {USER}\n protocolPassword = {PASSWORD}"
        )
    near = start(client, DVM_CLIENT.format(port="{port}", folder=pki.folder, way=way))
    done = programs.run("rsync", "-aH", "--delete", "--port", str(near.port), f"{source}/", "rsync://127.0.0.1/data/")
    assert done.returncode == 0, f"{done.stderr}\n{near.log}\n{far.log}"
    assert same(source, folder)
    back = tmp_path / "back"
    done = programs.run("rsync", "-aH", "--port", str(near.port), "rsync://127.0.0.1/data/", f"{back}/")
    assert done.returncode == 0, done.stderr
    assert same(source, back)
    if client == "ferryman":
        assert PASSWORD not in near.log


MUTUAL = [("ferryman", "stunnel"), ("stunnel", "ferryman")]


def ends(start: Start, client: str, server: str, echo: EchoServer, of_server: str, of_client: str) -> tuple[End, End]:
    """Both, before a server that echoes, with what else is said of each."""
    far = start(server, f"{BASICS}[s]\naccept = {{port}}\nconnect = {echo.port}\n{of_server}\n")
    connect = f"connect = 127.0.0.1:{far.port}\n" if "connect =" not in of_client else ""
    near = start(client, f"{BASICS}[c]\nclient = yes\naccept = 127.0.0.1:{{port}}\n{connect}{of_client}\n")
    return near, far


def answered(port: int, data: bytes = b"hello") -> bytes | None:
    """What came back; None: the connection was reset."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(data)
            got = b""
            while len(got) < len(data) and (piece := sock.recv(65536)):
                got += piece
            return got
    except (ConnectionResetError, BrokenPipeError):
        return None


@pytest.mark.parametrize(("client", "server"), MUTUAL)
@pytest.mark.parametrize("level", ["verify = 2", "verify = 3", "verify = 4", "verifyPeer = yes"])
def test_each_side_knows_the_other(
    level: str, client: str, server: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    for name in ("server", "client"):  # with what signed it
        whole = (pki.folder / f"{name}.pem").read_bytes()
        certificate = whole[whole.index(b"-----BEGIN CERTIFICATE") :]
        (pki.folder / f"{name}.known").write_bytes(certificate + Path(pki.ca).read_bytes())
    known = (lambda name: pki.ca) if level == "verify = 2" else (lambda name: f"{pki.folder}/{name}.known")
    near, far = ends(
        start, client, server, echo(),
        f"cert = {pki.folder}/server.pem\nCAfile = {known('client')}\n{level}",
        f"cert = {pki.folder}/client.pem\nCAfile = {known('server')}\n{level}\ncheckHost = server.test",
    )  # fmt: skip
    assert answered(near.port) == b"hello", f"{near.log}\n{far.log}"


@pytest.mark.parametrize(("client", "server"), MUTUAL)
@pytest.mark.parametrize("wrong", ["client", "none", "server", "name"])
def test_a_wrong_certificate_is_refused(
    wrong: str, client: str, server: str, start: Start, pki: Pki, echo: Callable[..., EchoServer], tmp_path: Path
) -> None:
    """The local side of the client sees a reset, and nothing reaches the server behind."""
    (tmp_path / "strange").mkdir()
    strange = Pki(tmp_path / "strange").issue("x.pem", "server.test" if wrong == "server" else "client.test")
    shown = {"client": f"cert = {strange}\n", "none": ""}.get(wrong, f"cert = {pki.folder}/client.pem\n")
    behind = echo()
    near, far = ends(
        start, client, server, behind,
        f"cert = {strange if wrong == 'server' else pki.folder / 'server.pem'}\nCAfile = {pki.ca}\nverify = 2",
        f"{shown}CAfile = {pki.ca}\nverify = 2\ncheckHost = {'other' if wrong == 'name' else 'server'}.test",
    )  # fmt: skip
    assert answered(near.port) in (None, b""), f"{near.log}\n{far.log}"
    assert behind.heard() == 0


@pytest.mark.parametrize(("client", "server"), MUTUAL)
def test_the_end_of_one_direction_is_not_that_of_the_other(
    client: str, server: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    near, _ = ends(start, client, server, echo(), f"cert = {pki.folder}/server.pem", "")
    data = random.Random(1).randbytes(3_000_000)
    with socket.create_connection(("127.0.0.1", near.port), PATIENCE) as sock:
        got = bytearray()
        sock.setblocking(False)
        sent = 0
        while sent < len(data) or len(got) < len(data):
            with suppress(BlockingIOError):
                sent += sock.send(data[sent : sent + 65536])
            with suppress(BlockingIOError):
                got += sock.recv(65536)
        sock.setblocking(True)
        sock.settimeout(PATIENCE)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10) == b""
    assert bytes(got) == data


@pytest.mark.parametrize("client", ["ferryman", "stunnel"])
@pytest.mark.parametrize("reason", ["no server", "no proxy", "wrong password", "no TLS"])
def test_what_fails_ends_in_a_reset_of_the_local_side(
    reason: str, client: str, start: Start, proxy: Callable[[str], int], echo: Callable[..., EchoServer]
) -> None:
    dead = free_port()
    says = f"connect = 127.0.0.1:{dead}"
    if reason == "no proxy":
        says = f"protocol = connect\nconnect = 127.0.0.1:{dead}\nprotocolHost = 127.0.0.1:{dead}"
    elif reason == "wrong password":
        says = (
            f"protocol = connect\nconnect = 127.0.0.1:{proxy('tinyproxy')}\nprotocolHost = 127.0.0.1:{dead}\n"
            f"protocolUsername = {USER}\nprotocolPassword = wrong"
        )
    elif reason == "no TLS":
        says = f"connect = 127.0.0.1:{echo().port}"
    near = start(client, f"{BASICS}[c]\nclient = yes\naccept = 127.0.0.1:{{port}}\n{says}\n")
    assert answered(near.port) is None, near.log


@pytest.mark.parametrize("client", ["ferryman", "stunnel"])
@pytest.mark.parametrize("failover", ["prio", "rr"])
def test_the_next_address_is_tried(
    failover: str, client: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    far = start("stunnel", f"{BASICS}[s]\naccept = {{port}}\nconnect = {echo().port}\ncert = {pki.folder}/server.pem\n")
    says = f"connect = 127.0.0.1:{free_port()}\nconnect = 127.0.0.1:{far.port}\nfailover = {failover}"
    near = start(client, f"{BASICS}[c]\nclient = yes\naccept = 127.0.0.1:{{port}}\n{says}\n")
    for _ in range(4):
        assert answered(near.port) == b"hello", near.log


@pytest.mark.parametrize("server", ["ferryman", "stunnel"])
def test_services_for_names_behind_one_port(
    server: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    main, shop = echo(greeting=b"main"), echo(greeting=b"shop")
    far = start(
        server,
        f"{BASICS}[main]\naccept = {{port}}\nconnect = {main.port}\ncert = {pki.folder}/server.pem\n"
        f"[shop]\nsni = main:*.shop.test\nconnect = {shop.port}\ncert = {pki.folder}/client.pem\n",
    )
    context = ssl.create_default_context(cafile=pki.ca)
    context.check_hostname = False
    seen = {}
    for name in ("till.shop.test", "TILL.shop.test", "a.b.shop.test", "shop.test", "else.test"):
        with (
            socket.create_connection(("127.0.0.1", far.port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=name) as sock,
        ):
            names = [str(entry[1]) for entry in (sock.getpeercert() or {})["subjectAltName"]]
            seen[name] = (sock.recv(100), *names)
    of_shop, of_main = (b"shop", "client.test"), (b"main", "server.test")
    assert seen == {
        "till.shop.test": of_shop,
        "TILL.shop.test": of_shop,
        "a.b.shop.test": of_shop,
        "shop.test": of_main,
        "else.test": of_main,
    }


@pytest.mark.parametrize("server", ["ferryman", "stunnel"])
def test_a_proxy_header_tells_of_the_client(
    server: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    near, _ = ends(start, "stunnel", server, echo(), f"cert = {pki.folder}/server.pem\nprotocol = proxy", "")
    with socket.create_connection(("127.0.0.1", near.port), PATIENCE) as sock:
        sock.sendall(b"hello")
        got = b""
        while not got.endswith(b"hello"):
            got += sock.recv(100)
    assert got.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


@pytest.mark.parametrize("client", ["ferryman", "stunnel"])
def test_a_proxy_may_take_longer_to_answer_than_to_be_reached(
    client: str, start: Start, pki: Pki, echo: Callable[..., EchoServer]
) -> None:
    """TIMEOUTconnect is for the connection, TIMEOUTbusy for the answer."""
    far = start("stunnel", f"{BASICS}[s]\naccept = {{port}}\nconnect = {echo().port}\ncert = {pki.folder}/server.pem\n")
    with socket.create_server(("127.0.0.1", 0)) as slow:
        near = start(
            client,
            f"{BASICS}[c]\nclient = yes\naccept = 127.0.0.1:{{port}}\nTIMEOUTconnect = 1\nprotocol = connect\n"
            f"connect = 127.0.0.1:{slow.getsockname()[1]}\nprotocolHost = 127.0.0.1:{far.port}\n",
        )

        def answer(connection: socket.socket) -> None:
            with suppress(OSError), connection, socket.create_connection(("127.0.0.1", far.port), PATIENCE) as onward:
                head = b""  # stunnel sends it line by line
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                threading.Event().wait(2.5)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                both = {connection: onward, onward: connection}
                while ready := select.select(list(both), [], [], PATIENCE)[0]:
                    for one in ready:
                        if not (data := one.recv(65536)):
                            return
                        both[one].sendall(data)

        def accept() -> None:
            with suppress(OSError):
                while True:  # also for who only looks whether it listens
                    threading.Thread(target=answer, args=slow.accept()[:1], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        assert answered(near.port) == b"hello", near.log
