"""A worker process: takes plans and orders from the supervisor and lets the loop run.

Started by controlplane.process as `python -m ferryman.dataplane.worker DESCRIPTOR INDEX`. Holds what is common to all
its connections; the journey of one is in session, its carrying in relay.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import replace
from math import inf
from typing import Any, Final

from ferryman.dataplane import contexts, counters, fdio, prewarm, privileges
from ferryman.dataplane.channel import Frames, frame
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.generation import Generation
from ferryman.dataplane.listener import Clients, Door
from ferryman.dataplane.logfields import endpoint
from ferryman.dataplane.logwriter import LogWriter
from ferryman.dataplane.loop import IN, OUT, Loop
from ferryman.dataplane.questions import Learned, Questions
from ferryman.dataplane.record import Record
from ferryman.dataplane.relay import Carrier, End, Tunnel
from ferryman.dataplane.session import Session
from ferryman.dataplane.syslog import Sink
from ferryman.plan import Listener, LogTarget, Plan, Server
from ferryman.wire import http1forward

TICK: Final = 0.05  # seconds between looks at sessions that are being set up
SWEEP: Final = 1.0  # seconds between looks at all tunnels; shorter where a timeout is short
SWEPT_AT_ONCE: Final = 20_000  # descriptors looked at per tick, so that many idle tunnels do not hold up busy ones
COMPLAINT_EVERY: Final = 10.0  # seconds between complaints of the same kind
BROKEN: Final = 70  # exit status after an order that could not be carried out (sysexits.h, EX_SOFTWARE)


class Worker:
    """The process's state. `waiting`: sessions being set up; `paused`: doors at a limit.

    `generations`: the plans that connections still began with, the present one last.
    """

    generation: Generation

    def __init__(self, channel: socket.socket, index: int) -> None:
        self.index = index
        self.loop = Loop(self.tick, self.turn_end)
        self.carrier = Carrier(self.loop, self.tunnel_ended, self.tunnel_progressed)
        self.waiting: dict[Session, None] = {}
        self.paused: list[Door] = []
        self.doors: dict[str, Door] = {}
        self.generations: list[Generation] = []
        self.sinks: dict[LogTarget, Sink] = {}  # by target without its id, which is another in each plan
        self.live = 0
        self.connections = 0  # ever begun: gives each its number
        self.clients = Clients()
        self.draining = False
        self.status = 0  # to exit with
        self.questions = Questions(self)
        self.ticket_keys = b""  # until the supervisor says: each worker's own
        self.name = http1forward.PSEUDONYM  # in Via; the supervisor says a better one
        self.frames = Frames(channel, trusted=True)
        self.channel = channel
        self.channel.setblocking(False)
        self._unsaid = bytearray()  # reports that the channel did not take yet
        self._hushed = False  # there are some: it is watched for room
        self._swept = 0  # where the sweep of the table goes on
        self._next_sweep = 0.0
        self._sweep_every = SWEEP
        self._complained: dict[str, float] = {}
        self.loop.watch(channel.fileno(), self, IN)

    def run(self) -> int:
        """Until told to quit, or the supervisor is gone; then cut what is left. Gives the exit status."""
        self.loop.run()
        for tunnel in self._carried():
            tunnel.finish("K-", "shutdown", "ferryman stops", reset=tunnel.client)
        for session in list(self.waiting):
            session.cut("K-", "shutdown", "ferryman stops")
        self.turn_end()
        self.loop.run()  # stopped as it is, it only closes what was just given up
        return self.status

    # orders

    def event(self, mask: int) -> None:
        """The supervisor says something, or listens again."""
        if mask & OUT:
            self._speak()
        try:
            self.frames.receive()
            for order, descriptors in self.frames.orders():
                getattr(self, f"order_{order[0]}")(*order[1:], descriptors=descriptors)
        except EOFError:
            # the supervisor is gone: nobody could tell us to stop any more
            self.loop.stopped = True

    def order_confine(
        self, chroot: str, uid: int | None, gid: int | None, keep: tuple[int, ...] = (), *, descriptors: list[int]
    ) -> None:
        """Give up what a worker does not need; comes before the first plan."""
        time.tzset()  # the time zone's file is out of reach in a chroot
        privileges.confine(chroot, uid, gid, keep)

    def order_plan(
        self,
        number: int,
        plan: Plan,
        doors: list[tuple[str, int]],
        new_doors: list[str],
        weights: dict[int, int],
        addresses: dict[int, list[str]],
        *,
        descriptors: list[int],
    ) -> None:
        """A plan to follow from now on. Descriptors: counters, a log target each, a listener for each new door."""
        fds = iter(descriptors)
        cells = next(fds)
        region = counters.attach(cells, os.fstat(cells).st_size)
        os.close(cells)
        for target in plan.log_targets:
            self._log_to(target, next(fds))
        logs = [self._log_writer(listener, plan) for listener in plan.listeners]
        contexts.forget_authorities()
        self.generation = Generation(number, plan, region, self.index, logs)
        self._hold_ready([] if self.draining else [self.generation])
        self.generations.append(self.generation)
        for earlier in [g for g in self.generations if not g.live and g is not self.generation]:
            self._forget(earlier)
        self.order_weights(weights, descriptors=[])
        self.order_addresses(addresses, descriptors=[])
        self.questions.follow(plan)
        self._sweep_every = _sweep_interval(plan)
        opened = {key: next(fds) for key in new_doors}
        wanted = dict(doors)
        for key in [key for key in self.doors if key not in wanted]:
            self.doors.pop(key).close()
        for key, listener_id in doors:
            listener = plan.listeners[listener_id]
            if (door := self.doors.get(key)) is not None:
                door.listener = listener
            elif not self.draining:
                self.doors[key] = Door(self, key, listener, opened.pop(key))
        for unused in opened.values():
            os.close(unused)
        self.tick_soon()
        gc.collect()
        gc.freeze()
        self.report({"kind": "ready", "generation": number})

    def order_weights(self, weights: dict[int, int], *, descriptors: list[int]) -> None:
        """What each server may take (server id -> effective weight)."""
        self.generation.set_weights(weights)
        for queue in self.generation.queues:
            self.grant(queue)

    def order_addresses(self, addresses: dict[int, list[str]], *, descriptors: list[int]) -> None:
        """What server names resolve to (server id -> numeric hosts)."""
        for server_id, hosts in addresses.items():
            self.generation.set_addresses(server_id, hosts)

    def order_answer(self, number: int, value: Any, error: str, text: str, *, descriptors: list[int]) -> None:
        """What a session asked."""
        self.questions.answered(number, value, error, text)

    def order_tickets(self, keys: bytes, *, descriptors: list[int]) -> None:
        """What TLS sessions of clients are resumed with, in all workers."""
        self.ticket_keys = keys
        for generation in self.generations:
            generation.follow_tickets(keys)

    def order_name(self, name: str, *, descriptors: list[int]) -> None:
        """What this program calls itself to other proxies: unlike any other ferryman."""
        self.name = name

    def order_learned(self, learned: Learned, *, descriptors: list[int]) -> None:
        """Which clients are not bumped for which names, for now."""
        self.questions.learn(learned)

    def order_logs(self, *, descriptors: list[int]) -> None:
        """Fresh descriptors for the log targets, in order of their ids: files were rotated."""
        for target, descriptor in zip(self.generation.plan.log_targets, descriptors, strict=True):
            self._log_to(target, descriptor)

    def order_sessions(self, request: int, *, descriptors: list[int]) -> None:
        """List what is alive."""
        now = self.loop.now
        rows = [_row(t.record, t.home, now, now - t.active, t.client.moved, t.server.moved) for t in self.tunnels()]
        rows += [_row(s.record, s.generation, now, now - s.record.start, 0, 0) for s in self.waiting]
        self.report({"kind": "sessions", "request": request, "sessions": rows})

    def order_kill(self, request: int, ids: list[int], *, descriptors: list[int]) -> None:
        """End connections by their numbers."""
        wanted, killed = set(ids), 0
        for tunnel in self.tunnels():
            if tunnel.record.id in wanted:
                tunnel.finish("K-", "killed", "ended by an operator", reset=tunnel.client)
                killed += 1
        for session in [s for s in self.waiting if s.record.id in wanted]:
            session.cut("K-", "killed", "ended by an operator")
            killed += 1
        self.report({"kind": "killed", "request": request, "count": killed})

    def order_kill_server(self, server_id: int, *, descriptors: list[int]) -> None:
        """End the tunnels to a server that is down (on-marked-down shutdown-sessions)."""
        down = self.generation.plan.servers[server_id]
        for tunnel in self.tunnels():
            server = tunnel.record.server
            # not by id: the tunnel may have begun with an earlier plan
            if server is not None and _same(server, down):
                tunnel.finish("D-", "error", f"server {server.name} was marked down", reset=tunnel.client)

    def order_drain(self, *, descriptors: list[int]) -> None:
        """Accept nothing more; say so when the last connection has ended."""
        self.draining = True
        for door in self.doors.values():
            door.close()
        self.doors.clear()
        self._hold_ready([])
        for session in self.waiting:
            if session.record.idle:
                session.deadline = self.loop.now  # it waits for a request that would be refused
        self._drained()

    def order_quit(self, *, descriptors: list[int]) -> None:
        """End; `run` cuts what is left."""
        self.loop.stopped = True

    # what sessions and tunnels need

    def begin(self, session: Session) -> None:
        """A connection was accepted."""
        self.live += 1
        self.connections += 1
        session.record.id = self.connections
        generation = self.generation
        generation.accepted(session.record)
        self.loop.interval = TICK
        log = generation.logs[session.listener.id]
        if log.needs_local and not session.record.local_host:
            session.record.local_host, session.record.local_port = fdio.sockname(session.fd)
        if log.early and session.listener.log.format == "connect":
            log.started(session.record, generation.counts)
        session.start()

    def over(self, generation: Generation, record: Record, counted_in: int, counted_out: int) -> None:
        """A connection has ended."""
        self.live -= 1
        if record.listener.max_per_client:
            self.clients.leave(record)
        generation.ended(record, counted_in, counted_out)
        generation.logs[record.listener.id].ended(record, generation.counts)
        if record.backend is not None and (queue := generation.queues[record.backend.id]):
            self.grant(queue)
        if not generation.live and generation is not self.generation:
            self._forget(generation)
        if self.paused:
            self._unpause()
        if self.draining:
            self._drained()

    def answered(self, generation: Generation, record: Record) -> None:
        """A request is over, the connection it came on is not."""
        generation.tally(record)
        generation.logs[record.listener.id].ended(record, generation.counts_of_others)

    def tunnel_ended(self, tunnel: Tunnel) -> None:
        assert isinstance(tunnel.home, Generation)
        if tunnel.spliced:
            tunnel.home.count(tunnel.record, Cell.SPLICED)
            tunnel.home.count(tunnel.record, Cell.BYTES_SPLICED, tunnel.spliced)
        self.over(tunnel.home, tunnel.record, tunnel.counted_in, tunnel.counted_out)

    def tunnel_progressed(self, tunnel: Tunnel) -> None:
        assert isinstance(tunnel.home, Generation)
        received, sent = tunnel.client.moved, tunnel.server.moved
        tunnel.home.moved(tunnel.record, received - tunnel.counted_in, sent - tunnel.counted_out)
        tunnel.counted_in, tunnel.counted_out = received, sent

    def at_limit(self, listener: Listener) -> bool:
        """Would this listener's next connection have to wait in the backlog?"""
        generation = self.generation
        limit = generation.plan.settings.max_connections
        if limit and generation.process_load() >= limit:
            return True
        return bool(listener.max_connections) and generation.listener_load(listener.id) >= listener.max_connections

    def complain(self, text: str) -> None:
        """Tell the operator, once in a while."""
        now = self.loop.now
        if now - self._complained.get(text, -inf) >= COMPLAINT_EVERY:
            self._complained[text] = now
            self.report({"kind": "event", "level": "alert", "text": text})

    def report(self, report: dict[str, Any]) -> None:
        """Say something to the supervisor, without waiting: both sides may have much to say at the same time."""
        self._unsaid += frame(report)
        self._speak()

    def _speak(self) -> None:
        try:
            sent = self.channel.send(self._unsaid)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.loop.stopped = True
            return
        del self._unsaid[:sent]
        if bool(self._unsaid) is not self._hushed:
            self._hushed = not self._hushed
            self.loop.epoll.modify(self.channel.fileno(), IN | OUT if self._hushed else IN)

    def tunnels(self) -> list[Tunnel]:
        """All that are alive."""
        return [tunnel for tunnel in self._carried() if tunnel.home is not None]

    def _carried(self) -> list[Tunnel]:
        """All that are alive, and the layers of TLS below some of them (tlsrelay.Layer), which have no home."""
        return [h.tunnel for h in self.loop.table if isinstance(h, End) and h is h.tunnel.client]

    def tick_soon(self) -> None:
        """Something waits for the clock, or for what other workers do: look again after the shortest time."""
        self.loop.interval = TICK

    def grant(self, queue: deque[Session]) -> None:
        """Let the first in a queue look for a place; it stays first if there is none."""
        session = queue[0] if queue else None
        if session is not None and not session.granted:
            session.granted = True
            self.loop.ready.append(session)

    # time

    def tick(self, now: float) -> None:
        """Deadlines of sessions, places in queues, doors to reopen, and now and then all tunnels."""
        ready = self.loop.ready
        for session in self.waiting:
            if now >= session.deadline:
                ready.append(session)
        for generation in self.generations:
            for queue in generation.queues:
                if queue:
                    self.grant(queue)
        for pool in self.generation.pools.values():
            pool.tick(now)
        if self.paused:
            self._unpause()
        if self._swept or now >= self._next_sweep:
            self._sweep(now)
        pools = self.generation.pools.values()
        if self.waiting or self.paused or self._swept or any(pool.making for pool in pools):
            self.loop.interval = TICK
        elif self.live or pools:
            self.loop.interval = min(self._sweep_every, prewarm.PERIOD) if pools else self._sweep_every
        else:
            self.loop.interval = None

    def _sweep(self, now: float) -> None:
        table = self.loop.table
        end = min(self._swept + SWEPT_AT_ONCE, len(table))
        for handler in table[self._swept : end]:
            if handler is not None:
                handler.sweep(now)
        self._swept = 0 if end >= len(table) else end
        if not self._swept:
            self._next_sweep = now + self._sweep_every

    def turn_end(self) -> None:
        """Log lines of this turn go out together."""
        for sink in self.sinks.values():
            if sink.pending:
                sink.flush()

    def sweep(self, now: float) -> None:
        """(As a handler of its channel: nothing.)"""

    def abort(self) -> None:
        """An order could not be carried out: better a new worker than one that follows no plan."""
        self.status = BROKEN
        self.loop.stopped = True

    # inner workings

    def _hold_ready(self, generations: list[Generation]) -> None:
        """Connections for these and no others (at most one: plans that are no longer followed need none)."""
        for earlier in self.generations:
            for pool in earlier.pools.values():
                pool.discard()
            earlier.pools = {}
        for generation in generations:
            generation.pools = prewarm.pools(self, generation)

    def _unpause(self) -> None:
        for door in list(self.paused):
            if self.loop.now >= door.resume_at and not self.at_limit(door.listener):
                door.unpause()

    def _drained(self) -> None:
        if not self.live:
            self.report({"kind": "drained"})

    def _log_writer(self, listener: Listener, plan: Plan) -> LogWriter:
        sinks = [self.sinks[_without_id(target)] for target in listener.log.targets]
        return LogWriter(listener, sinks, plan.settings.node)

    def _log_to(self, target: LogTarget, descriptor: int) -> None:
        """Write to a fresh descriptor from now on. Connections of earlier plans go on logging to the same target."""
        key = _without_id(target)
        if (sink := self.sinks.get(key)) is not None:
            sink.replace(descriptor)
        else:
            self.sinks[key] = Sink(target, descriptor, os.getppid())

    def _forget(self, earlier: Generation) -> None:
        """The last connection that began with an earlier plan has ended: its own log targets are closed."""
        self.generations.remove(earlier)
        wanted = {_without_id(target) for generation in self.generations for target in generation.plan.log_targets}
        for target in [target for target in self.sinks if target not in wanted]:
            self.sinks.pop(target).close()


def _without_id(target: LogTarget) -> LogTarget:
    return replace(target, id=0)


def _same(one: Server, other: Server) -> bool:
    """Are these one server, though perhaps of different plans?"""
    return (one.backend, one.name, one.address) == (other.backend, other.name, other.address)


def _row(record: Record, home: object, now: float, idle: float, received: int, sent: int) -> dict[str, Any]:
    assert isinstance(home, Generation)
    return {
        "id": record.id,
        "listener": record.listener.name,
        "backend": record.backend.name if record.backend else "",
        "server": record.server.name if record.server else "",
        "client": endpoint(record.client_host, record.client_port),
        "sni": record.sni or "",
        "age": round(now - record.start, 1),
        "idle": round(idle, 1),
        "bytes_in": received,
        "bytes_out": sent,
        "state": "carried" if record.connect_ms >= 0 else "set-up",
        "path": record.path,
        "generation": home.number,
    }


def _sweep_interval(plan: Plan) -> float:
    """Often enough that the shortest silence allowed is cut at most a quarter late."""
    limits = [
        limit
        for holder in (*plan.listeners, *plan.backends)
        for name in ("client_timeout", "client_fin_timeout", "server_timeout", "server_fin_timeout", "tunnel_timeout")
        if (limit := getattr(holder, name, None))
    ]
    return float(max(min([SWEEP, *(limit / 4 for limit in limits)]), TICK))


def main() -> None:
    """Entry point: descriptor of the channel and the worker's index are the arguments."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.settimeout(5.0)
    index = int(sys.argv[2])
    # Ctrl-C, timeout(1) and others reach the whole process group; the supervisor decides what it means
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    worker = Worker(channel, index)
    privileges.name_process(f"ferryman-w{index}")
    # no reference cycles survive a connection (relay breaks them), so collecting would only cost time
    gc.disable()
    status = worker.run()
    channel.detach()  # open until the process is gone: whoever closes it and lives on is taken for stuck, and killed
    sys.exit(status)


if __name__ == "__main__":
    main()
