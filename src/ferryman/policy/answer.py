"""Yes, no, or a doubt with its reason: how conditions are answered when not everything is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Doubt:
    """It cannot be known, because."""

    reason: str


Answer = bool | Doubt


def every(answers: Iterable[Answer]) -> Answer:
    """No if any is no; otherwise the first doubt; otherwise yes."""
    doubt: Doubt | None = None
    for answer in answers:
        if answer is False:
            return False
        if doubt is None and isinstance(answer, Doubt):
            doubt = answer
    return doubt or True


def some(answers: Iterable[Answer]) -> Answer:
    """Yes if any is yes; otherwise the first doubt; otherwise no."""
    doubt: Doubt | None = None
    for answer in answers:
        if answer is True:
            return True
        if doubt is None and isinstance(answer, Doubt):
            doubt = answer
    return doubt or False
