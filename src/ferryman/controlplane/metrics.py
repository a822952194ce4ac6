"""Prometheus metrics from a snapshot.

Names and meanings are those of HAProxy's exporter where there is one; what HAProxy has not is ferryman_*. Called by
pages for /metrics. Builds a registry per request, so nothing is registered globally. No IO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ferryman.controlplane.outcome import STATUSES
from ferryman.controlplane.snapshot import BackendRow, Counts, ListenerRow, ProcessRow, ServerRow, Snapshot

SERVER_STATES: Final = ("DOWN", "UP", "MAINT", "DRAIN", "NOLB")


def render(snapshot: Snapshot) -> bytes:
    """The text exposition format (its type: prometheus_client.CONTENT_TYPE_LATEST)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    return generate_latest(registry)


class _Line(NamedTuple):
    """A metric of the rows' common counts. Names that end in _total are counters, all others gauges."""

    name: str
    help: str
    value: Callable[[Counts], float]


def _average(milliseconds: Callable[[Counts], int]) -> Callable[[Counts], float]:
    return lambda counts: counts.average(milliseconds(counts)) / 1000


_SESSIONS: Final = (
    _Line("current_sessions", "Sessions open now", lambda c: c.sessions_now),
    _Line("max_sessions", "Most sessions open at once (with several workers an upper bound)", lambda c: c.sessions_max),
    _Line("sessions_total", "Sessions since the start", lambda c: c.sessions),
    _Line("bytes_in_total", "Bytes from clients", lambda c: c.bytes_in),
    _Line("bytes_out_total", "Bytes to clients", lambda c: c.bytes_out),
)
_LISTENER: Final = (
    _Line("denied_connections_total", "Connections refused at accept by a rule", lambda c: c.denied_connection),
    _Line("requests_denied_total", "Connections refused for what the client sent", lambda c: c.denied_content),
    _Line("connections_total", "Connections accepted", lambda c: c.sessions + c.denied_connection),
)
_SERVING: Final = (
    _Line("current_queue", "Connections waiting for a server now", lambda c: c.queue_now),
    _Line("max_queue", "Most connections waiting at once (with several workers an upper bound)", lambda c: c.queue_max),
    _Line("connection_errors_total", "Attempts to connect that failed", lambda c: c.connect_errors),
    _Line("retry_warnings_total", "Attempts that were repeated", lambda c: c.retries),
    _Line("redispatch_warnings_total", "Connections moved on to another server", lambda c: c.redispatches),
    _Line("client_aborts_total", "Transfers the client broke off", lambda c: c.client_aborts),
    _Line("server_aborts_total", "Transfers the server broke off", lambda c: c.server_aborts),
    _Line("loadbalanced_total", "Sessions given to a server by balancing", lambda c: c.sessions),
    _Line("queue_time_average_seconds", "Time in the queue, over all sessions", _average(lambda c: c.queue_ms)),
    _Line("connect_time_average_seconds", "Time to connect, over all sessions", _average(lambda c: c.connect_ms)),
    _Line("total_time_average_seconds", "Time of sessions from accept to end", _average(lambda c: c.total_ms)),
)
_OWN: Final = (
    _Line("timeouts_total", "Sessions ended by a timeout", lambda c: c.timeouts),
    _Line("tunnels_spliced_total", "Tunnels that came to move bytes within the kernel", lambda c: c.spliced),
    _Line("bytes_spliced_total", "Bytes moved within the kernel", lambda c: c.bytes_spliced),
)
_PREWARM: Final = (
    _Line("prewarmed_connections", "Connections held ready now, those being made included", lambda c: c.prewarmed_now),
    _Line("prewarm_hits_total", "Sessions that got a connection that was held ready", lambda c: c.prewarm_hits),
    _Line("prewarm_misses_total", "Sessions for which none was ready", lambda c: c.prewarm_misses),
)
_OWN_LISTENER: Final = (
    _Line("hellos_total", "ClientHellos read", lambda c: c.hellos),
    _Line("bad_hellos_total", "First bytes that were no ClientHello, malformed or too late", lambda c: c.bad_hellos),
    _Line("tls_handshakes_total", "TLS handshakes with clients", lambda c: c.handshakes),
    _Line("tls_resumed_total", "TLS handshakes that resumed a session", lambda c: c.resumed),
    _Line("tls_handshake_errors_total", "TLS handshakes with clients that failed", lambda c: c.handshake_errors),
    _Line("accept_errors_total", "Accepts that failed for want of descriptors or memory", lambda c: c.accept_errors),
)


R = TypeVar("R", ListenerRow, BackendRow, ServerRow)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        listeners, backends = self.snapshot.listeners, self.snapshot.backends
        servers = [server for backend in backends for server in backend.servers]
        yield from _process(self.snapshot.process)
        yield from _counted("haproxy_frontend_", (*_SESSIONS, *_LISTENER), listeners)
        yield from _listeners(listeners)
        yield from _counted("haproxy_backend_", (*_SESSIONS, *_SERVING), backends)
        yield from _backends(backends)
        yield from _counted("haproxy_server_", (*_SESSIONS, *_SERVING), servers)
        yield from _servers(servers)
        yield _family(
            "ferryman_certificate_expiry_timestamp_seconds",
            "When a certificate that clients are shown expires, seconds since the epoch",
            [
                ({"proxy": row.listener, "file": row.file, "name": row.names[0] if row.names else ""}, row.not_after)
                for row in self.snapshot.certificates
            ],
        )
        yield from _counted("ferryman_listener_", (*_OWN, *_OWN_LISTENER), listeners)
        yield from _counted("ferryman_backend_", (*_OWN, *_PREWARM), backends)
        yield from _counted("ferryman_server_", (*_OWN, *_PREWARM), servers)


def _labels(row: ListenerRow | BackendRow | ServerRow) -> dict[str, str]:
    if isinstance(row, ServerRow):
        return {"proxy": row.state.server.backend, "server": row.name}
    return {"proxy": row.name}


def _family(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    """One metric of several samples. The names end in _total for counters, as HAProxy's do."""
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family: Metric = kind(name, text)
    for labels, value in samples:
        family.add_sample(name, labels, float(value))
    return family


def _counted(prefix: str, lines: Sequence[_Line], rows: Sequence[R]) -> Iterator[Metric]:
    for line in lines:
        yield _family(prefix + line.name, line.help, [(_labels(row), line.value(row.counts)) for row in rows])


def _of_rows(name: str, text: str, rows: Sequence[R], value: Callable[[R], float]) -> Metric:
    return _family(name, text, [(_labels(row), value(row)) for row in rows])


def _states(name: str, text: str, rows: Sequence[R], states: Sequence[str], state_of: Callable[[R], str]) -> Metric:
    """One sample per possible state, 1 for the present one."""
    return _family(
        name, text, [(_labels(row) | {"state": state}, state == state_of(row)) for row in rows for state in states]
    )


def _or_nan(limit: int) -> float:
    return limit or math.nan


def _process(row: ProcessRow) -> Iterator[Metric]:
    counts, rate = row.counts, row.rate
    yield _family("haproxy_process_build_info", "Version of this program", [({"version": row.version}, 1)])
    for name, text, value in (
        ("haproxy_process_nbthread", "Workers the configuration asks for", row.workers),
        ("haproxy_process_start_time_seconds", "When it was started, seconds since the epoch", row.started_at),
        ("haproxy_process_uptime_seconds", "Time since the start", row.uptime),
        ("haproxy_process_max_connections", "Limit of open connections", _or_nan(row.max_connections)),
        ("haproxy_process_current_connections", "Connections open now", counts.sessions_now),
        ("haproxy_process_connections_total", "Connections since the start", counts.sessions),
        ("haproxy_process_current_session_rate", "Sessions per second now", rate.sessions),
        ("haproxy_process_max_session_rate", "Most sessions in a second", rate.sessions_max),
        ("haproxy_process_bytes_out_total", "Bytes to clients", counts.bytes_out),
        ("haproxy_process_bytes_out_rate", "Bytes to clients per second now", rate.bytes_out),
        ("haproxy_process_spliced_bytes_out_total", "Bytes moved within the kernel", counts.bytes_spliced),
        ("haproxy_process_stopping", "1 while it drains", row.stopping),
        ("ferryman_workers", "Worker processes alive", len(row.worker_pids)),
    ):
        yield _family(name, text, [({}, value)])


def _listeners(rows: Sequence[ListenerRow]) -> Iterator[Metric]:
    yield _states(
        "haproxy_frontend_status",
        "State of the listener",
        rows,
        ("DOWN", "UP"),
        lambda row: "UP" if row.status == "OPEN" else "DOWN",
    )
    yield _of_rows("haproxy_frontend_limit_sessions", "Limit of open sessions", rows, lambda row: _or_nan(row.limit))
    yield _of_rows(
        "haproxy_frontend_max_session_rate", "Most sessions in a second", rows, lambda row: row.rate.sessions_max
    )


def _backends(rows: Sequence[BackendRow]) -> Iterator[Metric]:
    yield _states("haproxy_backend_status", "State of the backend", rows, ("DOWN", "UP"), lambda row: row.status)
    for name, text, value in _BACKEND_LINES:
        yield _of_rows(f"haproxy_backend_{name}", text, rows, value)


_BACKEND_LINES: Final[tuple[tuple[str, str, Callable[[BackendRow], float]], ...]] = (
    ("max_session_rate", "Most sessions in a second", lambda row: row.rate.sessions_max),
    ("weight", "Weight of the servers in use", lambda row: row.weight),
    ("active_servers", "Usable servers that are no backups", lambda row: row.active),
    ("backup_servers", "Usable backup servers", lambda row: row.backup),
    ("check_up_down_total", "How often it went down", lambda row: row.downs),
    ("check_last_change_seconds", "Time in the present state", lambda row: row.since),
    ("downtime_seconds_total", "Time without a usable server", lambda row: row.down_seconds),
    ("last_session_seconds", "Time since the last session, -1 for never", lambda row: row.last_session),
)


def _servers(rows: Sequence[ServerRow]) -> Iterator[Metric]:
    yield _states("haproxy_server_status", "State of the server", rows, SERVER_STATES, _server_state)
    for name, text, value in _SERVER_LINES:
        yield _of_rows(f"haproxy_server_{name}", text, rows, value)
    checked = [row for row in rows if row.state.server.check is not None]
    yield _states(
        "haproxy_server_check_status",
        "Outcome of the last check",
        checked,
        tuple(STATUSES),
        lambda row: row.state.check_status,
    )
    for name, text, value in _CHECK_LINES:
        yield _of_rows(f"haproxy_server_{name}", text, checked, value)


def _server_state(row: ServerRow) -> str:
    if row.condition in ("maint", "drain"):
        return row.condition.upper()
    return "UP" if row.state.up else "DOWN"


_SERVER_LINES: Final[tuple[tuple[str, str, Callable[[ServerRow], float]], ...]] = (
    ("max_session_rate", "Most sessions in a second", lambda row: row.rate.sessions_max),
    ("limit_sessions", "Limit of open sessions", lambda row: _or_nan(row.state.server.max_connections)),
    ("queue_limit", "Limit of waiting connections", lambda row: _or_nan(row.state.server.max_queue)),
    ("weight", "Weight", lambda row: row.state.weight),
    ("check_last_change_seconds", "Time in the present state", lambda row: row.since),
    ("last_session_seconds", "Time since the last session, -1 for never", lambda row: row.last_session),
)
_CHECK_LINES: Final[tuple[tuple[str, str, Callable[[ServerRow], float]], ...]] = (
    ("check_failures_total", "Checks that failed", lambda row: row.state.checks_failed),
    ("check_up_down_total", "How often checks took it down", lambda row: row.state.downs),
    ("downtime_seconds_total", "Time down", lambda row: row.down_seconds),
    (
        "check_duration_seconds",
        "Duration of the last check",
        lambda row: row.state.check_ms / 1000 if row.state.check_ms >= 0 else math.nan,
    ),
)
