"""cache_peer lines, and the native `via` that they and never_direct, always_direct, cache_peer_access make.

How Squid finds the way out of a request (its forwarding rules):

    always_direct allows    directly, and in no other way
    never_direct allows     through the parents whose cache_peer_access allows it, in the order of the file
    otherwise               a plain GET: through the parents, directly if none works (prefer_direct: the other way
                            round); everything else directly, CONNECT as well, unless nonhierarchical_direct is off
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final
from urllib.parse import unquote

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.keywords import PEER
from ferryman.config.dialects.squid.lists import Line, both, holds, negation
from ferryman.config.dialects.squid.quantities import integer
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_MOST_SELECTIVE: Final = 5  # peers with cache_peer_access of their own: every combination of them is a rule
_CLIENTS_OWN: Final = ("PASS", "PASSTHRU", "PROXYPASS")
_PLAIN_GET: Final[dict[str, object]] = {"protocol": {"is": ["http"]}, "method": {"is": ["GET"]}}


@dataclass(slots=True)
class Peer:
    """A parent. `access`: its cache_peer_access."""

    name: str
    place: Mark
    host: Word
    port: At
    settings: dict[str, object] = field(default_factory=dict)
    tls: bool = False
    access: list[Line] = field(default_factory=list)

    @property
    def hop(self) -> At:
        """The native hop."""
        host = f"[{self.host.text.strip('[]')}]" if ":" in self.host.text else self.host.text
        url = At(f"{'https' if self.tls else 'http'}://{host}:{self.port.value}", self.host.mark)
        return At({"url": url, **self.settings}, self.place)


def read(arguments: Arguments, peers: Sequence[Peer], diagnostics: Diagnostics) -> Peer | None:
    """A `cache_peer` line; None: it is no parent, and has no effect. Raises Mistake."""
    host = arguments.need("a host")
    kind = arguments.need("a type: parent")
    if kind.text not in ("parent", "sibling", "multicast"):
        hint = nearest(kind.text, ("parent", "sibling", "multicast")) or "such as parent"
        raise Mistake(kind, f"there are no peers of type {kind.text!r}", hint)
    port = integer(arguments.need("a port"), 1, 65535)
    integer(arguments.need("an ICP port, or 0"), 0, 65535)
    peer = Peer(host.text, arguments.whole, host, port)
    for word in arguments.rest():
        name, equals, value = word.text.partition("=")
        if PEER.wanted(word, name, value, diagnostics):
            _OPTIONS[name](peer, word, value, len(name) + len(equals))
    if not peer.tls:
        for key in ("ca", "server_name", "verify"):
            peer.settings.pop(key, None)  # without TLS there is nothing to verify
    if any(peer.name.lower() == other.name.lower() for other in peers):
        raise Mistake(host, f"there is a cache_peer {peer.name!r} already", "give one of them a name=")
    if kind.text != "parent":
        diagnostics.warning(kind.mark, f"a {kind.text} has no effect here: nothing is cached", "")
        return None
    return peer


def _name(peer: Peer, word: Word, value: str, start: int) -> None:
    peer.name = value


def _login(peer: Peer, word: Word, value: str, start: int) -> None:
    """USER:PASSWORD with %-escapes, or a word that says to send on what the client sent."""
    mark = word.mark
    if value in _CLIENTS_OWN:
        peer.settings["credentials"] = At("client", mark)
        return
    user, colon, password = value.partition(":")
    if value.startswith(("*", "NEGOTIATE")) or not colon:
        message = "such a 'login' is Squid's, not supported by ferryman yet"
        raise Mistake(Mark(mark.file, mark.line, mark.column, start), message, "write login=USER:PASSWORD or PASSTHRU")
    at = mark.column + start
    peer.settings["user"] = At(unquote(user), Mark(mark.file, mark.line, at, len(user)))
    peer.settings["password"] = At(unquote(password), Mark(mark.file, mark.line, at + len(user) + 1, len(password)))


def _tls(peer: Peer, word: Word, value: str, start: int) -> None:
    peer.tls = True


def _ca(peer: Peer, word: Word, value: str, start: int) -> None:
    peer.settings["ca"] = At(value, word.mark)


def _domain(peer: Peer, word: Word, value: str, start: int) -> None:
    peer.settings["server_name"] = At(value, word.mark)


def _flags(peer: Peer, word: Word, value: str, start: int) -> None:
    for flag in re.split("[,:]", value):
        if flag == "DONT_VERIFY_PEER":
            peer.settings["verify"] = At(False, word.mark)
        elif flag != "NO_DEFAULT_CA":
            raise Mistake(word, f"the flag {flag!r} is Squid's, not supported by ferryman yet")


_OPTIONS: Final = {
    "name": _name,
    "login": _login,
    "tls": _tls,
    "ssl": _tls,
    "tls-cafile": _ca,
    "sslcafile": _ca,
    "tls-domain": _domain,
    "ssldomain": _domain,
    "tls-flags": _flags,
    "sslflags": _flags,
}


@dataclass(slots=True)
class Routing:
    """What says which way a request takes."""

    peers: list[Peer] = field(default_factory=list)
    always: list[Line] = field(default_factory=list)
    never: list[Line] = field(default_factory=list)
    only_plain: bool = True  # nonhierarchical_direct
    direct_first: bool = False  # prefer_direct

    def via(self, diagnostics: Diagnostics) -> tuple[list[At], object]:
        """(the native `via`, when there is no way at all: False, True or a native condition)."""
        if not self.peers and not self.never:
            return [], False
        always, never = holds(self.always, False), holds(self.never, False)
        rules: list[At] = []
        if always is not False:
            place = self.always[0].mark
            rules.append(_rule(["direct"], always, place))
        ways = self._ways()
        nowhere: object = both(negation(always), never)
        for peers, when in ways:
            condition = both(never, when)
            if condition is not False and always is not True:
                rules.append(_rule([peer.hop for peer in peers], condition, peers[0].place))
            nowhere = both(nowhere, negation(when))
        if never is True or always is True:
            return rules, nowhere
        plain: object = At(_PLAIN_GET, self.peers[0].place) if self.only_plain and self.peers else True
        for peers, when in ways:
            hops: list[object] = [peer.hop for peer in peers]
            through = ["direct", *hops] if self.direct_first else [*hops, "direct"]
            rules.append(_rule(through, both(plain, when), peers[0].place))
        if self.peers and self.only_plain and never is False:
            message = "only plain GET requests go through this peer: CONNECT goes directly, as in Squid"
            diagnostics.warning(self.peers[0].place, message, "add `never_direct allow all`")
        return rules, nowhere

    def _ways(self) -> list[tuple[list[Peer], object]]:
        """The peers that may be used, and when, the most of them first: the first that holds counts."""
        conditions = {id(peer): holds(peer.access, True) for peer in self.peers}
        usable = [peer for peer in self.peers if conditions[id(peer)] is not False]
        selective = [peer for peer in usable if conditions[id(peer)] is not True]
        if len(selective) > _MOST_SELECTIVE:
            message = f"cache_peer_access of more than {_MOST_SELECTIVE} peers is not supported by ferryman yet"
            raise Mistake(selective[_MOST_SELECTIVE].access[0].mark, message)
        ways: list[tuple[list[Peer], object]] = []
        for count in range(len(selective), -1, -1):
            for chosen in combinations(selective, count):
                peers = [peer for peer in usable if peer in chosen or conditions[id(peer)] is True]
                when: object = True
                for peer in chosen:
                    when = both(when, conditions[id(peer)])
                if peers:
                    ways.append((peers, when))
        return ways


def _rule(through: Sequence[object], when: object, place: Mark) -> At:
    rule: dict[str, object] = {"through": list(through)}
    return At(rule if when is True else {**rule, "when": when}, place)
