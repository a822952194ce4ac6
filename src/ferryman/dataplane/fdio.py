"""The one door to the system calls of the hot path: the C extension, or its Python twin where it was not built.

Called by the data plane's loop, listener, sniff, dial and relay. Both implementations answer alike; what each function
does is said in fdio_py.py. It decides nothing but which of the two: FERRYMAN_FDIO=python in the environment forces the
twin, FERRYMAN_FDIO=c forbids it.
"""

import os
from typing import Final

__all__ = [
    "BLOCKED",
    "BUFFER",
    "DRAINED",
    "EOF",
    "IMPLEMENTATION",
    "MORE",
    "READ_ERROR",
    "WRITE_ERROR",
    "accept",
    "close",
    "connect",
    "connect_from",
    "discard",
    "keepalive",
    "linger_reset",
    "original",
    "peek",
    "pipe",
    "pipe_put",
    "pump",
    "rcvlowat",
    "send",
    "send_more",
    "set_nodelay",
    "shutdown_write",
    "so_error",
    "sockname",
    "splice_pump",
]

_wanted: Final = os.environ.get("FERRYMAN_FDIO", "")
if _wanted not in ("", "c", "python"):
    raise ImportError(f"FERRYMAN_FDIO={_wanted}: neither c nor python")

try:
    if _wanted == "python":
        raise ModuleNotFoundError
    from ferryman.dataplane._fdio import (
        BLOCKED,
        BUFFER,
        DRAINED,
        EOF,
        MORE,
        READ_ERROR,
        WRITE_ERROR,
        accept,
        close,
        connect,
        connect_from,
        discard,
        keepalive,
        linger_reset,
        original,
        peek,
        pipe,
        pipe_put,
        pump,
        rcvlowat,
        send,
        send_more,
        set_nodelay,
        shutdown_write,
        so_error,
        sockname,
        splice_pump,
    )

    IMPLEMENTATION = "c"
except ModuleNotFoundError:  # an extension that is there but does not load is a fault, and stays an ImportError
    if _wanted == "c":
        raise
    from ferryman.dataplane.fdio_py import (
        BLOCKED,
        BUFFER,
        DRAINED,
        EOF,
        MORE,
        READ_ERROR,
        WRITE_ERROR,
        accept,
        close,
        connect,
        connect_from,
        discard,
        keepalive,
        linger_reset,
        original,
        peek,
        pipe,
        pipe_put,
        pump,
        rcvlowat,
        send,
        send_more,
        set_nodelay,
        shutdown_write,
        so_error,
        sockname,
        splice_pump,
    )

    IMPLEMENTATION = "python"
