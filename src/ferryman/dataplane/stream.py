"""One socket of a session that is still being set up, where words are exchanged before bytes flow.

Used by explicit, forward, chain and bump, whose coroutines await here; resumed like every session on any event. What
is read is looked at first (MSG_PEEK) and then taken to the exact byte, so that whatever follows a head stays in the
kernel for the tunnel. Of a head that is not complete all is taken at once: left there, it could keep the window closed
through which its rest has to come (the kernel opens it again by a whole segment, on loopback 64 KiB). Knows no
protocol: `parse` functions come from wire.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from ferryman.dataplane import fdio
from ferryman.dataplane.loop import EDGE, ERR, HANGUP, OUT, suspend
from ferryman.dataplane.record import How

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

T = TypeVar("T")

LONGEST: Final = fdio.BUFFER - 1
"""Bytes of the longest head that can be read."""
GOODBYE: Final = 2.0  # seconds a refused client has to read its answer and close
PIECES: Final = 64
"""Looks at a head before the next ones have to wait. Each reads all of it anew, which for one that comes in single
bytes everybody else would pay for."""
PAUSE: Final = 0.05  # seconds between these
_LEFTOVERS: Final = 1 << 20  # bytes of a refused client that are read and thrown away, so that it gets its answer


class Gone(Exception):  # noqa: N818 - what happened, not an error of ours
    """The other side of `stream` left: `how` it did, in the record's terms."""

    def __init__(self, stream: Stream, how: How, text: str) -> None:
        self.stream = stream
        self.how = how
        self.reason = f"{stream.side}: {text}"
        super().__init__(self.reason)


class TimeUp(Exception):  # noqa: N818
    """The session's deadline passed."""


class Stream:
    """A descriptor in the loop and what epoll has told of it. It stays the owner's, who closes it."""

    __slots__ = ("begun", "fd", "mark", "mask", "session", "side")

    def __init__(self, session: Session, fd: int, mask: int, side: str) -> None:
        """`fd` is watched already; events come here from now on. `side` is what messages call it."""
        self.session = session
        self.fd = fd
        self.mask = mask
        self.side = side
        self.begun = b""  # of a head, taken already; it is not complete, so what follows it is not among them
        self.mark = 1  # bytes that must have come for the loop to tell (SO_RCVLOWAT)
        session.worker.loop.table[fd] = self

    def event(self, mask: int) -> None:
        self.mask |= mask
        self.session.resume()

    def sweep(self, now: float) -> None:
        """Its session has the deadline."""

    def abort(self) -> None:
        self.session.abort()

    async def head(self, parse: Callable[[bytes], tuple[T, int] | None], limit: int) -> T:
        """What `parse` makes of the bytes to come, which are then taken. Raises Gone, TimeUp and what `parse` raises.

        `parse` gets all that has come, up to `limit` + 1 bytes, and gives a value and its length, None if more is
        needed; it must refuse what is longer than `limit`.
        """
        looks = 1
        while (found := self.try_head(parse, limit)) is None:
            await self._more(looks)
            looks += 1
        return found[0]

    def try_head(self, parse: Callable[[bytes], tuple[T, int] | None], limit: int) -> tuple[T, int] | None:
        """As `head`, with the head's length; None: not all of it has come."""
        more = self.peek(limit + 1 - len(self.begun))
        if more:
            data = self.begun + more
            found = parse(data)
            fdio.discard(self.fd, (found[1] if found else len(data)) - len(self.begun))
            self.begun = b"" if found else data
            if found:
                return found
            assert len(data) <= limit, "the parser takes longer heads than it was told"
        self._still_coming(more, bool(self.begun))
        return None

    async def look(self, parse: Callable[[bytes], tuple[T, int] | None], limit: int) -> T:
        """As `head`, but all is left where it is: for little, and where nothing has come before it.

        The loop goes on telling only of more than there is; `expect` brings it back.
        """
        looks = 1
        while True:
            data = self.peek(limit + 1)
            if data and (found := parse(data)):
                return found[0]
            self._still_coming(data, bool(data))
            if data:
                self.expect(len(data) + 1)
            await self._more(looks)
            looks += 1

    def _still_coming(self, data: bytes | None, begun: bool) -> None:
        """Raises Gone where nothing follows what was peeked at."""
        if data == b"" or self.mask & HANGUP:
            raise Gone(self, "fin", "closed in the middle of a head" if begun else "closed without a word")

    async def _more(self, looks: int) -> None:
        """Until more may have come."""
        await self.wait()
        if looks > PIECES:
            await self._pause()

    def expect(self, size: int) -> None:
        """Tell only once so many bytes have come (SO_RCVLOWAT): an edge comes once, and these bytes' may be over."""
        if size != self.mark:
            self.mark = size
            fdio.rcvlowat(self.fd, size)

    def peek(self, size: int) -> bytes | None:
        """What has come, at most `size` bytes, still untaken. None: nothing; b"": the end. Raises Gone."""
        try:
            return fdio.peek(self.fd, size)
        except OSError as error:
            raise Gone(self, "rst", error.strerror or "connection reset") from None

    async def first(self, size: int = 1) -> bytes:
        """At least one byte, untaken. Raises Gone, TimeUp."""
        while True:
            data = self.peek(size)
            if data:
                return data
            if data is not None:
                raise Gone(self, "fin", "closed without a word")
            await self.wait()

    async def send(self, data: bytes) -> None:
        """Write all of it. Raises Gone, TimeUp."""
        rest = memoryview(data)
        while True:
            try:
                rest = rest[fdio.send(self.fd, rest) :]
            except OSError as error:
                raise Gone(self, "rst", error.strerror or "connection reset") from None
            if not rest:
                return
            # arming again tells at once if there is room by now
            self.session.worker.loop.epoll.modify(self.fd, EDGE | OUT)
            await self.wait()

    async def wait(self) -> None:
        """Until anything has happened. Raises Gone if this side was reset, TimeUp if it takes too long."""
        await suspend()
        if self.mask & ERR:
            raise Gone(self, "rst", "connection reset")
        client = self.session.worker.loop.table[self.session.fd]
        if self.session.client_mask & ERR and isinstance(client, ClientStream):
            raise Gone(client, "rst", "connection reset")
        if self.session.expired:
            raise TimeUp

    async def _pause(self) -> None:
        """Let more come. Raises TimeUp."""
        session, loop = self.session, self.session.worker.loop
        own = session.deadline
        session.deadline = min(own, loop.now + PAUSE)
        while not session.expired:
            await suspend()
        session.deadline = own
        if session.expired:
            raise TimeUp

    async def farewell(self, answer: bytes) -> None:
        """Say the last word and wait, not for long, until it was read. The owner closes afterwards.

        Closing at once would not do: with bytes of the client unread the kernel sends RST, which overtakes the answer.
        """
        self.session.deadline = self.session.worker.loop.now + GOODBYE
        try:
            self.expect(1)
            await self.send(answer)
            fdio.shutdown_write(self.fd)
            left = _LEFTOVERS
            while left > 0 and (data := self.peek(65536)) != b"":
                if data:
                    left -= fdio.discard(self.fd, len(data))
                else:
                    await self.wait()
        except (Gone, TimeUp, OSError):
            return
        finally:
            self.session.deadline = inf


class ClientStream(Stream):
    """The client's socket: what epoll tells of it the session knows as well."""

    __slots__ = ()

    def __init__(self, session: Session) -> None:
        session.watch_client()
        super().__init__(session, session.fd, session.client_mask, "client")

    def event(self, mask: int) -> None:
        self.session.client_mask |= mask
        super().event(mask)
