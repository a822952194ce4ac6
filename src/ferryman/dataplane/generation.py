"""A plan in use by one worker: its counters, balancers, addresses and queues.

A reload brings a new generation; connections keep the one they began with until they end. Made by worker, used by
session, dial and the accept loop. Counts; decides nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import counters
from ferryman.dataplane.accesslog import Counts
from ferryman.dataplane.balance import Balancer
from ferryman.dataplane.cache import Cache
from ferryman.dataplane.contexts import Acceptor
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.logwriter import LogWriter
from ferryman.dataplane.ownaddresses import OwnAddresses
from ferryman.dataplane.record import Record
from ferryman.plan import Backend, Listener, Plan, Server, TlsAccept

if TYPE_CHECKING:
    from ferryman.dataplane.prewarm import Pool
    from ferryman.dataplane.session import Session

TLS_SESSIONS: Final = 1024
"""Sessions with servers that are kept to be resumed: 10 kB each with a chain of certificates."""

Target = tuple[int, str]
"""Address family and numeric host (or path of a Unix socket)."""

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX, "abstract": socket.AF_UNIX}

# hot path: enum members bound once as plain ints; SESSIONS_NOW is a block's first cell, so its index is the block's
_MAX, _TOTAL = int(Cell.SESSIONS_MAX), int(Cell.SESSIONS)
_IN, _OUT, _LAST = int(Cell.BYTES_IN), int(Cell.BYTES_OUT), int(Cell.LAST_SESSION)
_TOTAL_MS, _CONNECT_MS = int(Cell.TOTAL_MS), int(Cell.CONNECT_MS)


class Generation:
    """`cells`: the counters of all workers for this plan; worker `index` writes only its own stretch of them."""

    def __init__(self, number: int, plan: Plan, cells: memoryview, index: int, logs: Sequence[LogWriter]) -> None:
        self.number = number
        self.plan = plan
        self.cells = cells
        self.stride = counters.size(plan) // 8
        self.start = index * self.stride
        self.workers = len(cells) // self.stride
        self.logs = logs  # by listener id
        self.live = 0  # connections of this worker that began with this plan and have not ended
        self.balancers = [Balancer(backend) for backend in plan.backends]
        self.backends = {backend.name: backend for backend in plan.backends}
        self.queues: list[deque[Session]] = [deque() for _ in plan.backends]
        self.usable: dict[str, int] = {}
        self.bounded = {backend.id for backend in plan.backends if any(s.max_connections for s in backend.servers)}
        self.targets: list[tuple[Target, ...]] = [_fixed_targets(server) for server in plan.servers]
        self._listener_base = [self.start + counters.listener_base(plan, i) for i in range(len(plan.listeners))]
        self._backend_base = [self.start + counters.backend_base(plan, i) for i in range(len(plan.backends))]
        self._server_base = [self.start + counters.server_base(plan, i) for i in range(len(plan.servers))]
        self._process_base = self.start + counters.process_base(plan)
        self._most = plan.settings.max_connections
        self.own = OwnAddresses(plan.listeners)  # an explicit proxy leads nobody there
        self.own_of = [OwnAddresses([listener]) for listener in plan.listeners]  # by id; a server is none of its own
        self.own_proxies = OwnAddresses(listener for listener in plan.listeners if listener.mode != "tcp")
        self.tls_sessions: Cache[ssl.SSLSession] = Cache(TLS_SESSIONS)  # by server id and name
        self._acceptors: dict[int, Acceptor] = {}  # by id() of what the plan holds
        self.pools: dict[int, Pool] = {}  # by server id, where connections are held ready; the present plan's only
        self.set_weights({server.id: server.weight for server in plan.servers if not server.disabled})

    def set_weights(self, weights: Mapping[int, int]) -> None:
        """What each server may take from now on (server id -> effective weight; absent: nothing)."""
        for backend, balancer in zip(self.plan.backends, self.balancers, strict=True):
            balancer.update(weights)
            self.usable[backend.name] = balancer.usable

    def set_addresses(self, server_id: int, hosts: Sequence[str]) -> None:
        """What a server's name resolves to now, IPv6 first and the families taking turns (RFC 8305 section 4)."""
        six = [(int(socket.AF_INET6), host) for host in hosts if ":" in host]
        four = [(int(socket.AF_INET), host) for host in hosts if ":" not in host]
        mixed: list[Target] = []
        while six or four:
            if six:
                mixed.append(six.pop(0))
            if four:
                mixed.append(four.pop(0))
        if self.targets[server_id] != tuple(mixed) and server_id in self.pools:
            self.pools[server_id].discard()  # they lead to where it was
        self.targets[server_id] = tuple(mixed)

    def acceptor(self, accept: TlsAccept, ticket_keys: bytes) -> Acceptor:
        """The contexts for this way to terminate TLS."""
        acceptor = self._acceptors.get(id(accept))
        if acceptor is None:
            acceptor = self._acceptors[id(accept)] = Acceptor(accept, ticket_keys)
        return acceptor

    def follow_tickets(self, keys: bytes) -> None:
        """TLS sessions are resumed by tickets made with these keys from now on."""
        for acceptor in self._acceptors.values():
            acceptor.follow_tickets(keys)

    # counting: one writer per cell, so plain additions do

    def claim(self, listener: Listener) -> bool:
        """Count one more as open at a listener. False, and nothing is counted: it, or the process, is at its limit.

        Counted first and looked at then: two workers that do so at the same moment may both give up (and try again),
        but never both go on.
        """
        cells = self.cells
        cells[self._listener_base[listener.id]] += 1
        cells[self._process_base] += 1
        most, mine = self._most, listener.max_connections
        if (most and self.process_load() > most) or (mine and self.listener_load(listener.id) > mine):
            self.unclaim(listener)
            return False
        return True

    def unclaim(self, listener: Listener) -> None:
        """Nobody came after all."""
        self.cells[self._listener_base[listener.id]] -= 1
        self.cells[self._process_base] -= 1

    def accepted(self, record: Record) -> None:
        """A connection came, for which a place was claimed."""
        self.live += 1
        wall = int(record.wall)
        self._begin(self._listener_base[record.listener.id], wall)
        self._begin(self._process_base, wall)

    def routed(self, backend: Backend, wall: float) -> None:
        """It was given to a backend."""
        base = self._backend_base[backend.id]
        self.cells[base] += 1
        self._begin(base, int(wall))

    def occupy(self, server: Server) -> bool:
        """Take a place at a server. False, and none is taken: it is full (see `claim`)."""
        self.cells[self._server_base[server.id]] += 1
        if server.max_connections and self.server_load(server.id) > server.max_connections:
            self.vacate(server)
            return False
        return True

    def assigned(self, server: Server, wall: float) -> None:
        """Where it has a place it will go (again after each redispatch; `vacate` the former before)."""
        self._begin(self._server_base[server.id], int(wall))

    def _begin(self, base: int, wall: int) -> None:
        cells = self.cells
        cells[base + _TOTAL] += 1
        cells[base + _LAST] = wall
        if (now := cells[base]) > cells[base + _MAX]:
            cells[base + _MAX] = now

    def vacate(self, server: Server) -> None:
        """Give a place at a server back."""
        self.cells[self._server_base[server.id]] -= 1

    def ended(self, record: Record, counted_in: int, counted_out: int) -> None:
        """It is over. `counted_*`: bytes that `moved` has counted already."""
        self.live -= 1
        cells = self.cells
        cells[self._process_base] -= 1
        for base in self._bases(record):
            cells[base] -= 1
        self.tally(record, counted_in, counted_out)

    def tally(self, record: Record, counted_in: int = 0, counted_out: int = 0) -> None:
        """What it moved, how long it took and how it ended: a connection, or a request on one that goes on."""
        cells = self.cells
        received, sent = record.bytes_in - counted_in, record.bytes_out - counted_out
        total, connect = record.total_ms, record.connect_ms
        well = record.code == "--"
        for base in self._bases(record):
            if received:
                cells[base + _IN] += received
            if sent:
                cells[base + _OUT] += sent
            if total > 0:
                cells[base + _TOTAL_MS] += total
            if connect > 0:
                cells[base + _CONNECT_MS] += connect
            if not well:
                self._ended_badly(base, record)

    def _bases(self, record: Record) -> tuple[int, ...]:
        """The blocks that a connection counts in."""
        listener = self._listener_base[record.listener.id]
        if record.server is not None and record.backend is not None:
            return listener, self._backend_base[record.backend.id], self._server_base[record.server.id]
        return (listener,) if record.backend is None else (listener, self._backend_base[record.backend.id])

    def _ended_badly(self, base: int, record: Record) -> None:
        cells = self.cells
        if record.how == "timeout":
            cells[base + Cell.TIMEOUTS] += 1
        if record.code[0] in "Cc":
            cells[base + Cell.CLIENT_ABORTS] += 1
        elif record.code == "SD":
            cells[base + Cell.SERVER_ABORTS] += 1

    def moved(self, record: Record, received: int, sent: int) -> None:
        """Bytes of a live connection, counted while it lives so that pages show them."""
        for base in self._bases(record):
            self.cells[base + _IN] += received
            self.cells[base + _OUT] += sent

    def count(self, record: Record, cell: Cell, amount: int = 1) -> None:
        """Add to a cell of the listener, and of backend and server as far as they are known."""
        for base in self._bases(record):
            self.cells[base + cell] += amount

    def server_count(self, record: Record, cell: Cell) -> None:
        """Add to a cell of the backend, and of the server as far as it is known."""
        for base in self._bases(record)[1:]:
            self.cells[base + cell] += 1

    def server_gauge(self, server: Server, cell: Cell, amount: int) -> None:
        """Change a gauge of the server and its backend."""
        self.cells[self._server_base[server.id] + cell] += amount
        self.cells[self._backend_base[self.backends[server.backend].id] + cell] += amount

    def listener_count(self, listener: Listener, cell: Cell) -> None:
        self.cells[self._listener_base[listener.id] + cell] += 1

    def counts(self, record: Record) -> Counts:
        """How many connections that began with this plan there are, one that has ended no longer among them."""
        return Counts(
            self.process_load(),
            self.listener_load(record.listener.id),
            self.backend_load(record.backend.id) if record.backend else 0,
            self.server_load(record.server.id) if record.server else 0,
        )

    def counts_of_others(self, record: Record) -> Counts:
        """The same for a request whose connection goes on."""
        counts = self.counts(record)
        return counts._replace(actconn=counts.actconn - 1, feconn=counts.feconn - 1)

    def queue_gauge(self, backend: Backend) -> None:
        """Let the backend's queue length be seen."""
        base = self._backend_base[backend.id]
        length = len(self.queues[backend.id])
        self.cells[base + Cell.QUEUE_NOW] = length
        if length > self.cells[base + Cell.QUEUE_MAX]:
            self.cells[base + Cell.QUEUE_MAX] = length

    # reading: the sum over all workers

    def server_load(self, server_id: int) -> int:
        """Connections a server has now, over all workers."""
        return self._sum(self._server_base[server_id] - self.start)

    def server_prewarmed(self, server_id: int) -> int:
        """Connections held ready for it, over all workers."""
        return self._sum(self._server_base[server_id] - self.start + Cell.PREWARMED_NOW)

    def listener_load(self, listener_id: int) -> int:
        return self._sum(self._listener_base[listener_id] - self.start)

    def backend_load(self, backend_id: int) -> int:
        return self._sum(self._backend_base[backend_id] - self.start)

    def process_load(self) -> int:
        return self._sum(self._process_base - self.start)

    def _sum(self, offset: int) -> int:
        cells, stride = self.cells, self.stride
        if self.workers == 1:
            return int(cells[offset])
        return sum(cells[worker * stride + offset] for worker in range(self.workers))


def _fixed_targets(server: Server) -> tuple[Target, ...]:
    """Where a server with a numeric address is; empty for names, which the supervisor resolves."""
    address = server.address
    family = _FAMILIES.get(address.family)
    if family is None:
        return ()
    host = "\0" + address.host if address.family == "abstract" else address.host
    return ((int(family), host),)
