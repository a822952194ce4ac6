"""Which server takes the next connection: every algorithm, and HAProxy as the reference for source hashing."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ferryman.dataplane.balance import Balancer, address_hash, spread
from ferryman.plan import Address, Backend, Server


def servers(weights: Sequence[int], backups: Sequence[int] = (), limit: int = 0) -> tuple[Server, ...]:
    return tuple(
        Server(i + 10, f"s{i}", "pool", Address("inet", "127.0.0.1", 1), w, backup=i in backups, max_connections=limit)
        for i, w in enumerate(weights)
    )


def balancer(algorithm: str, weights: Sequence[int] = (1, 1, 1), **options: object) -> Balancer:
    backups = options.pop("backups", ())
    limit = options.pop("limit", 0)
    members = servers(weights, backups, limit)  # type: ignore[arg-type]
    return Balancer(Backend(0, "pool", members, algorithm, **options))  # type: ignore[arg-type]


def idle(server_id: int) -> int:
    return 0


def picks(balancer: Balancer, count: int, tried: Sequence[int] = (), host: str = "192.0.2.1") -> str:
    """The numbers of the servers picked, one digit each; "-" for none."""
    found = (balancer.pick(host, idle, tried) for _ in range(count))
    return "".join(server.name[1:] if server else "-" for server in found)


@pytest.mark.parametrize(
    ("algorithm", "weights", "expected"),
    [
        ("roundrobin", (1, 1, 1), "012012"),
        ("roundrobin", (2, 1), "010010"),
        ("roundrobin", (5, 1, 1), "0010200"),
        ("static-rr", (1, 1, 1), "012012"),
        ("static-rr", (3, 6, 9), "021212021212"),
        ("leastconn", (1, 1, 1), "012012"),
        ("first", (1, 1, 1), "000000"),
        ("source", (1, 1, 1), "000000"),
    ],
)
def test_order(algorithm: str, weights: Sequence[int], expected: str) -> None:
    assert picks(balancer(algorithm, weights), len(expected)) == expected


@pytest.mark.parametrize("algorithm", ["roundrobin", "static-rr", "leastconn", "first", "random", "source"])
def test_only_usable_servers_are_picked(algorithm: str) -> None:
    pool = balancer(algorithm)
    pool.update({10: 0, 12: 1})
    assert pool.usable == 1
    assert [pool.takes(server_id) for server_id in (10, 11, 12)] == [False, False, True]
    assert set(picks(pool, 9)) == {"2"}
    assert set(picks(pool, 9, tried=[12])) == {"-"}
    pool.update({})
    assert pool.usable == 0
    assert picks(pool, 1) == "-"
    pool.update({10: 1, 11: 1, 12: 1})
    assert set(picks(pool, 60, tried=[11])) <= {"0", "2"}
    assert set(picks(pool, 9, tried=[10, 11])) == {"2"}


def test_disabled_servers_start_without_traffic() -> None:
    members = (*servers((1, 1)), Server(12, "s2", "pool", Address("inet", "127.0.0.1", 1), disabled=True))
    assert Balancer(Backend(0, "pool", members)).usable == 2


def test_backups_wait_for_the_others_to_be_gone() -> None:
    pool = balancer("roundrobin", (1, 1, 1, 1), backups=(0, 2, 3))
    assert picks(pool, 3) == "111"
    pool.update({10: 0, 11: 0, 12: 1, 13: 1})
    assert (picks(pool, 3), pool.usable) == ("222", 1)
    every = balancer("roundrobin", (1, 1, 1, 1), backups=(0, 2, 3), use_all_backups=True)
    every.update({10: 0, 11: 0, 12: 1, 13: 1})
    assert (picks(every, 4), every.usable) == ("2323", 2)


def test_leastconn_takes_the_least_loaded_for_its_weight() -> None:
    pool = balancer("leastconn", (1, 2, 1))
    for loads, expected in (((3, 5, 3), "s1"), ((1, 4, 0), "s2"), ((0, 1, 1), "s0")):
        chosen = pool.pick("192.0.2.1", lambda server_id, loads=loads: loads[server_id - 10])  # type: ignore[misc]
        assert chosen is not None
        assert chosen.name == expected


def test_first_fills_one_server_before_the_next() -> None:
    pool = balancer("first", (1, 1), limit=2)
    full = {10: 2, 11: 1}
    assert pool.pick("192.0.2.1", lambda server_id: full[server_id]) == servers((1, 1), limit=2)[1]
    assert pool.pick("192.0.2.1", lambda server_id: 2) is None


def test_random_follows_weight_and_load() -> None:
    count = Counter(picks(balancer("random", (1, 3), draws=1), 4000))
    assert 0.68 < count["1"] / 4000 < 0.82
    loaded = balancer("random", (1, 1), draws=2)
    names = [loaded.pick("192.0.2.1", lambda server_id: 5 * (server_id == 10)) for _ in range(400)]
    assert 0.65 < sum(server is not None and server.id == 11 for server in names) / 400 < 0.85


def test_source_keeps_a_client_where_it_is() -> None:
    pool = balancer("source")
    before = {host: picks(pool, 2, host=host) for host in (f"10.0.{n}.{n * 7 % 256}" for n in range(200))}
    assert set(before.values()) == {"00", "11", "22"}
    elsewhere = {host: picks(pool, 1, tried=[10], host=host) for host in before}
    assert set(elsewhere.values()) == {"1", "2"}
    assert {host: picks(pool, 2, host=host) for host in before} == before


def test_source_without_an_address_takes_turns() -> None:
    assert picks(balancer("source"), 4, host="unix") == "0120"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("1.2.3.4", 0x01020304),
        ("::1", 1),
        ("2001:db8::5", 0x20010DB8 ^ 5),
        ("::ffff:1.2.3.4", 0xFFFF ^ 0x01020304),
        ("fe80::1%lo", 0xFE800000 ^ 1),
        ("unix", None),
        ("", None),
    ],
)
def test_address_hash(host: str, expected: int | None) -> None:
    assert address_hash(host) == expected


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1, 1), (5, 2, 4, 7), (2, 3), (256, 1), (7, 7, 7)])
def test_each_server_stands_in_the_table_as_often_as_it_weighs(weights: Sequence[int]) -> None:
    assert Counter(spread(weights)) == dict(enumerate(weights))


# weights (0: the server is out of service), and the numbers of backups
TABLES: dict[str, tuple[Sequence[int], Sequence[bool], Sequence[int]]] = {
    "equal": ((1, 1, 1), (True, True, True), ()),
    "unequal": ((3, 6, 9), (True, True, True), ()),
    "coprime": ((5, 2, 4, 7), (True, True, True, True), ()),
    "down": ((1, 1, 1), (True, False, True), ()),
    "down-unequal": ((4, 3, 2), (True, False, True), ()),
    "backups": ((1, 2, 3), (False, True, True), (1, 2)),
}


class Echoes:
    """Servers that say which one they are, and close."""

    def __init__(self, count: int) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(count)]
        self.ports: list[int] = [listening.getsockname()[1] for listening in self.sockets]
        self.threads = [threading.Thread(target=self.serve, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def serve(self, number: int) -> None:
        while True:
            connection, _ = self.sockets[number].accept()
            with connection:
                if connection.getpeername() in self.stopping:
                    return
                connection.sendall(str(number).encode())

    stopping: frozenset[object] = frozenset()

    def stop(self) -> None:
        for listening, thread in zip(self.sockets, self.threads, strict=True):
            with socket.socket() as last:
                last.bind(("127.0.0.1", 0))
                self.stopping = frozenset({last.getsockname()})
                last.connect(listening.getsockname())
                thread.join(timeout=60)
            listening.close()


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, int]]]:
    """A running HAProxy with a listener per table: its IPv4 and IPv6 ports. It gets the sockets ready-made."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    file: Path = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    lines = ["defaults", " mode tcp", " timeout connect 60s", " timeout client 60s", " timeout server 60s"]
    with contextlib.ExitStack() as stack:
        echoes = Echoes(4)
        stack.callback(echoes.stop)
        ports: dict[str, tuple[int, int]] = {}
        descriptors: list[int] = []
        for name, (weights, up, backups) in TABLES.items():
            four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            six = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
            ports[name] = four.getsockname()[1], six.getsockname()[1]
            descriptors += [four.fileno(), six.fileno()]
            lines += [f"listen {name}", f" bind fd@{four.fileno()}", f" bind fd@{six.fileno()}", " balance source"]
            lines += [" option allbackups"] if backups else []
            for number, weight in enumerate(weights):
                options = f"weight {weight}{'' if up[number] else ' disabled'}{' backup' if number in backups else ''}"
                lines.append(f" server s{number} 127.0.0.1:{echoes.ports[number]} {options}")
        file.write_text("\n".join(lines) + "\n")
        process = subprocess.Popen([program, "-db", "-f", str(file)], pass_fds=descriptors)
        stack.callback(process.wait, timeout=60)
        stack.callback(process.terminate)
        assert ask("127.0.0.1", "127.0.0.1", ports["equal"][0]) in "012"
        yield ports


def ask(source: str, host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=60, source_address=(source, 0)) as client:
        return client.recv(16).decode()


CLIENTS = [f"127.{n * 5 % 256}.{n * 11 % 256}.{1 + n * 17 % 254}" for n in range(50)]


@pytest.mark.parametrize("name", TABLES)
def test_clients_get_the_server_that_haproxy_gives_them(name: str, haproxy: dict[str, tuple[int, int]]) -> None:
    weights, up, backups = TABLES[name]
    pool = balancer("source", weights, backups=backups, use_all_backups=True)
    pool.update({10 + number: weight for number, weight in enumerate(weights) if up[number]})
    four, six = haproxy[name]
    theirs = {client: ask(client, "127.0.0.1", four) for client in CLIENTS} | {"::1": ask("::1", "::1", six)}
    assert {client: picks(pool, 1, host=client) for client in theirs} == theirs
