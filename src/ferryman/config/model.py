"""The native configuration as a schema: what the YAML may say, with its defaults, and what JSON Schema is made from.

Every dialect ends here: a dialect yields plain data (config.source.Document), this model validates it, config.compile
turns it into a plan. Field descriptions are the reference documentation. Imported lazily: pydantic is slow to load.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ferryman.config.values import (
    format_seconds,
    parse_connect_address,
    parse_listen_address,
    parse_seconds,
)
from ferryman.plan import Address

Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    PlainSerializer(format_seconds),
    WithJsonSchema({"type": ["string", "number"], "examples": ["500ms", "10s", "1m", "2h"]}),
]
"""A duration: "500ms", "10s", "1m", "2h", "1d", or a number of seconds."""

_ADDRESS = WithJsonSchema({"type": "string", "examples": ["*:443", "127.0.0.1:443", "[::1]:443", "unix@/run/x.sock"]})
Listen = Annotated[Address, BeforeValidator(parse_listen_address), PlainSerializer(str), _ADDRESS]
Connect = Annotated[Address, BeforeValidator(parse_connect_address), PlainSerializer(str), _ADDRESS]

Condition = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A test such as {sni: '*.example.org'} (several keys: all must hold), a list (one must hold), "
            "the name of an entry of `tests`, or {all: [...]}, {any: [...]}, {not: ...}.",
            "type": ["object", "array", "string"],
        }
    ),
]
"""Checked by config.conditions, which knows the facts and methods."""


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class LogSettings(Section):
    """One log target."""

    target: str = "stdout"
    """stdout, stderr, fd@N, file:/path, udp:HOST:PORT, or a path of a Unix datagram socket as unix:/dev/log"""
    format: Literal["local", "rfc3164", "rfc5424", "priority", "short", "timed", "iso", "raw"] = "raw"
    facility: str = "local0"
    max_level: str = "debug"
    min_level: str = "emerg"
    tag: str = "ferryman"
    hostname: str = ""
    length: int = Field(default=1024, ge=80, le=65535)


class RuntimeSocketSettings(Section):
    """A socket that answers HAProxy's runtime commands (show stat, set server, …)."""

    address: Listen
    mode: str | None = None
    """permissions in octal, as text: "600" """
    user: str = ""
    group: str = ""
    level: Literal["user", "operator", "admin"] = "operator"


class GlobalSettings(Section):
    """What concerns the process as a whole."""

    workers: int | None = Field(default=None, ge=1, le=1024)
    """worker processes; default: one per CPU"""
    max_connections: int = Field(default=0, ge=0)
    """connections at once over all listeners; more wait in the kernel's backlog; 0: as many as descriptors allow"""
    user: str = ""
    group: str = ""
    chroot: str = ""
    pidfile: str = ""
    daemon: bool = False
    """go to the background; honoured by `ferryman start`, only noted by `ferryman run`"""
    control: str = ""
    """path of the control socket that `ferryman status` and friends talk to"""
    runtime_sockets: list[RuntimeSocketSettings] = []
    runtime_timeout: Seconds = 10.0
    drain_timeout: Seconds | None = None
    """a graceful stop ends what is left after this long"""
    node: str = ""
    """the name this machine shows on its pages; default: its host name"""
    log: list[LogSettings] = []
    """default targets of the listeners' access logs and of the process's own messages; default: stdout"""


class RuleSettings(Section):
    """An entry of `connection` or `inspect`."""

    action: Literal["accept", "reject", "drop", "capture"]
    when: Condition = None
    fact: str = ""
    """what a capture stores, such as sni or sni|lower"""
    length: int = Field(default=0, ge=0)
    """of a capture: how many characters are kept"""


class RouteSettings(Section):
    """`to` when the condition holds; the first that holds wins."""

    to: str
    """a backend's name, or %[fact] to compute the name"""
    when: Condition = None


class PagesSettings(Section):
    """The stats page."""

    uri: str = "/"
    users: dict[str, str] = {}
    """name: password; none: everybody may read"""
    refresh: Seconds | None = None
    realm: str = "HAProxy Statistics"
    title: str = ""
    hide_version: bool = False
    metrics: bool = True
    """also /metrics and /healthz"""
    scope: list[str] = []


class CheckSettings(Section):
    """A health check: a TCP connection, every `interval`."""

    interval: Seconds = 2.0
    fast_interval: Seconds | None = None
    down_interval: Seconds | None = None
    rise: int = Field(default=2, ge=1)
    fall: int = Field(default=3, ge=1)
    timeout: Seconds | None = None
    """for the connection to stand; default: the interval, or the backend's connect timeout if shorter"""
    address: Connect | None = None
    """where to check; default: the server's own address"""


class ServerSettings(Section):
    """A server. In a list of servers, a plain address stands for {address: …}."""

    address: Connect
    name: str = ""
    """default: the address"""
    weight: int = Field(default=1, ge=0, le=256)
    backup: bool = False
    max_connections: int = Field(default=0, ge=0)
    max_queue: int = Field(default=0, ge=0)
    check: bool | CheckSettings = False
    disabled: bool = False
    close_on_down: bool = False


class BackendSettings(Section):
    """Servers and how one is chosen."""

    servers: list[ServerSettings] = []
    balance: str = "roundrobin"
    """roundrobin, static-rr, leastconn, first, source, random, or random(N)"""
    check: bool | CheckSettings = False
    """for servers that say nothing of their own"""
    use_all_backups: bool = False
    retries: int = Field(default=3, ge=0)
    redispatch: int | bool = True
    """may a retry go to another server? true: the last one; N: every Nth; false: never"""
    connect_timeout: Seconds | None = 5.0
    server_timeout: Seconds | None = None
    server_fin_timeout: Seconds | None = None
    tunnel_timeout: Seconds | None = None
    queue_timeout: Seconds | None = None
    """default: connect_timeout"""
    keepalive: bool = False
    server_rules: list[RouteSettings] = []
    """`to` names a server of this backend"""


class ListenerSettings(Section):
    """A door: where it listens, its rules, where it leads."""

    bind: list[Listen]
    mode: Literal["tcp", "pages"] = "tcp"
    tests: dict[str, Condition] = {}
    """named conditions for `when`"""
    connection: list[RuleSettings] = []
    """rules on addresses alone, at accept"""
    inspect: list[RuleSettings] = []
    """rules that may wait for the client's first bytes"""
    routes: list[RouteSettings] = []
    to: str = ""
    """the backend of what no route takes; none: refused"""
    backend: BackendSettings | None = None
    """servers of this listener's own, instead of `to`"""
    servers: list[ServerSettings] = []
    """short for backend: {servers: …}"""
    inspect_timeout: Seconds | None = None
    """how long rules may wait; default: 5 s where a rule needs the client's first bytes"""
    client_timeout: Seconds | None = None
    client_fin_timeout: Seconds | None = None
    max_connections: int = Field(default=0, ge=0)
    backlog: int = Field(default=0, ge=0)
    keepalive: bool = False
    log: list[LogSettings] | None = None
    """default: global.log; []: no access log"""
    log_format: str = "json"
    """json, tcp (HAProxy's tcplog), connect, or a template in HAProxy's log-format language"""
    log_start: bool = False
    log_asap: bool = False
    log_empty: bool = True
    log_normal: bool = True
    log_separate_errors: bool = False
    pages: PagesSettings | None = None
    disabled: bool = False


class Configuration(Section):
    """A whole configuration."""

    settings: GlobalSettings = Field(default=GlobalSettings(), alias="global")
    listeners: dict[str, ListenerSettings]
    backends: dict[str, BackendSettings] = {}
