"""Matchers: how a value is compared with patterns. (contract; being written)"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman.rules.facts import Value


@dataclass(frozen=True, slots=True)
class Matcher:
    """`method` with its patterns; `matches` answers for one known value."""

    method: str
    patterns: tuple[str, ...]
    ignore_case: bool = False

    def matches(self, value: Value) -> bool:
        raise NotImplementedError
