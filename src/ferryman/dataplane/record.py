"""What a connection leaves behind: the facts for its log line, kept small because every live tunnel holds one.

A connection on which one plain HTTP request follows another leaves one for each.

Filled by session and relay, read by accesslog. Times: `wall` is the clock at accept (seconds since the epoch),
`start` the monotonic clock then; phases are milliseconds, -1 if never reached.
"""

from __future__ import annotations

from typing import Final, Literal

from ferryman.plan import Backend, Listener, Server
from ferryman.rules.facts import Tls

How = Literal["", "fin", "rst", "timeout", "policy", "error", "killed", "shutdown"]


class Ask:
    """What the client of an explicit proxy asked for. `protocol`: connect, http, socks5; `host` "": not named yet."""

    __slots__ = ("error", "host", "method", "port", "protocol", "status", "tls", "user", "user_claimed", "via")

    def __init__(self, protocol: str, host: str = "", port: int = 0) -> None:
        self.protocol = protocol
        self.host = host
        self.port = port
        self.method = ""  # of HTTP
        self.status = 0  # of the answer that the client got, in HTTP
        self.user = ""  # whose credentials were right
        self.user_claimed = ""  # who the client said it was, where they were not, or nobody could tell
        self.via = ""  # the proxies it went out through
        self.tls = ""  # what became of the client's TLS: splice, bump, terminate
        self.error = ""  # the type of RFC 9209 it was refused with


class Record:
    """One connection, or one of several requests on it.

    `code` is HAProxy's: who ended it (one of C S P R I D U K L c s -), when (Q C D R H L T -).
    """

    __slots__ = (
        "alpn",
        "ask",
        "backend",
        "backend_queue",
        "bytes_in",
        "bytes_out",
        "captures",
        "client_host",
        "client_port",
        "closed_first",
        "code",
        "connect_ms",
        "how",
        "id",
        "idle",
        "listener",
        "local_host",
        "local_port",
        "original",
        "path",
        "peer",
        "prewarmed",
        "queue_ms",
        "reason",
        "redispatched",
        "retries",
        "route",
        "server",
        "server_queue",
        "sni",
        "start",
        "tls",
        "total_ms",
        "unique_id",
        "wall",
    )

    def __init__(self, listener: Listener, client_host: str, client_port: int, wall: float, start: float) -> None:
        self.id = 0
        self.idle = False  # nothing has been asked since the last line: ending now is worth none
        self.listener = listener
        self.client_host = client_host
        self.client_port = client_port
        self.local_host = ""  # "": not asked for yet
        self.local_port = 0
        self.peer: tuple[str, int] | None = None  # who connected, where a PROXY header says who the client is
        self.unique_id = ""  # in a PROXY header, received or sent
        self.original: tuple[str, int] | None = None  # where the client wanted to go before it was sent here
        self.wall = wall
        self.start = start
        self.sni: str | None = None
        self.alpn: str | None = None
        self.ask: Ask | None = None  # of an explicit proxy
        self.tls: Tls | None = None  # agreed on with the client, whose TLS is terminated
        self.captures: list[str | None] | None = None
        self.route = ""  # which rule decided: "haproxy.cfg:44", "default"
        self.backend: Backend | None = None
        self.server: Server | None = None
        self.queue_ms = -1
        self.connect_ms = -1
        self.total_ms = -1
        self.server_queue = 0  # requests before it in the queues
        self.backend_queue = 0
        self.retries = 0
        self.redispatched = False
        self.prewarmed = False  # it got a connection that was made before
        self.bytes_in = 0  # from the client
        self.bytes_out = 0  # to the client
        self.path = "copy"  # or "splice", once a direction was switched
        self.closed_first = ""  # the side that ended it first: client or server, or proxy where it ends after a request
        self.code = "--"
        self.how: How = ""
        self.reason = ""  # in words, for whoever reads the log at night

    def another(self, start: float) -> Record:
        """For what comes next on the same connection."""
        fresh = Record(self.listener, self.client_host, self.client_port, self.wall, start)
        for name in _OF_THE_CONNECTION:
            setattr(fresh, name, getattr(self, name))
        fresh.idle = True
        return fresh


_OF_THE_CONNECTION: Final = ("alpn", "id", "local_host", "local_port", "original", "peer", "sni", "tls", "unique_id")
"""What is so for every request on it."""
