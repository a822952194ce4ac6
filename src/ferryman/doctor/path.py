"""What is examined: a path to a server, through a proxy or not. Made by cli.doctor, read by every probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ferryman.config.proxy_url import ProxyUrl, written
from ferryman.doctor.pairing import Token
from ferryman.wire.authority import format_authority

PATIENCE: Final = 10.0
"""Seconds for a connection or an answer, unless told otherwise. As stunnel's TIMEOUTconnect."""


@dataclass(frozen=True, slots=True)
class Control:
    """The API server, and what it takes to ask it for an upgrade. `pod` is "namespace/name"; "": none is known."""

    host: str
    port: int
    proxy: ProxyUrl | None = None
    ca: str = ""  # a file
    bearer: str = ""
    pod: str = ""

    def __repr__(self) -> str:
        return f"Control({self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class Path:
    """`expected`: fingerprints (SHA-256, 32 bytes) of certificates of which the target shows one. Seconds."""

    host: str
    port: int
    proxy: ProxyUrl | None = None
    proxy_ca: str = ""  # a file; "": the system's
    name: str = ""  # the server name sent (SNI); "": the host
    expected: frozenset[bytes] = frozenset()
    client_certificate: tuple[str, str] | None = None  # files: certificate, key
    token: Token | None = None
    ports: tuple[int, ...] = ()  # more ports of the host to ask the proxy for
    module: str = ""  # of rsync; "": ask for the list
    idle: tuple[float, ...] = ()
    throughput: float = 0.0  # seconds; 0: not asked for
    patience: float = PATIENCE
    direct: bool = True  # whether the target may be asked without the proxy, to compare
    control: Control | None = None

    @property
    def target(self) -> str:
        """host:port."""
        return format_authority(self.host, self.port)

    @property
    def server_name(self) -> str:
        return self.name or self.host

    def __str__(self) -> str:
        return f"{self.target} through {written(self.proxy)}" if self.proxy else f"{self.target}, without a proxy"
