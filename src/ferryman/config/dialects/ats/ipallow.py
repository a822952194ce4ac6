"""ip_allow.yaml: who may connect, and where to. Called by the package's `parse`.

A rule counts by its addresses, the first one that has them; methods are HTTP's. So of clients only those are refused
whom a rule denies everything, or whom no rule knows; of destinations those to which CONNECT is denied.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config import yamltree as tree
from ferryman.config.dialects.ats.values import Network, networks
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark, Source

_KEYS: Final = ("apply", "ip_addrs", "ip_categories", "action", "methods")
_ACTIONS: Final = {"allow": True, "set_allow": True, "deny": False, "set_deny": False}
_EVERYTHING: Final = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Rule:
    """`let_in`: connections from there may be good for something; `connect`: CONNECT to there is allowed."""

    mark: Mark
    addresses: tuple[At, ...]
    let_in: bool
    connect: bool

    def has(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in _network(each) for each in self.addresses)


@dataclass(slots=True)
class Rules:
    """`inside`: of clients, in their order; None: there is no such file. `outside`: of destinations."""

    inside: list[Rule] | None = None
    outside: list[Rule] = field(default_factory=list)

    def connection(self, fact: str) -> list[object]:
        """Native rules for the list `connection`. `fact`: which address they are about."""
        if self.inside is None:
            return []
        found: list[object] = []
        everything = set(_EVERYTHING)
        for rule in self.inside:
            action = "accept" if rule.let_in else "reject"
            found.append(At({"action": action, "when": {fact: {"cidr": list(rule.addresses)}}}, rule.mark))
            everything -= {str(each.value) for each in rule.addresses}
        if everything:
            found.append({"action": "reject"})
        elif all(rule.let_in for rule in self.inside):
            return []
        return found

    def refusal(self, text: str) -> Rule | None:
        """The rule by which this address must not be connected to."""
        address = ipaddress.ip_address(text)
        first = next((rule for rule in self.outside if rule.has(address)), None)
        return first if first is not None and not first.connect else None

    def allowed(self) -> list[At]:
        """Networks that may be connected to in so many words."""
        return [each for rule in self.outside if rule.connect for each in rule.addresses]

    @property
    def denies(self) -> Rule | None:
        return next((rule for rule in self.outside if not rule.connect), None)


def _network(at: At) -> Network:
    return ipaddress.ip_network(str(at.value))


def read(source: Source, rules: Rules, diagnostics: Diagnostics) -> None:
    """Add the rules of a file."""
    rules.inside = rules.inside if rules.inside is not None else []
    for document in tree.documents(source, diagnostics):
        if not isinstance(document, tree.Mapping):
            diagnostics.error(document.mark, "an ip_allow.yaml is a mapping", "begin with `ip_allow:`")
            continue
        for key, word in document.keys.items():
            if key == "ip_categories":
                message = "'ip_categories' is Traffic Server's, not supported by ferryman yet"
                diagnostics.error(word.mark, message, "write the addresses into the rules")
            elif key != "ip_allow":
                diagnostics.error(word.mark, f"unknown key {key!r}", nearest(key, ("ip_allow", "ip_categories")))
        listed = document.values.get("ip_allow")
        items: Sequence[tree.Value] = listed.items if isinstance(listed, tree.Sequence) else [listed] if listed else []
        for item in items:
            try:
                _rule(item, rules)
            except Mistake as mistake:
                diagnostics.error(mistake.mark, mistake.message, mistake.hint)


def _rule(item: tree.Value, rules: Rules) -> None:
    if not isinstance(item, tree.Mapping):
        raise Mistake(item.mark, "a rule is a mapping", "such as {apply: in, ip_addrs: 10.0.0.0/8, action: allow}")
    for key, word in item.keys.items():
        if key not in _KEYS:
            raise Mistake(word, f"unknown key {key!r}", nearest(key, _KEYS))
    if "ip_categories" in item.keys:
        message = "'ip_categories' is Traffic Server's, not supported by ferryman yet"
        raise Mistake(item.keys["ip_categories"], message, "write the addresses")
    apply, action = (_needed(item, key) for key in ("apply", "action"))
    if apply.text not in ("in", "out"):
        raise Mistake(apply, f"{apply.text!r} is neither in nor out")
    if action.text not in _ACTIONS:
        raise Mistake(action, f"unknown action {action.text!r}", nearest(action.text, _ACTIONS) or "allow, or deny")
    if "ip_addrs" not in item.values:
        raise Mistake(item.mark, "whom is this rule about?", "add ip_addrs")
    words = tree.several(item.values["ip_addrs"], "ip_addrs")
    addresses = tuple(each for word in words for each in networks(word))
    methods = {word.text.upper() for word in tree.several(item.values["methods"], "methods")} if (
        "methods" in item.values
    ) else {"ALL"}  # fmt: skip
    allow = _ACTIONS[action.text]
    rule = Rule(item.mark, addresses, allow or "ALL" not in methods, allow == bool(methods & {"ALL", "CONNECT"}))
    if apply.text == "out":
        rules.outside.append(rule)
    else:
        assert rules.inside is not None
        rules.inside.append(rule)


def _needed(item: tree.Mapping, key: str) -> Word:
    if key not in item.values:
        raise Mistake(item.mark, f"the rule has no `{key}`", "such as {apply: in, ip_addrs: 10.0.0.0/8, action: allow}")
    return tree.one(item.values[key], key)
