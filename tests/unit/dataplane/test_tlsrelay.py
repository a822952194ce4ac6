"""Tunnels with TLS on one side or both: real sockets and real TLS around the real loop in this thread."""

from __future__ import annotations

import ctypes
import gc
import json
import random
import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from math import inf
from typing import Any

import pytest
import trustme
from rig import PATIENCE, Far, Rig, Steady, gauges, open_descriptors, plan, reset
from test_relay import LISTENER, Crossing, tcp_pair

from ferryman.dataplane import connect, contexts, fdio, openssl, tls, tlsrelay
from ferryman.dataplane.contexts import ServerTerms
from ferryman.dataplane.loop import EDGE, Loop
from ferryman.dataplane.record import Record
from ferryman.dataplane.relay import Carrier
from ferryman.dataplane.session import Session
from ferryman.dataplane.stream import Stream
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.dataplane.tlsrelay import TlsTunnel

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("api.example")
CHAIN = b"".join(blob.bytes() for blob in CERTIFICATE.cert_chain_pems)
KEY = CERTIFICATE.private_key_pem.bytes()
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class Peer:
    """A far end that speaks TLS and can end its own direction, which the ssl module's socket cannot."""

    def __init__(self, sock: socket.socket, serves: bool, version: str = "TLSv1.3") -> None:
        self.sock = sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = VERSIONS[version]
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # an end without close_notify is an error
        if serves:
            CERTIFICATE.configure_cert(context)
        else:
            CA.configure_trust(context)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if serves else "api.example"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, serves, name)

    def handshake(self) -> Peer:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self._more()
        self.flush()
        return self

    def flush(self) -> None:
        self.sock.sendall(self.outgoing.read())

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def sendall(self, data: bytes) -> None:
        for start in range(0, len(data), 65536):
            self.tls.write(data[start : start + 65536])
            self.flush()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                chunk = self.tls.read(count - len(data))
                if not chunk:
                    break
                data += chunk
            except ssl.SSLWantReadError:
                self._more()
            except ssl.SSLZeroReturnError:  # the ssl module's 0, once the own direction has ended
                break
        return data

    def read_all(self) -> bytes:
        """To the end, which has to be an orderly one."""
        chunks = []
        while chunk := self.read(65536):
            chunks.append(chunk)
        return b"".join(chunks)

    def end(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """An end without a word."""
        self.sock.shutdown(socket.SHUT_WR)


class Plain:
    """The same for a far end without TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sendall = sock.sendall

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (chunk := self.sock.recv(count - len(data))):
            data += chunk
        return data

    read_all = Peer.read_all

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


class TlsCrossing(Crossing):
    """A tunnel between two connections that are up; `one` and `other` are what their far ends speak with."""

    tunnel: TlsTunnel  # type: ignore[assignment]

    def __init__(self, sides: str, version: str = "TLSv1.3", limit: float = inf, say: bytes = b"") -> None:
        self.over = []
        self.time = Steady()
        self.loop = Loop(lambda now: self.tick(now), lambda: None)
        self.loop.interval = 0.02
        self.carrier = Carrier(self.loop, self.over.append, lambda tunnel: None)
        near_client, self.client = tcp_pair()
        near_server, self.server = tcp_pair()
        self.one, client = side(near_client, self.client, sides[0], False, version, b"")
        self.other, server = side(near_server, self.server, sides[1], True, version, say)
        record = Record(LISTENER, "192.0.2.1", 1, 0.0, self.loop.now)
        self.tunnel = TlsTunnel(self.carrier, record, None, client, server, limit)
        for end in (self.tunnel.client, self.tunnel.server):
            self.loop.watch(end.fd, end, EDGE)
        self.tunnel.start(self.loop.table)
        self.until = lambda: False
        self.deadline = 0.0


def side(
    near: socket.socket, far: socket.socket, kind: str, far_serves: bool, version: str, say: bytes
) -> tuple[Peer | Plain, ssl.SSLSocket | int]:
    """Both sides of a connection, after the handshake if it is a TLS one ("t"; else "p")."""
    if kind == "p":
        far.sendall(say)
        return Plain(far), near.detach()
    peer = Peer(far, far_serves, version)
    thread = threading.Thread(target=lambda: (peer.handshake(), peer.sendall(say) if say else None))
    thread.start()
    if far_serves:
        terms = ServerTerms(CA.cert_pem.bytes().decode(), True, (), True)
        sock = tls._wrap(contexts.for_server(terms), near.detach(), "api.example")
    else:
        sock = contexts.Borrowing.of_client(contexts.context_for(CHAIN, KEY, ()), near.detach())
    while True:
        with suppress(ssl.SSLWantReadError):
            sock.do_handshake()
            break
        select.select([sock], [], [], PATIENCE)
    thread.join()
    return peer, sock


@pytest.fixture(params=["tt", "tp", "pt"])
def sides(request: pytest.FixtureRequest) -> str:
    """Which sides are TLS: client, server."""
    return str(request.param)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def crossing(request: pytest.FixtureRequest, sides: str) -> Iterator[TlsCrossing]:
    crossing = TlsCrossing(sides, request.param)
    yield crossing
    crossing.close()


@pytest.fixture
def both() -> Iterator[TlsCrossing]:
    """TLS on both sides."""
    crossing = TlsCrossing("tt")
    yield crossing
    crossing.close()


def fill(crossing: TlsCrossing, data: bytes) -> int:
    """The client sends until nothing more is taken; how much of `data` that was."""
    sent = 0
    crossing.client.setblocking(False)
    waiting = b""

    def push() -> bool:
        nonlocal sent, waiting
        with suppress(BlockingIOError):
            while sent < len(data) or waiting:
                if not waiting:
                    if isinstance(crossing.one, Peer):
                        crossing.one.tls.write(data[sent : sent + 16384])
                        waiting = crossing.one.outgoing.read()
                    else:
                        waiting = data[sent : sent + 16384]
                    sent += len(data[sent : sent + 16384])
                waiting = waiting[crossing.client.send(waiting) :]
        return crossing.tunnel.client.waits

    crossing.run(push)
    crossing.client.settimeout(PATIENCE)
    unsent = waiting
    if unsent:
        original = crossing.one.sendall

        def first(more: bytes) -> None:
            crossing.client.sendall(unsent)
            crossing.one.sendall = original  # type: ignore[method-assign]
            original(more)

        crossing.one.sendall = first  # type: ignore[method-assign]
    return sent


def test_bytes_cross_both_ways(crossing: TlsCrossing) -> None:
    def dialogue() -> None:
        crossing.one.sendall(b"ping")
        assert crossing.other.read(4) == b"ping"
        crossing.other.sendall(b"pong")
        assert crossing.one.read(4) == b"pong"

    for _ in range(3):
        crossing.exchange(dialogue)
    assert (crossing.tunnel.client.moved, crossing.tunnel.server.moved) == (12, 12), "application data, no tickets"


def test_half_close_is_passed_on_and_a_long_answer_comes_whole(crossing: TlsCrossing) -> None:
    answer = random.Random(1).randbytes(1_000_000)
    received: list[bytes] = []

    def ask() -> None:
        crossing.one.sendall(b"question")
        crossing.one.end()
        received.append(crossing.one.read_all())

    def serve() -> None:
        assert crossing.other.read_all() == b"question"
        crossing.other.sendall(answer)
        crossing.other.end()

    crossing.exchange(ask, serve)
    assert received == [answer]
    crossing.run(lambda: bool(crossing.over))
    record = crossing.tunnel.record
    assert (record.code, record.how, record.bytes_in, record.bytes_out) == ("--", "fin", 8, 1_000_000)
    assert record.closed_first == "client"
    assert record.reason == ""


def test_half_close_while_the_answer_is_on_its_way(crossing: TlsCrossing) -> None:
    """The end goes to a server whose data wait unread in the socket: they must not be taken for an error."""
    answer = random.Random(2).randbytes(3_000_000)
    blocked = threading.Event()
    received: list[bytes] = []
    original = crossing.tick

    def tick(now: float) -> None:
        original(now)
        if crossing.tunnel.server.waits:
            blocked.set()

    def ask() -> None:
        assert blocked.wait(PATIENCE)
        crossing.one.end()
        received.append(crossing.one.read_all())

    def serve() -> None:
        crossing.other.sendall(answer)
        assert crossing.other.read_all() == b""
        crossing.other.end()

    crossing.tick = tick  # type: ignore[method-assign]
    crossing.exchange(ask, serve)
    assert received == [answer]


def test_bulk_arrives_exactly(crossing: TlsCrossing) -> None:
    there, back = random.Random(3).randbytes(4_000_000), random.Random(4).randbytes(4_000_000)
    received: dict[str, bytes] = {}

    def client() -> None:
        crossing.one.sendall(there)
        crossing.one.end()
        received["back"] = crossing.one.read_all()

    def server() -> None:
        received["there"] = crossing.other.read_all()
        crossing.other.sendall(back)
        crossing.other.end()

    crossing.exchange(client, server)
    assert received == {"there": there, "back": back}
    crossing.run(lambda: bool(crossing.over))
    record = crossing.tunnel.record
    assert (record.code, record.bytes_in, record.bytes_out) == ("--", len(there), len(back))


def test_a_reader_that_stops_stops_the_writer_and_nothing_is_lost(crossing: TlsCrossing) -> None:
    data = random.Random(5).randbytes(6_000_000)
    sent = fill(crossing, data)
    assert sent < len(data), "back-pressure must reach the sender"
    assert len(crossing.tunnel.client.rest or b"") <= fdio.BUFFER, "no more than one read waits"
    received: list[bytes] = []

    def rest() -> None:
        crossing.one.sendall(data[sent:])
        crossing.one.end()

    crossing.exchange(rest, lambda: received.append(crossing.other.read_all()))
    assert received == [data]


def test_the_end_waits_as_well_when_the_socket_is_full(both: TlsCrossing) -> None:
    """The close_notify has to be the last of all, however little room there is."""
    data = bytes(8_000_000)
    sent = fill(both, data)
    received: list[bytes] = []

    def rest() -> None:
        both.one.sendall(data[sent : sent + 200_000])
        both.one.end()

    parted = threading.Event()
    original = both.tick

    def tick(now: float) -> None:
        original(now)
        client = both.tunnel.client
        if client.parting or client.ended or client.waits:
            parted.set()

    both.tick = tick  # type: ignore[method-assign]

    def read() -> None:
        assert parted.wait(PATIENCE)
        received.append(both.other.read_all())

    both.exchange(rest, read)
    assert len(received[0]) == sent + 200_000


def test_a_close_notify_waits_for_room(both: TlsCrossing, monkeypatch: pytest.MonkeyPatch) -> None:
    sends: list[int] = []

    def nearly_full(fd: int, data: bytes) -> int:
        sends.append(len(data))
        return original(fd, data[:3]) if len(sends) == 1 else original(fd, data)

    original = fdio.send
    monkeypatch.setattr(fdio, "send", nearly_full)
    assert isinstance(both.one, Peer)
    both.one.sendall(b"last")
    both.one.end()
    both.exchange(lambda: check(both.other.read_all() == b"last"))
    assert len(sends) == 2
    assert both.tunnel.client.moved == 4, "no application data"


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_on_one_side_is_a_reset_on_the_other(crossing: TlsCrossing, side: str) -> None:
    one, other = (crossing.client, crossing.server) if side == "client" else (crossing.server, crossing.client)
    reset(one)
    crossing.run(lambda: bool(crossing.over))
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    assert crossing.tunnel.record.code == ("CD" if side == "client" else "SD")
    assert crossing.tunnel.record.how == "rst"


@pytest.mark.parametrize("sides", ["tt", "tp"], indirect=True)
def test_an_end_without_close_notify_stays_one_and_the_other_way_stays_open(crossing: TlsCrossing) -> None:
    assert isinstance(crossing.one, Peer)
    tls_server = isinstance(crossing.other, Peer)

    def dialogue() -> None:
        crossing.one.sendall(b"question")
        crossing.one.cut()
        assert crossing.other.read(8) == b"question"
        if tls_server:
            with pytest.raises(ssl.SSLError):
                crossing.other.read(1)
        else:
            assert crossing.other.read(1) == b""

    crossing.exchange(dialogue)
    if tls_server:  # which cannot say anything after such an end
        crossing.server.close()
        crossing.run(lambda: bool(crossing.over))
    else:
        crossing.exchange(lambda: (crossing.other.sendall(b"answer"), crossing.other.end()))
        crossing.exchange(lambda: check(crossing.one.read_all() == b"answer"))
        crossing.run(lambda: bool(crossing.over))
        assert (crossing.tunnel.record.code, crossing.tunnel.record.how) == ("--", "fin")
    assert crossing.tunnel.record.reason.endswith("ended without close_notify")


def check(condition: bool) -> None:
    assert condition


@pytest.mark.parametrize("sides", ["tt", "tp"], indirect=True)
@pytest.mark.parametrize("length", [1, 5, 6, 500])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_end_amidst_a_record_is_no_orderly_end(crossing: TlsCrossing, length: int, at_once: bool) -> None:
    one, other, near = crossing.one, crossing.other, crossing.tunnel.client.fd
    assert isinstance(one, Peer)
    one.tls.write(bytes(1000))
    crossing.client.sendall(one.outgoing.read()[:length])
    if not at_once:
        select.select([near], [], [], PATIENCE)
        crossing.run(lambda: not select.select([near], [], [], 0)[0])
    crossing.client.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        crossing.exchange(lambda: other.read(1))
    assert crossing.tunnel.record.reason == "client: ended in the middle of TLS"


@pytest.mark.parametrize(("kind", "count", "at_once"), [("new keys", 400, 8), ("single bytes", 2000, 64)])
def test_records_that_carry_next_to_nothing_hold_up_nobody(
    both: TlsCrossing, kind: str, count: int, at_once: int
) -> None:
    one = both.one
    assert isinstance(one, Peer)
    library, connection = openssl._need(), openssl._connection(one.tls)[0]
    for _ in range(count):
        if kind == "new keys":
            library.SSL_key_update(ctypes.c_void_p(connection), 0)
            library.SSL_do_handshake(ctypes.c_void_p(connection))
        else:
            one.tls.write(b"x")
    one.tls.write(b"at last")
    turns: list[int] = []
    both.loop._turn_end = lambda: turns.append(1)
    both.client.sendall(one.outgoing.read())
    both.exchange(lambda: check(both.other.read(7 + count * (kind != "new keys")).endswith(b"at last")))
    assert len(turns) >= count // at_once


def test_what_is_no_tls_any_more_is_a_reset(both: TlsCrossing) -> None:
    both.client.sendall(bytes((23, 3, 3, 0, 32)) + bytes(32))
    both.run(lambda: bool(both.over))
    record = both.tunnel.record
    assert (record.code, record.how) == ("CD", "rst")
    assert "bad record mac" in record.reason
    with pytest.raises(ConnectionResetError):
        both.server.recv(1)


def test_several_records_of_one_edge_are_all_carried(both: TlsCrossing) -> None:
    one = both.one
    assert isinstance(one, Peer)
    for _ in range(100):
        one.tls.write(b"x")
    both.client.sendall(one.outgoing.read())
    both.exchange(lambda: check(both.other.read(100) == b"x" * 100))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_came_with_the_handshake_is_carried_at_once(version: str) -> None:
    crossing = TlsCrossing("tt", version, say=b"220 ready\r\n")
    try:
        crossing.exchange(lambda: check(crossing.one.read(11) == b"220 ready\r\n"))
    finally:
        crossing.close()


def test_who_does_not_get_all_that_was_sent_sees_a_reset(both: TlsCrossing) -> None:
    fill(both, bytes(6_000_000))
    both.tunnel.finish("K-", "killed")
    both.run(lambda: bool(both.over))
    with pytest.raises(ConnectionResetError):
        both.other.read_all()


def test_a_tunnel_that_is_cut_does_not_look_like_one_that_ended(both: TlsCrossing) -> None:
    both.tunnel.finish("sD", "timeout")
    both.run(lambda: bool(both.over))
    with pytest.raises(ssl.SSLError, match=r"(?i)unexpected.eof|eof occurred"):
        both.other.read(1)


def test_a_tunnel_that_is_over_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        crossing = TlsCrossing("tt")
        crossing.exchange(crossing.one.end)  # type: ignore[union-attr]
        crossing.exchange(crossing.other.end)  # type: ignore[union-attr]
        crossing.run(lambda: bool(crossing.over))
        crossing.over.clear()
        del crossing.tunnel
        left = [x for x in gc.get_objects() if isinstance(x, TlsTunnel | contexts.Borrowing)]
        assert not left
        for sock in (crossing.client, crossing.server):
            sock.close()
        crossing.loop.epoll.close()
    finally:
        gc.enable()


@pytest.mark.parametrize("by_openssl", [True, False])
def test_a_close_notify_is_made_without_reading(
    both: TlsCrossing, by_openssl: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssl, "_has_connections", by_openssl)
    one = both.one
    assert isinstance(one, Peer)
    sock = both.tunnel.client.sock
    assert sock is not None
    one.sendall(b"unread")
    select.select([sock], [], [], PATIENCE)
    before = open_descriptors()
    notice = tlsrelay.close_notify(sock)
    assert open_descriptors() == before
    assert tlsrelay.close_notify(sock) == b"", "only once"
    one.incoming.write(notice)
    assert one.tls.read(1) == b""
    assert sock.read(10) == b"unread"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program")
def test_new_keys_in_the_middle() -> None:
    """openssl s_client asks for new keys (K) in both directions; data flow on."""
    near_server, far_server = tcp_pair()
    with socket.create_server(("127.0.0.1", 0)) as door:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{door.getsockname()[1]}", "-servername", "a"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        run = subprocess.Popen(command, **pipes)
        near, _ = door.accept()
    near.setblocking(False)
    sock = contexts.Borrowing.of_client(contexts.context_for(CHAIN, KEY, ()), near.detach())
    crossing = TlsCrossing.__new__(TlsCrossing)
    assert run.stdin is not None
    assert run.stdout is not None
    try:
        while True:
            with suppress(ssl.SSLWantReadError):
                sock.do_handshake()
                break
            select.select([sock], [], [], PATIENCE)
        crossing.over = []
        crossing.time = Steady()
        crossing.loop = Loop(lambda now: crossing.tick(now), lambda: None)
        crossing.loop.interval = 0.02
        crossing.carrier = Carrier(crossing.loop, crossing.over.append, lambda tunnel: None)
        crossing.client = crossing.server = far_server
        record = Record(LISTENER, "192.0.2.1", 1, 0.0, crossing.loop.now)
        crossing.tunnel = TlsTunnel(crossing.carrier, record, None, sock, near_server.detach(), inf)
        for end in (crossing.tunnel.client, crossing.tunnel.server):
            crossing.loop.watch(end.fd, end, EDGE)

        def dialogue() -> None:
            assert run.stdin is not None
            assert run.stdout is not None
            for _ in range(3):
                run.stdin.write(b"K\n")
                run.stdin.flush()
                assert any(b"KEYUPDATE" in line for line in run.stdout)
                run.stdin.write(b"hello\n")
                run.stdin.flush()
                assert far_server.recv(100) == b"hello\n"
                far_server.sendall(b"and back\n")
                assert any(b"and back" in line for line in run.stdout)

        crossing.exchange(dialogue)
    finally:
        run.kill()
        run.stdin.close()
        run.stdout.close()
        run.wait()
        crossing.close()


# in a worker


class Journeys:
    """Connections of a real worker, whose journeys are the tests' own."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.plan = plan()
        self.cells = self.rig.follow(self.plan)
        self.far = Far()
        self.rig.peers.append(self.far)
        self.failure: TlsFailure | None = None

    def begin(self, go: Callable[[Session, ssl.SSLSocket], Awaitable[None]]) -> socket.socket:
        """A client; TLS with the server is up when `go` is called."""
        near, client = tcp_pair()
        self.rig.peers.append(client)
        worker = self.rig.worker
        session = Session(worker, worker.generation.plan.listeners[0], near.detach(), "192.0.2.1", 1)

        async def journey() -> None:
            addresses = [(int(socket.AF_INET), "127.0.0.1")]
            fd = await connect.connect_to(session, "server", addresses, self.far.port, 5.0, keepalive=False)
            terms = ServerTerms(CA.cert_pem.bytes().decode(), True, (), True)
            await go(session, await tls.client(session, fd, terms, "api.example"))

        session.coroutine.close()
        session.coroutine = journey()
        worker.generation.claim(session.listener)
        worker.begin(session)
        return client

    def layered(self) -> tuple[Plain, Peer]:
        """A client and, through a layer of TLS, the server."""

        async def go(session: Session, sock: ssl.SSLSocket) -> None:
            session.carry(tlsrelay.carry_layer(session, sock), inf)

        client = self.begin(go)
        return Plain(client), self.serve()

    def serve(self) -> Peer:
        peers: list[Peer] = []
        self.beside(lambda: peers.append(Peer(self.far.accept(), serves=True).handshake()))
        return peers[0]

    def beside(self, *parties: Callable[[], object]) -> None:
        """Let blocking code of the far ends run in threads beside the worker. Errors are raised here."""
        errors: list[BaseException] = []

        def guarded(party: Callable[[], object]) -> None:
            try:
                party()
            except (OSError, AssertionError) as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(party,)) for party in parties]
        for thread in threads:
            thread.start()
        self.rig.run(lambda: not any(thread.is_alive() for thread in threads))
        if errors:
            raise errors[0]

    def idle(self) -> bool:
        """Is nothing left, counted or not?"""
        return self.rig.over() and not self.rig.worker._carried()


@pytest.fixture
def journeys() -> Iterator[Journeys]:
    journeys = Journeys()
    yield journeys
    journeys.rig.close()


def test_a_bumped_connection_is_one_like_any_other(journeys: Journeys) -> None:
    async def go(session: Session, sock: ssl.SSLSocket) -> None:
        with_client = await tls.server(session, session.fd, contexts.context_for(CHAIN, KEY, ()))
        tlsrelay.carry(session, with_client, sock, inf)

    client = Peer(journeys.begin(go), serves=False)
    server = journeys.serve()
    journeys.beside(client.handshake)
    journeys.beside(lambda: client.sendall(b"ping"), lambda: check(server.read(4) == b"ping"))
    journeys.beside(lambda: server.sendall(b"pong!"), lambda: check(client.read(5) == b"pong!"))
    worker = journeys.rig.worker
    worker.order_sessions(1, descriptors=[])
    (row,) = journeys.rig.reports("sessions")[0]["sessions"]
    assert (row["bytes_in"], row["bytes_out"]) == (4, 5)
    worker.order_kill(2, [row["id"]], descriptors=[])
    journeys.rig.run(journeys.idle)
    with pytest.raises(ConnectionResetError):
        client.read(1)
    with pytest.raises(ssl.SSLError, match=r"(?i)unexpected.eof|eof occurred"):
        server.read(1)
    line = json.loads(journeys.rig.lines()[0])
    assert (line["bytes"], line["how"]) == ({"in": 4, "out": 5}, "killed")
    assert set(gauges(journeys.plan, journeys.cells).values()) == {0}


def test_a_layer_carries_but_is_no_connection_of_its_own(journeys: Journeys) -> None:
    client, server = journeys.layered()
    answer = random.Random(6).randbytes(2_000_000)
    received: list[bytes] = []

    def ask() -> None:
        client.sendall(b"question")
        client.end()
        received.append(client.read_all())

    def serve() -> None:
        assert server.read_all() == b"question"
        server.sendall(answer)

    journeys.beside(ask, lambda: (serve(), server.end()))
    assert received == [answer]
    journeys.rig.run(journeys.idle)
    assert len(journeys.rig.lines()) == 1
    assert set(gauges(journeys.plan, journeys.cells).values()) == {0}


@pytest.mark.parametrize("after", ["at once", "half-closed"])
def test_a_reset_by_the_server_goes_through_a_layer(journeys: Journeys, after: str) -> None:
    client, server = journeys.layered()
    if after == "half-closed":
        journeys.beside(client.end, lambda: check(server.read_all() == b""))
    journeys.beside(lambda: server.sendall(b"part"), lambda: check(client.read(4) == b"part"))
    reset(server.sock)
    journeys.rig.run(journeys.idle)
    with pytest.raises(ConnectionResetError):
        client.read(1)


@pytest.mark.parametrize("after", ["at once", "half-closed"])
def test_a_reset_by_the_client_goes_through_a_layer(journeys: Journeys, after: str) -> None:
    client, server = journeys.layered()
    if after == "half-closed":
        journeys.beside(client.end, lambda: check(server.read_all() == b""))
    reset(client.sock)
    journeys.rig.run(journeys.idle)
    with pytest.raises(OSError, match=r"reset|Broken pipe"):  # after an end a reset shows only in what is sent
        server.sock.send(server.sock.recv(1) or b"?")


def test_an_end_without_close_notify_ends_what_the_layer_carries(journeys: Journeys) -> None:
    client, server = journeys.layered()
    server.cut()
    journeys.beside(lambda: check(client.read_all() == b""))
    journeys.beside(client.end, lambda: check(server.read_all() == b""))
    journeys.rig.run(journeys.idle)


def test_back_pressure_goes_through_a_layer(journeys: Journeys) -> None:
    client, server = journeys.layered()
    data = random.Random(7).randbytes(8_000_000)
    received: list[bytes] = []
    full = threading.Event()

    def send() -> None:
        sent = server.sock.send
        server.sock.setblocking(False)
        position = 0
        for position in range(0, len(data), 16384):
            server.tls.write(data[position : position + 16384])
            rest = server.outgoing.read()
            while rest:
                if not select.select([], [server.sock], [], 0.3)[1]:
                    full.set()
                    select.select([], [server.sock], [], PATIENCE)
                rest = rest[sent(rest) :]
        server.sock.settimeout(PATIENCE)
        server.end()

    def read() -> None:
        assert full.wait(PATIENCE)
        received.append(client.read_all())

    journeys.beside(send, read)
    assert received == [data]


def test_layers_end_with_the_worker(journeys: Journeys) -> None:
    before = open_descriptors()
    client, server = journeys.layered()
    journeys.rig.worker.order_sessions(1, descriptors=[])
    assert len(journeys.rig.reports("sessions")[0]["sessions"]) == 1
    journeys.rig.worker.order_quit(descriptors=[])
    journeys.rig.worker.run()
    with pytest.raises(ConnectionResetError):
        client.read(1)
    with pytest.raises(OSError, match=r"(?i)reset|unexpected|eof"):
        server.read(1)
    assert open_descriptors() == before + 2, "the far ends"


def test_a_session_that_fails_takes_the_layer_with_it(journeys: Journeys) -> None:
    async def go(session: Session, sock: ssl.SSLSocket) -> None:
        fd = tlsrelay.carry_layer(session, sock)
        assert await Stream(session, fd, session.server_mask, "proxy").first(100) == b"no"
        session.worker.loop.close(fd)
        session.end("SC", "error", "refused by the proxy")

    journeys.begin(go)
    server = journeys.serve()
    server.sendall(b"no")
    journeys.rig.run(journeys.idle)
    with pytest.raises(ConnectionResetError):
        server.sock.recv(1)


def test_no_descriptor_left_for_a_layer(journeys: Journeys, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    async def go(session: Session, sock: ssl.SSLSocket) -> None:
        monkeypatch.setattr(tlsrelay.socket, "socketpair", none_left)
        try:
            tlsrelay.carry_layer(session, sock)
        except OSError:
            tls.abandon(session, sock)
            raise

    client = journeys.begin(go)
    server = journeys.serve()
    journeys.rig.run(journeys.idle)
    assert '"RC' in journeys.rig.lines()[0]
    for sock in (client, server.sock):
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
