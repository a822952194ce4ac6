"""Access lists: lines of an action and ACLs, read from the first to the last, of which the first that holds decides.

`Line` and `read` are what all of them have in common (http_access, ssl_bump, never_direct, …). `holds` makes one native
condition of a list of allow and deny; `access` makes the native `access` of http_access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.acl import Acls, Term
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics, Mark


@dataclass(frozen=True, slots=True)
class Line:
    """One line: it decides if all its terms hold."""

    action: str
    terms: tuple[Term, ...]
    mark: Mark

    @property
    def asks(self) -> bool:
        """Is it about the user?"""
        return any(term.acl.asks for term in self.terms)

    @property
    def tree(self) -> At | None:
        """The native condition; None: it always holds.

        A term that holds anyway is left out, but after one about the user: there it is what says that a client whose
        user is not wanted is refused for good, and not asked for another one.
        """
        kept = [
            term
            for number, term in enumerate(self.terms)
            if not term.always or any(before.acl.asks for before in self.terms[:number])
        ]
        if not kept:
            return None
        return kept[0].tree if len(kept) == 1 else At({"all": [term.tree for term in kept]}, kept[0].mark)

    @property
    def never(self) -> bool:
        """It cannot hold, and nobody is asked anything before that shows."""
        return not self.asks and any(term.never for term in self.terms)


def read(arguments: Arguments, acls: Acls, actions: Sequence[str], errors: bool = False) -> Line:
    """The rest of a line. `errors`: ACLs of type squid_error may be in it. Raises Mistake."""
    word = arguments.need(f"an action: {' or '.join(actions)}")
    if word.text not in actions:
        hint = nearest(word.text, actions) or f"there are {', '.join(actions)}"
        raise Mistake(word, f"{arguments.keyword!r} has no action {word.text!r}", hint)
    terms = tuple(acls.terms(arguments.rest(), errors))
    if not terms:
        message = f"{arguments.keyword!r} names no acl"
        raise Mistake(arguments.whole, message, f"write {arguments.keyword} {word.text} all")
    return Line(word.text, terms, arguments.whole)


def holds(lines: Sequence[Line], otherwise: bool) -> object:
    """Whether a list says allow: True, False, or a native condition. `otherwise`: what no line at all means.

    What no line decides is the opposite of the last one.
    """
    result: object = lines[-1].action == "deny" if lines else otherwise
    for line in reversed(lines):
        allow, tree = line.action == "allow", line.tree
        if line.never:
            continue
        if tree is None:
            result = allow
        elif allow:
            result = either(tree, result)
        else:
            result = both(negation(tree), result)
    return result


def negation(tree: object) -> object:
    return (not tree) if isinstance(tree, bool) else At({"not": tree}, tree.mark) if isinstance(tree, At) else tree


def either(one: object, other: object) -> object:
    """One of them holds."""
    if isinstance(other, bool) or isinstance(one, bool):
        rest = one if isinstance(other, bool) else other
        return True if True in (one, other) else rest
    return _joined("any", one, other)


def both(one: object, other: object) -> object:
    """Both of them hold."""
    if isinstance(other, bool) or isinstance(one, bool):
        rest = one if isinstance(other, bool) else other
        return False if False in (one, other) else rest
    return _joined("all", one, other)


def _joined(key: str, one: object, other: object) -> At:
    """Two conditions in one; what is of the same kind is not nested, as conditions may be nested only so deep."""
    assert isinstance(one, At)
    parts: list[object] = []
    for tree in (one, other):
        inner = tree.value if isinstance(tree, At) else tree
        parts += inner[key] if isinstance(inner, dict) and key in inner else [tree]
    return At({key: parts}, one.mark)


def access(lines: Sequence[Line], place: Mark, diagnostics: Diagnostics) -> list[At]:
    """The native `access`, in which nothing is left to what a list does at its end."""
    if not lines:
        return [At({"action": "deny"}, place)]
    rules = [_rule(line.action, line.tree, line.mark) for line in lines if not line.never]
    last = lines[-1]
    if any(line.tree is None for line in lines):
        return rules
    if last.action == "deny":
        message = "whoever no line of http_access is about is allowed, as the last one denies"
        diagnostics.warning(last.mark, message, "add `http_access deny all`")
        rules.append(_rule("allow", None, last.mark))
    elif last.asks:
        rules.append(_rule("deny", negation(last.tree), last.mark))  # asks for another user where that might do
    return rules


def _rule(action: str, tree: object, mark: Mark) -> At:
    return At({"action": action, "when": tree} if tree is not None else {"action": action}, mark)
