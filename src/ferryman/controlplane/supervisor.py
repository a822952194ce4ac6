"""The supervisor: starts everything, keeps it running, changes plans, and stops it. The one place where parts meet.

Called by cli (`run`). What it owns outlives any single plan: listening sockets, workers, server states, sums of
counters. A reload is prepared completely (read, compiled, bound, opened) before anything changes; if a step fails, the
present plan stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import ferryman
from ferryman.controlplane import control, expiry, identity, sockets, systemd, totals
from ferryman.controlplane.answers import Answers
from ferryman.controlplane.backendstate import BackendState, usable
from ferryman.controlplane.fleet import Fleet
from ferryman.controlplane.generations import Generations
from ferryman.controlplane.health import Health
from ferryman.controlplane.logs import Journal, LogFiles
from ferryman.controlplane.rates import Rates
from ferryman.controlplane.resolver import Resolver
from ferryman.controlplane.serverstate import Admin, ServerState
from ferryman.controlplane.snapshot import Snapshot, Table, take
from ferryman.controlplane.sockets import Sockets
from ferryman.controlplane.tickets import Tickets
from ferryman.controlplane.watched import Watched
from ferryman.dataplane import contexts, privileges
from ferryman.dataplane.questions import Learned
from ferryman.errors import StartError
from ferryman.plan import Backend, Plan

if TYPE_CHECKING:  # what serves operators is imported where it is needed, as it takes its time
    from ferryman.controlplane.runtime import Session
    from ferryman.controlplane.web import WebServer

Loader = Callable[[bool], "LoadResult"]
"""True: the same texts again, only the files that they name are read anew."""
"""Reads the configuration again, for a reload."""

PID_BITS: Final = 22
"""Of a connection's id, the lower ones name its worker by pid (proc(5): pid_max is at most 2^22)."""
FIRST_ANSWERS: Final = 2.0
"""Seconds the start waits for the first answers about names, so that the first connections find addresses."""
SAMPLE: Final = 1.0
"""Seconds between looks at the counters for rates."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A plan, or None if the text has errors; what to tell the operator either way."""

    plan: Plan | None
    messages: list[str]


@dataclass(frozen=True, slots=True)
class Options:
    """How it was called. `control`: path of the control socket ("": the plan's, or the default). For those who run it
    as a part of something: there is no control socket (None), `elsewhere` listens in other namespaces, the
    capabilities in `keep` are not given up, `beside` goes on as long as it runs, `tables` are on its pages, signals
    are heard by others."""

    control: str | None = ""
    foreground: bool = True
    ready: Callable[[], None] | None = None
    elsewhere: sockets.Elsewhere | None = None
    keep: tuple[int, ...] = ()
    beside: Callable[[Supervisor], Coroutine[None, None, None]] | None = None
    tables: Callable[[Supervisor], Coroutine[None, None, Sequence[Table]]] | None = None
    signals: bool = True


def run(plan: Plan, loader: Loader, options: Options) -> int:
    """Run until stopped; the exit status. Raises StartError when this machine cannot run the plan."""
    return asyncio.run(Supervisor(plan, loader, options).main())


class Supervisor:
    """Also the view that pages and commands read (snapshot.View), and what they act on (runtime.Operator)."""

    def __init__(self, plan: Plan, loader: Loader, options: Options) -> None:
        self.plan = plan
        self.started_at = time.time()
        self.pid = os.getpid()
        self.version = ferryman.__version__
        self.stopping = False
        self.rates = Rates()
        self.states: list[ServerState] = []
        self.backend_states: list[BackendState] = []
        self._backend_names: list[str] = []
        self.generations = Generations()
        self.sockets = Sockets(sockets.from_systemd(os.environ), options.elsewhere)
        self._loader = loader
        self._options = options
        self._journal = Journal(plan.settings.log, foreground=options.foreground)
        self._logs = LogFiles(self._tell)
        self._answers = Answers(self._tell, lambda learned: self.fleet.broadcast("learned", learned))
        self.fleet = Fleet(self.generations, self.sockets, self, self._tell, self._answers.asked)
        self._health = Health(self._server_changed, self._journal.check_result)
        self._resolver = Resolver(self._addresses_changed, self._tell)
        self._tickets = Tickets()
        self._warnings = expiry.Warnings()
        self._watched = Watched()
        self._servers: list[WebServer] = []  # the present plan's pages
        self._control: WebServer | None = None
        self._identity = identity.Identity()
        self._keep: tuple[int, ...] = ()  # what workers keep of root's powers
        self._end = asyncio.Event()
        self._drain = False
        self._reloading = asyncio.Lock()

    # its life

    async def main(self) -> int:
        """Start, run, stop."""
        _raise_descriptor_limit()
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._logs.close)
            cleanup.callback(self._journal.close)
            try:
                await self._start(cleanup)
            except StartError:
                await self.fleet.stop()
                raise
            tasks = [asyncio.create_task(self._tick())]
            if self._options.beside is not None:
                tasks.append(asyncio.create_task(self._beside(self._options.beside)))
            try:
                await self._run_until_stopped()
            finally:
                for task in tasks:
                    task.cancel()
                await self._stop()
        return 0

    async def _start(self, cleanup: contextlib.ExitStack) -> None:
        settings = self.plan.settings
        prepared = self._answers.prepare(self.plan)
        fresh = self.sockets.prepare(self.plan)
        cleanup.callback(self.sockets.close)
        self._logs.follow(self.plan.log_targets)
        control_socket, *own = self._control_socket(cleanup)
        if settings.runtime_sockets:
            await self._serve_runtime()
        if settings.pidfile:
            cleanup.enter_context(identity.pidfile(settings.pidfile))
        self._identity = identity.resolve(settings)
        foreign = privileges.foreign_addresses()
        self._keep = foreign if self.plan.transparent_out else ()
        keep = foreign if self._keep or self.plan.transparent_in else ()
        self._identity.assume(*own, keep=(*keep, *self._options.keep))
        self._adopt(self.plan)
        self._answers.follow(self.plan, prepared)
        self.sockets.adopt(self.plan, fresh)
        self._resolver.start()
        await self._resolver.settled(FIRST_ANSWERS)
        await self.fleet.resize(settings.workers)
        await self.fleet.confirmed()
        await self._serve_pages()
        self._health.start()
        if control_socket is not None:
            self._control = await control.serve(self, control_socket)
        if self._options.signals:
            self._hear_signals()
        systemd.notify("READY=1", f"MAINPID={os.getpid()}", f"STATUS={len(self.plan.listeners)} listeners")
        self._journal.notice(f"ferryman {self.version} is ready (pid {self.pid}, {settings.workers} workers)")
        if self._options.ready is not None:
            self._options.ready()

    def _control_socket(self, cleanup: contextlib.ExitStack) -> tuple[socket.socket | None, *tuple[str, ...]]:
        """And its path, if there is one."""
        if self._options.control is None:
            return (None,)
        path = self._options.control or self.plan.settings.control or control.default_path()
        return cleanup.enter_context(sockets.private(path)), path

    async def _beside(self, run: Callable[[Supervisor], Coroutine[None, None, None]]) -> None:
        try:
            await run(self)
        except Exception as failure:  # noqa: BLE001 - recorded at once, not when all ends
            self._journal.alert(f"what runs beside has ended: {failure!r}; start ferryman anew")

    async def _run_until_stopped(self) -> None:
        await self._end.wait()
        self.stopping = True
        systemd.notify("STOPPING=1")
        if self._drain:
            limit = self.plan.settings.drain_timeout
            self._journal.notice("draining: nothing new is accepted, what is open may end")
            self.sockets.close()
            drained = asyncio.create_task(self.fleet.drain(limit))
            self._end.clear()
            stop_now = asyncio.create_task(self._end.wait())
            await asyncio.wait({drained, stop_now}, return_when=asyncio.FIRST_COMPLETED)
            stop_now.cancel()
            if not drained.done():
                drained.cancel()
            elif not drained.result():
                self._journal.warning(f"not all connections ended within {limit:g} s; the rest is cut")

    async def _stop(self) -> None:
        self.stopping = True
        self._health.stop()
        self._resolver.stop()
        self._answers.stop()
        await self.fleet.stop()
        for server in [*self._servers, self._control]:
            if server is not None:
                await server.stop()
        self._journal.notice("ferryman has stopped")

    def begin_stop(self, drain: bool) -> None:
        """Ask for the end: at once, or when the last connection has ended. Asking for a drain twice changes nothing."""
        if drain and self._drain:
            return
        self._drain = drain
        self._end.set()

    def _hear_signals(self) -> None:
        """As HAProxy: TERM and INT stop, USR1 drains, HUP and USR2 reload (and reopen log files)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin_stop, False)
        loop.add_signal_handler(signal.SIGUSR1, self.begin_stop, True)
        tasks: set[asyncio.Task[tuple[bool, list[str]]]] = set()

        def reload() -> None:
            task = asyncio.create_task(self.reload())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        for number in (signal.SIGHUP, signal.SIGUSR2):
            loop.add_signal_handler(number, reload)

    async def _tick(self) -> None:
        watchdog = systemd.watchdog_interval()
        while True:
            self.generations.forget_ended()
            if self._logs.refresh():
                self.fleet.reopen_logs()
            if names := self._watched.changed(time.monotonic()):
                self._journal.notice(f"changed: {', '.join(names)}")
                await self.reload(renew=True)
            for text in self._warnings.due(self.plan, time.time()):
                self._journal.warning(text)
            if self._tickets.rotate(self.plan.settings.ticket_rotation):
                self.fleet.broadcast("tickets", self._tickets.keys)
            self.rates.sample(totals.total(self.plan, self.regions, self.carried), time.monotonic())
            if watchdog is not None:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(min(SAMPLE, watchdog or SAMPLE))

    # plans

    async def reload(self, renew: bool = False) -> tuple[bool, list[str]]:
        """Read the configuration again and follow it. False: the present plan stays, the messages say why.

        `renew`: only the files that it names.
        """
        async with self._reloading:
            if self.stopping:
                return False, ["ferryman is stopping"]
            systemd.reloading()
            try:
                ok, messages = await self._reload(renew)
            finally:
                systemd.notify("READY=1")
            for message in messages:
                (self._journal.warning if ok else self._journal.alert)(message)
            self._journal.notice("reloaded" if ok else "not reloaded: the present configuration stays")
            return ok, messages

    async def _reload(self, renew: bool) -> tuple[bool, list[str]]:
        result = await asyncio.to_thread(self._loader, renew)
        if result.plan is None:
            return False, result.messages
        messages = [*result.messages, *_needs_restart(self.plan, result.plan)]
        try:
            identity.demand_kept(result.plan, self._keep)
            prepared = self._answers.prepare(result.plan)
            fresh = self.sockets.prepare(result.plan)
        except StartError as error:
            return False, [*messages, *str(error).splitlines()]
        messages += prepared.messages
        self.plan = result.plan
        self._logs.follow(self.plan.log_targets)
        self._journal.follow(self.plan.settings.log)
        self._adopt(self.plan)
        self._answers.follow(self.plan, prepared)
        self.sockets.adopt(self.plan, fresh)
        self.fleet.follow()
        await self.fleet.resize(self.plan.settings.workers)
        try:
            await self.fleet.confirmed()
        except StartError as error:
            messages.append(str(error))
        await self._serve_pages()
        return True, messages

    def _adopt(self, plan: Plan) -> None:
        """Server and backend states for `plan`: kept by name, made where they are new."""
        servers = {(state.server.backend, state.server.name): state for state in self.states}
        backends = dict(zip(self._backend_names, self.backend_states, strict=True))
        states: list[ServerState] = []
        for server in plan.servers:
            state = servers.get((server.backend, server.name))
            if state is None or state.server.address != server.address:
                state = ServerState.new(server)
            else:
                state.adopt(server)
            states.append(state)
        self.states = states
        self.backend_states = [backends.get(b.name) or BackendState(time.time()) for b in plan.backends]
        self._backend_names = [b.name for b in plan.backends]
        for backend in plan.backends:
            self._note_backend(backend)
        self.generations.begin(plan, plan.settings.workers)
        self._watched.follow(plan.files)
        contexts.forget_authorities()
        self._health.update(states)
        self._resolver.update(states)

    async def _serve_runtime(self) -> None:
        from ferryman.controlplane.runtime import RuntimeServer

        settings = self.plan.settings
        runtime = RuntimeServer(self, settings.runtime_timeout)
        for spec in settings.runtime_sockets:
            try:
                sock = sockets.bind(spec.address, 0)
            except OSError as error:
                reason = sockets.why(error, spec.address)
                raise StartError(f"runtime socket: cannot listen on {spec.address}: {reason}") from None
            identity.hand_over(spec)
            serve = asyncio.start_unix_server if sock.family == socket.AF_UNIX else asyncio.start_server
            await serve(runtime.handler(spec.level), sock=sock)

    async def _serve_pages(self) -> None:
        for server in self._servers:
            await server.stop()
        self._servers = []
        for listener in self.plan.listeners:
            if listener.pages is None:
                continue
            from ferryman.controlplane.pages import pages_app
            from ferryman.controlplane.web import WebServer

            server = WebServer(pages_app(listener.pages, self))
            await server.start([self.sockets.open[key] for key, _ in sockets.addresses(listener)])
            self._servers.append(server)

    # what servers do

    def _server_changed(self, state: ServerState) -> None:
        """Health or an operator changed what a server takes."""
        self.fleet.broadcast("weights", self.weights())
        backend = self._backend_of(state)
        sessions = totals.total(self.plan, self.regions, self.carried)
        self._journal.server_changed(state, self._members(backend), sessions)
        if self._note_backend(backend) and not self.backend_states[backend.id].up:
            self._journal.emerg(f"backend {backend.name} has no server available!")
        if state.server.close_on_down and not state.up:
            self.fleet.broadcast("kill_server", state.server.id)

    def _backend_of(self, state: ServerState) -> Backend:
        return next(backend for backend in self.plan.backends if backend.name == state.server.backend)

    def _members(self, backend: Backend) -> list[ServerState]:
        return [self.states[server.id] for server in backend.servers]

    def _note_backend(self, backend: Backend) -> bool:
        """Take note of whether a backend has any server to offer; True if that changed."""
        return self.backend_states[backend.id].note(
            usable(self._members(backend)) or backend.destination is not None, time.time()
        )

    def _addresses_changed(self, state: ServerState) -> None:
        self.fleet.broadcast("addresses", {state.server.id: list(state.addresses)})

    # what the fleet must know (fleet.Orders)

    def weights(self) -> dict[int, int]:
        return {state.server.id: state.effective_weight for state in self.states}

    def addresses(self) -> dict[int, list[str]]:
        return {s.server.id: list(s.addresses) for s in self.states if s.server.address.family == "name"}

    def log_descriptors(self) -> Sequence[int]:
        return self._logs.descriptors

    def confinement(self) -> tuple[str, int | None, int | None, tuple[int, ...]]:
        return self.plan.settings.chroot, self._identity.uid, self._identity.gid, self._keep

    def ticket_keys(self) -> bytes:
        return self._tickets.keys

    def learned(self) -> Learned:
        return self._answers.learning.present()

    # what is shown (snapshot.View)

    @property
    def regions(self) -> Sequence[memoryview]:
        return self.generations.present.regions if self.generations.present else []

    @property
    def carried(self) -> totals.Totals:
        return self.generations.carried

    @property
    def worker_pids(self) -> Sequence[int]:
        return self.fleet.pids

    def snapshot(self) -> Snapshot:
        return take(self)

    async def tables(self) -> Sequence[Table]:
        return () if self._options.tables is None else await self._options.tables(self)

    def _tell(self, level: str, text: str) -> None:
        say = {"alert": self._journal.alert, "warning": self._journal.warning}
        say.get(level, self._journal.notice)(text)

    # what operators may do (runtime.Operator)

    def view(self) -> Supervisor:
        return self

    async def sessions(self) -> list[Session]:
        """Every live connection. An id tells the worker in its lower bits, and within it the connection's number."""
        rows: list[Session] = []
        for worker, answer in await self.fleet.ask_all("sessions"):
            for row in answer.get("sessions", []):
                number = int(row["id"]) << PID_BITS | worker.pid
                rows.append(cast("Session", {**row, "id": number, "worker": worker.pid}))
        return rows

    async def kill(self, ids: Collection[int]) -> int:
        """End connections by id; how many there were."""
        count = 0
        for worker in [*self.fleet.workers.values(), *self.fleet.leaving]:
            if numbers := [i >> PID_BITS for i in ids if i & (1 << PID_BITS) - 1 == worker.pid]:
                answer = await worker.ask("kill", numbers)
                count += int(answer["count"]) if answer else 0
        return count

    def set_admin(self, server_id: int, admin: Admin) -> None:
        state = self.states[server_id]
        if state.admin != admin:
            state.admin = admin
            state.changed_at = time.time()
            self._health.update(self.states)
            self._server_changed(state)

    def set_weight(self, server_id: int, weight: int) -> None:
        state = self.states[server_id]
        state.weight = weight
        self._note_backend(self._backend_of(state))
        self.fleet.broadcast("weights", self.weights())

    def learned_entries(self) -> list[dict[str, Any]]:
        return self._answers.learning.entries()

    def forget_learned(self, listener: str, client: str, name: str) -> int:
        return self._answers.learning.forget(listener, client, name)

    def clear_maxima(self) -> None:
        totals.clear_maxima(self.plan, self.regions, self.generations.gone)
        self.rates.clear_maxima()

    def clear_counters(self) -> None:
        earlier = [(generation.plan, generation.regions) for generation in self.generations.earlier]
        totals.clear(self.plan, self.regions, self.generations.gone, earlier)
        self.rates.clear_maxima()


def _needs_restart(old: Plan, new: Plan) -> list[str]:
    names = ("user", "group", "chroot", "pidfile", "control", "runtime_sockets")
    return [
        f"global.{name} changed: it takes effect at the next start"
        for name in names
        if getattr(old.settings, name) != getattr(new.settings, name)
    ]


def _raise_descriptor_limit() -> None:
    """Two descriptors per connection, more for pipes: take what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
