"""Words of a line: blanks, escapes, quotes, comments, variables."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.haproxy.tokens import expand, words
from ferryman.config.place import Mistake, RawLine

ENVIRONMENT = {"HOST": "db1", "EMPTY": "", "TWO": "a b"}


def texts(line: str) -> list[str]:
    return [word.text for word in words(RawLine("h.cfg", 7, line), ENVIRONMENT)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  \t ", []),
        ("# all of it", []),
        ("bind :443", ["bind", ":443"]),
        ("\tbind\t :443  ", ["bind", ":443"]),
        ("a b#c d", ["a", "b"]),
        (r"a\ b \# \\ \' \" \$", ["a b", "#", "\\", "'", '"', "$"]),
        (r"\x41\n\t\q\1", ["A\n\t\\q\\1"]),
        ("end\\", ["end\\"]),
        ('"a b" x', ["a b", "x"]),
        ('a"b c"d', ["ab cd"]),
        ("'a b' 'c\"d' \"e'f\"", ["a b", 'c"d', "e'f"]),
        (r"'a\ b'", [r"a\ b"]),
        ('""', [""]),
        ("\"#\" '#'", ["#", "#"]),
        ('"$HOST" "${HOST}x" "$HOST.y"', ["db1", "db1x", "db1.y"]),
        ("'$HOST' $HOST", ["$HOST", "$HOST"]),
        ('"${NONE-d e}" "${HOST-d}" "${EMPTY-d}" "$NONE"', ["d e", "db1", "", ""]),
        ('"$TWO"', ["a b"]),
        (r'"\$HOST"', ["$HOST"]),
    ],
)
def test_words(line: str, expected: list[str]) -> None:
    assert texts(line) == expected


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ('a "b', 3, 'the quote " is not closed'),
        ("a 'b\"", 3, "the quote ' is not closed"),
        (r"a b\x4", 4, "hexadecimal"),
        ('a "$1"', 4, "a variable's name is missing"),
        ('a "${B', 4, "no environment variable"),
        ('a "${B:-c}"', 4, "no environment variable"),
        ('a "${B[*]}"', 4, "not supported"),
    ],
)
def test_what_does_not_end_is_a_mistake_where_it_begins(line: str, column: int, message: str) -> None:
    with pytest.raises(Mistake, match=message.replace("$", r"\$")) as caught:
        texts(line)
    assert (caught.value.mark.line, caught.value.mark.column) == (7, column)


def test_marks_cover_what_was_written() -> None:
    found = words(RawLine("h.cfg", 7, ' bind "${HOST}:1" x'), ENVIRONMENT)
    assert [(word.mark.column, word.mark.length) for word in found] == [(2, 4), (7, 11), (19, 1)]


def test_addresses_expand_without_quotes() -> None:
    assert expand("$HOST:443,${HOST}:80,$NONE:1", ENVIRONMENT) == "db1:443,db1:80,:1"
