"""The primitives on real sockets, each test on the C extension and on the Python twin."""

import errno
import importlib
import os
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferryman.dataplane import fdio as door

KINDS = ["tcp4", "tcp6", "unix"]
NO_LIMIT = 1 << 40
Pair = tuple[socket.socket, socket.socket]


class Net:
    """Makes sockets and pipes, and closes them."""

    def __init__(self, fdio: Any) -> None:
        self.fdio = fdio
        self.sockets: list[socket.socket] = []
        self.pipes: list[int] = []

    def keep(self, sock: socket.socket) -> socket.socket:
        self.sockets.append(sock)
        return sock

    def own(self, fd: int) -> socket.socket:
        return self.keep(socket.socket(fileno=fd))

    def listener(self, family: int, address: Any, *, small: bool = False) -> socket.socket:
        listener = self.keep(socket.socket(family, socket.SOCK_STREAM))
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        return listener

    def pair(self, kind: str, *, small: bool = False) -> Pair:
        """Two connected, non-blocking ends; small: little fits between them."""
        if kind == "unix":
            near, far = socket.socketpair()
            self.sockets += [near, far]
        else:
            family, host = (socket.AF_INET, "127.0.0.1") if kind == "tcp4" else (socket.AF_INET6, "::1")
            listener = self.listener(family, (host, 0), small=small)
            near = self.keep(socket.socket(family, socket.SOCK_STREAM))
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.connect(listener.getsockname())
            far = self.keep(listener.accept()[0])
            listener.close()
        if small:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    def pipe(self, size: int) -> tuple[int, int]:
        ends: tuple[int, int] = self.fdio.pipe(size)
        self.pipes += ends
        return ends

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        for fd in self.pipes:
            os.close(fd)


def _implementation(name: str) -> ModuleType:
    if name == "python":
        return importlib.import_module("ferryman.dataplane.fdio_py")
    try:
        return importlib.import_module("ferryman.dataplane._fdio")
    except ModuleNotFoundError:
        headers = Path(sysconfig.get_path("include"), "Python.h").exists()
        if headers and any(map(shutil.which, ("cc", "gcc", "clang"))):
            pytest.fail("the C extension is not built although this machine can: pip install -e . once more")
        pytest.skip("the C extension is not built, and this machine has no C compiler with Python's headers")


@pytest.fixture(params=["c", "python"], scope="module")
def fdio(request: pytest.FixtureRequest) -> Any:
    return _implementation(request.param)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def net(fdio: Any) -> Iterator[Net]:
    """What was open before is open after, nothing more and nothing less."""
    before = _descriptors()
    net = Net(fdio)
    yield net
    net.close()
    assert _descriptors() == before, "a descriptor leaked, or one was closed that was not ours"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["tcp4", "tcp6"])
def tcp(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def wait(sock: socket.socket | int, events: int = select.POLLIN) -> None:
    poll = select.poll()
    poll.register(sock, events)
    assert poll.poll(60_000), "nothing happened on the socket"


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly size bytes."""
    data = b""
    while len(data) < size:
        wait(sock)
        more = sock.recv(size - len(data))
        assert more, f"the stream ended after {len(data)} of {size} bytes"
        data += more
    return data


def at_end(sock: socket.socket) -> bool:
    wait(sock)
    return sock.recv(1) == b""


def abort(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def pattern(size: int) -> bytes:
    return bytes(i * 131 % 251 for i in range(size))


def arrived(sock: socket.socket, size: int) -> None:
    """Wait until size bytes can be read at once."""
    deadline = time.monotonic() + 60
    while len(sock.recv(size, socket.MSG_PEEK) if select.select([sock], [], [], 0.1)[0] else b"") < size:
        assert time.monotonic() < deadline, "what was sent did not arrive"


def ended(sock: socket.socket) -> None:
    """Wait for the peer's FIN behind whatever is still to read."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    assert poll.poll(60_000), "the peer's end was not seen"


# ---- the two of them ----


def test_both_have_the_same_names_and_numbers(fdio: Any) -> None:
    names = set(door.__all__) - {"IMPLEMENTATION"}
    assert names <= set(dir(fdio))
    for name in names:
        if name.isupper():
            assert getattr(fdio, name) == getattr(door, name)
    assert len({fdio.DRAINED, fdio.MORE, fdio.EOF, fdio.BLOCKED, fdio.READ_ERROR, fdio.WRITE_ERROR}) == 6


def _door(choice: str) -> subprocess.CompletedProcess[str]:
    code = "from ferryman.dataplane import fdio; print(fdio.IMPLEMENTATION, fdio.pump.__module__)"
    environment = os.environ | {"FERRYMAN_FDIO": choice}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_forces_the_twin() -> None:
    assert _door("python").stdout.split() == ["python", "ferryman.dataplane.fdio_py"]


def test_the_extension_is_taken_where_it_is_built(fdio: Any) -> None:
    if fdio.__name__.endswith("_fdio"):
        assert _door("").stdout.split()[0] == _door("c").stdout.split()[0] == "c"
    else:
        assert _door("").returncode == 0


def test_an_unknown_choice_is_refused() -> None:
    assert "FERRYMAN_FDIO=fortran" in _door("fortran").stderr


# ---- accept ----


def test_accept_gives_descriptor_and_address(fdio: Any, net: Net, tcp: str) -> None:
    family, host = (socket.AF_INET, "127.0.0.1") if tcp == "tcp4" else (socket.AF_INET6, "::1")
    listener = net.listener(family, (host, 0))
    assert fdio.accept(listener.fileno()) is None
    client = net.own(socket.create_connection(listener.getsockname()[:2]).detach())
    wait(listener)
    fd, peer_host, port = fdio.accept(listener.fileno())
    accepted = net.own(fd)
    assert (peer_host, port) == client.getsockname()[:2]
    assert not os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    assert fdio.sockname(accepted.fileno()) == listener.getsockname()[:2]
    assert fdio.accept(listener.fileno()) is None


def test_accept_and_sockname_show_mapped_addresses_as_ipv4(fdio: Any, net: Net) -> None:
    listener = net.listener(socket.AF_INET6, ("::ffff:127.0.0.1", 0))
    port = listener.getsockname()[1]
    client = net.own(socket.create_connection(("127.0.0.1", port)).detach())
    wait(listener)
    fd, *peer = fdio.accept(listener.fileno())
    net.own(fd)
    assert tuple(peer) == client.getsockname()
    assert fdio.sockname(fd) == ("127.0.0.1", port)


def test_accept_on_a_unix_socket(fdio: Any, net: Net, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = net.listener(socket.AF_UNIX, path)
    assert fdio.accept(listener.fileno()) is None
    fd, connected = fdio.connect(socket.AF_UNIX, path, 0)
    net.own(fd)
    assert connected
    assert fdio.sockname(fd) == ("unix", 0)
    fd, *peer = fdio.accept(listener.fileno())
    net.own(fd)
    assert peer == ["unix", 0]
    assert fdio.sockname(fd) == (path, 0)


def test_unix_sockets_have_room_for_what_is_under_way(fdio: Any, net: Net, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = net.listener(socket.AF_UNIX, path)
    ends = [net.own(fdio.connect(socket.AF_UNIX, path, 0)[0]), net.own(fdio.accept(listener.fileno())[0])]
    most = int(Path("/proc/sys/net/core/wmem_max").read_text())
    assert {end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for end in ends} == {2 * min(512 * 1024, most)}


def test_accept_raises_what_the_kernel_says(fdio: Any, net: Net) -> None:
    near, _ = net.pair("tcp4")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        fdio.accept(near.fileno())
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        fdio.accept(-1)


def test_accept_notices_another_listener_of_the_same_number(fdio: Any, net: Net, tmp_path: Path) -> None:
    first = net.listener(socket.AF_INET, ("127.0.0.1", 0))
    number = first.fileno()
    assert fdio.accept(number) is None
    second = net.listener(socket.AF_UNIX, str(tmp_path / "socket"))
    os.dup2(second.fileno(), number)
    net.own(fdio.connect(socket.AF_UNIX, str(tmp_path / "socket"), 0)[0])
    fd, *peer = fdio.accept(number)
    net.own(fd)
    assert peer == ["unix", 0]


def test_sockname_keeps_the_scope_of_link_local_addresses(fdio: Any, net: Net) -> None:
    sock = net.own(socket.socket(socket.AF_INET6, socket.SOCK_STREAM).detach())
    ipv6_freebind = 78  # linux/in6.h; lets us bind an address that no interface has
    sock.setsockopt(socket.IPPROTO_IPV6, ipv6_freebind, 1)
    loopback = socket.if_nametoindex("lo")
    sock.bind(("fe80::5", 0, 0, loopback))
    assert fdio.sockname(sock.fileno()) == (f"fe80::5%{loopback}", sock.getsockname()[1])


# ---- connect ----


def test_connect_then_writable_without_error(fdio: Any, net: Net, tcp: str) -> None:
    family, host = (socket.AF_INET, "127.0.0.1") if tcp == "tcp4" else (socket.AF_INET6, "::1")
    listener = net.listener(family, (host, 0))
    fd, connected = fdio.connect(family, host, listener.getsockname()[1])
    sock = net.own(fd)
    assert connected in (True, False)
    assert not os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    wait(sock, select.POLLOUT)
    assert fdio.so_error(fd) == 0
    assert sock.getpeername()[:2] == (host, listener.getsockname()[1])


def test_connect_refused(fdio: Any, net: Net, tcp: str) -> None:
    family, host = (socket.AF_INET, "127.0.0.1") if tcp == "tcp4" else (socket.AF_INET6, "::1")
    nobody = net.own(socket.socket(family, socket.SOCK_STREAM).detach())
    nobody.bind((host, 0))
    try:
        fd, connected = fdio.connect(family, host, nobody.getsockname()[1])
    except ConnectionRefusedError:
        return
    net.own(fd)
    assert not connected
    wait(fd, select.POLLOUT)
    assert fdio.so_error(fd) == errno.ECONNREFUSED
    assert fdio.so_error(fd) == 0


@pytest.mark.parametrize("scope", ["%lo", "%1"])
def test_connect_takes_a_scope(fdio: Any, net: Net, scope: str) -> None:
    listener = net.listener(socket.AF_INET6, ("::1", 0))
    fd, _ = fdio.connect(socket.AF_INET6, "::1" + scope, listener.getsockname()[1])
    net.own(fd)
    wait(fd, select.POLLOUT)
    assert fdio.so_error(fd) == 0


LOOPBACK = {"tcp4": (socket.AF_INET, "127.0.0.1"), "tcp6": (socket.AF_INET6, "::1")}
ELSEWHERE = {"tcp4": "203.0.113.9", "tcp6": "2001:db8::9"}
"""Addresses that no machine has."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: addresses of others, namespaces, rules")


def test_connect_from_an_address(fdio: Any, net: Net) -> None:
    listener = net.listener(socket.AF_INET, ("127.0.0.1", 0))
    fd, _ = fdio.connect_from(socket.AF_INET, "127.0.0.1", listener.getsockname()[1], "127.0.0.77", 0, False, "lo")
    sock = net.own(fd)
    wait(sock, select.POLLOUT)
    assert fdio.so_error(fd) == 0
    accepted, (host, port) = listener.accept()
    net.keep(accepted)
    assert host == "127.0.0.77"
    assert port == sock.getsockname()[1] != 0
    assert sock.getsockopt(socket.IPPROTO_IP, 24), "IP_BIND_ADDRESS_NO_PORT: connecting has chosen the port"
    assert not os.get_blocking(fd)


def test_connect_from_an_ipv6_address_lets_connecting_choose_the_port(fdio: Any, net: Net) -> None:
    listener = net.listener(socket.AF_INET6, ("::1", 0))
    fd, _ = fdio.connect_from(socket.AF_INET6, "::1", listener.getsockname()[1], "::1", 0, False, "")
    sock = net.own(fd)
    wait(sock, select.POLLOUT)
    assert fdio.so_error(fd) == 0
    assert sock.getsockopt(socket.IPPROTO_IP, 24)


def test_connect_from_a_port_twice(fdio: Any, net: Net, tcp: str) -> None:
    """Two destinations may be called from one port."""
    family, host = LOOPBACK[tcp]
    spare = net.keep(socket.socket(family))  # so that nobody else gets the port
    spare.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    spare.bind((host, 0))
    port = spare.getsockname()[1]
    for _ in range(2):
        listener = net.listener(family, (host, 0))
        fd, _ = fdio.connect_from(family, host, listener.getsockname()[1], host, port, False, "")
        sock = net.own(fd)
        wait(sock, select.POLLOUT)
        assert sock.getsockname()[:2] == (host, port)


@as_root
def test_connect_from_an_address_of_another_machine(fdio: Any, net: Net, tcp: str) -> None:
    family, host = LOOPBACK[tcp]
    listener = net.listener(family, (host, 0))
    fd, _ = fdio.connect_from(family, host, listener.getsockname()[1], ELSEWHERE[tcp], 4711, True, "lo")
    assert net.own(fd).getsockname()[:2] == (ELSEWHERE[tcp], 4711)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((socket.AF_INET, "127.0.0.1", 1, "203.0.113.9", 0, False, ""), errno.EADDRNOTAVAIL),
        ((socket.AF_INET6, "::1", 1, "2001:db8::9", 0, False, ""), errno.EADDRNOTAVAIL),
        ((socket.AF_INET, "127.0.0.1", 1, "::1", 0, False, ""), errno.EINVAL),
        ((socket.AF_INET6, "::1", 1, "127.0.0.1", 0, False, ""), errno.EINVAL),
        ((socket.AF_INET, "127.0.0.1", 1, "", 0, False, "no-such-card"), errno.ENODEV),
        ((socket.AF_UNIX, "/tmp/x", 0, "", 0, False, ""), errno.EAFNOSUPPORT),
    ],
)
def test_connect_from_nowhere(fdio: Any, net: Net, arguments: tuple[Any, ...], code: int) -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        fdio.connect_from(*arguments)


def test_the_original_destination_of_what_was_not_sent_elsewhere(fdio: Any, net: Net, tcp: str) -> None:
    _, far = net.pair(tcp)
    assert fdio.original(far.fileno()) in (None, far.getsockname()[:2])
    near, _ = net.pair("unix")
    assert fdio.original(near.fileno()) is None


REDIRECTED = r"""
import importlib, socket, subprocess
fdio = importlib.import_module(%r)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
rules = "table inet t {\n chain c {\n type nat hook output priority -100;\n tcp dport 81 redirect to :8081\n }\n}\n"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
subprocess.run(["ip", "address", "add", "203.0.113.9/32", "dev", "lo"], check=True)
subprocess.run(["ip", "address", "add", "2001:db8::9/128", "dev", "lo", "nodad"], check=True)
for family, bound, wanted in (
    (socket.AF_INET, "0.0.0.0", "203.0.113.9"),
    (socket.AF_INET6, "::", "2001:db8::9"),
    (socket.AF_INET6, "::", "203.0.113.9"),
):
    with socket.create_server((bound, 8081), family=family, dualstack_ipv6=family == socket.AF_INET6) as listener:
        with socket.create_connection((wanted, 81), 5) as client:
            accepted, _ = listener.accept()
            with accepted:
                assert fdio.sockname(accepted.fileno())[1] == 8081
                assert fdio.original(accepted.fileno()) == (wanted, 81), fdio.original(accepted.fileno())
print("fine")
"""


@as_root
def test_the_original_destination_of_what_was_redirected(fdio: Any) -> None:
    if missing := [program for program in ("unshare", "ip", "nft") if shutil.which(program) is None]:
        pytest.skip(f"not installed: {missing}")
    command = ["unshare", "--net", sys.executable, "-c", REDIRECTED % fdio.__name__]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("fine\n", "")


def test_connect_to_an_abstract_name(fdio: Any, net: Net) -> None:
    name = f"\0ferryman-test-{os.getpid()}"
    listener = net.listener(socket.AF_UNIX, name)
    fd, connected = fdio.connect(socket.AF_UNIX, name, 0)
    net.own(fd)
    assert connected
    assert fdio.sockname(listener.fileno()) == (name, 0)


@pytest.mark.parametrize(
    ("family", "host", "code"),
    [
        (socket.AF_INET, "localhost", errno.EINVAL),
        (socket.AF_INET, "", errno.EINVAL),
        (socket.AF_INET, "127.1", errno.EINVAL),
        (socket.AF_INET, "127.0.0.1\0", errno.EINVAL),
        (socket.AF_INET, "::1", errno.EINVAL),
        (socket.AF_INET, "127.0.0.1%lo", errno.EINVAL),
        (socket.AF_INET6, "127.0.0.1", errno.EINVAL),
        (socket.AF_INET6, "::1" * 50, errno.EINVAL),
        (socket.AF_INET6, "::1\0", errno.EINVAL),
        (socket.AF_INET6, "%lo", errno.EINVAL),
        (socket.AF_INET6, "fe80::1%", errno.ENODEV),
        (socket.AF_INET6, "fe80::1%0", errno.ENODEV),
        (socket.AF_INET6, "fe80::1%no-such-card", errno.ENODEV),
        (socket.AF_INET6, "fe80::1%4294967296", errno.ENODEV),
        (socket.AF_INET6, "fe80::1%99999999999999999999999", errno.ENODEV),
        (socket.AF_NETLINK, "127.0.0.1", errno.EAFNOSUPPORT),
        (socket.AF_UNIX, "/no/such/socket", errno.ENOENT),
        (socket.AF_UNIX, "", errno.EINVAL),
        (socket.AF_UNIX, "/" + "x" * 107, errno.ENAMETOOLONG),
        (socket.AF_UNIX, "/" + "x" * 106, errno.ENOENT),
    ],
)
def test_connect_refuses_what_is_no_address(fdio: Any, net: Net, family: int, host: str, code: int) -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(code))) as caught:
        fdio.connect(family, host, 80)
    assert caught.value.errno == code


@pytest.mark.parametrize("port", [-1, 65536])
def test_connect_refuses_what_is_no_port(fdio: Any, net: Net, port: int) -> None:
    with pytest.raises(OverflowError):
        fdio.connect(socket.AF_INET, "127.0.0.1", port)


def test_no_descriptor_left_is_said_so(fdio: Any, net: Net) -> None:
    listener = net.listener(socket.AF_INET, ("127.0.0.1", 0))
    net.own(socket.create_connection(listener.getsockname()).detach())
    wait(listener)
    calls: list[Callable[[], object]] = [
        lambda: fdio.accept(listener.fileno()),
        lambda: fdio.connect(socket.AF_INET, "127.0.0.1", 9),
        lambda: fdio.pipe(0),
    ]
    codes = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        for call in calls:
            try:
                call()
            except OSError as error:
                codes.append(error.errno)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert codes == [errno.EMFILE] * 3
    net.own(fdio.accept(listener.fileno())[0])


# ---- ends and options ----


def test_shutdown_write_ends_one_direction(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind)
    fdio.shutdown_write(near.fileno())
    assert at_end(far)
    far.send(b"still open")
    assert receive(near, 10) == b"still open"


def test_shutdown_write_leaves_an_unconnected_socket(fdio: Any, net: Net) -> None:
    sock = net.own(socket.socket().detach())
    fdio.shutdown_write(sock.fileno())
    with pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)):
        fdio.shutdown_write(net.pipe(0)[0])


def test_linger_reset_makes_the_close_a_reset(fdio: Any, net: Net, tcp: str) -> None:
    near, far = net.pair(tcp)
    fdio.linger_reset(near.fileno())
    fdio.close(near.detach())
    wait(far)
    with pytest.raises(ConnectionResetError):
        far.recv(1)


def test_close_is_seen_as_end(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind)
    fdio.close(near.detach())
    assert at_end(far)


@pytest.mark.parametrize(
    "name", ["close", "linger_reset", "original", "so_error", "sockname", "set_nodelay", "shutdown_write"]
)
def test_a_bad_descriptor_is_said_so(fdio: Any, net: Net, name: str) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        getattr(fdio, name)(-1)


def test_options_reach_the_socket(fdio: Any, net: Net, tcp: str) -> None:
    _, far = net.pair(tcp)
    fd = far.fileno()
    assert not far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    fdio.set_nodelay(fd)
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    probes = far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
    fdio.keepalive(fd, 41, 7, 0)
    assert far.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 41
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 7
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == probes
    fdio.keepalive(fd, 0, 0, 5)
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 41
    assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 5


def test_rcvlowat_keeps_quiet_until_enough_is_there(fdio: Any, net: Net, tcp: str) -> None:
    near, far = net.pair(tcp)
    fdio.rcvlowat(far.fileno(), 6)
    near.send(b"hello")
    assert select.select([far], [], [], 0.02)[0] == []
    near.send(b"!")
    wait(far)
    assert fdio.peek(far.fileno(), 100) == b"hello!"


# ---- peek, discard, send ----


def test_peek_leaves_everything_in_place(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind)
    assert fdio.peek(far.fileno(), 100) is None
    near.send(b"hello world")
    arrived(far, 11)
    assert fdio.peek(far.fileno(), 5) == b"hello"
    assert fdio.peek(far.fileno(), fdio.BUFFER) == b"hello world"
    assert fdio.discard(far.fileno(), 6) == 6
    assert fdio.peek(far.fileno(), 100) == b"world"
    assert fdio.discard(far.fileno(), 100) == 5
    assert fdio.discard(far.fileno(), 100) == 0
    assert fdio.peek(far.fileno(), 100) is None
    near.close()
    wait(far)
    assert fdio.peek(far.fileno(), 100) == b""
    assert fdio.discard(far.fileno(), 100) == 0


@pytest.mark.parametrize("size", [0, -1, 64 * 1024 + 1])
def test_peek_refuses_a_size_without_sense(fdio: Any, net: Net, size: int) -> None:
    near, _ = net.pair("unix")
    with pytest.raises(ValueError, match="BUFFER"):
        fdio.peek(near.fileno(), size)


def test_discard_goes_beyond_one_buffer(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind)
    size = fdio.BUFFER + 1000
    near.setblocking(True)
    near.sendall(b"x" * size + b"rest")
    arrived(far, 1)
    gone = 0
    while gone < size:
        wait(far)
        gone += fdio.discard(far.fileno(), size - gone)
    assert receive(far, 4) == b"rest"


@pytest.mark.parametrize("call", ["peek", "discard", "send"])
def test_a_reset_is_raised(fdio: Any, net: Net, tcp: str, call: str) -> None:
    near, far = net.pair(tcp)
    abort(near)
    wait(far)
    with pytest.raises(ConnectionResetError):
        getattr(fdio, call)(far.fileno(), b"x" if call == "send" else 10)


def test_send_to_an_ended_peer_is_a_broken_pipe(fdio: Any, net: Net) -> None:
    near, far = net.pair("unix")
    far.close()
    with pytest.raises(BrokenPipeError):
        fdio.send(near.fileno(), b"x")


def test_send_says_how_much_went(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind, small=True)
    assert fdio.send(near.fileno(), b"") == 0
    assert fdio.send(near.fileno(), bytearray(b"hello")) == 5
    sent = 5
    while count := fdio.send(near.fileno(), memoryview(bytes(100_000))):
        sent += count
    assert sent > 0
    assert receive(far, sent) == b"hello" + bytes(sent - 5)


def test_send_more_goes_with_what_follows(fdio: Any, net: Net, kind: str) -> None:
    near, far = net.pair(kind)
    assert fdio.send_more(near.fileno(), b"head, ") == 6
    assert fdio.send(near.fileno(), b"body") == 4
    assert receive(far, 10) == b"head, body"
    far.close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012 - of TCP the first answer is still to come
        for _ in range(1000):
            fdio.send_more(near.fileno(), b"x")
            fdio.send(near.fileno(), b"x")


# ---- pump ----


class Relay:
    """client -> src, dst -> server: the two connections between which the code under test stands."""

    def __init__(self, net: Net, kind: str, *, small: bool = False) -> None:
        self.client, self.source = net.pair(kind)
        self.destination, self.server = net.pair(kind, small=small)
        self.src = self.source.fileno()
        self.dst = self.destination.fileno()

    def offer(self, data: bytes) -> None:
        """Have data wait at src."""
        self.client.sendall(data)
        arrived(self.source, len(data))


def test_pump_moves_what_is_there(fdio: Any, net: Net, kind: str) -> None:
    relay = Relay(net, kind)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.DRAINED, 0, None)
    relay.offer(b"hello")
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.DRAINED, 5, None)
    assert receive(relay.server, 5) == b"hello"
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, True) == (fdio.DRAINED, 0, None)


def test_pump_sees_the_end_behind_the_data_when_told_to_look(fdio: Any, net: Net, kind: str) -> None:
    relay = Relay(net, kind)
    relay.offer(b"goodbye")
    relay.client.shutdown(socket.SHUT_WR)
    ended(relay.source)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, True) == (fdio.EOF, 7, None)
    assert receive(relay.server, 7) == b"goodbye"


def test_pump_stops_at_a_short_read_otherwise(fdio: Any, net: Net, kind: str) -> None:
    relay = Relay(net, kind)
    relay.offer(b"goodbye")
    relay.client.shutdown(socket.SHUT_WR)
    ended(relay.source)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.DRAINED, 7, None)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.EOF, 0, None)


def test_pump_stops_at_the_limit(fdio: Any, net: Net, kind: str) -> None:
    relay = Relay(net, kind)
    data = pattern(3000)
    relay.offer(data)
    assert fdio.pump(relay.src, relay.dst, 1000, True) == (fdio.MORE, 1000, None)
    assert fdio.pump(relay.src, relay.dst, 0, True) == (fdio.MORE, 0, None)
    assert fdio.pump(relay.src, relay.dst, 2000, False) == (fdio.MORE, 2000, None)
    assert fdio.pump(relay.src, relay.dst, 1000, False) == (fdio.DRAINED, 0, None)
    assert receive(relay.server, 3000) == data


def test_pump_goes_beyond_one_buffer(fdio: Any, net: Net, tcp: str) -> None:
    relay = Relay(net, tcp)
    data = pattern(fdio.BUFFER + 5)
    relay.offer(data)
    assert fdio.pump(relay.src, relay.dst, fdio.BUFFER + 3, False) == (fdio.MORE, fdio.BUFFER + 3, None)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.DRAINED, 2, None)
    assert receive(relay.server, len(data)) == data


def test_pump_hands_out_what_a_full_destination_does_not_take(fdio: Any, net: Net, kind: str) -> None:
    relay = Relay(net, kind, small=True)
    data, moved, leftover = b"", 0, b""
    while not leftover:
        data += (part := pattern(40_000))
        relay.offer(part)
        state, count, extra = fdio.pump(relay.src, relay.dst, NO_LIMIT, False)
        moved += count
        if state == fdio.BLOCKED:
            leftover = extra
            assert isinstance(leftover, bytes)
            assert 0 < len(leftover) <= fdio.BUFFER
        else:
            assert (state, extra) == (fdio.DRAINED, None)
    assert moved + len(leftover) == len(data)
    assert receive(relay.server, moved) + leftover == data


def test_pump_reports_a_reset_source(fdio: Any, net: Net, tcp: str) -> None:
    relay = Relay(net, tcp)
    abort(relay.client)
    wait(relay.source)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, True) == (fdio.READ_ERROR, 0, errno.ECONNRESET)


def test_pump_reports_a_reset_destination(fdio: Any, net: Net, tcp: str) -> None:
    relay = Relay(net, tcp)
    abort(relay.server)
    wait(relay.destination)
    relay.offer(b"too late")
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.WRITE_ERROR, 0, errno.ECONNRESET)
    relay.offer(b"later still")
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, False) == (fdio.WRITE_ERROR, 0, errno.EPIPE)


def test_pump_goes_on_past_urgent_data_when_told_to_look(fdio: Any, net: Net, tcp: str) -> None:
    relay = Relay(net, tcp)
    relay.client.send(b"before")
    relay.client.send(b"!", socket.MSG_OOB)
    relay.client.send(b"after")
    wait(relay.source, select.POLLPRI)
    relay.client.shutdown(socket.SHUT_WR)
    ended(relay.source)
    assert fdio.pump(relay.src, relay.dst, NO_LIMIT, True) == (fdio.EOF, 11, None)
    assert receive(relay.server, 11) == b"beforeafter"


# ---- splice ----


def splice(fdio: Any, relay: Relay, pipe: tuple[int, int], in_pipe: int, limit: int = NO_LIMIT) -> Any:
    return fdio.splice_pump(relay.src, *pipe, relay.dst, in_pipe, limit)


def test_splice_moves_what_is_there(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind), net.pipe(0)
    assert splice(fdio, relay, pipe, 0) == (fdio.DRAINED, 0, 0, 0)
    relay.offer(b"hello")
    assert splice(fdio, relay, pipe, 0) == (fdio.DRAINED, 5, 0, 0)
    assert receive(relay.server, 5) == b"hello"


def test_splice_sees_the_end_behind_data_and_pipe(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind), net.pipe(0)
    assert fdio.pipe_put(pipe[1], b"left over, ") == 11
    relay.offer(b"last words")
    relay.client.shutdown(socket.SHUT_WR)
    ended(relay.source)
    assert splice(fdio, relay, pipe, 11) == (fdio.EOF, 21, 0, 0)
    assert receive(relay.server, 21) == b"left over, last words"


def test_splice_stops_at_the_limit(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind), net.pipe(0)
    data = pattern(3000)
    relay.offer(data)
    assert splice(fdio, relay, pipe, 0, 0) == (fdio.MORE, 0, 0, 0)
    assert splice(fdio, relay, pipe, 0, 1000) == (fdio.MORE, 1000, 0, 0)
    assert splice(fdio, relay, pipe, 0) == (fdio.DRAINED, 2000, 0, 0)
    assert receive(relay.server, 3000) == data


def test_splice_is_not_fooled_by_a_pipe_that_is_out_of_slots(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind), net.pipe(4096)
    for i in range(64):
        relay.client.send(bytes([i]))
    arrived(relay.source, 64)
    assert splice(fdio, relay, pipe, 0) == (fdio.DRAINED, 64, 0, 0)
    assert receive(relay.server, 64) == bytes(range(64))


def test_splice_keeps_in_the_pipe_what_a_full_destination_does_not_take(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind, small=True), net.pipe(0)
    data, moved, in_pipe = b"", 0, 0
    while not in_pipe:
        data += (part := pattern(40_000))
        relay.offer(part)
        state, count, in_pipe, code = splice(fdio, relay, pipe, 0)
        moved += count
        assert (state, code) == (fdio.BLOCKED if in_pipe else fdio.DRAINED, 0)
    received = receive(relay.server, moved)
    while len(received) < len(data):
        wait(relay.destination, select.POLLOUT)
        state, count, in_pipe, code = splice(fdio, relay, pipe, in_pipe)
        assert code == 0
        received += receive(relay.server, count)
    assert (state, in_pipe) == (fdio.DRAINED, 0)
    assert received == data


def test_splice_without_source_only_empties_the_pipe(fdio: Any, net: Net, kind: str) -> None:
    relay, pipe = Relay(net, kind), net.pipe(0)
    fdio.pipe_put(pipe[1], b"the rest")
    relay.offer(b"not to be read")
    assert fdio.splice_pump(-1, *pipe, relay.dst, 8, 1) == (fdio.DRAINED, 8, 0, 0)
    assert fdio.splice_pump(-1, *pipe, relay.dst, 0, NO_LIMIT) == (fdio.DRAINED, 0, 0, 0)
    assert receive(relay.server, 8) == b"the rest"
    assert fdio.peek(relay.src, 100) == b"not to be read"


def test_splice_reports_a_reset_source(fdio: Any, net: Net, tcp: str) -> None:
    relay, pipe = Relay(net, tcp), net.pipe(0)
    fdio.pipe_put(pipe[1], b"earlier")
    abort(relay.client)
    wait(relay.source)
    assert splice(fdio, relay, pipe, 7) == (fdio.READ_ERROR, 7, 0, errno.ECONNRESET)
    assert receive(relay.server, 7) == b"earlier"


def test_splice_reports_a_reset_destination(fdio: Any, net: Net, tcp: str) -> None:
    relay, pipe = Relay(net, tcp), net.pipe(0)
    abort(relay.server)
    wait(relay.destination)
    relay.offer(b"too late")
    assert splice(fdio, relay, pipe, 0) == (fdio.WRITE_ERROR, 0, 8, errno.ECONNRESET)
    assert splice(fdio, relay, pipe, 8) == (fdio.WRITE_ERROR, 0, 8, errno.EPIPE)


# ---- pipes ----


def test_pipe_takes_until_it_is_full(fdio: Any, net: Net) -> None:
    reading, writing = net.pipe(4096)
    assert not os.get_blocking(reading)
    assert not os.get_blocking(writing)
    assert not os.get_inheritable(reading)
    data = pattern(10_000)
    assert fdio.pipe_put(writing, data) == 4096
    assert fdio.pipe_put(writing, data) == 0
    assert os.read(reading, 10_000) == data[:4096]
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        fdio.pipe_put(reading, b"x")


def test_a_pipe_too_large_for_the_kernel_is_a_smaller_pipe(fdio: Any, net: Net) -> None:
    _, writing = net.pipe(0x7FFFFFFF)
    assert fdio.pipe_put(writing, b"hello") == 5


# ---- all of it together ----


def carry(fdio: Any, net: Net, kind: str, data: bytes, sends: list[int], reads: list[int], ways: list[str]) -> bytes:
    """Relay data like a tunnel would, one step after the other, by the ways in turn; returns what arrived."""
    relay, pipe = Relay(net, kind, small=True), net.pipe(4096)
    send, read, way = cycle(sends), cycle(reads), cycle(ways)
    received, sent, in_pipe, leftover, over = b"", 0, 0, b"", False
    deadline = time.monotonic() + 60
    while not (over and len(received) == len(data)):
        assert time.monotonic() < deadline, f"stuck after {len(received)} of {len(data)} bytes"
        if sent < len(data):
            sent += fdio.send(relay.client.fileno(), data[sent : sent + next(send)])
            if sent == len(data):
                relay.client.shutdown(socket.SHUT_WR)
        if leftover:
            in_pipe += (count := fdio.pipe_put(pipe[1], leftover))
            leftover = leftover[count:]
        if leftover or in_pipe or over or next(way) == "splice":
            src = -1 if leftover or over else relay.src
            state, _, in_pipe, code = fdio.splice_pump(src, *pipe, relay.dst, in_pipe, next(read))
            assert code == 0
        else:
            state, _, extra = fdio.pump(relay.src, relay.dst, next(read), True)
            leftover = extra or b""
        assert state not in (fdio.READ_ERROR, fdio.WRITE_ERROR)
        over = over or state == fdio.EOF
        if select.select([relay.server], [], [], 0)[0]:
            received += relay.server.recv(next(read))
    return received


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    kind=st.sampled_from(KINDS),
    size=st.integers(1, 150_000),
    sends=st.lists(st.integers(1, 70_000), min_size=1, max_size=5),
    reads=st.lists(st.integers(500, 70_000), min_size=1, max_size=5),
    ways=st.lists(st.sampled_from(["copy", "splice"]), min_size=1, max_size=4),
)
def test_whatever_the_sizes_the_bytes_arrive(
    fdio: Any, kind: str, size: int, sends: list[int], reads: list[int], ways: list[str]
) -> None:
    before = _descriptors()
    net = Net(fdio)
    data = pattern(size)
    try:
        received = carry(fdio, net, kind, data, sends, reads, ways)
    finally:
        net.close()
    assert received == data
    assert _descriptors() == before
