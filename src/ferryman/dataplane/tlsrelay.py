"""Carrying where TLS is spoken on one side or on both: two sockets, and what flows between them in user space.

Called by bump (`carry`: a bumped client and its server) and by chain (`carry_layer`: TLS to a proxy, through which
everything else goes). Opens nothing and verifies nothing; the handshakes are over (tls). To the worker a tunnel like
any other: relay says what a tunnel and its ends are, here is only what differs.

What was read is written at once; what the other socket does not take (one read, 64 KiB at most) waits as `rest` and
nothing more is read. So between two events a tunnel in flow holds no application data.

OpenSSL reads one record at a time and leaves the rest in the kernel, for which no further edge comes. So after each
record the socket is asked (MSG_PEEK of a byte, 0.2 µs) instead of reading until the ssl module raises, which costs ten
times as much. The same look shows an end before OpenSSL sees it. That matters when there was no close_notify: OpenSSL
would take such an end for fatal, answer with an alert and write nothing more, though the other direction is sound.

A few records are read before they are written, with one call; and what is read on the other side is written with one
call, however many records it becomes: 54 µs in place of 57 for 64 KiB through two ends (least of 3000).
What comes after such records (an end, an error) is told by the next read, when they have been delivered.

    close_notify, or FIN of a plain side    close_notify and FIN on a TLS side, FIN on a plain one
    FIN without close_notify                FIN without close_notify; noted in the record
    RST, FIN amidst a record, bad record    RST

An orderly end ends one direction only, whatever the versions (RFC 5246 had both end); the other goes on.
"""

from __future__ import annotations

import errno as names
import os
import select
import socket
import ssl
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ferryman.dataplane import fdio, openssl
from ferryman.dataplane.connect import Attempt
from ferryman.dataplane.contexts import Borrowing
from ferryman.dataplane.loop import EDGE, OUT, Handler
from ferryman.dataplane.record import How, Record
from ferryman.dataplane.relay import Carrier, End, Tunnel
from ferryman.dataplane.tlsfailure import amidst

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

SHARE: Final = 128 * 1024  # bytes moved per event before others get their turn; with TLS a byte costs more
EMPTY: Final = 16 * 1024  # what a record that carries nothing counts for: new keys are as dear as so many bytes
RECORDS: Final = 4  # read at once
LEAST: Final = 2048 * RECORDS  # what any other read counts for, however little is in it
_NOTHING, _END, _CUT, _OTHER = 0, -1, -2, -3  # what a read gives that gives no bytes

_buffer: Final = memoryview(bytearray(fdio.BUFFER))  # one for all: the process has one thread
_whole: Final = [_buffer]
_NO_ROOM: Final = fdio.BUFFER - 16 * 1024  # from here on a whole record (RFC 8446 section 5.1) does not fit in


def carry(session: Session, client: ssl.SSLSocket | int, server: ssl.SSLSocket | int, limit: float) -> None:
    """Both sides are up: from here on a tunnel, which may be silent for `limit` seconds. A side is TLS or plain.

    The descriptors are the tunnel's from now on, the session's own among them.
    """
    record, listener, worker = session.record, session.listener, session.worker
    tunnel = TlsTunnel(worker.carrier, record, session.generation, client, server, limit)
    session.fd = -1  # whatever still resumes or ends the session has come too late
    log = session.generation.logs[listener.id]
    if log.early and listener.log.format != "connect":
        log.started(record, session.generation.counts)
    tunnel.start(worker.loop.table)


def carry_layer(session: Session, sock: ssl.SSLSocket) -> int:
    """A plain descriptor to what is said within this TLS; the loop watches it and resumes the session, as dial's.

    If that fails (OSError), the TLS connection stays the caller's. What is carried here is no connection of its own: it
    is neither counted nor logged, has no timeout, and ends with either of its sides. That the socket is a Unix socket
    shows nowhere: half-close and reset are passed on as by TCP.
    """
    loop = session.worker.loop
    near, far = _pair()
    silent = Carrier(loop, _tell_nobody, _tell_nobody)
    tunnel = Layer(silent, Record(session.listener, "", 0, 0.0, loop.now), near, sock, far)
    try:
        loop.watch(near, tunnel.client, EDGE)
        loop.watch(far, Attempt(session, far), EDGE | OUT)
    except OSError:
        for descriptor in (near, far):  # which of them the loop watches makes no difference
            loop.close(descriptor)
        raise
    tunnel.start(loop.table)
    return far


class TlsTunnel(Tunnel):
    """A tunnel of which at least one side is TLS."""

    __slots__ = ("note",)

    client: TlsEnd
    server: TlsEnd

    def __init__(
        self,
        carrier: Carrier,
        record: Record,
        home: object,
        client: ssl.SSLSocket | int,
        server: ssl.SSLSocket | int,
        limit: float,
    ) -> None:
        super().__init__(carrier, record, home, _descriptor(client), _descriptor(server), limit)
        self.note = ""  # what is worth the log though the end was orderly
        for end, given in ((self.client, client), (self.server, server)):
            if not isinstance(given, int):
                end.sock, end.tls = given, given._sslobj  # type: ignore[attr-defined]
                openssl.write_all_records(given)

    def ends(self, client_fd: int, server_fd: int) -> tuple[End, End]:
        return TlsEnd(self, client_fd), TlsEnd(self, server_fd)

    def start(self, table: list[Handler | None]) -> None:
        """Take both descriptors over from whoever had them, and move what has come in the meantime."""
        ends = self.client, self.server
        for end in ends:
            table[end.fd] = end
        for end in ends:
            end.hung = True  # edges told before are not told again: look for an end
            if end.fd >= 0:
                end.carry()

    def finish(self, code: str, how: How, reason: str = "", reset: End | None = None) -> None:
        super().finish(code, how, reason or self.note, reset)


class TlsEnd(End):
    """One socket of such a tunnel and the direction that leaves it; `sock` is None where it is plain."""

    __slots__ = ("crossed", "late", "parting", "sock", "tls")

    tunnel: TlsTunnel
    peer: TlsEnd

    def __init__(self, tunnel: Tunnel, fd: int) -> None:
        super().__init__(tunnel, fd)
        self.sock: ssl.SSLSocket | None = None
        self.tls: Any = None  # within it; the socket's own methods only ask once more whether it is open
        self.crossed = False  # a read waits for room, or a write for bytes to come: TLS itself has something to say
        self.late: int | OSError | None = None  # what the next read gives, whatever there is to read
        self.parting = False  # `rest` is not application data but a close_notify, encrypted already

    def event(self, mask: int) -> None:
        """As End.event; any event may be what a read or a write waited for across."""
        super().event(mask)
        if self.crossed and self.fd >= 0:
            self.crossed = False
            peer = self.peer
            if peer.rest is not None and not peer.queued:
                peer.resume()
            if self.fd >= 0 and not self.ended and not self.queued and self.rest is None:
                self.carry()

    def carry(self) -> None:
        """Move what there is, for one share of a turn. Call when the direction is open and nothing waits."""
        peer, share, sure = self.peer, SHARE, not self.hung
        while True:
            try:
                got = self._read(sure)
            except OSError as error:
                self._broken(_words(error))
                return
            if got == _OTHER:
                share, sure = share - EMPTY, False
                if share <= 0:
                    self._again()
                    return
                continue
            if got <= 0:
                break
            try:
                taken = peer._write(_buffer[:got])
            except OSError as error:
                peer._broken(_words(error))
                return
            self.moved += taken
            if taken < got:
                self.rest = bytes(_buffer[taken:got])
                peer.watch_out()
                return
            share -= got if got > LEAST else LEAST
            if share <= 0:
                self._again()
                return
            if self.sock is None and got < len(_buffer) and not self.hung:
                return
            sure = False
        if got == _NOTHING:
            self.hung = False  # had the end come, it would have been seen
        else:
            self._part(got == _END)

    def _read(self, sure: bool) -> int:
        """Bytes that are now in the buffer, or one of the constants. `sure`: there is something to read for certain."""
        sock = self.sock
        if sock is None:
            try:
                return os.readv(self.fd, _whole) or _END
            except BlockingIOError:
                return _NOTHING
        if self.late is not None:
            if isinstance(self.late, OSError):
                raise self.late
            return self.late
        got, tls = 0, self.tls
        sure = sure or tls.pending() > 0
        for _ in range(RECORDS):
            if not sure:
                ahead = fdio.peek(self.fd, 1)
                if ahead is None:
                    return got or _NOTHING
                if not ahead and not openssl.is_amid_record(sock):
                    return got or _CUT
            sure = False
            try:
                count = tls.read(len(_buffer) - got, _buffer[got:] if got else _buffer)
            except ssl.SSLWantReadError:  # part of a record, or none of ours (tickets, new keys); there may be more
                return got or (_NOTHING if fdio.peek(self.fd, 1) is None else _OTHER)
            except ssl.SSLWantWriteError:
                self.crossed = True
                self.watch_out()
                return got or _NOTHING
            except ssl.SSLZeroReturnError:  # the ssl module's 0, once a close_notify was sent as well
                count = 0
            except OSError as error:
                if not got:
                    raise
                self.late = error
                return got
            if not count:
                self.late = _END
                return got or _END
            got += count
            if got > _NO_ROOM:
                break
        return got

    def _write(self, data: memoryview | bytes) -> int:
        """How many of these bytes the socket took. What it did not take is to be given again, unchanged."""
        sock = self.sock
        if sock is None:
            return fdio.send(self.fd, data)
        taken, size, tls = 0, len(data), self.tls
        try:
            taken = tls.write(data)
            while taken < size:
                taken += tls.write(data[taken:])
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            self.crossed = True
        return taken

    def resume(self) -> None:
        """Go on: the next share of a turn, or the peer's socket has room again for what waits."""
        self.queued = False
        if self.fd < 0:
            return
        rest, peer = self.rest, self.peer
        if rest is not None:
            try:
                taken = fdio.send(peer.fd, rest) if self.parting else peer._write(rest)
            except OSError as error:
                peer._broken(_words(error))
                return
            if not self.parting:
                self.moved += taken
            self.rest = rest[taken:] or None
            if self.rest is not None:
                return
            if self.parting:
                self._end()
                return
        self.carry()

    def _part(self, clean: bool) -> None:
        """The end was read and all before it is delivered: pass it on, as an orderly one if it was `clean`."""
        peer = self.peer
        if not clean:
            side = "client" if self is self.tunnel.client else "server"
            self.tunnel.note = f"{side}: ended without close_notify"
        elif peer.sock is not None:
            notice = close_notify(peer.sock)
            try:
                left = notice[fdio.send(peer.fd, notice) :]
            except OSError as error:
                if not peer.ended:
                    peer._broken(_words(error))
                    return
                left = b""  # it has said all and does not listen any more: nothing is lost
            if left:
                self.rest, self.parting = left, True
                peer.watch_out()
                return
        self._end()

    def close(self, reset: bool) -> None:
        sock = self.sock
        if isinstance(sock, Borrowing) and sock.keep is not None and self.fd >= 0 and sock.session is not None:
            sock.keep(sock.session)  # only now: with TLS 1.3 it comes after the handshake
        super().close(reset)
        self.sock = self.tls = None


def close_notify(sock: ssl.SSLSocket) -> bytes:
    """The record that ends our direction, to be sent; b"" if this connection is past that.

    The ssl module knows only the whole farewell: it sends close_notify and at once reads for the other side's, which
    is fatal if application data come instead. So OpenSSL is asked itself. Where that cannot be done, the ssl module
    says farewell to an empty socket, put in the place of the real one for a moment, at the price of a dozen system
    calls; the loop's watch is of the real one and stays. Raises nothing: without a descriptor to spare there is no
    close_notify then.
    """
    notice = openssl.close_notify(sock)
    if notice is not None:
        return notice
    fd = sock.fileno()
    try:
        stage, audience = _pair()
    except OSError:
        return b""
    try:
        real = os.dup(fd)
        try:
            os.dup2(stage, fd, inheritable=False)
            sock.unwrap()
        finally:
            os.dup2(real, fd, inheritable=False)
            os.close(real)
    except OSError:  # among them the SSLWantReadError that is expected: it would like to read the other's farewell
        pass
    try:
        return os.read(audience, 1024)
    except BlockingIOError:
        return b""
    finally:
        os.close(stage)
        os.close(audience)


class Layer(TlsTunnel):
    """TLS on the server's side, and on the client's one end of a pair of sockets, of which `far` is the other.

    Unix sockets have no RST. A reset is shown to the far end by leaving something unread at the near one, and is seen
    from there in that all is closed before the other direction has ended. (If that has ended, a reset by the client can
    not be told from an end any more.)
    """

    __slots__ = ("_far", "_inode")

    def __init__(self, carrier: Carrier, record: Record, near: int, sock: ssl.SSLSocket, far: int) -> None:
        super().__init__(carrier, record, None, near, sock, inf)
        self._far = far
        self._inode = os.fstat(far).st_ino

    def ends(self, client_fd: int, server_fd: int) -> tuple[End, End]:
        return _Near(self, client_fd), TlsEnd(self, server_fd)

    def half_closed(self, limit: float | None) -> None:
        """Who uses the layer has its own timeouts."""

    def finish(self, code: str, how: How, reason: str = "", reset: End | None = None) -> None:
        if self.client.fd >= 0 and (reset is self.client or self.server.waits):
            self._reset_far_end()
        super().finish(code, how, reason, reset)

    def _reset_far_end(self) -> None:
        try:
            if os.fstat(self._far).st_ino != self._inode:
                return  # closed, and the number is another's
            fdio.send(self._far, b"\0")  # if there is no room, enough is unread already
        except BrokenPipeError:  # it has ended its direction
            user = self.carrier.loop.table[self._far]
            if isinstance(user, End):
                user._broken(names.ECONNRESET)
        except OSError:
            return  # closed


class _Near(TlsEnd):
    """The layer's end of the pair."""

    __slots__ = ()

    def event(self, mask: int) -> None:
        super().event(mask)
        if mask & select.EPOLLHUP and self.fd >= 0 and self.ended:
            self._broken("closed")

    def _part(self, clean: bool) -> None:
        if not self.peer.ended and _is_closed(self.fd):
            self._broken("closed")
        else:
            super()._part(clean)


def _is_closed(fd: int) -> bool:
    """Is the other end of this pair closed, not only for writing?"""
    poll = select.poll()
    poll.register(fd, 0)
    return any(mask & select.POLLHUP for _, mask in poll.poll(0))


def _pair() -> tuple[int, int]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    return one.detach(), other.detach()


def _descriptor(side: ssl.SSLSocket | int) -> int:
    return side if isinstance(side, int) else side.fileno()


def _words(error: OSError) -> str | int:
    """For End._broken: what OpenSSL says, or the system's errno."""
    if isinstance(error, ssl.SSLError):
        return amidst(error)
    return error.errno or 0


def _tell_nobody(tunnel: Tunnel) -> None:
    pass
