"""ACLs: `acl` lines into named native tests, and the terms of other lines that refer to them.

Values of one line are alternatives, and so are several lines of one name. What a value of which type looks like is
values.py's. ACL names are compared without case, as Squid does. The files that quoted values name are read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.squid import values
from ferryman.config.dialects.squid.files import read_values
from ferryman.config.dialects.squid.keywords import TYPES
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

NEVER: Final[dict[str, object]] = {"always_false": {"boolean": True}}
ALWAYS: Final[dict[str, object]] = {"always_true": {"boolean": True}}
_GROUPS: Final = {"any-of": "any", "all-of": "all"}
_FLAGS: Final = {
    "dst": ("-n",),
    "dstdomain": ("-n",),
    "dstdom_regex": ("-n", "-i", "+i"),
    "proxy_auth": ("-i", "+i"),
    "proxy_auth_regex": ("-i", "+i"),
    "ssl::server_name": ("--client-requested", "--server-provided", "--consensus"),
    "ssl::server_name_regex": ("-i", "+i", "--client-requested", "--server-provided", "--consensus"),
}
_PREDEFINED: Final = {
    "all": ("src", ("all",)),
    "manager": ("manager", ()),
    "localhost": ("src", ("127.0.0.1", "::1")),
    "to_localhost": ("dst", ("127.0.0.0/8", "0.0.0.0", "::1", "::")),
    "to_linklocal": ("dst", ("169.254.0.0/16", "fe80::/10")),
    "CONNECT": ("method", ("CONNECT",)),
}
"""Type and values. `manager` is about requests to the cache manager, which is not here, so it never holds."""


@dataclass(slots=True)
class Acl:
    """One name. `parts` are native conditions of which one must hold; `always` stands for what holds anyway."""

    name: str
    type: str
    place: Mark | None  # None: predefined
    parts: list[object] = field(default_factory=list)
    values: list[At] = field(default_factory=list)  # as they were written
    members: list[Acl] = field(default_factory=list)  # of any-of and all-of
    always: bool = False
    ignores_case: bool = False  # a line of it said -i

    @property
    def tree(self) -> object:
        """The native test."""
        if self.always or self.type == "squid_error":
            return ALWAYS
        found = self.parts[0] if len(self.parts) == 1 else {"any": list(self.parts)} if self.parts else NEVER
        return At(found, self.place) if self.place else found

    @property
    def asks(self) -> bool:
        """Is it about the user?"""
        return self.type in ("proxy_auth", "proxy_auth_regex") or any(member.asks for member in self.members)

    def reach(self) -> list[Acl]:
        """This one after all that it refers to."""
        found: list[Acl] = []
        for member in self.members:
            found += [acl for acl in member.reach() if acl not in found]
        return [*found, self]

    def add(self, fact: str, method: str, patterns: Sequence[At], ignore_case: bool = False) -> None:
        """One more alternative; patterns for what is there already go to the others."""
        if not patterns:
            return
        for part in self.parts:
            known = part.get(fact) if isinstance(part, dict) else None
            if isinstance(known, dict) and method in known and bool(known.get("ignore_case")) == ignore_case:
                known[method] += patterns
                return
        options: dict[str, object] = {method: list(patterns)}
        if ignore_case:
            options["ignore_case"] = True
        self.parts.append({fact: options})


@dataclass(frozen=True, slots=True)
class Term:
    """An ACL in a line that refers to it, perhaps with ! before it."""

    acl: Acl
    negated: bool
    mark: Mark

    @property
    def tree(self) -> At:
        return At({"not": self.acl.name} if self.negated else self.acl.name, self.mark)

    @property
    def always(self) -> bool:
        return self.acl.always and not self.negated

    @property
    def never(self) -> bool:
        return self.acl.type == "manager" and not self.negated


class Acls:
    """All ACLs of a configuration, by name."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.named: dict[str, Acl] = {}
        for name, (kind, texts) in _PREDEFINED.items():
            self.named[name.lower()] = acl = Acl(name, kind, None)
            if reader := values.READERS.get(kind):
                nowhere = Mark("", 1, 1)
                reader(acl, [Word(text, nowhere) for text in texts], [], diagnostics)
        for acl in self.named.values():
            _forget_places(acl)

    def define(self, words: Sequence[Word]) -> None:
        """What follows `acl`. Raises Mistake."""
        if len(words) < 2:
            raise Mistake(words[0], "'acl' needs a name and a type", "such as acl dvm dstdomain .apps.example.org")
        name, kind = words[0], words[1]
        acl = self.named.get(name.text.lower())
        if acl is not None and acl.type == "manager":
            return  # old files define it anew; there is no cache manager
        if not TYPES.wanted(kind, kind.text, "", self.diagnostics):
            return
        if acl is not None and acl.type != kind.text:
            where = f", at {acl.place}" if acl.place else ", by Squid itself"
            raise Mistake(kind, f"the acl {acl.name!r} is of type {acl.type} already{where}", "give it another name")
        if acl is None:
            acl = self.named[name.text.lower()] = Acl(name.text, kind.text, name.mark)
        if kind.text in _GROUPS:
            self._group(acl, words[2:], kind)
            return
        flags, rest = _flags(kind.text, words[2:])
        read = read_values(rest)
        if not read:
            self.diagnostics.warning(name.mark, f"the acl {name.text!r} has no values: this line never holds")
        values.READERS[kind.text](acl, read, [flag.text for flag in flags], self.diagnostics)
        acl.ignores_case |= any(flag.text == "-i" for flag in flags)
        acl.values += [At(word.text, word.mark) for word in read]

    def _group(self, acl: Acl, words: Sequence[Word], kind: Word) -> None:
        terms = self.terms(words)
        if not terms:
            raise Mistake(kind, f"{kind.text!r} needs other acls", "")
        for term in terms:
            if acl in term.acl.reach():
                raise Mistake(term.mark, f"the acl {acl.name!r} would refer to itself")
        acl.members += [term.acl for term in terms]
        parts = [term.tree for term in terms]
        acl.parts.append(parts[0] if len(parts) == 1 else At({_GROUPS[kind.text]: parts}, kind.mark))

    def terms(self, words: Iterable[Word], errors: bool = False) -> list[Term]:
        """References to ACLs that are defined by now. `errors`: those of type squid_error may be among them.

        Raises Mistake.
        """
        found = []
        for word in words:
            name = word.text.removeprefix("!")
            acl = self.named.get(name.lower())
            if acl is None:
                names = [known.name for known in self.named.values()]
                raise Mistake(word, f"there is no acl {name!r} up to here", nearest(name, names))
            if acl.type == "squid_error" and not errors:
                raise Mistake(word, f"the acl {name!r} is about errors: that is for on_unsupported_protocol")
            found.append(Term(acl, word.text != name, word.mark))
        return found

    def tests(self, trees: Iterable[object], ports: dict[str, list[str]]) -> dict[str, object]:
        """The native tests that these conditions refer to, each after those that it refers to itself.

        `ports`: the listeners of each http_port name.
        """
        found: dict[str, object] = {}
        for name in dict.fromkeys(name for tree in trees for name in names(tree)):
            for acl in self.named[name.lower()].reach():
                found.setdefault(acl.name, _port_names(acl, ports) if acl.type == "myportname" else acl.tree)
        return found


def names(tree: object) -> list[str]:
    """The tests that a native condition refers to."""
    while isinstance(tree, At):
        tree = tree.value
    match tree:
        case str():
            return [tree]
        case list():
            return [name for part in tree for name in names(part)]
        case dict():
            return [name for key, part in tree.items() if key in ("all", "any", "not") for name in names(part)]
    return []


def _port_names(acl: Acl, ports: dict[str, list[str]]) -> object:
    """An http_port's name is a listener's, but for characters that cannot be in one."""
    known = [At(name, value.mark) for value in acl.values for name in ports.get(str(value.value), [])]
    return {"listener": {"is": known}} if known else NEVER


def _flags(kind: str, words: Sequence[Word]) -> tuple[list[Word], list[Word]]:
    """(options, values). Raises Mistake for options that the type has not."""
    allowed = _FLAGS.get(kind, ())
    at = 0
    while at < len(words) and (words[at].text.startswith("-") or words[at].text == "+i"):
        word = words[at]
        if word.text == "--":
            return list(words[:at]), list(words[at + 1 :])
        if word.text not in allowed:
            hint = f"it has {', '.join(allowed)}" if allowed else "put -- before values that begin with a -"
            raise Mistake(word, f"an acl of type {kind} has no option {word.text!r}", hint)
        if word.text in ("--server-provided", "--consensus"):
            raise Mistake(word, f"{word.text!r} is Squid's, not supported by ferryman yet", "leave it out")
        at += 1
    return list(words[:at]), list(words[at:])


def _forget_places(acl: Acl) -> None:
    """What is predefined stands nowhere."""
    for part in acl.parts:
        assert isinstance(part, dict)
        for options in part.values():
            for method, patterns in options.items():
                if method != "ignore_case":
                    options[method] = [pattern.value for pattern in patterns]
