"""Plans and views for the tests of what the control plane shows: real plans, real regions, a plain view over them."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Sequence
from dataclasses import replace

from ferryman.controlplane import totals
from ferryman.controlplane.backendstate import BackendState, usable
from ferryman.controlplane.rates import Rates
from ferryman.controlplane.runtime import Session
from ferryman.controlplane.serverstate import Admin, ServerState
from ferryman.controlplane.snapshot import Table, View
from ferryman.controlplane.totals import PROCESS, Key, Totals
from ferryman.dataplane.counters import Cell, size
from ferryman.plan import AccessLog, Address, Backend, Check, Listener, Pages, Plan, Server, Settings

NOW = 1_700_000_000.0


def server(name: str, port: int = 443, **fields: object) -> Server:
    """A server; id and backend are set by make_plan."""
    made = Server(id=0, name=name, backend="", address=Address("inet", "127.0.0.1", port))
    return replace(made, **fields)  # type: ignore[arg-type]


def listener(name: str, port: int = 443, **fields: object) -> Listener:
    made = Listener(0, name, "tcp", (Address("inet", "127.0.0.1", port),), AccessLog((), "json"))
    return replace(made, **fields)  # type: ignore[arg-type]


def make_plan(
    listeners: Sequence[Listener], backends: dict[str, Sequence[Server]], settings: Settings | None = None
) -> Plan:
    """Give ids and put the parts together."""
    servers: list[Server] = []
    made: list[Backend] = []
    for name, members in backends.items():
        own = tuple(replace(member, id=len(servers) + index, backend=name) for index, member in enumerate(members))
        servers += own
        made.append(Backend(len(made), name, own))
    return Plan(
        settings=settings or Settings(),
        listeners=tuple(replace(one, id=index) for index, one in enumerate(listeners)),
        backends=tuple(made),
        servers=tuple(servers),
    )


def shop() -> Plan:
    """Two listeners and a page; a backend with all kinds of servers, and one that has the name of its listener."""
    return make_plan(
        [
            listener("web", 8443, max_connections=500),
            listener("both", 8444),
            listener("stats", 8404, mode="pages", pages=Pages(uri="/stats")),
        ],
        {
            "app": [
                server("a1", 8001, check=Check()),
                server("a2", 8002, weight=3, backup=True),
                server("a3", 8003, disabled=True),
            ],
            "both": [server("s1", 8005, weight=7, max_connections=100, max_queue=20)],
        },
        Settings(workers=2, max_connections=2000, node="edge-1"),
    )


class StillView:
    """A view that only changes when a test changes it: what the supervisor is, without processes."""

    def __init__(self, plan: Plan, workers: int = 2) -> None:
        self.plan = plan
        self.regions = [memoryview(mmap.mmap(-1, size(plan))).cast("Q") for _ in range(workers)]
        self.carried: Totals = {}
        self.states = [ServerState.new(one) for one in plan.servers]
        for state in self.states:
            state.changed_at = NOW - 90
        self.backend_states = [BackendState(NOW - 90) for _ in plan.backends]
        self.rates = Rates()
        self.started_at = NOW - 3600
        self.pid = 4711
        self.worker_pids = list(range(4712, 4712 + workers))
        self.version = "9.8.7"
        self.stopping = False
        self.live: list[Session] = []
        self.more: list[Table] = []

    async def tables(self) -> list[Table]:
        return self.more

    def count(self, worker: int, key: Key, **cells: int) -> None:
        """Write cells, as the worker would: count(0, ("server", "app", "a1"), sessions=3)."""
        bases = dict(totals.keys(self.plan))
        region = self.regions[worker]
        for name, value in cells.items():
            cell = Cell[name.upper()]
            if key[0] == "listener" and cell in (Cell.SESSIONS_NOW, Cell.SESSIONS_MAX, Cell.SESSIONS):
                region[bases[PROCESS] + cell] += value - region[bases[key] + cell]
            region[bases[key] + cell] = value

    def sample(self, seconds: float) -> None:
        self.rates.sample(totals.total(self.plan, self.regions, self.carried), seconds)

    def fail(self, server_id: int) -> None:
        """Checks find the server dead, and its backend learns of it."""
        state = self.states[server_id]
        state.health, state.check_status, state.check_ms = 0, "L4CON", 3
        state.check_description, state.checks_failed, state.downs = "Connection refused", 3, 1
        state.changed_at = NOW - 30
        self.note_backends()

    def note_backends(self) -> None:
        for backend, noted in zip(self.plan.backends, self.backend_states, strict=True):
            noted.note(usable(self.states[one.id] for one in backend.servers), NOW - 30)

    # what an operator may do (runtime.Operator)

    def view(self) -> View:
        return self

    def set_admin(self, server_id: int, admin: Admin) -> None:
        self.states[server_id].admin = admin
        self.note_backends()

    def set_weight(self, server_id: int, weight: int) -> None:
        self.states[server_id].weight = weight
        self.note_backends()

    def clear_maxima(self) -> None:
        totals.clear_maxima(self.plan, self.regions, self.carried)
        self.rates.clear_maxima()

    def clear_counters(self) -> None:
        totals.clear(self.plan, self.regions, self.carried)

    async def sessions(self) -> list[Session]:
        return list(self.live)

    async def kill(self, ids: Collection[int]) -> int:
        before = len(self.live)
        self.live = [session for session in self.live if session["id"] not in ids]
        return before - len(self.live)


def session(number: int, **fields: object) -> Session:
    made: Session = {
        "id": number,
        "worker": 1,
        "listener": "web",
        "backend": "app",
        "server": "a1",
        "client": "192.0.2.7:40312",
        "sni": "api.example.org",
        "age": 75.2,
        "idle": 3.9,
        "bytes_in": 517,
        "bytes_out": 4096,
        "state": "tunnel",
    }
    return {**made, **fields}  # type: ignore[typeddict-item]
