"""HAProxy's statistics table from a snapshot: CSV, and the same fields as JSON or typed lines.

Called by pages (`;csv`, `;json`) and runtime (`show stat`). The columns are HAProxy 2.6's, up to the "-" that ends the
set whose places never change; what ferryman does not know, or has no use for, stays empty. Pure text, no IO.
(HAProxy management guide, section 9.1.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ferryman.controlplane.outcome import STATUSES
from ferryman.controlplane.snapshot import BackendRow, Counts, ListenerRow, ServerRow, Snapshot

HEADER: Final = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,"
    "bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,"
    "check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,"
    "req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,"
    "rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,"
    "agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,"
    "wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,"
    "idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,"
    "agg_check_status,-,"
)
COLUMNS: Final = tuple(HEADER.removeprefix("# ").removesuffix(",").split(","))

# origin, nature and scope of the filled columns (HAProxy management guide, section 9.2), for JSON and typed lines
_TAGS: Final = {
    name: tags
    for tags, names in {
        "KNS": "pxname svname",
        "KGP": "pid",
        "KGS": "iid sid",
        "CGS": "type qlimit check_rise check_fall check_health addr mode algo",
        "CLP": "slim rate_lim",
        "SGP": "status act bck",
        "MGP": "qcur scur",
        "MMP": "qmax smax rate_max conn_rate_max",
        "MRP": "rate conn_rate",
        "MaP": "weight uweight qtime ctime rtime ttime",
        "MAP": "lastchg lastsess",
        "MOP": "check_status last_chk check_desc",
        "MDP": "check_duration",
        "MCP": "stot bin bout dreq dresp ereq econ eresp wretr wredis chkfail chkdown downtime lbtot cli_abrt srv_abrt "
        "conn_tot dcon dses",
    }.items()
    for name in names.split()
}
TAG_WORDS: Final = (
    {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"},
    {"A": "Age", "a": "Avg", "C": "Counter", "D": "Duration", "G": "Gauge", "L": "Limit", "M": "Max"}
    | {"N": "Name", "O": "Output", "R": "Rate"},
    {"C": "Cluster", "P": "Process", "S": "Service"},
)

ObjectType = Literal["Frontend", "Backend", "Server"]
Value = str | int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `values` holds the filled columns only."""

    object_type: ObjectType
    proxy: str
    proxy_id: int
    id: int
    running: bool  # takes connections, if only from its queue: what `show stat up` leaves in
    values: dict[str, Value]


def rows(snapshot: Snapshot, *, addresses: bool) -> list[Row]:
    """All rows in the order of the proxies' ids. `addresses`: with those of the servers and the algorithm."""
    made = [_frontend(row) for row in snapshot.listeners]
    for backend in snapshot.backends:
        made += [_server(backend, server, addresses) for server in backend.servers]
        made.append(_backend(backend, addresses))
    return sorted(made, key=lambda row: row.proxy_id)  # stable: a frontend stays before its servers and backend


def to_csv(table: Iterable[Row]) -> str:
    lines = [HEADER]
    for row in table:
        lines.append("".join(f"{quoted(row.values.get(column, ''))}," for column in COLUMNS[:-1]) + "-,")
    return "\n".join(lines) + "\n"


def to_json(table: Iterable[Row]) -> str:
    return json.dumps(
        [
            [
                {"objType": row.object_type, "proxyId": row.proxy_id, "id": row.id}
                | json_field(COLUMNS.index(name), name, _TAGS[name], _type(name, value), value)
                for name, value in row.values.items()
            ]
            for row in table
        ],
        separators=(",", ":"),
    )


def to_typed(table: Iterable[Row]) -> str:
    """One line per field: `S.<iid>.<sid>.<column>.<name>.1:<tags>:<type>:<value>`."""
    return "".join(
        f"{row.object_type[0]}.{row.proxy_id}.{row.id}.{COLUMNS.index(name)}.{name}.1:"
        f"{_TAGS[name]}:{_type(name, value)}:{value}\n"
        for row in table
        for name, value in row.values.items()
    )


def json_field(position: int, name: str, tags: str, kind: str, value: Value) -> dict[str, object]:
    """A field as HAProxy's JSON has it; also used for `show info`."""
    origin, nature, scope = (words[tag] for words, tag in zip(TAG_WORDS, tags, strict=True))
    return {
        "field": {"pos": position, "name": name},
        "processNum": 1,
        "tags": {"origin": origin, "nature": nature, "scope": scope},
        "value": {"type": kind, "value": value},
    }


def quoted(value: Value) -> str:
    """A CSV field, in quotes only where it needs them (RFC 4180)."""
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def _type(name: str, value: Value) -> str:
    if isinstance(value, str):
        return "str"
    if name == "lastsess":
        return "s32"
    return "u64" if _TAGS[name] in ("MCP", "MDP") and name != "downtime" else "u32"


def _traffic(counts: Counts) -> dict[str, Value]:
    return {
        "scur": counts.sessions_now,
        "smax": counts.sessions_max,
        "stot": counts.sessions,
        "bin": counts.bytes_in,
        "bout": counts.bytes_out,
        "dresp": 0,
    }


def _serving(counts: Counts, last_session: int) -> dict[str, Value]:
    """What servers and backends have in common."""
    return {
        "qcur": counts.queue_now,
        "qmax": counts.queue_max,
        "econ": counts.connect_errors,
        "eresp": 0,
        "wretr": counts.retries,
        "wredis": counts.redispatches,
        "lbtot": counts.sessions,
        "cli_abrt": counts.client_aborts,
        "srv_abrt": counts.server_aborts,
        "lastsess": last_session,
        # over all sessions since the start, where HAProxy has the last 1024
        "qtime": counts.average(counts.queue_ms),
        "ctime": counts.average(counts.connect_ms),
        "rtime": 0,
        "ttime": counts.average(counts.total_ms),
    }


def _row(kind: ObjectType, proxy: str, proxy_id: int, number: int, running: bool, values: dict[str, Value]) -> Row:
    values |= {
        "pxname": proxy,
        "pid": 1,
        "iid": proxy_id,
        "sid": number,
        "type": {"Frontend": 0, "Backend": 1, "Server": 2}[kind],
    }
    ordered = {name: values[name] for name in COLUMNS if values.get(name, "") != ""}
    return Row(kind, proxy, proxy_id, number, running, ordered)


def _frontend(row: ListenerRow) -> Row:
    counts = row.counts
    values: dict[str, Value] = _traffic(counts) | {
        "svname": "FRONTEND",
        "slim": row.limit or "",
        "dreq": counts.denied_content,
        "ereq": 0,
        "status": row.status,
        "rate": row.rate.sessions,
        "rate_lim": 0,
        "rate_max": row.rate.sessions_max,
        "mode": "tcp" if row.mode == "tcp" else "http",  # an explicit proxy's, too: HAProxy knows no mode connect
        "conn_rate": row.rate.sessions,
        "conn_rate_max": row.rate.sessions_max,
        "conn_tot": counts.sessions + counts.denied_connection,
        "dcon": counts.denied_connection,
        "dses": 0,
    }
    return _row("Frontend", row.name, row.proxy_id, 0, True, values)


def _backend(row: BackendRow, addresses: bool) -> Row:
    values: dict[str, Value] = _traffic(row.counts) | _serving(row.counts, row.last_session)
    values |= {
        "svname": "BACKEND",
        "dreq": row.counts.denied_content,
        "status": row.status,
        "weight": row.weight,
        "uweight": row.weight,
        "act": row.active,
        "bck": row.backup,
        "chkdown": row.downs,
        "lastchg": row.since,
        "downtime": row.down_seconds,
        "rate": row.rate.sessions,
        "rate_max": row.rate.sessions_max,
        "mode": "tcp",
        "algo": row.algorithm if addresses else "",
    }
    return _row("Backend", row.name, row.proxy_id, 0, True, values)


def _server(backend: BackendRow, row: ServerRow, addresses: bool) -> Row:
    state, server = row.state, row.state.server
    values: dict[str, Value] = _traffic(row.counts) | _serving(row.counts, row.last_session)
    values |= {
        "svname": row.name,
        "slim": server.max_connections or "",
        "status": row.status,
        "weight": state.weight,
        "uweight": state.weight,
        "act": 0 if server.backup else 1,
        "bck": 1 if server.backup else 0,
        "lastchg": row.since,
        "qlimit": server.max_queue or "",
        "rate": row.rate.sessions,
        "rate_max": row.rate.sessions_max,
        "addr": row.address if addresses else "",
        "mode": "tcp",
    }
    if server.check is not None:
        values |= {"chkfail": state.checks_failed, "chkdown": state.downs, "downtime": row.down_seconds}
    if server.check is not None and row.condition != "maint":
        outcome = STATUSES.get(state.check_status)
        values |= {
            "check_code": state.check_code if outcome is not None and outcome.with_code else "",
            "check_status": f"{'* ' if state.check_running else ''}{state.check_status}",
            "check_duration": state.check_ms if state.check_ms >= 0 else "",
            "last_chk": state.check_description,
            "check_desc": outcome.text if outcome is not None else "",
            "check_rise": server.check.rise,
            "check_fall": server.check.fall,
            "check_health": state.health,
        }
    return _row("Server", backend.name, backend.proxy_id, row.id, row.running, values)
