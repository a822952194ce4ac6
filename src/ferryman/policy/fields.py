"""Taking a policy's fields: each is what the API says it is, or a mistake with its place.

Used by `networking`'s and `egress`'s reading. A `Fields` stands for one manifest; `broken` tells whether anything in it
was wrong. Nothing raises: what is wrong is reported, and something harmless stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.source import Diagnostics, Path
from ferryman.kubernetes.documents import Json
from ferryman.kubernetes.manifests import PLACEHOLDER, Manifest
from ferryman.policy.objects import Network, Port, Requirement, Selector

PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_KEY: Final = re.compile(
    r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")

Mapping = dict[str, Json]


@dataclass(slots=True)
class Fields:
    """What is in a manifest, taken with its mistakes reported."""

    manifest: Manifest
    diagnostics: Diagnostics
    broken: bool = False

    def error(self, path: Path, message: str, hint: str = "") -> None:
        self.broken = True
        self.diagnostics.error(self.manifest.mark(*path), f"{self.manifest}: {message}", hint)

    def mapping(self, value: Json, path: Path, known: tuple[str, ...]) -> Mapping:
        """A mapping without keys that are not known; nothing is an empty one."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.error(path, f"`{_name(path)}` takes a mapping, this is {kind(value)}")
            return {}
        for key in value:
            if key not in known:
                self.broken = True
                message = f"{self.manifest}: `{_name(path)}` has no field `{key}`"
                hint = nearest(key, known) or f"there are {', '.join(known)}"
                self.diagnostics.error(self.manifest.key(*path, key), message, hint)
        return value

    def items(self, value: Json, path: Path) -> Iterator[tuple[Json, Path]]:
        """The entries of a list, and where they are; nothing is an empty one."""
        if value is None:
            return
        if not isinstance(value, list):
            self.error(path, f"`{_name(path)}` takes a list, this is {kind(value)}", "begin each entry with `- `")
            return
        for index, item in enumerate(value):
            yield item, (*path, index)

    def text(self, value: Json, path: Path) -> str:
        if isinstance(value, str) and value:
            return value
        hint = f'quote it: "{_written(value)}"' if isinstance(value, bool | int | float) else ""
        self.error(path, f"`{_name(path)}` takes text, this is {kind(value)}", hint)
        return ""

    def one_of(self, value: Json, path: Path, words: tuple[str, ...]) -> str:
        if isinstance(value, str) and value in words:
            return value
        hint = nearest(value, words) if isinstance(value, str) else ""
        same = next((word for word in words if isinstance(value, str) and word.lower() == value.lower()), "")
        shown = repr(value) if isinstance(value, str) else kind(value)
        self.error(
            path,
            f"`{_name(path)}` is one of {', '.join(words)}, not {shown}",
            f"did you mean {same!r}?" if same else hint,
        )
        return words[0]

    def selector(self, value: Json, path: Path) -> Selector:
        """A label selector; nothing is an empty one."""
        given = self.mapping(value, path, ("matchLabels", "matchExpressions"))
        found: list[Requirement] = []
        labels = given.get("matchLabels")
        if labels is not None and not isinstance(labels, dict):
            self.error((*path, "matchLabels"), f"`matchLabels` takes a mapping, this is {kind(labels)}")
        elif labels:
            for key, label in labels.items():
                at = (*path, "matchLabels", key)
                found.append(Requirement(self._key(key, at), "In", (self._label(label, at),)))
        for item, at in self.items(given.get("matchExpressions"), (*path, "matchExpressions")):
            found.append(self._requirement(item, at))
        return tuple(found)

    def _requirement(self, value: Json, path: Path) -> Requirement:
        given = self.mapping(value, path, ("key", "operator", "values"))
        key = self._key(self.text(given.get("key"), (*path, "key")), (*path, "key"))
        operator = self.one_of(given.get("operator"), (*path, "operator"), _OPERATORS)
        values = tuple(self._label(item, at) for item, at in self.items(given.get("values"), (*path, "values")))
        if operator in ("In", "NotIn") and not values:
            self.error(path, f"`{operator}` needs values")
        elif operator in ("Exists", "DoesNotExist") and values:
            self.error((*path, "values"), f"`{operator}` takes no values")
        return Requirement(key, operator, values)

    def _key(self, key: str, path: Path) -> str:
        if key and not _KEY.fullmatch(key):
            self.error(path, f"{key!r} cannot be the key of a label", _unfilled(key))
        return key

    def _label(self, value: Json, path: Path) -> str:
        if isinstance(value, str):
            if not _VALUE.fullmatch(value):
                self.error(path, f"{value!r} cannot be the value of a label", _unfilled(value))
            return value
        return self.text(value, path)

    def network(self, value: Json, path: Path, only_ipv4: bool = False) -> Network | None:
        """An address range such as 192.0.2.0/24."""
        text = self.text(value, path)
        if not text:
            return None
        found = parse_network(text)
        if isinstance(found, str):
            self.error(
                path, f"`{_name(path)}`: {text!r} is no address range: {found}", _unfilled(text) or _ranged(text)
            )
            return None
        if only_ipv4 and found.version == 6:
            self.error(path, f"`{_name(path)}`: {text} is IPv6, and this kind of object takes IPv4 only")
        return found

    def port(self, value: Json, path: Path, known: tuple[str, ...]) -> Port:
        """An entry of `ports`, with the fields that the kind of object has for it."""
        given = self.mapping(value, path, known)
        protocol = "TCP"
        if given.get("protocol") is not None:
            protocol = self.one_of(given["protocol"], (*path, "protocol"), PROTOCOLS)
        first, last = given.get("port"), given.get("endPort")
        at = (*path, "port")
        if isinstance(first, str):
            if not _PORT_NAME.fullmatch(first):
                hint = f"a number is not quoted: {first}" if first.isdigit() else _unfilled(first)
                self.error(at, f"{first!r} cannot be the name of a port", hint)
        elif first is not None and (isinstance(first, bool) or not isinstance(first, int) or not 0 < first < 65536):
            self.error(at, "`port` is a number from 1 to 65535, or the name that the pod gives it")
            first = None
        if last is None:
            return Port(protocol, first)
        if isinstance(last, bool) or not isinstance(last, int) or not 0 < last < 65536:
            self.error((*path, "endPort"), "`endPort` is a number from 1 to 65535")
        elif not isinstance(first, int):
            self.error((*path, "endPort"), "`endPort` needs a `port` that is a number")
        elif last < first:
            self.error((*path, "endPort"), f"`endPort` {last} is below `port` {first}")
        else:
            return Port(protocol, first, last)
        return Port(protocol, first)


@lru_cache(4096)
def parse_network(text: str) -> Network | str:
    """An address range, or what is wrong with the text."""
    address, slash, bits = text.partition("/")
    if not slash or not re.fullmatch(r"0|[1-9]\d{0,2}", bits):
        return "it needs the length of its prefix" if not slash else "its prefix is no number of bits"
    if "%" in address:
        return "it has a zone"
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return "the address is none" if not address.strip("0123456789abcdefABCDEF.:") else "it is not made of numbers"


def _ranged(text: str) -> str:
    return f"write {text}/{128 if ':' in text else 32}" if not isinstance(parse_network(f"{text}/32"), str) else ""


def _unfilled(text: str) -> str:
    return f"{text} is a placeholder: write what belongs there" if PLACEHOLDER.search(text) else ""


def _name(path: Path) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "manifest")


def _written(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind(value: Json) -> str:
    """What a value is, in words."""
    for types, word in (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a mapping"),
    ):
        if isinstance(value, types):
            return word
    return "missing" if value is None else "something else"
