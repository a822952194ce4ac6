"""The line a connection leaves in the log: JSON, HAProxy's tcplog, or a template in HAProxy's log-format language.

Called by logwriter for every connection, so a format is compiled once into something quick; config calls `check`. The
language itself is in logformat, what can be shown in logfields. Knows neither targets nor frames (syslog does), and
never gives more than one line: text that a client chose cannot leave its field.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii
from typing import Final

from ferryman.dataplane import logfields, logformat
from ferryman.dataplane.logfields import Clock, Counts, Make, ended_by, endpoint, queue_ms, total
from ferryman.dataplane.record import Ask, Record
from ferryman.rules.facts import Tls
from ferryman.rules.fetches import one_line

__all__ = ["Counts", "Formatter", "check", "compile_format"]


class Formatter:
    """Makes the line (without its end) of a record.

    `needs_counts`: it shows numbers of connections, and wants `Counts`; `needs_local`: it shows the address that the
    client connected to, so Record.local_host should be filled.
    """

    __slots__ = ("_make", "needs_counts", "needs_local")

    def __init__(self, make: Make, needs_counts: bool, needs_local: bool) -> None:
        self._make = make
        self.needs_counts = needs_counts
        self.needs_local = needs_local

    def __call__(self, record: Record, counts: Counts | None = None) -> str:
        return self._make(record, counts or _NONE)


_NONE: Final = Counts(0, 0, 0, 0)


def compile_format(format: str, node: str = "") -> Formatter:
    """`format`: "json", "tcp", "connect" or a template; `node` names this machine in JSON.

    Raises ValueError for a template with mistakes, of which `check` tells all.
    """
    if format == "json":
        return Formatter(_json(node), needs_counts=False, needs_local=True)
    if format in ("tcp", logformat.TCP):
        return Formatter(_tcp(), needs_counts=True, needs_local=False)
    if format == "connect":
        return Formatter(_connect, needs_counts=False, needs_local=True)
    make, names, mistakes = logformat.compile_template(format)
    if mistakes:
        raise ValueError(mistakes[0][1])
    return Formatter(make, not names.isdisjoint(logfields.COUNTED), not names.isdisjoint(logfields.LOCAL))


def check(template: str) -> list[tuple[int, str]]:
    """Every mistake in a template: where (in characters from 0) and what."""
    return [] if template in ("json", "tcp", "connect") else logformat.compile_template(template)[2]


def _tcp() -> Make:
    """`logformat.TCP` by hand, as it is the most used (tests hold the two together)."""
    clock = Clock(logfields.local_time)

    def make(r: Record, counts: Counts) -> str:
        server = r.server
        over = r.total_ms >= 0
        plus = "" if over else "+"
        return (
            f"{r.client_host}:{r.client_port} [{clock(r.wall)}] {r.listener.name}{'~' if r.tls else ''} "
            f"{(r.backend or r.listener).name}/{'<NOSRV>' if server is None else server.name} "
            f"{queue_ms(r)}/{r.connect_ms}/{plus}{r.total_ms if over else total(r)} {plus}{r.bytes_out} {r.code} "
            f"{counts[0] + over}/{counts[1] + over}/{counts[2]}/{counts[3]}/{'+' if r.redispatched else ''}{r.retries} "
            f"{r.server_queue}/{r.backend_queue}"
        )

    return make


def _connect(r: Record, counts: Counts) -> str:
    """What HAProxy writes when it was not told any format."""
    local = f"{r.local_host}:{r.local_port}" if r.local_host else "-:-"
    return f"Connect from {r.client_host}:{r.client_port} to {local} ({r.listener.name}/TCP)"


def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _json(node: str) -> Make:
    clock = Clock(_utc)
    quote = encode_basestring_ascii
    machine = f'"node":{quote(node)},' if node else ""
    prewarmed = ',"prewarmed":true'

    def optional(text: str | None) -> str:
        return quote(text) if text else "null"

    def make(r: Record, counts: Counts) -> str:
        backend, server, captures = r.backend, r.server, r.captures
        return (
            f'{{"time":"{clock(r.wall)}Z",{machine}"id":{r.id},'
            f'"client":{quote(endpoint(r.client_host, r.client_port))}{_proxied(r)},'
            f'"listener":{quote(r.listener.name)},'
            f'"local":{quote(endpoint(r.local_host, r.local_port)) if r.local_host else "null"},'
            f'"sni":{optional(r.sni)},"alpn":{optional(r.alpn)},"rule":{optional(r.route)},'
            f'"backend":{quote(backend.name) if backend else "null"},'
            f'"server":{quote(server.name) if server else "null"},'
            f'"times":{{"queue":{queue_ms(r)},"connect":{r.connect_ms},"total":{total(r)}}},'
            f'"bytes":{{"in":{r.bytes_in},"out":{r.bytes_out}}},"over":{"true" if r.total_ms >= 0 else "false"},'
            f'"ended_by":{optional(ended_by(r))},"how":{optional(r.how)},"reason":{optional(r.reason)},'
            f'"code":"{r.code}","path":"{r.path}","retries":{r.retries},'
            f'"redispatched":{"true" if r.redispatched else "false"}'
            f"{_captured(captures) if captures else ''}{_asked(r.ask) if r.ask else ''}"
            f"{_original(*r.original) if r.original else ''}{_terminated(r.tls) if r.tls else ''}"
            f"{prewarmed if r.prewarmed else ''}}}"
        )

    def _asked(ask: Ask) -> str:
        return (
            f',"protocol":"{ask.protocol}","method":{optional(ask.method)},'
            f'"target":{quote(endpoint(ask.host, ask.port)) if ask.host else "null"},"status":{ask.status or "null"},'
            f'"user":{optional(ask.user)},"user_claimed":{optional(ask.user_claimed)},"via":{optional(ask.via)},'
            f'"tls":{optional(ask.tls)},"error":{optional(ask.error)}'
        )

    def _original(host: str, port: int) -> str:
        return f',"original":{quote(endpoint(host, port))}'

    def _terminated(tls: Tls) -> str:
        return (
            f',"client_tls":{{"version":{quote(tls.version)},"cipher":{quote(tls.cipher)},"alpn":{optional(tls.alpn)},'
            f'"resumed":{"true" if tls.resumed else "false"},"certificate":{optional(one_line(tls.subject))}}}'
        )

    def _proxied(r: Record) -> str:
        peer = f',"peer":{quote(endpoint(*r.peer))}' if r.peer else ""
        return f'{peer},"unique_id":{quote(r.unique_id)}' if r.unique_id else peer

    def _captured(captures: list[str | None]) -> str:
        return f',"captures":[{",".join(["null" if one is None else quote(one) for one in captures])}]'

    return make
