"""Listening sockets: bound all or none, kept over plans, given by systemd, and removed only where they are ours."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from plans import listener, make_plan, server

from ferryman.controlplane import sockets
from ferryman.controlplane.sockets import Sockets, addresses, from_systemd, private, wanted
from ferryman.errors import StartError
from ferryman.plan import Address, Listener, Plan


def at(*binds: Address, **fields: object) -> Plan:
    """One listener on each address."""
    listeners = [replace(listener(f"l{index}", **fields), bind=(bind,)) for index, bind in enumerate(binds)]
    return make_plan(listeners, {"app": [server("s1")]})


def tcp(port: int = 0, host: str = "127.0.0.1") -> Address:
    return Address("inet", host, port)


_TAKEN: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody else gets meanwhile: it is bound, which keeps nobody who may reuse it from listening there."""
    _TAKEN.append(socket.socket())
    _TAKEN[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _TAKEN[-1].bind(("127.0.0.1", 0))
    return int(_TAKEN[-1].getsockname()[1])


@pytest.fixture
def owned() -> Iterator[Sockets]:
    owned = Sockets()
    yield owned
    owned.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def take(owned: Sockets, plan: Plan) -> None:
    owned.adopt(plan, owned.prepare(plan))


def test_a_range_of_ports_is_many_addresses() -> None:
    made = Listener(0, "web", "tcp", (Address("inet", "127.0.0.1", 7001, 7003),), listener("x").log)
    assert [key for key, _ in addresses(made)] == ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]
    assert set(wanted(at(tcp(7001), tcp(7005)))) == {"127.0.0.1:7001", "127.0.0.1:7005"}


def test_preparing_changes_nothing_until_it_is_adopted(owned: Sockets) -> None:
    one, other = free_port(), free_port()
    take(owned, at(tcp(one)))
    kept = dict(owned.open)
    fresh = owned.prepare(at(tcp(other)))
    assert owned.open == kept
    assert listens(one)
    owned.adopt(at(tcp(other)), fresh)
    assert listens(other)
    assert not listens(one)


def test_what_both_plans_want_never_closes(owned: Sockets) -> None:
    one, other = free_port(), free_port()
    take(owned, at(tcp(one)))
    sock = owned.open[f"127.0.0.1:{one}"]
    with socket.create_connection(("127.0.0.1", one)):
        take(owned, at(tcp(other), tcp(one)))
        assert owned.open[f"127.0.0.1:{one}"] is sock
        assert sock.accept()[0].close() is None, "who waited there still does"


def test_every_address_that_cannot_be_had_is_named_and_none_is_kept(owned: Sockets, tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = at(
            tcp(free), tcp(port), tcp(1, "192.0.2.1"), Address("unix", f"{tmp_path}/a"),
            Address("unix", f"{tmp_path}/none/b"),
        )  # fmt: skip
        with pytest.raises(StartError) as caught:
            owned.prepare(plan)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"listener l1: cannot listen on 127.0.0.1:{port}: the address is in use")
    assert "does not have that address" in lines[1]
    assert "folder does not exist" in lines[2]
    assert not listens(free)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("wanted_alive", [True, False])
def test_settings_that_accepted_sockets_inherit(owned: Sockets, wanted_alive: bool) -> None:
    port = free_port()
    take(owned, at(tcp(port), keepalive=wanted_alive))
    sock = owned.open[f"127.0.0.1:{port}"]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = sock.accept()
        with accepted:
            assert bool(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is wanted_alive
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    take(owned, at(tcp(port), keepalive=not wanted_alive))
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is not wanted_alive
    assert not sock.getblocking()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may listen for other machines")
@pytest.mark.parametrize(("host", "family", "option"), [("0.0.0.0", "inet", (0, 19)), ("::", "inet6", (41, 75))])
def test_taking_what_is_for_other_machines_comes_and_goes_with_the_plan(
    owned: Sockets, host: str, family: str, option: tuple[int, int]
) -> None:
    bind = Address(family, host, free_port())
    take(owned, at(bind, transparent="tproxy"))
    (sock,) = owned.open.values()
    assert sock.getsockopt(*option) == 1
    take(owned, at(bind, transparent="redirect"))
    assert sock.getsockopt(*option) == 0
    take(owned, at(bind, transparent="tproxy"))
    assert list(owned.open.values()) == [sock], "it stayed open all the time"
    assert sock.getsockopt(*option) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may listen for other machines")
def test_listening_at_an_address_of_another_machine(owned: Sockets) -> None:
    take(owned, at(tcp(host="203.0.113.9", port=443), transparent="tproxy"))
    (sock,) = owned.open.values()
    assert sock.getsockname() == ("203.0.113.9", 443)


def test_who_may_not_take_what_is_for_others_is_told_what_it_needs() -> None:
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        try:
            Sockets().prepare(at(tcp(free_port()), transparent="tproxy"))
        except StartError as error:
            os._exit(0 if "needs root, CAP_NET_RAW or CAP_NET_ADMIN" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_ipv6_alone_or_with_ipv4(owned: Sockets) -> None:
    both, alone = free_port(), free_port()
    take(owned, at(Address("inet6", "::", both), Address("inet6", "::", alone, v6only=True)))
    assert listens(both)
    assert not listens(alone)


@pytest.mark.parametrize("failure", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_every_address_is_one_of_ipv4(
    owned: Sockets, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    class Socket(socket.socket):
        """Of a machine that was started with ipv6.disable=1, or with disable_ipv6=1 for the module (ipv6.rst)."""

        def __init__(self, family: int = -1, kind: int = -1, protocol: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6 and failure == errno.EAFNOSUPPORT:
                raise OSError(failure, os.strerror(failure))
            super().__init__(family, kind, protocol, fileno)

        def bind(self, address: object) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(failure, os.strerror(failure))
            super().bind(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Socket)
    port = free_port()
    take(owned, at(Address("inet6", "::", port)))
    assert listens(port)
    for address in (Address("inet6", "::", free_port(), v6only=True), Address("inet6", "::1", free_port())):
        with pytest.raises(StartError):
            owned.prepare(at(address))


def test_unix_sockets_are_removed_with_the_listener_unless_somebody_replaced_them(
    owned: Sockets, tmp_path: Path
) -> None:
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    take(owned, at(Address("unix", ours), Address("unix", theirs), Address("abstract", f"x{os.getpid()}")))
    os.rename(theirs, theirs + ".old")
    Path(theirs).touch()
    owned.close()
    assert not os.path.exists(ours)
    assert os.path.exists(theirs)


def test_a_socket_file_that_nobody_listens_on_is_replaced(owned: Sockets, tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    take(owned, at(Address("unix", path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_one_that_somebody_listens_on_and_what_is_no_socket_stay(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(path)
        alive.listen()
        with pytest.raises(OSError, match="in use") as caught:
            sockets.remove_stale(path)
        assert caught.value.errno == errno.EADDRINUSE
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="is no socket"):
        sockets.remove_stale(str(tmp_path / "file"))
    sockets.remove_stale(str(tmp_path / "nothing"))


# systemd


def test_sockets_given_are_used_and_not_ours_to_remove(tmp_path: Path) -> None:
    path = str(tmp_path / "given")
    given = socket.socket(socket.AF_UNIX)
    given.bind(path)
    given.listen()
    owned = Sockets({f"unix@{path}": given})
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError):
        owned.prepare(at(Address("unix", path), tcp(taken.getsockname()[1])))
    take(owned, at(Address("unix", path)))
    assert owned.open[f"unix@{path}"] is given, "also after a plan that could not be"
    owned.close()
    assert os.path.exists(path)


CHILD = """
import os, socket
from ferryman.controlplane.sockets import from_systemd
os.environ["LISTEN_PID"] = str(os.getpid())
for key, sock in sorted(from_systemd(os.environ).items()):
    print(key, sock.getblocking(), os.get_inheritable(sock.fileno()))
    sock.detach()
"""


def test_what_systemd_passes_is_known_by_its_address(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as inet,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as inet6,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        open(tmp_path / "file", "w") as file,
    ):
        unix.bind(str(tmp_path / "u"))
        abstract.bind(f"\0a{os.getpid()}")
        unix.listen()
        abstract.listen()
        given = [inet, inet6, datagram, file, unix, abstract]
        high = [os.dup2(one.fileno(), 50 + index) for index, one in enumerate(given)]  # above those they are moved to
        moves = "".join(f"os.dup2({number}, {3 + index})\n" for index, number in enumerate(high))
        done = subprocess.run(
            [sys.executable, "-c", f"import os\n{moves}{CHILD}"],
            pass_fds=high,
            env={**os.environ, "LISTEN_FDS": str(len(given))},
            capture_output=True,
            text=True,
            check=False,
        )
        for number in high:
            os.close(number)
        ports = inet.getsockname()[1], inet6.getsockname()[1]
    assert done.stderr == ""
    keys = [f"127.0.0.1:{ports[0]}", f"[::1]:{ports[1]}", f"abns@a{os.getpid()}", f"unix@{tmp_path}/u"]
    assert done.stdout.splitlines() == [f"{key} False False" for key in keys]


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "3"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}]
)
def test_what_was_not_meant_for_us_is_left_alone(environment: dict[str, str]) -> None:
    assert from_systemd(environment) == {}


def test_a_control_socket_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with private("c.sock"):
        assert (tmp_path / "c.sock").is_socket()
        with pytest.raises(StartError, match=r"in use; another ferryman may be running"), private("c.sock"):
            pass


def test_a_control_socket_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError) as caught, private(f"{tmp_path}/file/c.sock"):
        pass
    assert "another ferryman" not in str(caught.value)
    assert "--control PATH" in str(caught.value)


class Elsewhere:
    """Makes sockets right here, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def bind(self, address: Address, backlog: int) -> socket.socket:
        self.asked.append(("bind", str(address)))
        return sockets.bind(replace(address, namespace=""), backlog)

    def release(self, address: Address) -> None:
        self.asked.append(("release", str(address)))


def test_sockets_come_from_whoever_is_there() -> None:
    """Those of this namespace, too: only who makes them can do without one that cannot be had."""
    there = Elsewhere()
    owned = Sockets(elsewhere=there)
    far = [replace(tcp(port), namespace="far") for port in (free_port(), free_port())]
    here = tcp(free_port())
    first, second = at(far[0], here), at(far[1])
    try:
        owned.adopt(first, owned.prepare(first))
        assert there.asked == [("bind", str(far[0])), ("bind", str(here))]
        owned.adopt(first, owned.prepare(first))
        owned.adopt(second, owned.prepare(second))
        assert there.asked[2:] == [("bind", str(far[1])), ("release", str(far[0])), ("release", str(here))]
    finally:
        owned.close()
    assert len(there.asked) == 5, "an end releases nothing: who comes next finds the sockets open"
