"""Counters and states at one moment, as rows: what pages, CSV, metrics and runtime commands show.

`take` reads a `View` (the supervisor is one) and adds the workers up. Peaks are the sum of the workers' peaks: exact
with one worker, an upper bound with more. Does no IO and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ferryman.controlplane import expiry, totals
from ferryman.controlplane.backendstate import BackendState, usable
from ferryman.controlplane.expiry import CertificateRow
from ferryman.controlplane.rates import Rate, Rates
from ferryman.controlplane.serverstate import ServerState
from ferryman.controlplane.totals import PROCESS, Key, Totals
from ferryman.dataplane.counters import WIDTH, Cell
from ferryman.plan import Backend, Listener, Plan


class View(Protocol):
    """What is shown, read at the moment it is needed. All of it belongs to the present plan, but `carried`."""

    @property
    def plan(self) -> Plan: ...
    @property
    def regions(self) -> Sequence[memoryview]:
        """The living workers' counters for `plan`."""

    @property
    def carried(self) -> Mapping[Key, Sequence[int]]:
        """Cells of dead workers and earlier plans, by name (totals.carry)."""

    @property
    def states(self) -> Sequence[ServerState]:
        """By server id."""

    @property
    def backend_states(self) -> Sequence[BackendState]:
        """By backend id."""

    @property
    def rates(self) -> Rates: ...
    @property
    def started_at(self) -> float:
        """Wall clock, seconds."""

    @property
    def pid(self) -> int: ...
    @property
    def worker_pids(self) -> Sequence[int]:
        """Of the workers that are alive."""

    @property
    def version(self) -> str: ...
    @property
    def stopping(self) -> bool:
        """True while it drains: it accepts nothing any more."""

    async def tables(self) -> Sequence[Table]:
        """What else the page shows."""


@dataclass(frozen=True, slots=True)
class Table:
    """A section of the page that is somebody else's matter. Numbers are aligned to the right."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """The cells of one block, added up: the names and the order are those of dataplane.counters.Cell."""

    sessions_now: int
    sessions_max: int
    sessions: int
    bytes_in: int
    bytes_out: int
    denied_connection: int
    denied_content: int
    connect_errors: int
    retries: int
    redispatches: int
    client_aborts: int
    server_aborts: int
    queue_now: int
    queue_max: int
    queue_ms: int
    connect_ms: int
    total_ms: int
    timeouts: int
    last_session: int
    hellos: int
    bad_hellos: int
    accept_errors: int
    spliced: int
    bytes_spliced: int
    handshakes: int
    resumed: int
    handshake_errors: int
    prewarmed_now: int
    prewarm_hits: int
    prewarm_misses: int

    def average(self, milliseconds: int) -> int:
        """A sum of milliseconds per session."""
        return milliseconds // self.sessions if self.sessions > 0 else 0

    @property
    def prewarm_ratio(self) -> float:
        """Of the sessions that could have had a connection held ready, how many had: 0 to 1."""
        asked = self.prewarm_hits + self.prewarm_misses
        return self.prewarm_hits / asked if asked > 0 else 0.0


Condition = Literal["up", "going_down", "going_up", "down", "maint", "drain", "unchecked"]


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """The whole. Sessions and bytes are those of all listeners together."""

    pid: int
    version: str
    node: str
    started_at: float
    uptime: int  # seconds
    workers: int  # as configured
    worker_pids: tuple[int, ...]
    max_connections: int  # 0: no limit of its own
    stopping: bool
    counts: Counts
    rate: Rate


@dataclass(frozen=True, slots=True)
class ListenerRow:
    proxy_id: int
    name: str
    mode: str  # "tcp", "connect", or "http" of a page
    addresses: tuple[str, ...]
    status: str  # OPEN or STOP
    limit: int  # 0: none
    counts: Counts
    rate: Rate


@dataclass(frozen=True, slots=True)
class ServerRow:
    id: int  # within its backend, from 1
    name: str
    address: str
    status: str  # ServerState.status
    condition: Condition
    usable: bool
    state: ServerState
    since: int  # seconds in the present state
    down_seconds: int
    last_session: int  # seconds ago, -1: never
    counts: Counts
    rate: Rate

    @property
    def running(self) -> bool:
        """It answers checks and is not in maintenance; it may still be draining."""
        return self.condition not in ("maint", "down", "going_up")


@dataclass(frozen=True, slots=True)
class BackendRow:
    proxy_id: int
    name: str
    algorithm: str
    status: str  # UP or DOWN
    since: int
    downs: int
    down_seconds: int
    active: int  # usable servers that are no backups
    backup: int
    weight: int  # of the servers in use: the active ones, or the backups when there is no active one
    last_session: int
    prewarmed: bool  # connections to its servers are held ready
    servers: tuple[ServerRow, ...]
    counts: Counts
    rate: Rate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment. `at` is wall clock, seconds."""

    at: float
    process: ProcessRow
    listeners: tuple[ListenerRow, ...]
    backends: tuple[BackendRow, ...]
    certificates: tuple[CertificateRow, ...] = ()

    @property
    def healthy(self) -> bool:
        """Workers are there and every backend has a server to offer."""
        return bool(self.process.worker_pids) and all(backend.status == "UP" for backend in self.backends)


def proxy_ids(plan: Plan) -> dict[str, int]:
    """Numbers of the names, from 2, listeners first; a listener and a backend of one name are one proxy."""
    names = dict.fromkeys([listener.name for listener in plan.listeners] + [backend.name for backend in plan.backends])
    return {name: number for number, name in enumerate(names, start=2)}


def take(view: View, now: float | None = None) -> Snapshot:
    """Everything at this moment (`now`: wall clock)."""
    return _Photographer(view, time.time() if now is None else now).snapshot()


class _Photographer:
    """Holds what all rows need while they are made."""

    def __init__(self, view: View, now: float) -> None:
        self.view = view
        self.plan = view.plan
        self.now = now
        self.ids = proxy_ids(self.plan)
        self.totals: Totals = totals.total(self.plan, view.regions, view.carried)

    def snapshot(self) -> Snapshot:
        listeners = tuple(self.listener(listener) for listener in self.plan.listeners)
        backends = tuple(self.backend(backend) for backend in self.plan.backends)
        return Snapshot(self.now, self.process(listeners), listeners, backends, expiry.rows(self.plan, self.now))

    def counts(self, key: Key) -> Counts:
        return Counts(*self.totals[key])

    def ago(self, moment: float) -> int:
        return max(int(self.now - moment), 0)

    def last_session(self, counts: Counts) -> int:
        return self.ago(counts.last_session) if counts.last_session else -1

    def process(self, listeners: Sequence[ListenerRow]) -> ProcessRow:
        doors = [self.totals["listener", row.name, ""] for row in listeners]
        cells = [sum(column) for column in zip(*doors, strict=True)] or [0] * WIDTH
        for cell in (Cell.SESSIONS_NOW, Cell.SESSIONS_MAX, Cell.SESSIONS):  # with those of listeners that are gone
            cells[cell] = self.totals[PROCESS][cell]
        cells[Cell.LAST_SESSION] = max((door[Cell.LAST_SESSION] for door in doors), default=0)
        view, settings = self.view, self.plan.settings
        return ProcessRow(
            pid=view.pid,
            version=view.version,
            node=settings.node,
            started_at=view.started_at,
            uptime=self.ago(view.started_at),
            workers=settings.workers,
            worker_pids=tuple(view.worker_pids),
            max_connections=settings.max_connections,
            stopping=view.stopping,
            counts=Counts(*cells),
            rate=view.rates.of(PROCESS),
        )

    def listener(self, listener: Listener) -> ListenerRow:
        key: Key = ("listener", listener.name, "")
        return ListenerRow(
            proxy_id=self.ids[listener.name],
            name=listener.name,
            mode="http" if listener.mode == "pages" else listener.mode,
            addresses=tuple(map(str, listener.bind)),
            status="STOP" if self.view.stopping else "OPEN",
            limit=listener.max_connections or self.plan.settings.max_connections,
            counts=self.counts(key),
            rate=self.view.rates.of(key),
        )

    def backend(self, backend: Backend) -> BackendRow:
        key: Key = ("backend", backend.name, "")
        state = self.view.backend_states[backend.id]
        servers = tuple(
            self.server(self.view.states[server.id], number) for number, server in enumerate(backend.servers, start=1)
        )
        active = [row for row in servers if row.usable and not row.state.server.backup]
        backup = [row for row in servers if row.usable and row.state.server.backup]
        in_use = active or (backup if backend.use_all_backups else backup[:1])
        counts = self.counts(key)
        up = usable(row.state for row in servers) or backend.destination is not None
        return BackendRow(
            proxy_id=self.ids[backend.name],
            name=backend.name,
            algorithm=backend.algorithm,
            status="UP" if up else "DOWN",
            since=self.ago(state.changed_at),
            downs=state.downs,
            down_seconds=int(state.down_seconds) + (0 if up else self.ago(state.changed_at)),
            active=len(active),
            backup=len(backup),
            weight=sum(row.state.weight for row in in_use),
            last_session=self.last_session(counts),
            prewarmed=backend.prewarm is not None,
            servers=servers,
            counts=counts,
            rate=self.view.rates.of(key),
        )

    def server(self, state: ServerState, number: int) -> ServerRow:
        server = state.server
        key: Key = ("server", server.backend, server.name)
        counts = self.counts(key)
        return ServerRow(
            id=number,
            name=server.name,
            address=str(server.address),
            status=state.status,
            condition=condition(state),
            usable=state.effective_weight > 0,
            state=state,
            since=self.ago(state.changed_at),
            down_seconds=int(state.down_seconds) + (0 if state.up else self.ago(state.changed_at)),
            last_session=self.last_session(counts),
            counts=counts,
            rate=self.view.rates.of(key),
        )


def condition(state: ServerState) -> Condition:
    """The class of a server's state, for colours and for whoever does not want to parse ServerState.status."""
    check = state.server.check
    if state.admin == "maint":
        return "maint"
    if not state.up:
        return "going_up" if state.health else "down"
    if state.admin == "drain" or state.weight == 0:
        return "drain"
    if check is None:
        return "unchecked"
    return "up" if state.health == check.rise + check.fall - 1 else "going_down"
