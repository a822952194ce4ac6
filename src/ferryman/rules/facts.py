"""What a rule may know about a connection, in three states: known, ABSENT, UNKNOWN (not known yet).

The session fills a `Facts`; expressions read it. Nothing here reads a socket.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol


class Missing(enum.Enum):
    """Why a fact has no value."""

    ABSENT = "absent"
    UNKNOWN = "not known yet"


ABSENT: Final = Missing.ABSENT
UNKNOWN: Final = Missing.UNKNOWN

Value = str | int | bool | bytes
"""A known fact: text, number, truth, or raw bytes."""

Type = Literal["string", "integer", "boolean", "address", "binary"]
"""What kind of value a fact has; an address is numeric text."""

Needs = Literal["address", "bytes", "handshake", "state", "target"]
"""When a fact can be known: at accept; once the client has sent something; once its TLS is terminated (ABSENT if it is
not); from the state of the process; once the client of an explicit proxy has named its target (ABSENT in mode tcp)."""

Argument = str | int
Parameter = Literal["integer", "size", "offset", "text"]
"""What an argument of a fact or a converter is. A size is not negative; an offset is relative with a sign before it."""


def as_text(value: Value) -> str:
    """The value as text. Bytes keep their values as Latin-1 characters, truth is "1" or "0" as in HAProxy."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(int(value))


class Hello(Protocol):
    """The parts of a TLS ClientHello that rules read (wire.clienthello.ClientHello has them)."""

    @property
    def record_version(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def sni(self) -> str | None: ...
    @property
    def alpn(self) -> tuple[str, ...]: ...
    @property
    def versions(self) -> tuple[int, ...]: ...
    @property
    def ciphers(self) -> tuple[int, ...]: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def keyshares(self) -> tuple[int, ...]: ...
    @property
    def sigalgs(self) -> tuple[int, ...]: ...
    @property
    def ech(self) -> str: ...


class Tls(Protocol):
    """What a handshake with the client agreed on, where its TLS is terminated (dataplane.tls.Established has it)."""

    @property
    def version(self) -> str: ...  # TLSv1.3
    @property
    def cipher(self) -> str: ...
    @property
    def alpn(self) -> str: ...
    @property
    def resumed(self) -> bool: ...
    @property
    def certificate(self) -> bytes: ...  # of the client, verified, DER; b"": it showed none
    @property
    def subject(self) -> tuple[tuple[str, str], ...]: ...  # attribute (CN, O, ...), value
    @property
    def issuer(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...  # DNS names and addresses in it
    @property
    def fingerprint(self) -> str: ...  # SHA-256, hex, lower case


@dataclass(slots=True)
class Facts:
    """One connection as the rules see it at one moment."""

    client_address: str  # numeric text, or "unix"
    client_port: int
    local_address: str
    local_port: int
    listener: str = ""
    hello: Hello | Missing = UNKNOWN  # ABSENT: what came is not a (well-formed) TLS ClientHello
    data: bytes = b""  # the first bytes the client sent, as far as they have been looked at
    final: bool = False  # nothing more will come or be waited for: UNKNOWN now counts as ABSENT
    time: float = 0.0  # wall clock, seconds since the epoch
    captures: list[str | None] = field(default_factory=list)  # by slot, in order of declaration
    usable_servers: dict[str, int] = field(default_factory=dict)  # backend name -> servers that take traffic

    # of a PROXY header
    peer_address: str = ""  # who really connected, where a header says who the client is; "": the client itself
    peer_port: int = 0
    header_due: bool = False  # one has to come, so addresses and ports are not known yet
    proxy_tlvs: dict[int, bytes] | Missing = ABSENT  # by type, the first of each; ABSENT: there was no header

    tls: Tls | Missing = ABSENT  # ABSENT: the client's TLS is not terminated; UNKNOWN: not yet

    original_address: str | Missing = ABSENT  # where the client wanted to go, before a firewall rule sent it here
    original_port: int | Missing = ABSENT

    # of an explicit proxy; ABSENT in mode tcp
    user: str | Missing = ABSENT  # UNKNOWN: there are users, and no valid credentials have come
    method: str | Missing = ABSENT  # of HTTP
    protocol: str | Missing = ABSENT  # connect, http, socks5
    target_host: str | Missing = ABSENT  # lower case, no brackets, no dot at the end
    target_port: int | Missing = ABSENT
    target_addresses: tuple[str, ...] | Missing = ABSENT  # what its name resolves to; UNKNOWN: not resolved so far
    server_names: tuple[str, ...] | Missing = ABSENT  # in the server's certificate; UNKNOWN before step 3
    step: int = 0  # of the `tls` rules: 1 the target is named, 2 the client's hello is there, 3 the server's as well
