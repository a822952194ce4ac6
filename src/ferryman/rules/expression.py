"""Expressions: a fact, its arguments, and converters applied to it, as in `payload(0,4)|hex`. (contract; being written)"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman.rules.facts import Facts, Missing, Value

Argument = str | int


@dataclass(frozen=True, slots=True)
class Call:
    """A fact or a converter by its native name, with arguments."""

    name: str
    args: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """A fact and the converters its value goes through, in order."""

    fact: Call
    converters: tuple[Call, ...] = ()

    def evaluate(self, facts: Facts) -> Value | Missing:
        raise NotImplementedError
