"""OpenNebulaNetwork.conf as far as it is about transparent proxies: YAML whose keys are Ruby symbols (`:tproxy:`).

Called by cli.tproxy, daemons, doctor and outer. OpenNebula's drivers leave entries out that they cannot use, and say
nothing or fail to deploy a machine; here each mistake is an error at its place. Everything else in the file is
OpenNebula's own and left alone. Resolves no names, touches no network; opens
no file but those that options name.

Source: OpenNebula's manual, "Transparent Proxies".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from ferryman.config import yamltree as tree
from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics, Mark, Source
from ferryman.opennebula import options
from ferryman.opennebula.options import Options

_KEYS: Final = (":tproxy", ":tproxy_debug_level", ":tproxy_process_owner", options.KEY, options.PAGE)
_ENTRY: Final = (":service_port", ":remote_addr", ":remote_port", ":networks")
_LEVELS: Final = ("error", "warning", "info", "debug")
_NUMBER: Final = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|0|[1-9][0-9_]{0,9}")
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Service:
    """An entry: what guests reach at `port` is at `host` (an IPv4 address or a name) and `remote_port`."""

    mark: Mark
    port: int
    host: str
    remote_port: int
    networks: tuple[str, ...] = ()  # names or ids; (): all

    def is_on(self, network: Collection[str]) -> bool:
        """Is it for a virtual network of this name or id? Compared letter for letter, as OpenNebula does."""
        return not self.networks or any(each in network for each in self.networks)

    def overlaps(self, other: Service) -> bool:
        """Is there a network, as far as can be told, on which both claim the same port?"""
        if self.port != other.port:
            return False
        return not self.networks or not other.networks or bool(set(self.networks) & set(other.networks))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says. `level`: what is logged, of `error`, `warning`, `info`, `debug`; `owner`: the user that the
    daemons run as."""

    services: tuple[Service, ...] = ()
    level: str = "info"
    owner: str = "nobody"
    options: Options = field(default_factory=Options)

    def on(self, network: Collection[str]) -> list[Service]:
        """The services of a virtual network, of which the name, the id, or both are given. The first of a port wins."""
        found: dict[int, Service] = {}
        for service in self.services:
            if service.is_on(network):
                found.setdefault(service.port, service)
        return list(found.values())


def read(source: Source, diagnostics: Diagnostics) -> Settings:
    """What there is of transparent proxies in a file; all that is wrong with it is reported, options that do not fit
    among it."""
    before = diagnostics.errors
    found = parse(source, diagnostics)
    if diagnostics.errors == before and (found.options.entries or found.options.page is not None):
        from ferryman.opennebula import native  # it takes its time to load, and few have options

        diagnostics.found += native.unfit(found)
    return found


def parse(source: Source, diagnostics: Diagnostics) -> Settings:
    """As `read`, without what is wrong within `:backend:` and `:listener:`: for those who make a plan anyway."""
    root = next(iter(tree.documents(source, diagnostics)), None)
    if root is None or (isinstance(root, Word) and not root.text):
        return Settings()
    if not isinstance(root, tree.Mapping):
        diagnostics.error(root.mark, "this is no OpenNebulaNetwork.conf", "it has keys such as `:tproxy:`")
        return Settings()
    for key, word in root.keys.items():
        _warn_of_misspelt(key, word, diagnostics)
    level, owner = "info", "nobody"
    try:
        if (value := root.values.get(":tproxy_debug_level")) is not None:
            level = _level(tree.one(value, ":tproxy_debug_level"))
        if (value := root.values.get(":tproxy_process_owner")) is not None:
            owner = tree.one(value, ":tproxy_process_owner").text
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    services = list(_services(root.values.get(":tproxy"), diagnostics))
    for number, service in enumerate(services):
        first = next((earlier for earlier in services[:number] if earlier.overlaps(service)), None)
        if first is not None:
            where = " on the networks that both name" if service.networks and first.networks else ""
            message = f"service port {service.port} is taken by the entry at {first.mark}, which counts{where}"
            diagnostics.warning(service.mark, message, "give one of them another port, or other networks")
    found = options.read(source, diagnostics)
    for option in found.entries:
        if all(service.port != option.port for service in services):
            place = found.document.mark((*option.path, ":service_port"))
            diagnostics.warning(place, f"no service has the port {option.port}", "name one of `:tproxy:`")
    return Settings(tuple(services), level, owner, found)


def _warn_of_misspelt(key: str, word: Word, diagnostics: Diagnostics) -> None:
    """Keys that were meant for us; OpenNebula has many others."""
    if key in _KEYS:
        return
    if f":{key}" in _KEYS:
        diagnostics.error(word.mark, f"{key!r} without a colon in front has no effect", f"write `:{key}:`")
    elif "tproxy" in key or "tprox" in key:
        diagnostics.error(word.mark, f"there is no key {key!r}", nearest(key, _KEYS) or f"there are {', '.join(_KEYS)}")


def _level(word: Word) -> str:
    if word.text not in ("0", "1", "2", "3"):
        hint = "0 is errors, 1 warnings, 2 information, 3 everything"
        raise Mistake(word, f"{word.text!r} is no level of logging", hint)
    return _LEVELS[int(word.text)]


def _services(value: tree.Value | None, diagnostics: Diagnostics) -> Iterator[Service]:
    if value is None or (isinstance(value, Word) and not value.text):
        return
    if not isinstance(value, tree.Sequence):
        diagnostics.error(value.mark, "`:tproxy:` is a list of services", "begin each with `- :service_port:`")
        return
    for item in value.items:
        if not isinstance(item, tree.Mapping):
            diagnostics.error(item.mark, "a service is a mapping", "begin it with `- :service_port: 5030`")
            continue
        before = diagnostics.errors
        service = _service(item, diagnostics)
        if service is not None and diagnostics.errors == before:
            yield service


def _service(item: tree.Mapping, diagnostics: Diagnostics) -> Service | None:
    """Every mistake of an entry is reported, not only the first."""
    for key, word in item.keys.items():
        if key not in _ENTRY:
            hint = f"write `:{key}:`" if f":{key}" in _ENTRY else nearest(key, _ENTRY)
            diagnostics.error(word.mark, f"unknown key {key!r}", hint or f"there are {', '.join(_ENTRY)}")
    found: dict[str, object] = {}
    for key, take in ((":service_port", _port), (":remote_addr", _host), (":remote_port", _port)):
        try:
            if key not in item.values:
                raise Mistake(item.mark, f"`{key}:` is missing, so this service would be left out")
            found[key] = take(tree.one(item.values[key], key))
        except Mistake as mistake:
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    try:
        networks = _networks(item.values.get(":networks"))
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
        return None
    match found:
        case {":service_port": int(port), ":remote_addr": str(host), ":remote_port": int(remote)}:
            return Service(item.mark, port, host, remote, networks)
    return None


def _port(word: Word) -> int:
    """As Ruby's Integer() reads it, 5030, "5030" or 0x13a6; in the range of ports."""
    if not _NUMBER.fullmatch(word.text) or word.text.endswith("_") or "__" in word.text:
        octal = "a number that begins with 0 is octal" if re.fullmatch(r"0[0-9]+", word.text) else "such as 5030"
        raise Mistake(word, f"{word.text!r} is no port", octal)
    number = int(word.text, 0)
    if not 0 < number < 65536:
        raise Mistake(word, f"{word.text} is no port", "ports are 1 to 65535")
    return number


def _host(word: Word) -> str:
    try:
        address = ipaddress.ip_address(word.text)
    except ValueError:
        if re.fullmatch(r"[0-9.]+", word.text) or not _NAME.fullmatch(word.text) or len(word.text) > 253:
            hint = "such as 10.11.12.13 or one.example.org"
            raise Mistake(word, f"{word.text!r} is neither an IPv4 address nor a name", hint) from None
        return word.text
    if address.version == 6:
        hint = "give it a name that also has an IPv4 address"
        raise Mistake(word, f"OpenNebula's proxies lead to IPv4 addresses only, not to {word.text}", hint)
    return word.text


def _networks(value: tree.Value | None) -> tuple[str, ...]:
    if value is None or (isinstance(value, Word) and not value.text):
        return ()
    if isinstance(value, Word):
        raise Mistake(
            value, "`:networks:` is a list; a single name makes OpenNebula's drivers fail", f"write [{value.text}]"
        )
    return tuple(word.text for word in tree.several(value, ":networks"))
