"""Numbers in shared memory: each worker writes a region of its own, everybody may read all of them.

A region holds one block per listener, backend and server of a plan, in that order, then one for the process, and each
block the same cells (unsigned 64 bit). The regions of all workers for a plan lie one after the other in one memfd. One
writer per cell, so no locks; a reader adds the workers up. The supervisor creates the memfd and keeps the sums of
workers and plans that are gone.
"""

from __future__ import annotations

import enum
import mmap
from typing import Final

from ferryman.plan import Plan


class Cell(enum.IntEnum):
    """What is counted. Gauges end in _NOW, peaks in _MAX; all others only grow."""

    SESSIONS_NOW = 0  # first, so that a block's index is the index of this cell (generation relies on it)
    SESSIONS_MAX = 1
    SESSIONS = 2
    BYTES_IN = 3  # from clients
    BYTES_OUT = 4  # to clients
    DENIED_CONNECTION = 5  # refused by a `connection` rule
    DENIED_CONTENT = 6  # refused by an `inspect` rule, or no route
    CONNECT_ERRORS = 7  # attempts that failed (listener: sessions without a server)
    RETRIES = 8
    REDISPATCHES = 9
    CLIENT_ABORTS = 10
    SERVER_ABORTS = 11
    QUEUE_NOW = 12
    QUEUE_MAX = 13
    QUEUE_MS = 14  # sums, for averages over SESSIONS
    CONNECT_MS = 15
    TOTAL_MS = 16
    TIMEOUTS = 17
    LAST_SESSION = 18  # wall clock, seconds
    HELLOS = 19  # listener: ClientHellos read
    BAD_HELLOS = 20  # listener: not TLS, malformed, or too late
    ACCEPT_ERRORS = 21  # listener: out of descriptors or memory
    SPLICED = 22  # tunnels that were switched to splice
    BYTES_SPLICED = 23
    HANDSHAKES = 24  # listener: TLS with clients, server: with servers; those that went well
    RESUMED = 25  # of these, sessions that went on
    HANDSHAKE_ERRORS = 26
    PREWARMED_NOW = 27  # backend, server: connections held ready, or being made to be
    PREWARM_HITS = 28  # sessions that got one
    PREWARM_MISSES = 29  # sessions for which there was none


WIDTH: Final = 30
"""Cells per block."""


def blocks(plan: Plan) -> int:
    """How many blocks a region for `plan` has."""
    return len(plan.listeners) + len(plan.backends) + len(plan.servers) + 1


def listener_base(plan: Plan, listener_id: int) -> int:
    """Index of the first cell of a listener's block."""
    return listener_id * WIDTH


def backend_base(plan: Plan, backend_id: int) -> int:
    return (len(plan.listeners) + backend_id) * WIDTH


def server_base(plan: Plan, server_id: int) -> int:
    return (len(plan.listeners) + len(plan.backends) + server_id) * WIDTH


def process_base(plan: Plan) -> int:
    """Index of the first cell of the process's block: sessions of all listeners together."""
    return (blocks(plan) - 1) * WIDTH


def size(plan: Plan) -> int:
    """Bytes of one worker's region."""
    return blocks(plan) * WIDTH * 8


def attach(descriptor: int, length: int) -> memoryview:
    """Map a region (a memfd of `length` bytes) and give it as a memoryview of unsigned 64-bit cells."""
    return memoryview(mmap.mmap(descriptor, length)).cast("Q")
