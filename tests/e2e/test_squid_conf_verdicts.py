"""The same squid.conf, the same clients, the same verdicts: what Squid allows, refuses and asks a password for.

Each configuration is run by ferryman and, where it is installed, by Squid. A verdict is 403, 407, or 0 for whatever
else: the request was let through, whatever became of it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer

pytestmark = pytest.mark.xdist_group("squid_conf_verdicts")

SQUID = shutil.which("squid", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
NCSA = "/usr/lib/squid/basic_ncsa_auth"
APR1 = "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0"  # of "secret"
AUTH = f"""auth_param basic program {NCSA} USERS
auth_param basic children 2 startup=1
acl users proxy_auth REQUIRED
acl alice proxy_auth alice
acl carol proxy_auth -i CAROL
acl near src 127.0.0.2
acl bad dstdomain .bad.invalid
"""

CONFIGURATIONS = {
    "stock": """
acl SSL_ports port 443 ECHO
acl Safe_ports port 80 443 1025-65535
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
http_access allow localhost
http_access deny all
""",
    "names": """
acl exact dstdomain one.invalid
acl below dstdomain .two.invalid
acl like dstdom_regex -i ^x[0-9]+\\.THREE\\.invalid$
acl inside dst 127.0.0.0/8
acl get method GET
acl both all-of below !get
acl some any-of exact both
http_access deny like
http_access allow some
http_access allow get inside
""",
    "open at its end": """
acl near src 127.0.0.2-127.0.0.9
acl bad port 1-79
http_access allow near
http_access deny bad
""",
    "nothing": "",
    "users": f"""{AUTH}
http_access deny bad
http_access allow near
http_access allow users
http_access deny all
""",
    "the last is about a user": f"{AUTH}\nhttp_access allow near alice\nhttp_access allow carol\n",
    "refused for good": f"{AUTH}\nhttp_access deny alice all\nhttp_access deny carol\nhttp_access allow users\n",
    "asked before all": f"{AUTH}\nhttp_access deny !users\nhttp_access allow near\nhttp_access deny all\n",
    "asked although": f"{AUTH}\nhttp_access deny users bad\nhttp_access allow all\n",
    "case counts": f"{AUTH}auth_param basic casesensitive on\nhttp_access allow alice\nhttp_access deny all\n",
}

ALICE, CAROL, WRONG, EMPTY = "alice:secret", "carol:secret", "alice:wrong", "alice:"
CONNECT, GET = "CONNECT", "GET"
CASES = [
    # configuration, method, target, source, credentials, verdict
    ("stock", CONNECT, "127.0.0.1:ECHO", 1, "", 0),
    ("stock", CONNECT, "127.0.0.1:ECHO", 2, "", 403),
    ("stock", CONNECT, "127.0.0.1:6443", 1, "", 403),
    ("stock", CONNECT, "127.0.0.1:22", 1, "", 403),
    ("stock", GET, "127.0.0.1:6443", 1, "", 0),
    ("stock", GET, "127.0.0.1:22", 1, "", 403),
    ("stock", GET, "127.0.0.1:80", 3, "", 403),
    ("names", CONNECT, "one.invalid:443", 1, "", 0),
    ("names", CONNECT, "ONE.Invalid:443", 1, "", 0),
    ("names", CONNECT, "a.one.invalid:443", 1, "", 403),
    ("names", CONNECT, "two.invalid:443", 1, "", 0),
    ("names", CONNECT, "a.b.two.invalid:443", 1, "", 0),
    ("names", CONNECT, "nottwo.invalid:443", 1, "", 403),
    ("names", GET, "one.invalid:80", 1, "", 0),
    ("names", CONNECT, "x7.three.invalid:443", 1, "", 403),
    ("names", GET, "127.0.0.1:ECHO", 1, "", 0),
    ("names", CONNECT, "127.0.0.1:ECHO", 1, "", 403),
    ("open at its end", CONNECT, "127.0.0.1:22", 2, "", 0),
    ("open at its end", CONNECT, "127.0.0.1:22", 1, "", 403),
    ("open at its end", CONNECT, "127.0.0.1:ECHO", 1, "", 0),
    ("nothing", CONNECT, "127.0.0.1:ECHO", 1, "", 403),
    ("nothing", GET, "127.0.0.1:ECHO", 1, "", 403),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, "", 407),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, ALICE, 0),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, "ALICE:secret", 0),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, WRONG, 407),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, EMPTY, 407),
    ("users", CONNECT, "127.0.0.1:ECHO", 1, "nobody:secret", 407),
    ("users", CONNECT, "127.0.0.1:ECHO", 2, "", 0),
    ("users", CONNECT, "x.bad.invalid:443", 1, "", 403),
    ("users", CONNECT, "x.bad.invalid:443", 1, ALICE, 403),
    ("users", GET, "127.0.0.1:ECHO", 1, "", 407),
    ("users", GET, "127.0.0.1:ECHO", 1, CAROL, 0),
    ("the last is about a user", CONNECT, "127.0.0.1:ECHO", 2, "", 407),
    ("the last is about a user", CONNECT, "127.0.0.1:ECHO", 1, ALICE, 407),
    ("the last is about a user", CONNECT, "127.0.0.1:ECHO", 2, ALICE, 0),
    ("the last is about a user", CONNECT, "127.0.0.1:ECHO", 1, CAROL, 0),
    ("refused for good", CONNECT, "127.0.0.1:ECHO", 1, "", 407),
    ("refused for good", CONNECT, "127.0.0.1:ECHO", 1, ALICE, 403),
    ("refused for good", CONNECT, "127.0.0.1:ECHO", 1, CAROL, 407),
    ("refused for good", CONNECT, "127.0.0.1:ECHO", 1, "dave:secret", 0),
    ("asked before all", CONNECT, "127.0.0.1:ECHO", 2, "", 407),
    ("asked before all", CONNECT, "127.0.0.1:ECHO", 2, ALICE, 0),
    ("asked before all", CONNECT, "127.0.0.1:ECHO", 1, ALICE, 403),
    ("asked although", CONNECT, "127.0.0.1:ECHO", 1, "", 407),
    ("asked although", CONNECT, "127.0.0.1:ECHO", 1, CAROL, 0),
    ("asked although", CONNECT, "a.bad.invalid:443", 1, CAROL, 403),
    ("case counts", CONNECT, "127.0.0.1:ECHO", 1, ALICE, 0),
    ("case counts", CONNECT, "127.0.0.1:ECHO", 1, "ALICE:secret", 407),
    ("case counts", CONNECT, "127.0.0.1:ECHO", 1, CAROL, 403),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """A folder that Squid's user can get into, with users in it."""
    with tempfile.TemporaryDirectory(prefix="ferryman-squid-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "users").write_text("".join(f"{user}:{APR1}\n" for user in ("alice", "carol", "dave")))
        yield folder


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    server = EchoServer("127.0.0.1")
    yield server
    server.close()


def text(name: str, port: int, folder: Path, echo: EchoServer) -> str:
    lines = CONFIGURATIONS[name].replace("USERS", str(folder / "users")).replace("ECHO", str(echo.port))
    return f"http_port 127.0.0.1:{port}\ndns_timeout 1 second\nconnect_timeout 2 seconds\n{lines}"


def verdict(port: int, case: tuple[str, str, str, int, str, int], echo: EchoServer) -> int:
    _, method, target, source, credentials, _ = case
    target = target.replace("ECHO", str(echo.port))
    lines = [f"{method} {target if method == CONNECT else f'http://{target}/'} HTTP/1.1", f"Host: {target}"]
    if credentials:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}")
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.0.0.{source}", 0)) as sock:
        sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        if method == GET and target == echo.address:
            sock.shutdown(socket.SHUT_WR)
        status = int([*sock.recv(65536).split(b" "), b"0", b"0"][1] or 0)
    return status if status in (403, 407) else 0


def wrong(name: str, port: int, echo: EchoServer) -> list[str]:
    cases = [case for case in CASES if case[0] == name]
    assert cases
    given = [(case, verdict(port, case, echo)) for case in cases]
    return [f"{case}: {found}" for case, found in given if found != case[-1]]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_ferryman(name: str, site: Path, echo: EchoServer, run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    run_ferry(text(name, port, site, echo), "squid.conf", "--workers", "1")
    assert wrong(name, port, echo) == []


@pytest.mark.skipif(SQUID is None, reason="squid is not installed")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_squid(name: str, site: Path, echo: EchoServer) -> None:
    if "auth_param" in CONFIGURATIONS[name] and not os.path.exists(NCSA):
        pytest.skip(f"there is no {NCSA}")
    with squid(name, site, echo) as port:
        assert wrong(name, port, echo) == []


@contextlib.contextmanager
def squid(name: str, folder: Path, echo: EchoServer) -> Iterator[int]:
    """A Squid that runs in the foreground, in a process group of its own."""
    assert SQUID is not None
    port = free_port()
    file = folder / "squid.conf"
    own = (
        f"pid_filename none\ncache_log {folder}/cache.log\naccess_log none\ncoredump_dir {folder}\npinger_enable off\n"
    )
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.9 one.invalid two.invalid a.b.two.invalid\n")  # which saves waiting for name servers
    own += f"hosts_file {hosts}\ndns_nameservers 127.0.0.1\nshutdown_lifetime 0 seconds\n"
    if os.getuid() == 0:
        users = {entry.pw_name for entry in pwd.getpwall()}
        own += f"cache_effective_user {'proxy' if 'proxy' in users else 'nobody'}\n"
    file.write_text(own + text(name, port, folder, echo))
    process = subprocess.Popen(
        [SQUID, "-N", "-f", str(file)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: process.poll() is not None or listens(port), "squid to listen")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_there_are_enough() -> None:
    assert len(CASES) >= 40
