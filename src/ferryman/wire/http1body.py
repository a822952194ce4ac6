"""Where a chunked body ends (RFC 9112 section 7.1), for a proxy that passes it on as it came.

Called by the data plane for bodies that wire.http1 says are CHUNKED; other bodies need no reader. Nothing is decoded
or kept but a line that is not complete.
"""

from __future__ import annotations

import re
from typing import Final

from ferryman.wire.http1 import BadHead

MAX_SIZE_LINE: Final = 1024
"""The longest line with the size of a chunk and its extensions, in bytes with its CRLF."""

MAX_TRAILERS: Final = 16384
"""The most bytes of trailer fields, with the line that ends them."""

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")


class ChunkReader:
    """Is fed the stream after a head, piece by piece, and says which bytes of it belong to the body.

    Strict, since whoever reads the stream next must see the same end: no line may end in a lone LF, sizes have at most
    15 digits and no sign, and a trailer is a field.
    """

    __slots__ = ("_data", "_line", "_need", "_trailers", "finished", "spans")

    def __init__(self) -> None:
        self.finished = False
        self.spans: list[tuple[int, int]] = []
        """Start and end of each piece of content (the body without its coding) in the bytes fed last."""
        self._line = b""  # begun, not yet complete
        self._need = 0  # bytes of the chunk's content still to come
        self._data = False  # a chunk's content is not over before the CRLF behind it
        self._trailers = -1  # bytes of trailers so far; -1: the last chunk has not been seen

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """How many of these bytes belong to the body: all but after its end, when `finished` is true.

        Raises BadHead with status 400 at the line that is none; the reader is of no use then.
        """
        assert not self.finished, "nothing may follow the end"
        self.spans = []
        at, end = 0, len(data)
        while at < end:
            if self._need:
                size = min(self._need, end - at)
                self.spans.append((at, at + size))
                self._need -= size
                at += size
                continue
            at = self._take_line(data, at)
            if self._line[-1:] == b"\n":
                line, self._line = self._line, b""
                if self._ends_with(line):
                    self.finished = True
                    break
        return at

    def _take_line(self, data: bytes | bytearray | memoryview, at: int) -> int:
        """Add to the line what the data have of it; where it or they end."""
        limit = 2 if self._data else MAX_SIZE_LINE if self._trailers < 0 else MAX_TRAILERS - self._trailers
        piece = bytes(data[at : at + limit - len(self._line)])
        stop = piece.find(b"\n") + 1
        self._line += piece[:stop] if stop else piece
        if not stop and len(self._line) >= limit:
            raise BadHead(400, "a line in a chunked body that is too long, or content longer than its chunk")
        return at + (stop or len(piece))

    def _ends_with(self, line: bytes) -> bool:
        """Judge a complete line: is it the last one?"""
        if self._data:
            if line != b"\r\n":
                raise BadHead(400, "no CR LF after a chunk")
            self._data = False
        elif self._trailers >= 0:
            self._trailers += len(line)
            if line == b"\r\n":
                return True
            if not _TRAILER.fullmatch(line):
                raise BadHead(400, "a trailer of a chunked body that is no field")
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise BadHead(400, "a chunk whose size is none")
            self._need = int(match[1], 16)
            self._data = self._need > 0
            self._trailers = -1 if self._data else 0
        return False
