"""The native configuration as a schema: what the YAML may say, with its defaults, and what JSON Schema is made from.

Every dialect ends here: a dialect yields plain data (config.source.Document), this model validates it, config.compile
turns it into a plan. Field descriptions are the reference documentation. Imported lazily: pydantic is slow to load.

Types are strict: text is no number and `yes` is no truth. Short forms (one address for a list of them, an address for
a server) are widened before validation, so that the model itself only knows the long form.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)

from ferryman.config.fields import CONNECT_EXAMPLES, Condition, Connect, Seconds, Section, one_or_list, text_for
from ferryman.config.model_check import Check
from ferryman.config.model_connect import ConnectSettings, Through
from ferryman.config.model_destination import Destination
from ferryman.config.model_origin import Origin
from ferryman.config.model_proxy import ReceiveProxy, SendProxy
from ferryman.config.model_tls import TlsCases, TlsServer
from ferryman.config.values import (
    parse_listen_address,
    parse_log_target,
    shown,
    split_addresses,
)
from ferryman.plan import Address

ALGORITHMS = ("roundrobin", "static-rr", "leastconn", "first", "source", "random")


def _bind_list(value: object) -> object:
    return split_addresses(value) if isinstance(value, str) else one_or_list(value)


def _listen_data(address: Address) -> object:
    more = {key: value for key in ("v6only", "namespace") if (value := getattr(address, key))}
    return {"address": address.text, **more} if more else address.text


def _log_target(value: str) -> str:
    parse_log_target(value)
    return value


def _octal_mode(value: str) -> str:
    if not re.fullmatch(r"[0-7]{3,4}", value):
        raise ValueError(f'{shown(value)} is no set of permissions; write them in octal, such as "600"')
    return value


def _balance(value: str) -> str:
    parse_balance(value)
    return value


def parse_balance(text: str) -> tuple[str, int]:
    """Read "leastconn" or "random(3)" into (algorithm, draws). Raises ValueError."""
    found = re.fullmatch(r"random\(([1-9][0-9]?)\)", text)
    if found is None and text not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {shown(text)}; there are {', '.join(ALGORITHMS)} and random(N)")
    return ("random", int(found[1])) if found else (text, 2)


def _boolean_or_number(value: object) -> str:
    return "<boolean>" if isinstance(value, bool) else "<number>"


_LISTEN_TEXT = {"type": "string", "examples": ["*:443", "127.0.0.1:443", "[::1]:443", "unix@/run/x.sock"]}
_LISTEN_MAPPING = {
    "type": "object",
    "properties": {
        "address": {"type": "string"},
        "v6only": {"type": "boolean"},
        "namespace": {"type": "string"},
    },
    "required": ["address"],
    "additionalProperties": False,
}
Listen = Annotated[
    Address,
    BeforeValidator(parse_listen_address),
    PlainSerializer(_listen_data),
    WithJsonSchema({"anyOf": [_LISTEN_TEXT, _LISTEN_MAPPING]}),
]
"""Where to listen: "*:443", or {address: "[::]:443", v6only: true}, or {address: "*:443", namespace: NAME}."""

Level = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
# fmt: off
Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]
# fmt: on
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=255)]
"""Of a listener or backend: letters, digits and -_.: only, since it is printed in logs, pages and metrics."""


class LogSettings(Section):
    """One log target. In a list of targets, plain text stands for {target: …}."""

    target: Annotated[str, AfterValidator(_log_target)] = "stdout"
    """stdout, stderr, fd@N, file:/path, udp:HOST:PORT, or a path of a Unix datagram socket as unix:/dev/log"""
    format: Literal["local", "rfc3164", "rfc5424", "priority", "short", "timed", "iso", "raw"] = "raw"
    """the frame around each line; raw: none"""
    facility: Facility = "local0"
    """syslog facility"""
    max_level: Level = "debug"
    """messages less urgent than this are left out"""
    min_level: Level = "emerg"
    """messages more urgent than this are sent as if they were of this level"""
    tag: str = "ferryman"
    """the program name in the frame"""
    hostname: str = ""
    """the host name in the frame; none: not sent, unless the format demands one"""
    length: int | None = Field(default=None, ge=80, le=65535)
    """longest line, in bytes; the rest is cut; default: 1024 to udp and unix, as syslog servers expect, else 8192"""


Log = Annotated[LogSettings, text_for("target", LogSettings, ["stdout", "udp:127.0.0.1:514", "unix:/dev/log"])]
Logs = Annotated[list[Log], BeforeValidator(one_or_list, json_schema_input_type=Log | list[Log])]


class RuntimeSocketSettings(Section):
    """A socket that answers HAProxy's runtime commands. A plain address stands for {address: …}."""

    address: Listen
    """such as unix@/run/ferryman/runtime.sock"""
    mode: Annotated[str, AfterValidator(_octal_mode)] | None = None
    """permissions in octal, as text: "600" """
    user: str = ""
    """owner of the socket's file"""
    group: str = ""
    """group of the socket's file"""
    level: Literal["user", "operator", "admin"] = "operator"
    """user: look at little, operator: look at all, admin: change things"""


RuntimeSocketEntry = Annotated[
    RuntimeSocketSettings, text_for("address", RuntimeSocketSettings, ["unix@/run/ferryman/runtime.sock"])
]


class GlobalSettings(Section):
    """What concerns the process as a whole."""

    workers: int | None = Field(default=None, ge=1, le=1024)
    """worker processes; default: one per CPU"""
    max_connections: int = Field(default=0, ge=0)
    """connections at once over all listeners; more wait in the kernel's backlog; 0: as many as descriptors allow"""
    user: str = ""
    """who to be after binding; default: whoever started it"""
    group: str = ""
    """group to be in after binding; default: the user's"""
    chroot: str = ""
    """folder to lock the process into after binding; needs root"""
    pidfile: str = ""
    """file for the supervisor's process id"""
    daemon: bool = False
    """go to the background; honoured by `ferryman start`, only noted by `ferryman run`"""
    control: str = ""
    """path of the control socket that `ferryman status` and friends talk to"""
    runtime_sockets: Annotated[
        list[RuntimeSocketEntry],
        BeforeValidator(one_or_list, json_schema_input_type=RuntimeSocketEntry | list[RuntimeSocketEntry]),
    ] = []
    """sockets for HAProxy's runtime commands (show stat, set server, …)"""
    runtime_timeout: Seconds = 10.0
    """a runtime connection that is silent this long is closed"""
    ticket_rotation: Seconds = Field(default=43200.0, ge=60)
    """how often the key of TLS session tickets is replaced; sessions of the one before begin anew"""
    drain_timeout: Seconds | None = None
    """a graceful stop ends what is left after this long; none: it waits"""
    node: str = ""
    """the name this machine shows on its pages; default: its host name"""
    log: Logs | None = None
    """default targets of the listeners' access logs and of the process's own messages; default: stdout; []: none"""


class RuleSettings(Section):
    """An entry of `connection` or `inspect`."""

    action: Literal["accept", "reject", "drop", "capture"]
    """accept: go on to the routes; reject: close; drop: refuse and say nothing at all; capture: keep a fact"""
    when: Condition = None
    """default: always"""
    fact: str = ""
    """what a capture stores, such as sni or sni|lower"""
    length: int = Field(default=0, ge=0, le=65535)
    """of a capture: how many characters are kept"""


class RouteSettings(Section):
    """`to` when the condition holds; the first that holds wins."""

    to: str = Field(min_length=1)
    """a backend's name, or %[fact] to compute the name"""
    when: Condition = None
    """default: always"""


class PagesSettings(Section):
    """The stats page."""

    uri: str = Field(default="/", pattern="^/")
    """where it begins; whatever follows is accepted"""
    users: dict[str, str] = {}
    """name: password; none: everybody may read"""
    refresh: Seconds | None = None
    """the page reloads itself this often; none or 0: never"""
    realm: str = "HAProxy Statistics"
    """what the browser shows when it asks for the password"""
    title: str = ""
    """heading of the page"""
    hide_version: bool = False
    """leave the version out"""
    metrics: bool = True
    """also /metrics and /healthz"""
    scope: Annotated[list[str], BeforeValidator(one_or_list, json_schema_input_type=str | list[str])] = []
    """names of the listeners and backends shown; none: all"""


class ServerSettings(Section):
    """A server. In a list of servers, a plain address stands for {address: …}."""

    address: Connect
    """where it is; without a port, or with +N or -N: the port the client used (plus N)"""
    name: str = Field(default="", pattern=r"^[^\s/,]*$", max_length=255)
    """default: the address"""
    weight: int = Field(default=1, ge=0, le=256)
    """its share compared with the others; 0: no new traffic"""
    backup: bool = False
    """used only when no other server is up"""
    max_connections: int = Field(default=0, ge=0)
    """connections at once; more wait in a queue; 0: no limit"""
    max_queue: int = Field(default=0, ge=0)
    """how many may wait; 0: no limit"""
    check: Check | None = None
    """true, false, or settings of a health check; default: the backend's"""
    disabled: bool = False
    """start in maintenance"""
    close_on_down: bool = False
    """end its connections when it goes down"""
    source: Origin | None = None
    """where connections to it come from: an address of this machine, or `client`; default: the backend's"""
    send_proxy: SendProxy | None = None
    """v1, v2, or settings of the PROXY header it gets first; false: none; default: the backend's"""
    tls: TlsServer | None = None
    """true, false, or settings of TLS with this server; default: the backend's"""


ServerEntry = Annotated[ServerSettings, text_for("address", ServerSettings, CONNECT_EXAMPLES)]
Servers = Annotated[
    list[ServerEntry], BeforeValidator(one_or_list, json_schema_input_type=ServerEntry | list[ServerEntry])
]


class PrewarmSettings(Section):
    """Connections to servers that are made before anybody needs them: with TLS where servers are spoken with in TLS and
    what they are asked for is fixed (`server_name`, `alpn`). Each worker holds its own, of each server."""

    min: int = Field(default=1, ge=0, le=10_000)
    """how many there are at least"""
    max: int = Field(default=64, ge=1, le=10_000)
    """and at most"""
    rate: float = Field(default=1.0, ge=0, le=1000)
    """for each one that was missing, so many more are made, every second; 0: there are always `min`"""
    idle: Seconds | None = 20.0
    """one that nobody needed for so long is closed; have it shorter than the servers' own patience; null or 0: never"""

    @model_validator(mode="after")
    def _in_order(self) -> PrewarmSettings:
        if self.min > self.max:
            raise ValueError(f"`min` {self.min} is more than `max` {self.max}")
        return self


class BackendSettings(Section):
    """Servers and how one is chosen."""

    servers: Servers = []
    """one server or a list of them"""
    balance: Annotated[str, AfterValidator(_balance)] = "roundrobin"
    """roundrobin, static-rr, leastconn, first, source, random, or random(N)"""
    check: Check = False
    """true, false, or settings of a health check, for servers that say nothing of their own"""
    use_all_backups: bool = False
    """use all backup servers at once; default: the first one that is up"""
    retries: int = Field(default=3, ge=0, le=1000)
    """attempts after the first that failed"""
    redispatch: Annotated[
        Annotated[bool, Tag("<boolean>")] | Annotated[int, Field(ge=-1000, le=1000), Tag("<number>")],
        Discriminator(_boolean_or_number),
    ] = -1  # not True, which would equal 1 and be left out of what is emitted
    """may a retry go to another server? true or -1: the last one; N: every Nth; false or 0: never"""
    connect_timeout: Seconds | None = 5.0
    """for a connection to a server to stand; null or 0: no limit"""
    negotiation_timeout: Seconds | None = None
    """for each proxy on the way to answer, and for TLS with a server; default or 0: connect_timeout"""
    server_timeout: Seconds | None = None
    """how long a server may be silent; none or 0: no limit"""
    server_fin_timeout: Seconds | None = None
    """the same once one direction is closed; default: as before"""
    tunnel_timeout: Seconds | None = None
    """how long an established connection may be silent, instead of client_timeout and server_timeout"""
    queue_timeout: Seconds | None = None
    """how long to wait for a free server; default: connect_timeout"""
    keepalive: bool = False
    """TCP keep-alive towards servers"""
    source: Origin | None = None
    """where connections to servers come from: an address of this machine, or `client` for the client's own; default:
    what fits the route"""
    tests: dict[str, Condition] = {}
    """named conditions for `when` in server_rules"""
    server_rules: list[RouteSettings] = []
    """choose a server by rule: `to` names a server of this backend"""
    send_proxy: SendProxy = False
    """v1, v2, or settings of the PROXY header that servers get first: it says who the client is"""
    tls: TlsServer = False
    """true, false, or settings of TLS with the servers"""
    via: Through | None = None
    """other proxies on the way to the servers; default: none"""
    prewarm: PrewarmSettings | None = None
    """hold connections to the servers ready; not with `via`, `send_proxy`, `source: client` or `destination`, where
    what is sent first depends on the client"""
    destination: Destination | None = None
    """instead of servers: where connections go that say so themselves, such as "{sni}:443" """


class ListenerSettings(Section):
    """A door: where it listens, its rules, where it leads."""

    bind: Annotated[list[Listen], BeforeValidator(_bind_list, json_schema_input_type=Listen | list[Listen])]
    """one address or a list: "*:443", "127.0.0.1:8000-8010", "[::1]:443", "unix@/run/x.sock"; or a mapping, with
    `v6only: true`, or with the `namespace` (ip-netns(8)) to listen in, where connections to servers do not go"""
    mode: Literal["tcp", "connect", "pages"] | None = None
    """tcp: carry connections; connect: explicit proxy; pages: stats page; default: by which section is given, or tcp"""
    tests: dict[str, Condition] = {}
    """named conditions for `when`"""
    connection: list[RuleSettings] = []
    """rules on addresses alone, at accept"""
    inspect: list[RuleSettings] = []
    """rules that may wait for the client's first bytes"""
    routes: list[RouteSettings] = []
    """which backend; the first route whose condition holds"""
    to: str = ""
    """the backend of what no route takes; none: refused"""
    backend: BackendSettings | None = None
    """servers of this listener's own, instead of `to`"""
    servers: Servers = []
    """short for backend: {servers: …}"""
    inspect_timeout: Seconds | None = None
    """how long rules may wait; default: 5 s where a rule needs the client's first bytes; 0: not at all"""
    client_timeout: Seconds | None = None
    """how long a client may be silent; none or 0: no limit"""
    client_fin_timeout: Seconds | None = None
    """the same once one direction is closed; default: as before"""
    max_connections: int = Field(default=0, ge=0)
    """connections at once; more wait in the kernel's backlog; 0: no limit of its own"""
    max_per_client: int = Field(default=0, ge=0)
    """of these, at most so many from one address, counted by each worker on its own; more are refused; 0: no limit"""
    backlog: int = Field(default=0, ge=0)
    """connections the kernel keeps waiting; 0: the system's number"""
    keepalive: bool = False
    """TCP keep-alive towards clients"""
    transparent: Literal["tproxy", "redirect"] | None = None
    """clients are on their way to other machines, and a firewall rule sends them here: by TPROXY, or by REDIRECT. Where
    they wanted to go are the facts original_address and original_port; `ferryman transparent` makes such rules"""
    log: Logs | None = None
    """default: global.log; []: no access log"""
    log_format: str = "json"
    """json, tcp (HAProxy's tcplog), connect, or a template in HAProxy's log-format language"""
    log_start: bool = False
    """a line at the start of each connection too"""
    log_asap: bool = False
    """the line when the server is reached, not at the end"""
    log_empty: bool = True
    """also connections that carried no data"""
    log_normal: bool = True
    """also connections that ended well"""
    log_separate_errors: bool = False
    """connections that ended badly are logged at level err"""
    pages: PagesSettings | None = None
    """settings of the stats page"""
    connect: ConnectSettings | None = None
    """settings of an explicit proxy, whose clients name their target themselves"""
    proxy_protocol: ReceiveProxy = False
    """true, or settings: another proxy is in front, and says in a PROXY header who the client is; whoever may send one
    can claim to be anybody"""
    tls: TlsCases = []
    """end the TLS of clients here; one mapping, or a list of which the first whose `when` holds decides"""
    disabled: bool = False
    """leave this listener out"""


class Configuration(Section):
    """A whole configuration."""

    settings: GlobalSettings = Field(default=GlobalSettings(), alias="global")
    """what concerns the process as a whole"""
    listeners: dict[Name, ListenerSettings]
    """doors, by name"""
    backends: dict[Name, BackendSettings] = {}
    """groups of servers, by name"""


def section_at(path: tuple[str | int, ...]) -> type[Section] | None:
    """The section a path of the data leads to, for hints; None where there is none."""
    current: type[Section] = Configuration
    named = False  # the next part is the name of a listener or backend
    for part in path:
        if named or isinstance(part, int):
            named = False
            continue
        fields = {info.alias or name: info.annotation for name, info in current.model_fields.items()}
        annotation = fields.get(part)
        found = _section_in(annotation)
        if found is None:
            return None
        current, named = found, get_origin(annotation) is dict
    return None if named else current


def _section_in(annotation: Any) -> type[Section] | None:
    """The one section class within an annotation such as list[Annotated[X, …]] | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)
