"""Each converter, at its edges."""

from __future__ import annotations

import pytest

from ferryman.rules.converters import CONVERTERS
from ferryman.rules.facts import ABSENT, Argument, Missing, Value


@pytest.mark.parametrize(
    ("name", "value", "args", "expected"),
    [
        ("lower", "WWW.Example", (), "www.example"),
        ("upper", b"ab", (), "AB"),
        ("length", "abc", (), 3),
        ("length", b"\x00\xff", (), 2),
        ("length", 443, (), 3),
        ("hex", b"\x0a\xff", (), "0AFF"),
        ("hex", "é", (), "E9"),
        ("bytes", b"abcd", (1, 2), b"bc"),
        ("bytes", "abcd", (1,), "bcd"),
        ("bytes", "abcd", (1, 0), ""),
        ("bytes", "abcd", (4, 1), ABSENT),
        ("field", "a..b", (1, "."), "a"),
        ("field", "a..b", (2, "."), ""),
        ("field", "a..b", (-1, "."), "b"),
        ("field", "a..b", (4, "."), ABSENT),
        ("field", "a..b", (0, "."), ABSENT),
        ("field", "a-b_c", (3, "_-"), "c"),
        ("field", "abc", (1, ""), "abc"),
        ("word", "..a..b.", (2, "."), "b"),
        ("word", "..a..b.", (-2, "."), "a"),
        ("word", "...", (1, "."), ABSENT),
        ("prepend", "b", ("a",), "ab"),
        ("append", 1, ("a",), "1a"),
        ("not", False, (), True),
        ("not", 5, (), False),
    ],
)
def test_converter(name: str, value: Value, args: tuple[Argument, ...], expected: Value | Missing) -> None:
    result = CONVERTERS[name].function(value, *args)
    assert (result, type(result)) == (expected, type(expected))


def test_every_converter_is_documented() -> None:
    assert all(converter.text for converter in CONVERTERS.values())
