"""Checks against real sockets on loopback: servers that accept, refuse, or let nobody in."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ferryman.controlplane.health import Health, first_delays, interval
from ferryman.controlplane.outcome import Outcome
from ferryman.controlplane.probe import probe
from ferryman.controlplane.serverstate import ServerState
from ferryman.plan import Address, Check, Server, Source
from ferryman.wire import proxyprotocol

FAST = Check(interval=0.05, timeout=30.0)


def state_of(port: int, check: Check = FAST, *, host: str = "127.0.0.1", family: str = "inet") -> ServerState:
    return ServerState.new(Server(0, "s", "be", Address(family, host, port), check=check))


@contextlib.contextmanager
def listener(port: int = 0, backlog: int = 50) -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(backlog)
        sock.setblocking(False)
        yield sock


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, but where nobody listens unless `listener` is given it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """A port whose queue is full: a connect gets no answer."""
    with listener(backlog=0) as sock, contextlib.ExitStack() as stack:
        port = sock.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        assert select.select([sock], [], [], 30)[0], "one is in the queue"
        yield port


@dataclass
class Seen:
    """What Health told: (up, health, status) at each result, and `up` at each change."""

    results: list[tuple[bool, int, str]] = field(default_factory=list)
    changes: list[bool] = field(default_factory=list)

    def result(self, state: ServerState) -> None:
        self.results.append((state.up, state.health, state.check_status))

    def change(self, state: ServerState) -> None:
        self.changes.append(state.up)


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what sockets do sets no event
            await asyncio.sleep(0.005)
    assert condition(), what


async def accepted(sock: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
    """The next connection, blocking, and where it comes from."""
    async with asyncio.timeout(30):
        connection, peer = await asyncio.get_running_loop().sock_accept(sock)
    connection.setblocking(True)
    return connection, peer[:2]


@contextlib.asynccontextmanager
async def watched(*states: ServerState) -> Iterator[tuple[Health, Seen]]:  # type: ignore[misc]
    seen = Seen()
    health = Health(seen.change, seen.result)
    health.update(states)
    health.start()
    try:
        yield health, seen
    finally:
        health.stop()


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_the_first_good_check_makes_a_server_healthy() -> None:
    async def story() -> None:
        with listener() as sock:
            state = state_of(sock.getsockname()[1])
            async with watched(state) as (_, seen):
                await until(lambda: state.check_status == "L4OK", "a server that accepts is L4OK")
                assert (state.health, state.up, state.check_description) == (4, True, "")
                assert state.check_ms >= 0
                assert seen.changes == []
                assert state.downs == state.checks_failed == 0

    run(story)


def test_the_first_failed_check_takes_a_server_down() -> None:
    async def story() -> None:
        with refusing() as port:
            state = state_of(port)
            async with watched(state) as (_, seen):
                await until(lambda: seen.changes, "a server that refuses goes down")
                assert seen.results[0] == (False, 0, "L4CON")
                assert (state.check_description, state.downs, state.checks_failed) == ("Connection refused", 1, 1)

    run(story)


def test_fall_and_rise_are_counted_as_in_haproxy() -> None:
    async def story() -> None:
        with refusing() as port, listener(port) as sock:
            state = state_of(port)
            async with watched(state) as (_, seen):
                await until(lambda: state.health == 4, "up")
                sock.close()
                await until(lambda: not state.up, "down after three failures")
                with listener(port):
                    await until(lambda: state.up, "up again after two good checks")
                    assert seen.results == [
                        (True, 4, "L4OK"),
                        (True, 3, "L4CON"),
                        (True, 2, "L4CON"),
                        (False, 0, "L4CON"),
                        (False, 1, "L4OK"),
                        (True, 4, "L4OK"),
                    ]
                    assert seen.changes == [False, True]
                    assert (state.downs, state.checks_failed) == (1, 3)
                    assert state.down_seconds > 0

    run(story)


def test_one_good_check_heals_a_server_that_is_still_up() -> None:
    async def story() -> None:
        with refusing() as port, listener(port) as sock:
            state = state_of(port, replace(FAST, interval=0.2, fall=50))
            async with watched(state) as (_, seen):
                await until(lambda: state.health == 51, "healthy")
                sock.close()
                await until(lambda: state.health < 51, "a failure counts")
                with listener(port):
                    await until(lambda: state.health == 51, "healthy at once")
                assert seen.changes == []

    run(story)


def test_silence_is_a_timeout() -> None:
    async def story() -> None:
        with blackhole() as port:
            outcome = await probe(state_of(port), Check(timeout=0.1))
            assert outcome == Outcome("L4TOUT")

    run(story)


def test_the_interval_depends_on_health() -> None:
    check = Check(interval=2.0, fast_interval=0.5, down_interval=10.0, rise=2, fall=3)
    state = state_of(1, check)
    seconds = []
    for health in range(5):
        state.health = health
        seconds.append(interval(state))
    assert seconds == [10.0, 0.5, 0.5, 0.5, 2.0]
    plain = state_of(1, Check(interval=2.0))
    plain.health = 0
    assert interval(plain) == 2.0


def test_first_checks_are_spread() -> None:
    assert first_delays([2.0, 2.0, 2.0, 2.0]) == [0.0, 0.5, 1.0, 1.5]
    assert first_delays([2.0, 0.1]) == [0.0, 1.0]
    assert first_delays([0.1, 0.1]) == [0.0, 0.05]
    assert first_delays([]) == []


def test_the_server_sees_a_reset_and_no_half_open_connection() -> None:
    async def story() -> None:
        with listener() as sock:
            port = sock.getsockname()[1]
            assert (await probe(state_of(port), FAST)).status == "L4OK"
            peer, _ = await accepted(sock)
            with peer, pytest.raises(ConnectionResetError):
                peer.recv(1)

    run(story)


def test_no_checks_in_maintenance_and_a_fresh_start_after_it() -> None:
    async def story() -> None:
        with refusing() as port:
            state = state_of(port)
            state.admin = "maint"
            async with watched(state) as (health, seen):
                await asyncio.sleep(0)
                assert not health._tasks
                state.admin = "ready"
                health.update([state])
                await until(lambda: seen.changes == [False], "checked when it is ready")
                state.admin = "maint"
                health.update([state])
                assert not health._tasks
                state.admin = "ready"
                health.update([state])
                assert state.up, "after maintenance it is up until a check fails"
                await until(lambda: seen.changes == [False, False], "one failed check takes it down")

    run(story)


def test_a_removed_server_is_left_alone_and_others_keep_their_rhythm() -> None:
    async def story() -> None:
        with listener() as sock:
            kept, gone = (state_of(sock.getsockname()[1]) for _ in range(2))
            async with watched(kept, gone) as (health, _):
                task = health._tasks[id(kept)]
                health.update([kept])
                assert list(health._tasks.values()) == [task]
                await until(lambda: kept.check_status == "L4OK", "still checked")

    run(story)


def test_a_server_without_check_is_not_checked() -> None:
    async def story() -> None:
        state = ServerState.new(Server(0, "s", "be", Address("inet", "127.0.0.1", 1)))
        async with watched(state) as (health, _):
            assert not health._tasks

    run(story)


def test_another_address_can_be_checked() -> None:
    async def story() -> None:
        with listener() as sock, refusing() as port:
            own = Address("inet", "127.0.0.1", sock.getsockname()[1])
            assert (await probe(state_of(port), Check(address=own))).status == "L4OK"

    run(story)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        (Source("127.0.0.77", port=9, interface="lo"), "127.0.0.77"),
        (Source("127.0.0.77", client="address"), "127.0.0.77"),
        (Source(client="address"), "127.0.0.1"),
        (Source("2001:db8::7", client="address"), "127.0.0.1"),
    ],
)
def test_a_check_comes_from_where_traffic_does(source: Source, seen: str) -> None:
    """But for its port, and where that would be the client's address."""

    async def story() -> None:
        with listener() as sock:
            state = state_of(sock.getsockname()[1])
            state.server = replace(state.server, source=source)
            assert await probe(state, FAST) == Outcome("L4OK")
            connection, (host, port) = await accepted(sock)
            connection.close()
            assert (host, port == 9) == (seen, False)

    run(story)


def test_a_source_that_is_not_there_is_the_outcome() -> None:
    async def story() -> None:
        with listener() as sock:
            state = state_of(sock.getsockname()[1])
            state.server = replace(state.server, source=Source("203.0.113.9"))
            assert await probe(state, FAST) == Outcome("SOCKERR", "Cannot assign requested address")

    run(story)


def test_a_name_is_up_when_one_of_its_addresses_answers() -> None:
    async def story() -> None:
        with listener() as sock:
            state = state_of(sock.getsockname()[1], host="localhost", family="name")
            state.addresses = ("::1", "127.0.0.1")
            assert (await probe(state, FAST)).status == "L4OK"
            state.addresses = ()
            assert (await probe(state, FAST)).status == "L4OK", "not resolved yet: it looks for itself"
            outcome = await probe(state_of(1, host="no..name", family="name"), FAST)
            assert outcome.status == "SOCKERR"
            assert outcome.description.startswith("cannot resolve no..name: ")

    run(story)


def test_unix_sockets_are_checked_too(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "s"
        state = state_of(0, host=str(path), family="unix")
        assert await probe(state, FAST) == Outcome("L4CON", "No such file or directory")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            sock.listen()
            assert (await probe(state, FAST)).status == "L4OK"

    run(story)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_proxy_header_says_that_the_connection_is_our_own(version: int, host: str) -> None:
    async def body() -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as server:
            server.setblocking(False)
            state = state_of(server.getsockname()[1], host=host, family="inet6" if ":" in host else "inet")
            assert await probe(state, replace(FAST, send_proxy=version)) == Outcome("L4OK")
            connection, peer = await accepted(server)
            connection.setblocking(False)
            with connection:
                data = b""
                async with asyncio.timeout(30):
                    while more := await asyncio.get_running_loop().sock_recv(connection, 4096):  # a reset would raise
                        data += more
            found = proxyprotocol.parse(data)
            assert found is not None
            assert found[1] == len(data)
            assert found[0].source == (None if version == 2 else peer)

    asyncio.run(body())


def test_a_server_that_never_closes_passes_a_check_with_a_header_all_the_same() -> None:
    async def body() -> None:
        with listener() as sock:
            check = replace(FAST, send_proxy=2)
            assert await probe(state_of(sock.getsockname()[1]), check) == Outcome("L4OK")

    asyncio.run(body())


def test_a_proxy_header_over_a_unix_socket(tmp_path: Path) -> None:
    async def body() -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            server.listen()
            state = state_of(0, host=str(tmp_path / "s"), family="unix")
            assert await probe(state, replace(FAST, send_proxy=1)) == Outcome("L4OK")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"PROXY UNKNOWN\r\n"

    asyncio.run(body())


def test_a_bug_in_a_callback_is_reported() -> None:
    async def story() -> None:
        reports: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

        def broken(state: ServerState) -> None:
            raise ZeroDivisionError

        with listener() as sock:
            health = Health(broken, broken)
            health.update([state_of(sock.getsockname()[1])])
            health.start()
            await until(lambda: reports, "reported")
            health.stop()
        assert isinstance(reports[0]["exception"], ZeroDivisionError)

    run(story)


def test_linger_is_what_the_kernel_expects() -> None:
    from ferryman.controlplane.probe import _RESET

    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == struct.pack("ii", 1, 0)
