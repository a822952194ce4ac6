"""The journey of one connection: accepted, judged, looked at, routed, connected, and then handed to relay.

`journey` is the story, read it first; everything else here serves it. A session is a coroutine that the worker's own
loop resumes on every event that concerns it: something on the client's socket, on a socket being connected, a deadline,
a place in a queue. It then looks at the world anew, so no wake-up can be lost or mistaken for another. When both sides
are up the coroutine ends and the tunnel takes over both descriptors.

Bytes of the client are only looked at (MSG_PEEK): what a rule has read still goes to the server untouched.
"""

from __future__ import annotations

import socket
import ssl
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import dial, explicit, fdio, interception, proxyhead, terminate, tls, tlsrelay
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.generation import Generation
from ferryman.dataplane.loop import EDGE, ERR, HANGUP, IN, SCARCE, URGENT, suspend
from ferryman.dataplane.record import How, Record
from ferryman.dataplane.relay import Tunnel
from ferryman.plan import Backend, Listener
from ferryman.rules import decision
from ferryman.rules.decision import Kind, Verdict
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts
from ferryman.wire import clienthello
from ferryman.wire.clienthello import Outcome

if TYPE_CHECKING:
    from ferryman.dataplane.worker import Worker

PEEK: Final = 65536  # bytes of the client's first flight that rules may see
_TCP_REPAIR: Final = 19  # linux/tcp.h; the socket module has no name for it


class Session:
    """One connection until it is a tunnel. `deadline` and `waiting` concern the present step only."""

    __slots__ = (
        "client_mask",
        "coroutine",
        "deadline",
        "facts",
        "fd",
        "generation",
        "granted",
        "listener",
        "record",
        "secured",
        "server_mask",
        "watched",
        "worker",
    )

    def __init__(self, worker: Worker, listener: Listener, fd: int, host: str, port: int) -> None:
        self.worker = worker
        self.generation: Generation = worker.generation
        self.listener = listener
        self.fd = fd
        self.record = Record(listener, host, port, time(), worker.loop.now)
        self.facts: Facts | None = None
        self.client_mask = 0  # all that epoll ever told of the client's socket
        self.server_mask = 0  # and of the connected server's
        self.deadline = inf  # monotonic; passed: `expired`
        self.granted = False  # a place at a server was kept for it
        self.watched = False
        self.secured: ssl.SSLSocket | None = None  # TLS with the client, where rules ask what came of it
        self.coroutine = self.journey()

    # the story

    async def journey(self) -> None:
        """From accept to tunnel; ends early where the connection is refused or fails."""
        listener = self.listener
        if (most := listener.max_per_client) and self.worker.clients.enter(self.record) > most:
            self.generation.listener_count(listener, Cell.DENIED_CONNECTION)
            self.end("PC", "policy", f"client: has {most} connections here already (max_per_client)", reset=True)
            return
        if listener.transparent:
            self.record.original = interception.wanted(self.fd, listener)
        receive = listener.receive_proxy if proxyhead.due(self) else None
        if not self.admitted():
            return
        if receive is not None and not (await proxyhead.take(self, receive) and self.admitted()):
            return
        if listener.connect is not None:
            if listener.tls and not await terminate.unwrap(self):
                return
            await explicit.journey(self, listener.connect)
            return
        backend = self.route(
            await self.sniff() if listener.inspect or listener.routes or listener.needs_hello else None
        )
        if backend is None:
            return
        record = self.record
        record.backend = backend
        self.generation.routed(backend, record.wall)
        if listener.tls:
            facts = self.learn()
            if (accept := terminate.accepted(listener.tls, facts)) is not None:
                await terminate.journey(self, accept, backend)
                return
            facts.tls = ABSENT
        server = await dial.reach(self, backend)
        if server is not None:
            limit = self.silence(backend.tunnel_timeout, backend.server_timeout)
            if isinstance(server, int):
                self.carry(server, limit)
            else:
                tlsrelay.carry(self, self.fd, server, limit)

    def admitted(self) -> bool:
        """Do the `connection` rules let it in, as far as they can be decided? If not, it has ended."""
        if not self.listener.connection:
            return True
        verdict = decision.connection(self.listener.connection, self.learn())
        if verdict.kind in (Kind.ACCEPT, Kind.WAIT):
            return True
        self.generation.listener_count(self.listener, Cell.DENIED_CONNECTION)
        self.refuse(verdict, "PR")
        return False

    def route(self, verdict: Verdict | None) -> Backend | None:
        """Which backend; None: refused, or ended before; all is said and done."""
        listener = self.listener
        if self.fd < 0:
            return None
        if verdict is None:
            name = listener.default_backend
            self.record.route = "default"
        elif verdict.kind is Kind.ROUTE:
            name = verdict.backend
            self.record.route = verdict.where
        else:
            self.generation.listener_count(listener, Cell.DENIED_CONTENT)
            self.refuse(verdict, "PR")
            return None
        backend = self.generation.backends.get(name)
        if backend is None:
            self.generation.listener_count(listener, Cell.CONNECT_ERRORS)
            self.end("SC", "policy", "no backend for this connection", reset=True)
        return backend

    async def sniff(self) -> Verdict | None:
        """Look at the client's first bytes until the rules can be decided, or nothing more will come."""
        listener, facts = self.listener, self.learn()
        waits = listener.awaits_hello or terminate.undecided(listener.tls, facts)
        if listener.needs_hello:
            self.watch_client()
            if listener.inspect_timeout is not None or waits:
                limit = listener.inspect_timeout or tls.HANDSHAKE
                self.deadline = self.worker.loop.now + min(limit, terminate.patience(listener.tls))
            else:
                facts.final = True  # nothing is waited for
        else:
            facts.final = True
        lowered = False
        # of what came right behind a PROXY header nothing will be told again; and perhaps TLS alone wants a hello
        told = self.client_mask != 0 or (bool(listener.tls) and not waits)
        while True:
            if listener.needs_hello and not facts.final:
                if not told:
                    await suspend()
                told = False
                lowered = self.look(facts) or lowered
                if self.client_mask & ERR:
                    self.end("CR", "rst", "client: connection reset while its first bytes were awaited")
                    return None
                if self.client_mask & HANGUP and not facts.data:
                    self.end("CR", "fin", "client: closed without having sent anything")
                    return None
            known = facts.final or not waits or facts.hello is not UNKNOWN
            if known and listener.needs_handshake and facts.tls is UNKNOWN:
                if lowered:
                    fdio.rcvlowat(self.fd, 1)
                if not await terminate.begin(self):
                    return None
            verdict = decision.inspect(listener.inspect, facts)
            if verdict.kind is Kind.ACCEPT:
                backends = self.generation.backends
                verdict = decision.route(listener.routes, listener.default_backend, facts, backends)
            if known and verdict.kind is not Kind.WAIT:
                break
        if lowered:
            fdio.rcvlowat(self.fd, 1)
        self.deadline = inf
        self.note(facts)
        return verdict

    def silence(self, tunnel_timeout: float | None, server_timeout: float | None) -> float:
        """Seconds that a tunnel may be silent."""
        if tunnel_timeout is not None:
            return tunnel_timeout
        return min(self.listener.client_timeout or inf, server_timeout or inf)

    def carry(self, server_fd: int, limit: float, ahead: int = 0) -> None:
        """Both sides are up: from here on it is a tunnel, which may be silent for `limit` seconds.

        `ahead`: bytes of the client's that the server has got already.
        """
        record, listener, worker = self.record, self.listener, self.worker
        tunnel = Tunnel(worker.carrier, record, self.generation, self.fd, server_fd, limit)
        table = worker.loop.table
        table[self.fd] = tunnel.client
        table[server_fd] = tunnel.server
        tunnel.client.moved = ahead
        self.fd = -1  # the tunnel's now; whatever still resumes or ends the session has come too late
        log = self.generation.logs[listener.id]
        if log.early and listener.log.format != "connect":
            log.started(record, self.generation.counts)
        # edges already told are not told again: what has come is moved now, the rest when it comes
        tunnel.server.watched = True  # it was watched for OUT while it was being connected
        for end, mask in ((tunnel.client, self.client_mask), (tunnel.server, self.server_mask)):
            if mask & (HANGUP | URGENT):
                end.hung = True
            if mask & (IN | HANGUP) and end.fd >= 0:
                end.carry()

    # what it knows

    def learn(self) -> Facts:
        """The facts so far; made when first asked for, since most connections through plain listeners need none."""
        if self.facts is None:
            record, listener = self.record, self.listener
            if not record.local_host:
                record.local_host, record.local_port = fdio.sockname(self.fd)
            self.facts = Facts(
                client_address=record.client_host,
                client_port=record.client_port,
                local_address=record.local_host,
                local_port=record.local_port,
                listener=listener.name,
                time=record.wall,
                captures=[None] * listener.capture_slots,
                usable_servers=self.generation.usable,
                tls=UNKNOWN if listener.tls else ABSENT,
            )
            if record.original is not None:
                self.facts.original_address, self.facts.original_port = record.original
        return self.facts

    def look(self, facts: Facts) -> bool:
        """Peek at what has come and read the hello in it. True: the low-water mark was raised to wait for the rest."""
        expired = self.worker.loop.now >= self.deadline
        lowered = False
        if self.client_mask & (IN | HANGUP):
            try:
                data = fdio.peek(self.fd, PEEK)
            except OSError:
                self.client_mask |= ERR
                return False
            if data is not None and (data or self.client_mask & HANGUP):
                facts.data = data
                answer = clienthello.parse(data)
                if isinstance(answer, clienthello.ClientHello):
                    facts.hello = answer
                elif answer is not Outcome.NEED_MORE or self.client_mask & HANGUP:
                    facts.hello = ABSENT
                elif len(data) >= PEEK:
                    facts.hello = ABSENT
                    expired = True
                elif missing := clienthello.missing(data):
                    fdio.rcvlowat(self.fd, len(data) + missing)
                    lowered = True
        if expired or self.client_mask & HANGUP:
            facts.final = True
        return lowered

    def note(self, facts: Facts) -> None:
        """Keep for the log and the counters what was learned."""
        record = self.record
        if facts.captures:
            record.captures = facts.captures
        hello = facts.hello
        if isinstance(hello, clienthello.ClientHello):
            record.sni = hello.sni
            record.alpn = ",".join(hello.alpn) or None
            self.generation.listener_count(self.listener, Cell.HELLOS)
        elif self.listener.needs_hello and (hello is ABSENT or hello is UNKNOWN):
            self.generation.listener_count(self.listener, Cell.BAD_HELLOS)

    def watch_client(self) -> None:
        """Let the loop tell of the client's socket. Raises OSError as Loop.watch does."""
        if not self.watched:
            self.worker.loop.watch(self.fd, self, EDGE)
            self.watched = True

    @property
    def expired(self) -> bool:
        return self.worker.loop.now >= self.deadline

    # how it is driven

    def start(self) -> None:
        """Begin; called once by the accept loop."""
        self.worker.waiting[self] = None
        self.resume()

    def event(self, mask: int) -> None:
        self.client_mask |= mask
        self.resume()

    def resume(self) -> None:
        """Let the journey go on."""
        if self.fd < 0:
            return
        try:
            self.coroutine.send(None)
        except StopIteration:
            self.worker.waiting.pop(self, None)
        except OSError as error:
            if error.errno not in SCARCE:
                self.abort()
                raise
            self.end("RC", "error", f"out of resources: {error.strerror}", reset=True)
        except Exception:
            self.abort()
            raise

    def sweep(self, now: float) -> None:
        """Sessions are looked at on every tick (worker.waiting), not here."""

    def abort(self) -> None:
        self.cut("I-", "error", "internal error")
        self.worker.waiting.pop(self, None)

    # how it ends without a tunnel

    def refuse(self, verdict: Verdict, code: str) -> None:
        """A rule refused it."""
        self.record.route = verdict.where
        if verdict.kind is Kind.DROP:
            _go_silent(self.fd)
        self.end(code, "policy", verdict.reason)

    def cut(self, code: str, how: How, reason: str) -> None:
        """End it from outside, wherever the journey is: it gives back what it holds (sockets, its place in a queue)."""
        self.coroutine.close()
        self.end(code, how, reason, reset=True)

    def end(self, code: str, how: How, reason: str, reset: bool = False) -> None:
        """Close the client's side and account for the connection. `reset`: by RST. For the journey itself."""
        if self.fd < 0:
            return
        worker = self.worker
        self._conclude(code, how, reason)
        if reset:
            fdio.linger_reset(self.fd)
        if self.watched:
            worker.loop.close(self.fd)
        else:
            fdio.close(self.fd)
        self.fd = -1
        worker.waiting.pop(self, None)
        worker.over(self.generation, self.record, 0, 0)

    # several requests on one connection

    def answered(self, code: str, how: How, reason: str) -> None:
        """A request is over, the connection is not: account for the request, and be ready for another one."""
        self._conclude(code, how, reason)
        self.worker.answered(self.generation, self.record)
        self.record = self.record.another(self.worker.loop.now)

    def asked(self) -> None:
        """Another request begins to come."""
        self.record.wall, self.record.start, self.record.idle = time(), self.worker.loop.now, False

    def _conclude(self, code: str, how: How, reason: str) -> None:
        record = self.record
        record.code, record.how, record.reason = code, how, reason
        record.total_ms = 0 if record.idle else int((self.worker.loop.now - record.start) * 1000)


def _go_silent(fd: int) -> None:
    """Let the close to come say nothing to the client, as far as this process may.

    With CAP_NET_ADMIN by TCP_REPAIR (closing in repair mode sends nothing); else the packet gets a hop limit of 1 and
    dies at the first router.
    """
    sock = socket.socket(fileno=fd)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    except OSError:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
        elif sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    finally:
        sock.detach()  # the descriptor is the session's
