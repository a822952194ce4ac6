"""Frames between the supervisor and a worker, over a Unix stream socket.

A frame is a header (length of the body, number of descriptors) and a body. Downwards the body is a pickled tuple
`(kind, …)`: the supervisor is trusted. Upwards it is JSON: a worker faces the network, and what it says must not be
able to do anything in the supervisor but be read. Descriptors ride along as ancillary data, in order.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

_HEADER: Final = struct.Struct("!IH")
_FDS_PER_MESSAGE: Final = 200
_MOST_FDS: Final = 253  # that the kernel takes in one message (SCM_MAX_FD)
_REPORT_LIMIT: Final = 64 * 1024 * 1024


def send_order(sock: socket.socket, order: tuple[Any, ...], descriptors: Sequence[int] = ()) -> None:
    """Supervisor -> worker. Blocks as long as the socket's timeout allows; raises OSError."""
    body = pickle.dumps(order, protocol=pickle.HIGHEST_PROTOCOL)
    data = memoryview(_HEADER.pack(len(body), len(descriptors)) + body)
    for start in range(0, len(descriptors), _FDS_PER_MESSAGE):
        # one byte with each batch of descriptors; the rest of the frame follows the last
        socket.send_fds(sock, [data[:1]], list(descriptors[start : start + _FDS_PER_MESSAGE]))
        data = data[1:]
    sock.sendall(data)


def frame(report: dict[str, Any]) -> bytes:
    """Worker -> supervisor: what goes onto the socket. The worker sends it without ever waiting (Worker.report)."""
    body = json.dumps(report, separators=(",", ":")).encode()
    return _HEADER.pack(len(body), 0) + body


class Frames:
    """Puts together the frames that arrive on a socket. Raises EOFError when the other side is gone.

    `trusted`: it may send descriptors. From others none is taken, as nobody would close it.
    """

    def __init__(self, sock: socket.socket, trusted: bool) -> None:
        self._socket = sock
        self._most = _MOST_FDS if trusted else 0
        self._data = bytearray()
        self._descriptors: deque[int] = deque()

    def receive(self) -> None:
        """Read what is there (without waiting)."""
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._socket, 256 * 1024, self._most, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:  # it left without having read everything
            raise EOFError from None
        if flags & socket.MSG_CTRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            raise EOFError("descriptors were lost: too many are open, or they were not wanted")
        if not data:
            raise EOFError
        self._data += data
        self._descriptors.extend(descriptors)

    def frames(self) -> Iterator[tuple[bytes, list[int]]]:
        """The complete frames so far: body and descriptors."""
        while len(self._data) >= _HEADER.size:
            length, count = _HEADER.unpack_from(self._data)
            if length > _REPORT_LIMIT:
                raise EOFError(f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._data) < end:
                return
            if count > len(self._descriptors):
                raise EOFError(f"a frame with {count} descriptors, which did not come")
            body = bytes(self._data[_HEADER.size : end])
            del self._data[:end]
            yield body, [self._descriptors.popleft() for _ in range(count)]

    def orders(self) -> Iterator[tuple[tuple[Any, ...], list[int]]]:
        """In a worker: what the supervisor wants."""
        for body, descriptors in self.frames():
            yield pickle.loads(body), descriptors

    def reports(self) -> Iterator[dict[str, Any]]:
        """In the supervisor: what a worker says. Raises ValueError for what is no JSON object."""
        for body, _ in self.frames():
            try:
                report = json.loads(body)
            except RecursionError:
                raise ValueError("nested too deeply") from None
            if not isinstance(report, dict):
                raise ValueError("not an object")
            yield report
