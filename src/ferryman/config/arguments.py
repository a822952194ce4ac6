"""A directive and its arguments, taken one at a time. For dialects that are read line by line.

Made by a dialect's reader, used by every keyword's function. A keyword that takes what it knows and then calls `end`
refuses everything else by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word, span
from ferryman.config.source import Mark


class Arguments:
    """The words of one line. `keyword` is what has been taken as the directive so far, for messages."""

    def __init__(self, words: Sequence[Word], negated: bool = False) -> None:
        self.words = words
        self.negated = negated
        self.at = 1
        self.keyword = words[0].text

    @property
    def start(self) -> Mark:
        """The place of the directive."""
        return self.words[0].mark

    @property
    def whole(self) -> Mark:
        """The place of the whole line, from its first word to its last."""
        return span(self.words)

    def peek(self) -> Word | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def take(self) -> Word | None:
        """The next word, if there is one."""
        word = self.peek()
        self.at += word is not None
        return word

    def need(self, what: str) -> Word:
        """The next word. Raises Mistake if there is none, or an empty one."""
        word = self.take()
        if word is None or not word.text:
            raise Mistake(word or self.start, f"{self.keyword!r} needs {what}", "")
        return word

    def sub(self, known: Iterable[str]) -> Word:
        """The next word as the second half of the directive. Raises Mistake if it is none of `known`."""
        names = tuple(known)
        word = self.take()
        if word is None:
            raise Mistake(self.start, f"{self.keyword!r} needs a second word", f"such as {self.keyword} {names[0]}")
        if word.text not in names:
            raise Mistake(word, f"unknown keyword '{self.keyword} {word.text}'", nearest(word.text, names))
        self.keyword += f" {word.text}"
        return word

    def rest(self) -> list[Word]:
        """All that is left."""
        left = list(self.words[self.at :])
        self.at = len(self.words)
        return left

    def end(self) -> None:
        """Nothing more may follow. Raises Mistake."""
        if (word := self.peek()) is not None:
            raise Mistake(word, f"unexpected {word.text!r} after {self.keyword!r}", "")
