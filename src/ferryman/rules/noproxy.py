"""Targets that a proxy is not used for, as NO_PROXY lists them: names, addresses, networks, each perhaps with a port.

    example.org       the name and all below it          .example.org, *.example.org    only what is below it
    10.0.0.0/8, ::1   addresses, only of targets that are given as addresses: nothing is resolved
    example.org:8080  only that port                      *                              everything

Made by config, asked by plan.Through. Pure. Source: the conventions of curl and of Go's net/http.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks, network

_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class NoProxy:
    """`entries`: a port (0: any), and what holds the host."""

    text: tuple[str, ...]
    entries: tuple[tuple[int, Networks | Matcher], ...]

    @staticmethod
    def of(entries: Iterable[str]) -> NoProxy:
        """Raises ValueError for an entry that is none."""
        text = tuple(entries)
        return NoProxy(text, tuple(map(_entry, text)))

    def holds(self, host: str, port: int) -> bool:
        """Is this target an exception? `host`: a name or an address, without brackets."""
        for only, hosts in self.entries:
            found = hosts.hold(host) if isinstance(hosts, Networks) else hosts.matches(host)
            if found and only in (0, port):
                return True
        return False


def _entry(text: str) -> tuple[int, Networks | Matcher]:
    ported = _PORT.match(text)
    host, port = (ported[1], int(ported[2])) if ported else (text, 0)
    if ported and not 1 <= port <= 65535:
        raise ValueError(f'there is no port {port}, as in "{text}"')
    if host.startswith("[") or ":" in host:
        inside, _, mask = host.removeprefix("[").partition("]")  # [2001:db8::]/32 and [2001:db8::/32] are one
        return port, Networks.of([network(inside + mask)])
    if re.match(r"[0-9.]+(?:/|\Z)", host):
        return port, Networks.of([network(host)])
    name = "*" + host if host.startswith(".") else host
    return port, Matcher.build("name", [name] if name.startswith("*") else [name, f"*.{name}"])
