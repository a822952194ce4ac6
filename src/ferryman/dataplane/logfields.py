"""What a line can show of a connection: the aliases and the facts of logformat, as getters on its record.

Used by logformat and accesslog; a new alias or fact is one line in a table here. What a client chose is encoded, so
that it cannot leave its field. HAProxy writes the value of an expression as it came, control characters and all, which
lets a client add lines of its own to the log; here such values are encoded as HAProxy's manual (8.6) demands of all
that is logged, and as HAProxy itself does it for %hr: `#` and two hexadecimal digits for everything but printable
ASCII, and for the characters `"` and `#`.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ferryman.dataplane.record import Record
from ferryman.rules import expression
from ferryman.rules.fetches import FETCHES, one_line


class Counts(NamedTuple):
    """Connections there are while the line is made: of the process, the listener, the backend, the server.

    A connection that has ended is not among them any more. HAProxy still counts it in %ac and %fc; so do the lines.
    """

    actconn: int
    feconn: int
    beconn: int
    srvconn: int


Make = Callable[[Record, Counts], str]
Getter = Callable[[Record, Counts], str | int]

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# what is read from a record


def local_time(second: int) -> str:
    t = time.localtime(second)
    return f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


def _utc_time(second: int) -> str:
    t = time.gmtime(second)
    return f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"


def _local_time_zone(second: int) -> str:
    return f"{local_time(second)} {time.strftime('%z', time.localtime(second))}"


class Clock:
    """Moments as text with milliseconds. Seconds that were asked for lately are kept, as making them costs most."""

    __slots__ = ("_made", "_write")

    def __init__(self, write: Callable[[int], str]) -> None:
        self._write = write
        self._made: dict[int, str] = {}

    def __call__(self, wall: float) -> str:
        second, ms = divmod(int(wall * 1000), 1000)
        return f"{self._made.get(second) or self.second(second)}.{ms:03}"

    def second(self, second: int) -> str:
        made = self._made
        if (text := made.get(second)) is None:
            if len(made) > 1000:
                made.clear()
            text = made[second] = self._write(second)
        return text


def endpoint(host: str, port: int) -> str:
    """Address and port with brackets around IPv6 (HAProxy's own formats have none)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def queue_ms(r: Record) -> int:
    """As %Tw: 0 when a server was had at once, -1 when there was none."""
    return 0 if r.queue_ms < 0 and r.server is not None else r.queue_ms


def total(r: Record) -> int:
    """Milliseconds since accept: at the end, or (for a line before it) now."""
    return r.total_ms if r.total_ms >= 0 else max(int((time.monotonic() - r.start) * 1000), 0)


def ended_by(r: Record) -> str:
    """client, server, or proxy; of an orderly end the side that closed first; "" when it has not ended."""
    return {"C": "client", "c": "client", "S": "server", "s": "server", "-": r.closed_first}.get(r.code[:1], "proxy")


def _unfinished(value: int, r: Record) -> str | int:
    return value if r.total_ms >= 0 else f"+{value}"


def _data_ms(r: Record) -> int:
    return max(total(r) - r.connect_ms - max(r.queue_ms, 0), 0) if r.connect_ms >= 0 else -1


def _server_host(r: Record) -> str:
    return r.server.address.host if r.server else ""


def _server_port(r: Record) -> str | int:
    if r.server is None:
        return "-"
    address = r.server.address
    return r.local_port + address.port if address.from_client else address.port


def _captures(r: Record) -> list[str | None]:
    return r.captures or [None] * r.listener.capture_slots


# how it is written

_WILD: Final = re.compile(r"[^ !$-~]")  # all but printable ASCII, and " and #
_WILD_HEADER: Final = re.compile(r"[^ !$-z~]")  # and { | }
_ESCAPED: Final = re.compile(r'["\\\]]')


def encode(text: str, wild: re.Pattern[str] = _WILD) -> str:
    """Keep text within its field: `#XX` for each byte that is not plain. Characters are bytes, or else UTF-8."""

    def codes(found: re.Match[str]) -> str:
        character = found[0]
        data = character.encode("latin-1" if character < "\u0100" else "utf-8", "replace")
        return "".join(f"#{byte:02X}" for byte in data)

    return wild.sub(codes, text)


class Flags(NamedTuple):
    """Q: quoted, X: hexadecimal where that makes sense, E: backslashes as structured data (RFC 5424) want them."""

    Q: bool = False
    X: bool = False
    E: bool = False


def text(flags: Flags, get: Callable[[Record], str], wild: bool = False) -> Getter:
    """A text; without any, `-`. `wild`: whoever is outside chose it."""
    quote, escape = flags.Q, flags.E
    if not quote and not wild:
        return lambda r, c: get(r) or "-"  # names hold nothing that E is about

    def getter(r: Record, c: Counts) -> str:
        text = get(r)
        if wild:
            if escape:
                # E keeps a quotation mark readable; encode has nothing left to do about it
                text = '"'.join(map(encode, text.split('"')))
                text = _ESCAPED.sub(r"\\\g<0>", text)
            elif not (text.isascii() and text.isprintable()) or '"' in text or "#" in text:
                text = encode(text)
        if quote:
            return f'"{text}"'
        return text or "-"

    return getter


def _address(flags: Flags, get: Callable[[Record], str]) -> Getter:
    if not flags.X:
        return text(flags, get)

    def getter(r: Record, c: Counts) -> str:
        host = get(r)
        try:
            return ipaddress.ip_address(host.partition("%")[0]).packed.hex().upper()
        except ValueError:
            return host or "-"

    return getter


def _hexadecimal(flags: Flags, digits: int, get: Callable[[Record], str | int]) -> Getter:
    if not flags.X:
        return lambda r, c: get(r)

    def getter(r: Record, c: Counts) -> str:
        value = get(r)
        return f"{value:0{digits}X}" if isinstance(value, int) else value

    return getter


def _headers(flags: Flags, get: Callable[[Record], list[str | None]]) -> Getter:
    """%hr: captures between braces, nothing when none are declared."""
    template = '"{%s}"' if flags.Q else "{%s}"

    def getter(r: Record, c: Counts) -> str:
        values = [encode(value or "", _WILD_HEADER) for value in get(r)]
        return template % "|".join(values) if values else ""

    return getter


def _header_list(flags: Flags, get: Callable[[Record], list[str | None]]) -> Getter:
    """%hrl: each on its own."""
    template, nothing = ('"%s"', '""') if flags.Q else ("%s", "-")

    def getter(r: Record, c: Counts) -> str:
        return " ".join([template % encode(value, _WILD_HEADER) if value else nothing for value in get(r)])

    return getter


def _number(get: Callable[[Record], str | int]) -> Callable[[Flags], Getter]:
    return lambda flags: lambda r, c: get(r)


def _name(get: Callable[[Record], str]) -> Callable[[Flags], Getter]:
    return lambda flags: text(flags, get)


def _host(get: Callable[[Record], str]) -> Callable[[Flags], Getter]:
    return lambda flags: _address(flags, get)


def _x(digits: int, get: Callable[[Record], str | int]) -> Callable[[Flags], Getter]:
    return lambda flags: _hexadecimal(flags, digits, get)


def _moment(flags: Flags) -> Getter:
    clock = Clock(local_time)
    return lambda r, c: clock(r.wall)


def _date(write: Callable[[int], str]) -> Callable[[Flags], Getter]:
    def make(flags: Flags) -> Getter:
        clock = Clock(write)
        return lambda r, c: clock.second(int(r.wall))

    return make


def _lines(flags: Flags) -> Getter:
    """%lc: how many lines this format has made before."""
    counter = itertools.count()
    return _hexadecimal(flags, 4, lambda r: next(counter))


ALIASES: Final[dict[str, Callable[[Flags], Getter]]] = {
    "B": _number(lambda r: _unfinished(r.bytes_out, r)),
    "H": _name(lambda r: os.uname().nodename),
    # of the PROXY header, which holds what its sender likes; else as where no unique-id-format is set
    "ID": lambda flags: text(flags, lambda r: r.unique_id, wild=True),
    "ST": _number(lambda r: 0),
    "T": _date(_utc_time),
    "Tc": _number(lambda r: r.connect_ms),
    "Td": _number(_data_ms),
    "Th": _number(lambda r: 0),
    "Tl": _date(_local_time_zone),
    "Ts": _x(4, lambda r: int(r.wall)),
    "Tt": _number(lambda r: _unfinished(total(r), r)),
    "Tu": _number(lambda r: _unfinished(total(r), r)),
    "Tw": _number(queue_ms),
    "U": _number(lambda r: r.bytes_in),
    "ac": lambda flags: lambda r, c: c.actconn + (r.total_ms >= 0),
    "b": _name(lambda r: (r.backend or r.listener).name),
    "bc": lambda flags: lambda r, c: c.beconn,
    "bi": _host(lambda r: ""),  # the address ferryman used towards the server is not kept
    "bp": _number(lambda r: "-"),
    "bq": _number(lambda r: r.backend_queue),
    "ci": _host(lambda r: r.client_host),
    "cp": _x(4, lambda r: r.client_port),
    "f": _name(lambda r: r.listener.name),
    "fc": lambda flags: lambda r, c: c.feconn + (r.total_ms >= 0),
    "fi": _host(lambda r: r.local_host),
    "fp": _x(4, lambda r: r.local_port if r.local_host else "-"),
    "ft": _name(lambda r: r.listener.name + "~" * (r.tls is not None)),
    "hr": lambda flags: _headers(flags, _captures),
    "hrl": lambda flags: _header_list(flags, _captures),
    "lc": _lines,
    "ms": lambda flags: lambda r, c: f"{int(r.wall * 1000) % 1000:{'02X' if flags.X else '03'}}",
    "pid": _x(4, lambda r: os.getpid()),
    "rc": _number(lambda r: f"+{r.retries}" if r.redispatched else r.retries),
    "rt": _x(4, lambda r: r.id),
    "s": _name(lambda r: r.server.name if r.server else "<NOSRV>"),
    "sc": lambda flags: lambda r, c: c.srvconn,
    "si": _host(_server_host),
    "sp": _x(4, _server_port),
    "sq": _number(lambda r: r.server_queue),
    "sslc": _name(lambda r: r.tls.cipher if r.tls else ""),
    "sslv": _name(lambda r: r.tls.version if r.tls else ""),
    "t": _moment,
    "ts": _number(lambda r: r.code),
    "tsc": _number(lambda r: r.code + "--"),
}
"""What HAProxy 2.6 takes in mode tcp."""

EMPTY: Final = ("hs", "hsl")
"""Captures of responses, which mode tcp has none of: they leave nothing, not even the blank before them."""

COUNTED: Final = frozenset(("ac", "fc", "bc", "sc"))
LOCAL: Final = frozenset(("fi", "fp", "sp", "dst", "dst_port", "fc_dst", "fc_dst_port", "local_address", "local_port"))

HTTP: Final = frozenset("CC CS HM HP HPO HQ HU HV Ta Ti Tq TR Tr r tr trg trl".split())  # noqa: SIM905 - a list of words

# expressions: what is still known at the end

_FACTS: Final[dict[str, Callable[[Record], str | int | None]]] = {
    "alpn": lambda r: r.alpn,
    "backend": lambda r: r.backend.name if r.backend else None,
    "bytes_in": lambda r: r.bytes_in,
    "bytes_out": lambda r: r.bytes_out,
    "client_address": lambda r: r.client_host,
    "client_cert_fingerprint": lambda r: (r.tls.fingerprint or None) if r.tls else None,
    "client_cert_issuer": lambda r: (one_line(r.tls.issuer) or None) if r.tls else None,
    "client_cert_subject": lambda r: (one_line(r.tls.subject) or None) if r.tls else None,
    "client_port": lambda r: r.client_port,
    "code": lambda r: r.code,
    "date": lambda r: int(r.wall),
    "ended_by": ended_by,
    "error": lambda r: (r.ask.error or None) if r.ask else None,
    "how": lambda r: r.how,
    "id": lambda r: r.id,
    "listener": lambda r: r.listener.name,
    "local_address": lambda r: r.local_host or None,
    "local_port": lambda r: r.local_port if r.local_host else None,
    "method": lambda r: (r.ask.method or None) if r.ask else None,
    "path": lambda r: r.path,
    "peer_address": lambda r: r.peer[0] if r.peer else r.client_host,
    "peer_port": lambda r: r.peer[1] if r.peer else r.client_port,
    "protocol": lambda r: r.ask.protocol if r.ask else None,
    "reason": lambda r: r.reason,
    "retries": lambda r: r.retries,
    "rule": lambda r: r.route,
    "server": lambda r: r.server.name if r.server else None,
    "sni": lambda r: r.sni,
    "ssl_fc_sni": lambda r: r.sni if r.tls else None,
    "status": lambda r: (r.ask.status or None) if r.ask else None,
    "target_host": lambda r: (r.ask.host or None) if r.ask else None,
    "target_port": lambda r: (r.ask.port or None) if r.ask else None,
    "tls": lambda r: (r.ask.tls or None) if r.ask else None,
    "tls_agreed_alpn": lambda r: (r.tls.alpn or None) if r.tls else None,
    "tls_agreed_version": lambda r: r.tls.version if r.tls else None,
    "tls_cipher": lambda r: r.tls.cipher if r.tls else None,
    "tls_resumed": lambda r: int(r.tls.resumed) if r.tls else None,
    "user": lambda r: (r.ask.user or None) if r.ask else None,
    "user_claimed": lambda r: (r.ask.user_claimed or None) if r.ask else None,
    "via": lambda r: (r.ask.via or None) if r.ask else None,
}
_HAPROXY: Final = {
    "accept_date": "date",
    "be_name": "backend",
    "dst": "local_address",
    "dst_port": "local_port",
    "fc_dst": "local_address",
    "fc_dst_port": "local_port",
    "fc_src": "client_address",
    "fc_src_port": "client_port",
    "fe_name": "listener",
    "req.ssl_alpn": "alpn",
    "req.ssl_sni": "sni",
    "req_ssl_sni": "sni",
    "src": "client_address",
    "ssl_c_i_dn": "client_cert_issuer",
    "ssl_c_s_dn": "client_cert_subject",
    "ssl_fc_alpn": "tls_agreed_alpn",
    "ssl_fc_cipher": "tls_cipher",
    "ssl_fc_is_resumed": "tls_resumed",
    "ssl_fc_protocol": "tls_agreed_version",
    "src_port": "client_port",
    "srv_name": "server",
    "txn.sess_term_state": "code",
}
_CAPTURE: Final = re.compile(r"(?:capture\.req\.hdr|capture)\(\s*([0-9]{1,3})\s*\)\Z")
_CONSTANT: Final = re.compile(r"(?:str|text|int|integer)\((.*)\)\Z", re.DOTALL)


def fact(call: str) -> Callable[[Record], str | int | None]:
    """The getter of a fact. Raises ValueError."""
    name = _HAPROXY.get(call, call)
    if name in _FACTS:
        return _FACTS[name]
    if found := _CAPTURE.match(call):
        slot = int(found[1])
        return lambda r: r.captures[slot] if r.captures and slot < len(r.captures) else None
    if found := _CONSTANT.match(call):
        text = found[1].strip("\"'")
        return lambda r: text
    name = call.partition("(")[0]
    if name in FETCHES or name.startswith(("req.", "req_", "payload")):
        raise ValueError(f'"{name}" is not known any more when a line is written: keep it by a capture')
    hint = expression.nearest(name, (*_FACTS, *_HAPROXY, "capture.req.hdr"))
    raise ValueError(f'"{name}" cannot be logged' + (f"; {hint}" if hint else ""))
