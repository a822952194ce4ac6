"""Records for the tests of what is written about connections."""

from __future__ import annotations

from ferryman.dataplane.logfields import Counts
from ferryman.dataplane.record import Record
from ferryman.plan import AccessLog, Address, Backend, Listener, Server

COUNTS = Counts(6, 4, 3, 2)
"""As workers give them: the connection itself is over and not among them."""


def record(**fields: object) -> Record:
    """A connection that went well, but for `fields`."""
    server = Server(3, "web1", "app", Address("inet", "192.0.2.20", 8443))
    listener = Listener(0, "front", "tcp", (Address("inet", "0.0.0.0", 6443),), AccessLog((), "json"), capture_slots=1)
    made = Record(listener, "192.0.2.7", 51234, 1_795_254_337.5022, 100.0)
    values: dict[str, object] = {
        "id": 7,
        "local_host": "198.51.100.1",
        "local_port": 6443,
        "sni": "www.example.org",
        "alpn": "h2,http/1.1",
        "captures": ["www.example.org"],
        "route": "haproxy.cfg:44",
        "backend": Backend(0, "app", (server,)),
        "server": server,
        "connect_ms": 3,
        "total_ms": 300,
        "bytes_in": 517,
        "bytes_out": 6000,
        "how": "fin",
    }
    for name, value in (values | fields).items():
        setattr(made, name, value)
    return made
