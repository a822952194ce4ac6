"""sni.yaml: entries in the order of the file, of which the first that fits a connection counts.

Called by the package's `parse`; native.py makes rules of them. What an entry says of connections to servers counts for
servers that `fqdn` names, not for clients that ask for it: see outbound.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config import yamltree as tree
from ferryman.config.dialects.ats.keywords import SNI
from ferryman.config.dialects.ats.values import choice, fraction, is_address, networks, port_range, truth
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark, Source

ROUTES: Final = {"tunnel_route": "tunnel", "forward_route": "forward", "partial_blind_route": "blind"}
VERSIONS: Final = {"TLSV1": "1.0", "TLSV1_1": "1.1", "TLSV1_2": "1.2", "TLSV1_3": "1.3"}
_POLICIES: Final = ("DISABLED", "PERMISSIVE", "ENFORCED")
_CHOICES: Final = {
    "verify_client": ("NONE", "MODERATE", "STRICT"),
    "verify_server_policy": _POLICIES,
    "verify_server_properties": ("NONE", "SIGNATURE", "NAME", "ALL"),
}
_TEXTS: Final = ("client_cert", "client_key", "client_sni_policy", "server_cipher_suite")
_SUITES: Final = ("server_TLSv1_3_cipher_suites", "server_groups_list")
_TRUTHS: Final = ("http2", "disable_h2", "ssl_ticket_enabled", "tunnel_prewarm")
_NUMBERS: Final = ("tunnel_prewarm_min", "tunnel_prewarm_max", "tunnel_prewarm_rate", "tunnel_prewarm_inactive_timeout")
_NAME: Final = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_PORTS: Final = {"{inbound_local_port}": "local", "{proxy_protocol_port}": "proxy", "": "local"}
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_-]|\$1)+(?:\.(?:[A-Za-z0-9_-]|\$1)+)*\.?")


@dataclass(frozen=True, slots=True)
class Route:
    """Where an entry leads. `kind`: tunnel, forward, blind. `port`: a number, "local" (as the client's) or "proxy"."""

    kind: str
    host: str
    port: str
    word: Word


@dataclass(slots=True)
class Entry:
    """One of them. `name` is `fqdn` in lower case, without a dot at the end; `settings` are values as they stand."""

    mark: Mark
    fqdn: Word
    name: str
    route: Route | None = None
    ports: list[tuple[int, int]] | None = None
    allow: list[At] | None = None
    client_ca: Word | None = None
    versions: list[Word] = field(default_factory=list)  # valid_tls_versions_in
    oldest: Word | None = None
    newest: Word | None = None
    alpn: list[Word] | None = None  # tunnel_alpn
    settings: dict[str, Word] = field(default_factory=dict)
    faulty: bool = False  # something that it says was not understood

    def covers(self, name: str) -> bool:
        """Does it fit whatever fits `name`, which may itself have a `*` in front?"""
        if self.name == "*" or self.name == name:
            return True
        return self.name.startswith("*.") and name.endswith(self.name[1:]) and len(name) >= len(self.name)

    def listens(self, port: int) -> bool:
        return self.ports is None or any(low <= port <= high for low, high in self.ports)

    @property
    def http2(self) -> bool | None:
        """Whether h2 is offered to clients; None: nothing is said."""
        if (word := self.settings.get("http2")) is not None:
            return truth(word)
        word = self.settings.get("disable_h2")
        return None if word is None else not truth(word)


def read(source: Source, diagnostics: Diagnostics) -> list[Entry]:
    """The entries of a file."""
    found: list[Entry] = []
    for number, document in enumerate(tree.documents(source, diagnostics)):
        entries = document.values.get("sni") if isinstance(document, tree.Mapping) and not number else None
        if isinstance(document, tree.Mapping):
            for key, word in document.keys.items():
                if key != "sni":
                    diagnostics.error(word.mark, f"there is nothing but `sni` here, not {key!r}")
        if not isinstance(entries, tree.Sequence):
            mark = entries.mark if entries is not None else document.mark
            diagnostics.error(mark, "`sni` is a list of entries", "such as `sni: [{fqdn: a.example, …}]`")
            continue
        for item in entries.items:
            entry = _entry(item, os.path.dirname(source.name), diagnostics)
            if entry is not None:
                found.append(entry)
    return found


def check_order(entries: Sequence[Entry], diagnostics: Diagnostics) -> None:
    """Point out those that are never come to, since another one before them always fits as well."""
    for number, entry in enumerate(entries):
        for earlier in entries[:number]:
            if earlier.ports is None and earlier.covers(entry.name):
                message = f"{entry.fqdn.text} is never come to: {earlier.fqdn.text} at {earlier.fqdn.mark} is before it"
                diagnostics.warning(entry.fqdn.mark, message, "the first entry that fits counts: move it up")
                break


def _entry(item: tree.Value, folder: str, diagnostics: Diagnostics) -> Entry | None:
    if not isinstance(item, tree.Mapping):
        diagnostics.error(item.mark, "an entry is a mapping", "such as `- fqdn: a.example`")
        return None
    try:
        fqdn = item.values.get("fqdn")
        if fqdn is None:
            raise Mistake(item.mark, "which name is this entry about?", "add `fqdn: a.example`")
        word = tree.one(fqdn, "fqdn")
        entry = Entry(item.mark, word, _pattern(word))
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
        return None
    for key, value in item.values.items():
        try:
            if SNI.wanted(item.keys[key], key, diagnostics) and key != "fqdn":
                _key(entry, key, value, folder)
        except Mistake as mistake:
            entry.faulty = True
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    _one_route(item, diagnostics)
    return entry


def _one_route(item: tree.Mapping, diagnostics: Diagnostics) -> None:
    given = [key for key in item.values if key in ROUTES]
    if len(given) > 1:
        mark = item.keys[given[1]].mark
        diagnostics.error(mark, f"{given[0]} and {given[1]}: where does it lead?", "keep one of them")
    if "tunnel_alpn" in item.values and given != ["partial_blind_route"]:
        mark = item.keys["tunnel_alpn"].mark
        diagnostics.warning(mark, "tunnel_alpn has no effect without partial_blind_route", "remove it")


def _pattern(word: Word) -> str:
    name = word.text.lower().removesuffix(".")
    if not name.isascii():
        raise Mistake(word, f"{word.text!r} is not ASCII", "write the name in its ASCII form, xn--…")
    if "*" in name.removeprefix("*"):
        message = f"{word.text!r}: a `*` that is not in front is Traffic Server 9's, not supported by ferryman yet"
        raise Mistake(word, message, "write *.example.org, which is all below example.org")
    if not _NAME.fullmatch(name) and not is_address(name):
        raise Mistake(word, f"{word.text!r} is no name", "such as a.example, *.example or *")
    return name


def _key(entry: Entry, key: str, value: tree.Value, folder: str) -> None:
    if key in ROUTES:
        entry.route = _route(ROUTES[key], tree.one(value, key), entry)
    elif key == "inbound_port_ranges":
        entry.ports = [port_range(word) for word in tree.several(value, key)]
    elif key == "ip_allow":
        entry.allow = [each for word in tree.several(value, key) for each in _addresses(word, folder)]
    elif key == "verify_client_ca_certs":
        entry.client_ca = _authority(value, key)
    elif key == "valid_tls_versions_in":
        versions = tree.several(value, key)
        for word in versions:
            choice(word, VERSIONS)
        entry.versions = versions
    elif key == "valid_tls_version_min_in":
        choice(oldest := tree.one(value, key), VERSIONS)
        entry.oldest = oldest
    elif key == "valid_tls_version_max_in":
        choice(newest := tree.one(value, key), VERSIONS)
        entry.newest = newest
    elif key == "tunnel_alpn":
        entry.alpn = tree.several(value, key)
    else:
        word = tree.one(value, key)
        if key in _CHOICES:
            choice(word, _CHOICES[key])
        elif key in _TRUTHS:
            truth(word)
        elif key in _NUMBERS:
            fraction(word)
        else:
            assert key in _TEXTS + _SUITES, key
        entry.settings[key] = word


def _authority(value: tree.Value, key: str) -> Word:
    if not isinstance(value, tree.Mapping):
        return tree.one(value, key)
    for name, word in value.keys.items():
        if name != "file":
            message = f"{key}: {name!r} is Traffic Server's, not supported by ferryman yet"
            raise Mistake(word, message if name == "dir" else f"unknown key {name!r}", "name one `file` with them all")
    return tree.one(value.values["file"], "file") if "file" in value.values else tree.one(Word("", value.mark), key)


def _addresses(word: Word, folder: str) -> Iterable[At]:
    if not word.text.startswith("@"):
        return networks(word)
    path = os.path.join(folder, word.text[1:])
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 20)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Mistake(word, f"cannot read {path!r}: {reason}") from None
    return networks(Word(text, word.mark))


def _route(kind: str, word: Word, entry: Entry) -> Route:
    """`host:port`, `host`, `$1.example:{inbound_local_port}`. Raises Mistake."""
    text = word.text
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif is_address(text):
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not is_address(host) and not _HOST.fullmatch(host):
        if found := re.search(r"\$[02-9]", host):
            raise Mistake(word, f"{found[0]}: fqdn has one `*`, which $1 stands for")
        raise Mistake(word, f"{word.text!r} is no destination", "such as host.example:443")
    if "$1" in host and not entry.name.startswith("*"):
        raise Mistake(word, f"$1 stands for nothing: there is no `*` in {entry.fqdn.text}", "write *.example as fqdn")
    if port in _PORTS:
        return Route(kind, host, _PORTS[port], word)
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        hint = "it is 1 to 65535, {inbound_local_port} or {proxy_protocol_port}"
        raise Mistake(word, f"{port!r} is no port", hint)
    return Route(kind, host, port, word)
