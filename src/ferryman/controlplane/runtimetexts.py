"""The formats of the runtime socket's answers: `show info`, `show servers state`, `show sess`.

Called by runtimecommands. Field names, places and order are HAProxy 2.6's; what has no meaning here is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ferryman.controlplane.outcome import STATUSES, known, passed
from ferryman.controlplane.serverstate import ServerState
from ferryman.controlplane.snapshot import BackendRow, Snapshot
from ferryman.controlplane.statscsv import json_field

if TYPE_CHECKING:
    from ferryman.controlplane.runtime import Session


@dataclass(frozen=True, slots=True)
class Field:
    """One line of `show info`. `position` and `tags` as in HAProxy's typed output."""

    position: int
    name: str
    tags: str
    type: str
    value: str | int

    def plain(self) -> str:
        return f"{self.name}: {self.value}"

    def typed(self) -> str:
        return f"{self.position}.{self.name}.1:{self.tags}:{self.type}:{self.value}"

    def as_json(self) -> dict[str, object]:
        return json_field(self.position, self.name, self.tags, self.type, self.value)


def information(shown: Snapshot) -> list[Field]:
    """`show info`."""
    process = shown.process
    counts, rate = process.counts, process.rate
    listening = sum(len(row.addresses) for row in shown.listeners)
    return [
        Field(0, "Name", "POS", "str", "ferryman"),
        Field(1, "Version", "POS", "str", process.version),
        Field(3, "Nbthread", "CGS", "u32", process.workers),
        Field(4, "Nbproc", "CGS", "u32", 1),
        Field(5, "Process_num", "KGP", "u32", 1),
        Field(6, "Pid", "SGP", "u32", process.pid),
        Field(7, "Uptime", "MDP", "str", uptime(process.uptime)),
        Field(8, "Uptime_sec", "MDP", "u32", process.uptime),
        Field(15, "Maxconn", "CLP", "u32", process.max_connections),
        Field(16, "Hard_maxconn", "CLP", "u32", process.max_connections),
        Field(17, "CurrConns", "MGP", "u32", counts.sessions_now),
        Field(18, "CumConns", "MCP", "u32", counts.sessions + counts.denied_connection),
        Field(26, "ConnRate", "MRP", "u32", rate.sessions),
        Field(28, "MaxConnRate", "MMP", "u32", rate.sessions_max),
        Field(29, "SessRate", "MRP", "u32", rate.sessions),
        Field(31, "MaxSessRate", "MRP", "u32", rate.sessions_max),
        Field(50, "node", "COS", "str", process.node),
        Field(52, "Stopping", "MGP", "u32", int(process.stopping)),
        Field(53, "Jobs", "MGP", "u32", counts.sessions_now + listening),
        Field(55, "Listeners", "MGP", "u32", 0 if process.stopping else listening),
        Field(61, "TotalBytesOut", "MGP", "u64", counts.bytes_out),
        Field(62, "TotalSplicdedBytesOut", "MGP", "u64", counts.bytes_spliced),  # spelt so by HAProxy
        Field(63, "BytesOutRate", "MRP", "u64", rate.bytes_out),
        Field(70, "Start_time_sec", "MDP", "u32", int(process.started_at)),
    ]


def uptime(seconds: int) -> str:
    """As HAProxy writes it: "0d 0h00m01s"."""
    return f"{seconds // 86400}d {seconds % 86400 // 3600}h{seconds % 3600 // 60:02d}m{seconds % 60:02d}s"


SERVERS_STATE_HEADER: Final = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)

_RUNNING, _CONFIGURED, _ENABLED, _PAUSED = 1, 2, 4, 8  # bits of a check's state
_FORCED_MAINT, _CONFIGURED_MAINT, _FORCED_DRAIN = 1, 4, 8  # bits of a server's admin state
_UNCHECKED_HEALTH: Final = 2
_FAILED, _PASSED = 2, 3  # results of a check


def servers_state(backends: Iterable[BackendRow]) -> str:
    """`show servers state`, which `load-server-state-from-file` reads."""
    lines = ["1", SERVERS_STATE_HEADER]
    for backend in backends:
        for row in backend.servers:
            state = row.state
            address, name = _address(state)
            found = state.check_status
            status = STATUSES[found].number if found else STATUSES["INI"].number
            result = 0 if not known(found) else _PASSED if passed(found) else _FAILED
            in_service = state.up and state.admin != "maint"
            health = state.health if state.server.check else _UNCHECKED_HEALTH if in_service else 0
            lines.append(
                f"{backend.proxy_id} {backend.name} {row.id} {row.name} {address} {2 if in_service else 0} "
                f"{_admin(state)} {state.weight} {state.server.weight} {row.since} {status} {result} "
                f"{health} {_check_state(state)} 0 0 0 {name} "
                f"{state.server.address.port} - 0 0 - - 0"
            )
    return "\n".join(lines) + "\n"


def _address(state: ServerState) -> tuple[str, str]:
    """Address and name: a name's address is what it resolved to last."""
    address = state.server.address
    if address.family == "name":
        return (state.addresses[0] if state.addresses else "-"), address.host
    return (f"{address.family}@{address.host}" if address.family in ("unix", "abstract") else address.host), "-"


def _admin(state: ServerState) -> int:
    if state.admin == "maint":
        return _FORCED_MAINT | (_CONFIGURED_MAINT if state.server.disabled else 0)
    return _FORCED_DRAIN if state.admin == "drain" else 0


def _check_state(state: ServerState) -> int:
    paused = _PAUSED if state.admin == "maint" else 0
    if state.server.check is None:
        return paused
    return _CONFIGURED | _ENABLED | paused | (_RUNNING if state.check_running else 0)


def session(row: Session) -> str:
    """A line of `show sess`: HAProxy's first fields, then what is known here."""
    client = row["client"]
    protocol = "tcpv6" if client.count(":") > 1 else "tcpv4" if "." in client else "unix_stream"
    return (
        f"0x{row['id']:x}: proto={protocol} src={client} fe={row['listener']} be={row['backend'] or '<NONE>'} "
        f"srv={row['server'] or '<none>'} age={duration(row['age'])} idle={duration(row['idle'])} in={row['bytes_in']} "
        f"out={row['bytes_out']} sni={row['sni'] or '-'} state={row['state']} worker={row['worker']}\n"
    )


def duration(seconds: float) -> str:
    """As HAProxy writes short times: "7s", "4m12s", "3h2m", "5d6h"."""
    left = max(int(seconds), 0)
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60}m"
    return f"{left // 86400}d{left % 86400 // 3600}h"
