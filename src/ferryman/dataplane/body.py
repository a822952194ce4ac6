"""The body of an HTTP message on its way from one socket to another, as far as it has come and can be taken.

Used by forward, one for the request's body and one for the answer's. Bytes pass as they are; what is read is where the
body ends. Waits for nothing: `step` moves what can be moved now, and forward waits for the sockets.
"""

from __future__ import annotations

from typing import Final

from ferryman.dataplane import fdio
from ferryman.dataplane.loop import EDGE, OUT
from ferryman.dataplane.stream import Gone, Stream
from ferryman.wire.http1 import BadHead, Framing
from ferryman.wire.http1body import ChunkReader

SHARE: Final = 65536  # bytes moved at once
CHUNKED_SHARE: Final = 8192
"""The same where chunks are read: 64 KiB in chunks of one byte take 56 ms, which everybody else would wait."""


class BadBody(Exception):  # noqa: N818 - what came, not an error of ours
    """What came from `stream` is no body of the kind that its head said."""

    def __init__(self, stream: Stream, text: str) -> None:
        self.stream = stream
        self.reason = f"{stream.side}: {text}"
        super().__init__(self.reason)


class Body:
    """`moved` counts the bytes that the sink has got."""

    __slots__ = ("_all_in", "_bare", "_chunks", "_left", "moved", "rest", "sink", "source", "stuck")

    def __init__(self, source: Stream, sink: Stream, framing: int | Framing, bare: bool = False) -> None:
        """`bare`: only the content of a chunked body, for a client that knows no chunks."""
        self.source = source
        self.sink = sink
        self.moved = 0
        self.rest = b""  # taken from the source, not yet by the sink
        self.stuck = False  # the sink takes no more; there is nothing to be done any more
        self._left = framing if isinstance(framing, int) else -1
        self._chunks = ChunkReader() if framing is Framing.CHUNKED else None
        self._bare = bare
        self._all_in = framing == 0

    @property
    def finished(self) -> bool:
        """Has all of it arrived?"""
        return self._all_in and not self.rest and not self.stuck

    @property
    def starved(self) -> bool:
        """Does it depend on the source alone how this goes on?"""
        return not self._all_in and not self.rest and not self.stuck

    def step(self) -> bool:
        """Move a share. False: nothing could be moved. Raises Gone and BadBody."""
        if self.stuck:
            return False
        if self.rest:
            return self._pour()
        if self._all_in:
            return False
        data = self.source.peek(SHARE if self._chunks is None else CHUNKED_SHARE)
        if data is None:
            return False
        if data == b"":
            if self._left >= 0 or self._chunks is not None:
                raise Gone(self.source, "fin", "closed in the middle of a body")
            self._all_in = True
            return True
        self._take(data)
        self._pour()
        return True

    def _take(self, data: bytes) -> None:
        size = len(data)
        content = data
        if self._chunks is not None:
            try:
                size = self._chunks.feed(data)
            except BadHead as bad:
                raise BadBody(self.source, bad.reason) from None
            content = b"".join([data[a:b] for a, b in self._chunks.spans]) if self._bare else data[:size]
            self._all_in = self._chunks.finished
        elif self._left >= 0:
            size = min(size, self._left)
            content = data[:size]
            self._left -= size
            self._all_in = not self._left
        fdio.discard(self.source.fd, size)
        self.rest = content

    def _pour(self) -> bool:
        if not self.rest:  # a chunk's frame only
            return False
        try:
            sent = fdio.send(self.sink.fd, self.rest)
        except OSError as error:
            raise Gone(self.sink, "rst", error.strerror or "connection reset") from None
        self.moved += sent
        self.rest = self.rest[sent:]
        if self.rest:
            # arming again tells at once if there is room by now
            self.sink.session.worker.loop.epoll.modify(self.sink.fd, EDGE | OUT)
        return sent > 0
