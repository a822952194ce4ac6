"""Which server of a backend takes the next connection.

dataplane.generation makes one `Balancer` for each backend of a plan and tells it the weights the supervisor decided on;
dataplane.dial picks. Nothing here knows of health, queues or limits: a server without weight takes nothing, and one
that is full is left out by the caller, among `tried` (only the algorithm `first` asks for the limits itself).

Source hashing is that of HAProxy's default (balance source with hash-type map-based), so that clients stay where they
are when one takes the other's place: the address's 32-bit words xor-ed, taken modulo the length of a table in which
each server stands as often as its weight over the greatest common divisor of all configured weights says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import accumulate
from math import gcd
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from ferryman.plan import Backend, Server

Load = Callable[[int], int]
"""Connections that the server of this id has now."""

_MAX_CACHED: Final = 64  # choices of servers left, after failures, for which a table is kept


class Balancer:
    """The servers of one backend that take traffic, and whose turn it is."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._divisor = gcd(*(server.weight for server in backend.servers)) or 1
        self._rest: dict[tuple[int, ...], _Choice] = {}
        self._choice = _Choice((), (), 1)
        self._pick: Callable[[_Choice, str, Load], Server | None] = {
            "roundrobin": _round_robin,
            "static-rr": _static_round_robin,
            "leastconn": _least_connections,
            "first": _first,
            "random": self._random,
            "source": _source,
        }[backend.algorithm]
        self.update({server.id: server.weight for server in backend.servers if not server.disabled})

    def update(self, weights: Mapping[int, int]) -> None:
        """What each server may take from now on: server id -> effective weight; 0 or absent: nothing.

        Backups count when no other server is left: the first of them, or all with `use_all_backups`.
        """
        usable = [server for server in self._backend.servers if weights.get(server.id, 0) > 0]
        active = [server for server in usable if not server.backup]
        if not active:
            active = usable if self._backend.use_all_backups else usable[:1]
        chosen, their_weights = tuple(active), tuple(weights[server.id] for server in active)
        if chosen != self._choice.servers or their_weights != self._choice.weights:
            self._choice = _Choice(chosen, their_weights, self._divisor)
            self._rest.clear()

    @property
    def usable(self) -> int:
        """How many servers take traffic now."""
        return len(self._choice.servers)

    def takes(self, server_id: int) -> bool:
        """Does this server take traffic now?"""
        return any(server.id == server_id for server in self._choice.servers)

    def pick(self, client_host: str, load: Load, tried: Container[int] = ()) -> Server | None:
        """The server for the next connection of the client at this address; None: there is none.

        `tried` are ids of servers to leave out. With a hash the others share their clients, by a table of their own.
        """
        choice = self._choice
        if tried:
            left = tuple(server.id for server in choice.servers if server.id not in tried)
            if len(left) < len(choice.servers):
                choice = self._without(left)
        if len(choice.servers) < 2 and self._backend.algorithm != "first":
            return choice.servers[0] if choice.servers else None
        return self._pick(choice, client_host, load)

    def _without(self, left: tuple[int, ...]) -> _Choice:
        choice = self._rest.get(left)
        if choice is None:
            if len(self._rest) >= _MAX_CACHED:
                self._rest.clear()
            pairs = [(s, w) for s, w in zip(self._choice.servers, self._choice.weights, strict=True) if s.id in left]
            choice = _Choice(tuple(s for s, _ in pairs), tuple(w for _, w in pairs), self._divisor)
            self._rest[left] = choice
        return choice

    def _random(self, choice: _Choice, client_host: str, load: Load) -> Server | None:
        """Draw as many as configured, by weight, and take the one with the least load for its weight."""
        indices = range(len(choice.servers))
        drawn = random.choices(indices, cum_weights=choice.cumulated, k=max(self._backend.draws, 1))
        if len(drawn) > 1:
            drawn.sort(key=lambda index: load(choice.servers[index].id) / choice.weights[index])
        return choice.servers[drawn[0]]


class _Choice:
    """Servers to choose from, in order, with their weights (all above 0) and the state of taking turns."""

    __slots__ = ("_divisor", "_table", "cumulated", "equal", "scores", "servers", "turn", "weights")

    def __init__(self, servers: tuple[Server, ...], weights: tuple[int, ...], divisor: int) -> None:
        self.servers = servers
        self.weights = weights
        self.equal = len(set(weights)) <= 1
        self.cumulated = tuple(accumulate(weights))
        self.scores = [0] * len(servers)
        self.turn = 0
        self._divisor = divisor
        self._table: tuple[Server, ...] = ()

    @property
    def table(self) -> tuple[Server, ...]:
        """Each server as often as its reduced weight says; built when first asked for."""
        if not self._table and self.servers:
            reduced = [-(-weight // self._divisor) for weight in self.weights]
            self._table = tuple(self.servers[index] for index in spread(reduced))
        return self._table


def spread(weights: Sequence[int]) -> list[int]:
    """HAProxy's table: indices, each as often as its weight, evenly mixed; in order where the weights are equal.

    One step per entry and server: a table of 5000 entries for 50 servers takes about 20 ms.
    """
    total = sum(weights)
    if total == len(weights):  # each weight is 1
        return list(range(total))
    scores = [0] * len(weights)
    table: list[int] = []
    for _ in range(total):
        best, most = -1, -1
        for index, weight in enumerate(weights):
            scores[index] = score = scores[index] + weight
            level = (score + total) // total  # whole steps only: near ties go to the server that comes first
            if level > most:
                best, most = index, level
        scores[best] -= total
        table.append(best)
    return table


def address_hash(host: str) -> int | None:
    """The 32-bit words of a numeric address, xor-ed as big-endian numbers. None: it is no address."""
    try:
        if ":" not in host:
            return int.from_bytes(inet_pton(AF_INET, host), "big")
        number = int.from_bytes(inet_pton(AF_INET6, host.partition("%")[0]), "big")
    except OSError:
        return None
    return (number ^ number >> 32 ^ number >> 64 ^ number >> 96) & 0xFFFFFFFF


def _source(choice: _Choice, client_host: str, load: Load) -> Server | None:
    table = choice._table or choice.table  # the attribute first: this runs for every connection
    number = address_hash(client_host)
    if number is None:  # a client without an address, at a Unix socket
        return _static_round_robin(choice, client_host, load)
    return table[number % len(table)]


def _round_robin(choice: _Choice, client_host: str, load: Load) -> Server | None:
    """Smooth: with weights, a heavy server's turns come evenly among the others'."""
    servers, weights, scores = choice.servers, choice.weights, choice.scores
    if choice.equal:
        turn = choice.turn
        choice.turn = turn + 1 if turn + 1 < len(servers) else 0
        return servers[turn]
    best = 0
    for index, weight in enumerate(weights):
        scores[index] += weight
        if scores[index] > scores[best]:
            best = index
    scores[best] -= choice.cumulated[-1]
    return servers[best]


def _static_round_robin(choice: _Choice, client_host: str, load: Load) -> Server | None:
    """One after the other through the table of source hashing."""
    table = choice.table
    turn = choice.turn
    choice.turn = turn + 1 if turn + 1 < len(table) else 0
    return table[turn]


def _least_connections(choice: _Choice, client_host: str, load: Load) -> Server | None:
    """The least load for its weight; among equals they take turns."""
    servers, weights = choice.servers, choice.weights
    best, least = 0, -1.0
    for index in (*range(choice.turn, len(servers)), *range(choice.turn)):
        own = load(servers[index].id) / weights[index]
        if least < 0 or own < least:
            best, least = index, own
    choice.turn = best + 1 if best + 1 < len(servers) else 0
    return servers[best]


def _first(choice: _Choice, client_host: str, load: Load) -> Server | None:
    """The first that is not full."""
    for server in choice.servers:
        if not server.max_connections or load(server.id) < server.max_connections:
            return server
    return None
