"""The plan: what a worker needs to know, immutable, with nothing left to look up.

config.compile builds it, the supervisor sends it (pickled) to the workers, dataplane runs it. Plain values only:
no files, no dialects, no defaults to fill in. Durations are seconds, `None` means no limit unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from ferryman.rules.networks import Networks

if TYPE_CHECKING:  # whoever has a plan has loaded them; whoever needs an Address only is to start quickly
    from ferryman.rules.access import Access, TlsRule
    from ferryman.rules.condition import Condition
    from ferryman.rules.decision import Route, Rule
    from ferryman.rules.match import Matcher
    from ferryman.rules.noproxy import NoProxy
    from ferryman.rules.template import Template


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect. `family`: "inet", "inet6", "unix" (host is the path), "abstract" or "name"."""

    family: str
    host: str
    port: int = 0
    last_port: int = 0  # of a listening range; 0: `port` alone
    from_client: bool = False  # to connect: the port the client used plus `port` (an offset, may be negative)
    v6only: bool = False
    namespace: str = ""  # to listen: the network namespace (ip-netns(8)) the socket is in; "": this process's

    def __str__(self) -> str:
        return f"{self.text} in {self.namespace}" if self.namespace else self.text

    @property
    def text(self) -> str:
        """As it is written, without the namespace."""
        if self.family in ("unix", "abstract"):
            return f"{'unix' if self.family == 'unix' else 'abns'}@{self.host}"
        host = f"[{self.host}]" if self.family == "inet6" else self.host
        if self.from_client:
            return f"{host}:{self.port:+d}" if self.port else host
        return f"{host}:{self.port}" + (f"-{self.last_port}" if self.last_port else "")

    @property
    def hostname(self) -> str:
        """That a certificate could be for; "" of a Unix socket."""
        return "" if self.family in ("unix", "abstract") else self.host


@dataclass(frozen=True, slots=True)
class ReceiveProxy:
    """Clients of a listener send a PROXY header first."""

    networks: Networks | None = None  # who has to; all others must not, their bytes are data. None: everybody has to
    timeout: float = 3.0  # seconds for the whole header


@dataclass(frozen=True, slots=True)
class SendProxy:
    """A server gets a PROXY header first. `tlvs`: what else version 2 tells, of config.model_proxy.TLVS."""

    version: int
    tlvs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, to be shown to the other side."""

    where: str  # the file it came from
    chain: str = field(repr=False)  # PEM, leaf first
    key: str = field(repr=False)  # PEM, not encrypted
    names: tuple[str, ...]  # that it is for: DNS names in lower case, perhaps with "*." in front, and addresses
    not_after: float  # seconds since the epoch
    ocsp: bytes = b""  # the response to staple, DER; b"": none
    ocsp_until: float = inf  # seconds since the epoch; from then on it is not stapled any more
    kind: str = ""  # of its key, such as "RSA 2048" or "ECDSA P-256"


@dataclass(frozen=True, slots=True)
class TlsLimits:
    """What may be negotiated. "": whatever OpenSSL's own defaults say."""

    min_version: str = "1.2"
    max_version: str = ""
    ciphers: str = ""  # of TLS 1.2, OpenSSL's list
    ciphersuites: str = ""  # of TLS 1.3, separated by colons
    groups: str = ""  # separated by colons


@dataclass(frozen=True, slots=True)
class TlsAccept:
    """How a client's TLS is terminated."""

    certificates: tuple[Certificate, ...]
    strict: bool = False  # a name that no certificate is for is refused; else the first certificate is shown
    limits: TlsLimits = TlsLimits()
    alpn: tuple[str, ...] = ()  # preferred first; (): what the server chose where it speaks TLS, else none
    verify: str = "none"  # whether clients show certificates: none, optional, required
    ca: str = field(default="", repr=False)  # PEM of what verifies these
    crl: str = field(default="", repr=False)  # PEM of revocation lists
    tickets: bool = True  # sessions may be resumed
    timeout: float = 10.0  # seconds for the handshake


@dataclass(frozen=True, slots=True)
class TlsCase:
    """`accept` if the condition holds; the first case of a listener that holds wins."""

    condition: Condition | None
    where: str
    accept: TlsAccept | None  # None: the stream stays untouched


@dataclass(frozen=True, slots=True)
class TlsConnect:
    """TLS with a server."""

    verify: bool = True
    ca: str = field(default="", repr=False)  # PEM of what verifies the server; "": the system's
    fingerprints: tuple[str, ...] = ()  # SHA-256, hex, lower case: a certificate that is one of these is trusted
    server_name: str | None = None  # to ask for; None: as received; "": none
    verify_name: str = ""  # to be in its certificate; "": what it was asked for
    certificate: Certificate | None = None  # to be shown to the server
    alpn: tuple[str, ...] | None = None  # to offer; None: as the client offered; (): none
    limits: TlsLimits = TlsLimits()
    resume: bool = True


@dataclass(frozen=True, slots=True)
class Hop:
    """Another proxy on the way out. `scheme`: "http" (CONNECT), "https" (CONNECT within TLS), "socks5"."""

    scheme: str
    address: Address  # family inet, inet6 or name
    user: str = ""
    password: str = field(default="", repr=False)
    pass_credentials: bool = False  # send on the client's own Proxy-Authorization
    ca: str = field(default="", repr=False)  # PEM of what verifies the proxy; "": the system's
    server_name: str = ""  # in its certificate; "": the address's host
    verify: bool = True
    exceptions: NoProxy | None = None  # targets it is left out for

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


Chain = tuple[Hop, ...]
"""Proxies in a row, the first one nearest; () is a direct connection."""


@dataclass(frozen=True, slots=True)
class Through:
    """Ways to a target, in order: the next one is tried when one fails."""

    chains: tuple[Chain, ...]

    def __str__(self) -> str:
        return ", else ".join(
            f"through {' then '.join(map(str, chain))}" if chain else "directly" for chain in self.chains
        )

    def chains_for(self, host: str, port: int) -> tuple[Chain, ...]:
        """The ways to this target, without the proxies that it is an exception of, each way once.

        Where that leaves nothing of a way it goes directly and by no other: exceptions are about what is inside.
        """
        ways = []
        for chain in self.chains:
            way = tuple(hop for hop in chain if hop.exceptions is None or not hop.exceptions.holds(host, port))
            if chain and not way:
                return ((),)
            ways.append(way)
        return tuple(dict.fromkeys(ways))


@dataclass(frozen=True, slots=True)
class Send:
    """A step of a check: these bytes are said."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """A step of a check: the answer contains this. `regex`: it is a regular expression (re) for bytes."""

    pattern: bytes
    regex: bool = False


@dataclass(frozen=True, slots=True)
class ExpectStatus:
    """A step of a check: the answer is HTTP/1 with a status in one of these ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...]


Step = Send | Expect | ExpectStatus


@dataclass(frozen=True, slots=True)
class Check:
    """How a server's health is found out, every `interval`: a connection, then TLS, then what is said in it."""

    interval: float = 2.0
    fast_interval: float | None = None  # while going up or down; None: `interval`
    down_interval: float | None = None  # while down; None: `interval`
    rise: int = 2
    fall: int = 3
    timeout: float = 2.0  # for the connection to stand
    answer_timeout: float | None = None  # for all that follows; None: `timeout` is for everything
    address: Address | None = None  # None: the server's own
    via: Through | None = None  # other proxies on the way
    send_proxy: int = 0  # the PROXY header it sends, of version 1 or 2; 0: none
    tls: TlsConnect | None = None
    hello: bool = False  # with `tls`: any answer to a hello will do, there is no handshake
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Via:
    """`through` if the condition holds."""

    condition: Condition | None
    where: str
    through: Through


@dataclass(frozen=True, slots=True)
class Learn:
    """A client and name that refuse the minted certificate so many times are spliced for `time` seconds."""

    failures: int
    time: float


@dataclass(frozen=True, slots=True)
class Bump:
    """How TLS is opened. The CA's key is read by the supervisor alone: workers only know where it is."""

    ca_file: str
    key_file: str  # may be ca_file
    cache: int = 4 << 20  # bytes of minted certificates kept; 0: none
    server_ca: str = field(default="", repr=False)  # PEM of what verifies servers; "": the system's
    keep: str = ""  # folder that minted certificates are written to; "": they are not
    learn: Learn | None = None
    untrusted: str = "show"  # a server that is not verified: "show" it (a certificate that nobody trusts), "refuse"


@dataclass(frozen=True, slots=True)
class Connect:
    """The explicit proxy of a listener with mode "connect". `access`: None allows, an empty list does not."""

    protocols: tuple[str, ...] = ("connect", "http", "socks5")
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # name -> hash
    authenticate: bool = False  # there are users (perhaps none of them left): `user` is a fact
    realm: str = "ferryman"
    ignore_case: bool = False  # of user names; those in `users` are in lower case then
    credentials_ttl: float = 7200.0
    access: tuple[Access, ...] | None = None
    tls: tuple[TlsRule, ...] = ()
    bump: Bump | None = None
    via: tuple[Via, ...] = ()
    egress_guard: bool = True
    egress_networks: Networks = field(default_factory=Networks)  # what the guard lets through all the same
    egress_names: Matcher | None = None
    match_sni: bool = False
    head_timeout: float | None = 10.0
    max_head: int = 65536  # bytes
    resolve_timeout: float | None = 10.0
    connect_timeout: float | None = 10.0
    server_timeout: float | None = None
    tunnel_timeout: float | None = None
    source: Source | None = None  # where connections to targets come from; None: the kernel's choice
    on_unknown_protocol: str = "tunnel"  # where a tls rule wants to look and it is no TLS: tunnel, respond, terminate


@dataclass(frozen=True, slots=True)
class Source:
    """Where connections to a server come from. `client`: "" `address`, "address" the client's, "port" with its port.

    With `client`, `address` is for connections that no client is behind (health checks, clients of Unix sockets).
    """

    address: str = ""  # numeric; "": the kernel's choice
    port: int = 0  # 0: any
    client: str = ""
    foreign: bool = False  # `address` is none of this machine's
    interface: str = ""  # to leave by; "": whatever routes say

    @property
    def transparent(self) -> bool:
        """Does it need the right to use addresses that this machine does not have?"""
        return self.foreign or bool(self.client)


@dataclass(frozen=True, slots=True)
class Server:
    """One place a connection can go. `id` indexes Plan.servers and, with the worker, its state."""

    id: int
    name: str
    backend: str
    address: Address
    weight: int = 1  # 0: takes no new traffic
    backup: bool = False
    max_connections: int = 0  # 0: no limit
    max_queue: int = 0  # 0: no limit
    check: Check | None = None
    disabled: bool = False  # starts in maintenance
    close_on_down: bool = False  # end its tunnels when checks mark it down
    source: Source | None = None  # where connections to it come from; None: the kernel's choice
    send_proxy: SendProxy | None = None
    tls: TlsConnect | None = None  # None: the stream is handed on as it is


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection goes that says so itself. `connect` has the ways there and what guards them, nothing else."""

    template: Template
    connect: Connect
    server: Server  # how the destination is spoken with; its address is none
    names: Matcher | None = None  # which hosts it may be; None: any


@dataclass(frozen=True, slots=True)
class Prewarm:
    """Connections that each worker holds ready for each server of a backend."""

    min: int
    max: int
    rate: float  # how many are added for each one that was missing, every second
    idle: float | None  # seconds that one waits to be taken before it is closed


@dataclass(frozen=True, slots=True)
class Backend:
    """Servers and how one of them is chosen. `algorithm`: roundrobin, static-rr, leastconn, first, random, source."""

    id: int
    name: str
    servers: tuple[Server, ...]
    algorithm: str = "roundrobin"
    draws: int = 2  # of algorithm random
    use_all_backups: bool = False
    retries: int = 3
    redispatch: int = -1  # -1: the last retry may take another server; N: every Nth; 0: never
    connect_timeout: float | None = 5.0
    negotiation_timeout: float | None = None  # for proxies to answer, and for TLS; None: as connect_timeout
    server_timeout: float | None = None
    server_fin_timeout: float | None = None
    tunnel_timeout: float | None = None
    queue_timeout: float | None = None
    keepalive: bool = False  # SO_KEEPALIVE towards servers
    server_rules: tuple[Route, ...] = ()  # use-server: Route.backend holds the server's name
    via: Through | None = None  # other proxies on the way to its servers
    destination: Destination | None = None  # instead of servers
    prewarm: Prewarm | None = None  # connections held ready; None: each is made when it is needed


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where lines go. `kind`: stdout, stderr, fd, file, udp, unix. `id` indexes the descriptors a worker was given."""

    id: int
    kind: str
    address: str  # path, host, or descriptor number, as text
    port: int = 0
    format: str = "rfc3164"  # local (rfc3164 without host name), rfc3164, rfc5424, priority, short, timed, iso, raw
    facility: str = "local0"
    max_level: str = "debug"
    min_level: str = "emerg"
    tag: str = "ferryman"
    hostname: str = ""  # "": none is sent (unless the format demands one)
    length: int = 1024  # bytes of a line


@dataclass(frozen=True, slots=True)
class AccessLog:
    """The line each connection earns. `format`: "json", or a template in the log-format language."""

    targets: tuple[LogTarget, ...]
    format: str
    at_start: bool = False  # a line at the start too
    as_soon_as_possible: bool = False  # the line when the server is reached, not at the end
    empty: bool = True  # also for connections that carried no data
    normal: bool = True  # also for connections that ended well
    separate_errors: bool = False  # connections that ended badly are logged at level err


@dataclass(frozen=True, slots=True)
class Pages:
    """The stats page of a listener with mode "pages". `users`: name -> password; empty: everybody may read."""

    uri: str = "/"
    users: tuple[tuple[str, str], ...] = ()
    refresh: float | None = None
    realm: str = "HAProxy Statistics"
    title: str = ""
    hide_version: bool = False
    metrics: bool = True
    scope: tuple[str, ...] = ()  # proxies shown; empty: all


@dataclass(frozen=True, slots=True)
class Listener:
    """A door: addresses, its rules, where it leads. `mode`: "tcp", "connect" (workers) or "pages" (supervisor)."""

    id: int
    name: str
    mode: str
    bind: tuple[Address, ...]
    log: AccessLog
    connection: tuple[Rule, ...] = ()
    inspect: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    default_backend: str = ""  # "": a connection that no route takes is closed
    needs_hello: bool = False  # some inspect rule or route reads the client's first bytes
    awaits_hello: bool = False  # a destination may be the name in it, whatever rules say
    needs_handshake: bool = False  # some rule asks what the handshake with the client has come to, or a server is told
    capture_slots: int = 0
    inspect_timeout: float | None = None
    client_timeout: float | None = None
    client_fin_timeout: float | None = None
    max_connections: int = 0  # 0: no limit of its own
    max_per_client: int = 0  # of them from one address, at each worker; 0: no limit
    backlog: int = 0  # 0: the system's
    keepalive: bool = False  # SO_KEEPALIVE towards clients
    transparent: str = ""  # clients are on their way elsewhere, and a firewall rule sends them here: tproxy, redirect
    pages: Pages | None = None
    connect: Connect | None = None  # of mode "connect"
    receive_proxy: ReceiveProxy | None = None
    tls: tuple[TlsCase, ...] = ()  # which clients' TLS is terminated; no case holds: the stream stays untouched


@dataclass(frozen=True, slots=True)
class RuntimeSocket:
    """A HAProxy-style command socket (stats socket). `level`: user, operator or admin."""

    address: Address
    mode: int | None = None
    user: str = ""
    group: str = ""
    level: str = "operator"


@dataclass(frozen=True, slots=True)
class Settings:
    """What concerns the process as a whole."""

    workers: int = 1
    max_connections: int = 0  # over all listeners; 0: as many as descriptors allow
    user: str = ""
    group: str = ""
    chroot: str = ""
    pidfile: str = ""
    ticket_rotation: float = 43200.0  # seconds after which the key of session tickets is replaced
    daemon: bool = False
    control: str = ""  # path of the control socket; "": the default place
    runtime_sockets: tuple[RuntimeSocket, ...] = ()
    runtime_timeout: float = 10.0
    drain_timeout: float | None = None  # a graceful stop cuts what is left after this
    node: str = ""
    log: tuple[LogTarget, ...] = ()  # the supervisor's own messages


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything. Ids of listeners, backends and servers are their index in these tuples."""

    settings: Settings
    listeners: tuple[Listener, ...]
    backends: tuple[Backend, ...]
    servers: tuple[Server, ...]
    log_targets: tuple[LogTarget, ...] = ()
    sources: tuple[str, ...] = field(default=())  # names of the files it came from
    files: tuple[str, ...] = field(default=())  # and of those, and folders, that these name: certificates, users

    def backend(self, name: str) -> Backend | None:
        for backend in self.backends:
            if backend.name == name:
                return backend
        return None

    @property
    def transparent_out(self) -> bool:
        """Do workers connect from addresses that this machine does not have?"""
        return any(server.source is not None and server.source.transparent for server in self.servers)

    @property
    def transparent_in(self) -> bool:
        """Are there listeners that take connections to other machines as they are?"""
        return any(listener.transparent == "tproxy" for listener in self.listeners)
