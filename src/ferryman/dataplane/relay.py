"""Carrying: two sockets, and what flows between them. The hot path.

A `Tunnel` has two `End`s. An end owns one socket and the direction that *leaves* it: it reads its own socket and writes
to its peer's. The session builds the tunnel once both sides are up; from then on the loop calls `End.event`. Between
two events no byte is held in user space: what a full socket does not take waits in a pipe (and in `End.rest` only when
the process has no descriptor left for a pipe).

A direction is in one of these states:

    open      reading; each event is pumped until the socket is drained or the share of the turn is used up
    blocked   the peer's socket is full: nothing is read until it takes what waits, so back-pressure reaches the sender
    ended     FIN seen, everything delivered, FIN passed on (half-close); the other direction goes on

and is carried in one of two ways: copied through one shared buffer, which is cheapest for small amounts, or spliced
through a pipe, which is cheapest for bulk (half the CPU per byte). It starts with copying and is switched when several
events in a row moved much; the pipe goes back to the pool whenever it is empty.

Sockets are watched edge-triggered. After a short read there is nothing left to read, unless the event also told of a
hang-up: the FIN that came with the data raises no edge of its own. Hence `hung`, which makes the pump read to the end.
Urgent data is another reason: a read stops at its mark, whatever follows (the urgent byte itself is dropped).
Reads no clock (the loop has one) and logs nothing (the owner does, in `ended`).
"""

from __future__ import annotations

import errno as names
import os
from collections.abc import Callable
from typing import Final

from ferryman.dataplane import fdio
from ferryman.dataplane.loop import EDGE, ERR, HANGUP, IN, OUT, URGENT, Loop
from ferryman.dataplane.pipes import Pipe, PipePool
from ferryman.dataplane.record import How, Record

COPY_SHARE: Final = 64 * 1024  # bytes copied per event before others get their turn
SPLICE_SHARE: Final = 1024 * 1024  # the same when spliced, where a byte costs next to nothing
BUSY: Final = 8 * 1024  # an event that moved this much belongs to a bulk transfer
BULK: Final = 64 * 1024  # moved in busy events without a calm one between: from here on splice

_TO_THE_END = HANGUP | URGENT
_TAKES = IN | _TO_THE_END

# hot path: module globals bound once, looked up faster than attributes
pump = fdio.pump
splice_pump = fdio.splice_pump
DRAINED, MORE, EOF = fdio.DRAINED, fdio.MORE, fdio.EOF
BLOCKED, READ_ERROR, WRITE_ERROR = fdio.BLOCKED, fdio.READ_ERROR, fdio.WRITE_ERROR


class Carrier:
    """What all tunnels of a worker share, and whom they tell when they are over."""

    __slots__ = ("ended", "loop", "pipes", "progressed")

    def __init__(self, loop: Loop, ended: Callable[[Tunnel], None], progressed: Callable[[Tunnel], None]) -> None:
        self.loop = loop
        self.pipes = PipePool()
        self.ended = ended
        self.progressed = progressed


class Tunnel:
    """A connection being carried. `limit`: seconds of silence after which it is cut (infinite: inf)."""

    __slots__ = (
        "active",
        "carrier",
        "client",
        "counted_in",
        "counted_out",
        "home",
        "limit",
        "record",
        "server",
        "spliced",
    )

    def __init__(
        self, carrier: Carrier, record: Record, home: object, client_fd: int, server_fd: int, limit: float
    ) -> None:
        self.carrier = carrier
        self.record = record
        self.home = home  # the owner's: which plan it began with
        self.active = carrier.loop.now
        self.limit = limit
        self.counted_in = 0  # bytes already in the counters
        self.counted_out = 0
        self.spliced = 0  # bytes moved within the kernel, both ways together
        self.client, self.server = self.ends(client_fd, server_fd)
        self.client.peer = self.server
        self.server.peer = self.client

    def ends(self, client_fd: int, server_fd: int) -> tuple[End, End]:
        """Made once; another kind of tunnel has ends of another kind."""
        return End(self, client_fd), End(self, server_fd)

    def finish(self, code: str, how: How, reason: str = "", reset: End | None = None) -> None:
        """Close both sides and report; `reset`: the side that must learn of it by RST. Idempotent.

        So must a side that does not get what still waits for it: the stream it saw is not whole.
        """
        client, server = self.client, self.server
        if client.fd < 0:
            return
        record = self.record
        record.bytes_in, record.bytes_out = client.moved, server.moved
        record.code, record.how, record.reason = code, how, reason
        record.total_ms = int((self.carrier.loop.now - record.start) * 1000)
        for end, cut in ((client, server.waits), (server, client.waits)):
            end.close(cut or end is reset)
        # ends and tunnel know each other: without this only the garbage collector, which is off, could free them
        self.client = self.server = client.peer = server.peer = _GONE
        self.carrier.ended(self)

    def half_closed(self, limit: float | None) -> None:
        """One direction ended: from now on `limit` (None: as before) bounds the silence."""
        if limit is not None:
            self.limit = limit


class End:
    """One socket of a tunnel and the direction that leaves it."""

    __slots__ = (
        "ended",
        "fd",
        "hung",
        "in_pipe",
        "moved",
        "peer",
        "pipe",
        "queued",
        "rest",
        "streak",
        "tunnel",
        "watched",
    )

    peer: End

    def __init__(self, tunnel: Tunnel, fd: int) -> None:
        self.tunnel = tunnel
        self.fd = fd
        self.moved = 0  # bytes read here and taken by the peer's socket
        self.streak = 0  # bytes moved in busy events in a row; >= BULK: splice
        self.hung = False  # a hang-up was seen: read to the very end
        self.ended = False  # FIN read, delivered and passed on
        self.queued = False  # waits in loop.ready for its next share
        self.watched = False  # the loop tells of OUT, too
        self.pipe: Pipe | None = None  # held while something is in it
        self.in_pipe = 0
        self.rest: bytes | None = None  # what not even a pipe took

    def event(self, mask: int) -> None:
        """The loop saw something on this socket."""
        tunnel = self.tunnel
        tunnel.active = tunnel.carrier.loop.now
        if mask & _TAKES:
            if mask & _TO_THE_END:
                self.hung = True
                if mask & ERR and self.ended:
                    self._broken(fdio.so_error(self.fd))
                    return
            # a reset that follows data is met by the pump, after the data
            if not self.ended and not self.queued and self.pipe is None and self.rest is None:
                self.carry()
        if mask & OUT:
            peer = self.peer
            if (peer.pipe is not None or peer.rest is not None) and not peer.queued:
                peer.resume()

    def carry(self) -> None:
        """Move what there is, for one share of a turn. Call when the direction is open and nothing waits."""
        if self.streak >= BULK and self._splice():
            return
        state, moved, extra = pump(self.fd, self.peer.fd, COPY_SHARE, self.hung)
        self.moved += moved
        if moved >= BUSY:
            self.streak += moved
        elif state == DRAINED:
            self.streak = 0
            return
        if state == MORE:
            self._again()
        elif state == EOF:
            self._end()
        elif state == BLOCKED:
            self._wait_with(extra)
        elif state == READ_ERROR:
            self._broken(extra)
        elif state == WRITE_ERROR:
            self.peer._broken(extra)

    def _splice(self) -> bool:
        """As carry, through a pipe. False: no pipe is to be had."""
        pipe = self.pipe
        pipes = self.tunnel.carrier.pipes
        if pipe is None and (pipe := pipes.get()) is None:
            self.streak = 0
            return False
        state, moved, self.in_pipe, errno = splice_pump(
            self.fd, pipe[0], pipe[1], self.peer.fd, self.in_pipe, SPLICE_SHARE
        )
        self.moved += moved
        self.tunnel.spliced += moved
        self.tunnel.record.path = "splice"
        if self.in_pipe:
            self.pipe = pipe
        else:
            self.pipe = None
            pipes.put(pipe)
        if state == DRAINED:
            if moved < BUSY:
                self.streak = 0
        elif state == MORE:
            self._again()
        elif state == EOF:
            self._end()
        elif state == BLOCKED:
            self.peer.watch_out()
        elif state == READ_ERROR:
            self._broken(errno)
        else:
            self.peer._broken(errno)
        return True

    def resume(self) -> None:
        """Go on: the next share of a turn, or the peer's socket has room again for what waits."""
        self.queued = False
        if self.fd < 0:
            return
        if self.pipe is not None:
            state, moved, self.in_pipe, errno = splice_pump(
                -1, self.pipe[0], self.pipe[1], self.peer.fd, self.in_pipe, SPLICE_SHARE
            )
            self.moved += moved
            if self.tunnel.record.path == "splice":
                self.tunnel.spliced += moved
            if state == WRITE_ERROR:
                self.peer._broken(errno)
                return
            if self.in_pipe:
                if state == MORE:
                    self._again()
                return
            self.tunnel.carrier.pipes.put(self.pipe)
            self.pipe = None
        if self.rest is not None:
            try:
                sent = fdio.send(self.peer.fd, self.rest)
            except OSError as error:
                self.peer._broken(error.errno or 0)
                return
            self.moved += sent
            self.rest = self.rest[sent:] or None
            if self.rest is not None:
                return
        self.carry()

    @property
    def waits(self) -> bool:
        """Was something read here that the peer's socket has not taken yet?"""
        return self.pipe is not None or self.rest is not None

    def watch_out(self) -> None:
        """From now on be told when this socket, found full, has room again."""
        if not self.watched:
            self.watched = True
            # modifying re-arms: if room came in the meantime, the event comes all the same
            self.tunnel.carrier.loop.epoll.modify(self.fd, EDGE | OUT)

    def _wait_with(self, rest: object) -> None:
        """The peer's socket is full; `rest` was read and not taken."""
        assert isinstance(rest, bytes)
        pipes = self.tunnel.carrier.pipes
        put = 0
        if (pipe := pipes.get()) is not None:
            put = fdio.pipe_put(pipe[1], rest)
            if put:
                self.pipe, self.in_pipe = pipe, put
            else:
                pipes.put(pipe)
        if put < len(rest):
            self.rest = rest[put:]
        self.peer.watch_out()

    def _again(self) -> None:
        if not self.queued:
            self.queued = True
            self.tunnel.carrier.loop.ready.append(self)

    def _end(self) -> None:
        """FIN, and everything before it is delivered: pass it on."""
        self.ended = True
        tunnel = self.tunnel
        if self.peer.ended:
            tunnel.finish("--", "fin")
            return
        fdio.shutdown_write(self.peer.fd)
        record = tunnel.record
        record.closed_first = "client" if self is tunnel.client else "server"
        backend = record.backend
        limits = [
            limit
            for limit in (record.listener.client_fin_timeout, backend.server_fin_timeout if backend else None)
            if limit is not None
        ]
        tunnel.half_closed(min(limits) if limits else None)

    def _broken(self, errno: object) -> None:
        """This socket was reset or is in error: the other side must see a reset, not an orderly end."""
        side, code = ("client", "CD") if self is self.tunnel.client else ("server", "SD")
        reason = f"{side}: {_error_text(errno)}"
        self.tunnel.finish(code, "rst", reason, reset=self.peer)

    def close(self, reset: bool) -> None:
        """Give everything back. With `reset` the other side sees RST."""
        loop = self.tunnel.carrier.loop
        if reset:
            fdio.linger_reset(self.fd)
        loop.close(self.fd)
        self.fd = -1
        if self.pipe is not None:
            self.tunnel.carrier.pipes.drop(self.pipe)
            self.pipe = None
        self.rest = None

    def abort(self) -> None:
        """A bug was met while carrying: end this tunnel, and say so."""
        self.tunnel.finish("I-", "error", "internal error", reset=self.peer)

    def sweep(self, now: float) -> None:
        """Asked of each end now and then: is the silence too long? And let the counters see what has moved."""
        tunnel = self.tunnel
        if self is not tunnel.client:
            return
        if now - tunnel.active > tunnel.limit:
            tunnel.finish(*_timeout_of(tunnel))
        elif self.moved != tunnel.counted_in or tunnel.server.moved != tunnel.counted_out:
            tunnel.carrier.progressed(tunnel)


_GONE: Final = End.__new__(End)
"""Stands for both ends of a tunnel that is over: closed, empty, nobody's."""
_GONE.fd, _GONE.moved, _GONE.pipe, _GONE.rest, _GONE.queued, _GONE.ended = -1, 0, None, None, False, True


def _timeout_of(tunnel: Tunnel) -> tuple[str, How, str]:
    record = tunnel.record
    client = record.listener.client_timeout
    if tunnel.client.ended or tunnel.server.ended:
        return ("sD" if tunnel.client.ended else "cD"), "timeout", f"half-closed and silent for {tunnel.limit:g} s"
    code = "cD" if client is not None and tunnel.limit == client else "sD"
    return code, "timeout", f"silent for {tunnel.limit:g} s"


def _error_text(errno: object) -> str:
    if isinstance(errno, str):
        return errno
    number = errno if isinstance(errno, int) else 0
    if number == names.ECONNRESET or number == names.EPIPE:
        return "connection reset"
    return os.strerror(number) if number else "connection broken"
