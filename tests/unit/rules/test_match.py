"""Matchers: every method with what it holds for, what it does not, and what it refuses."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.rules.facts import Type, Value
from ferryman.rules.match import METHODS, Matcher, PatternError

CASES: list[tuple[str, list[str], Type, list[Value], list[Value]]] = [
    ("is", ["a", "443"], "string", ["a", b"a", 443], ["A", "ab", ""]),
    ("name", ["example.org"], "string", ["example.org", "EXAMPLE.org."], ["a.example.org", "example.orgx", "", "."]),
    (
        "name",
        ["*.Example.org."],
        "string",
        ["a.example.org", "a.b.EXAMPLE.ORG", "A.example.org."],
        ["example.org", ".example.org", "aexample.org", "a.example.org.x", "a.example.org.."],
    ),
    ("name", ["*"], "string", ["a", "a.b"], []),
    ("prefix", ["ab", "x"], "string", ["abc", "x", b"xy"], ["a", "Ab", ""]),
    ("suffix", [".org", "x"], "string", ["a.org", ".org", "yx"], ["org", "a.ORG", ""]),
    ("contains", ["bc", "z"], "string", ["abcd", "bc", "z"], ["b", "aBC", ""]),
    ("directory", ["a/b", "/c/"], "string", ["/a/b/d", "a/b", "x/c?y"], ["/xa/b", "a//b", "cc", ""]),
    (
        "domain",
        ["example.org", "x"],
        "string",
        ["www.example.org:80", "example.org", "a/x"],
        ["example.orgs", "wx", ""],
    ),
    ("regex", [r"^a.c$", r"\d\d"], "string", ["abc", "x42", "abc\n"], ["abcd", "4"]),
    ("length", ["3", "10:"], "string", ["abc", b"a" * 12, 443], ["ab", ""]),
    (
        "integer",
        ["443", "8000:8999", "ge 60000"],
        "integer",
        [443, 8000, 8999, 65535, "443"],
        [442, 9000, "x", "", True],
    ),
    ("integer", ["lt 5"], "integer", [0, 4], [5]),
    ("integer", ["<=5", "> 9"], "integer", [5, 10], [6, 9]),
    ("integer", ["-5", "100-"], "integer", [0, 5, 100, 10**9], [6, 99]),
    ("version", ["3.3"], "string", ["3.3"], ["3.4", "3", "x", "", "3.3.1"]),
    ("version", ["3.0-3.2", "gt 3.3"], "string", ["3.0", "3.1", "3.2", "3.4", "4.0"], ["2.0", "3.3"]),
    ("version", ["lt 3"], "string", ["2.0", "0.2"], ["3.0"]),
    ("cidr", ["10.0.0.0/8", "::1"], "address", ["10.9.9.9", "::1", "::ffff:10.0.0.1"], ["11.0.0.1", "::2", "unix"]),
    ("schedule", ["Mon-Fri 08:00-18:00"], "string", ["Mon 08:00", "Fri 17:59"], ["Fri 18:00", "Sat 09:00", "", "x"]),
    ("binary", ["1603", "00 ff"], "binary", [b"\x16\x03", b"\x00\xff", "\x00ÿ"], [b"\x16", b"1603", "€"]),
    ("boolean", [], "boolean", [True, 1, "x"], [False, 0, "", "0", "false"]),
    ("boolean", ["false"], "boolean", [False, 0], [True]),
    ("found", [], "string", ["", 0, False], []),
    ("found", ["no"], "string", [], ["", "x"]),
]


@pytest.mark.parametrize(("method", "patterns", "type_", "yes", "no"), CASES)
def test_method(method: str, patterns: list[str], type_: Type, yes: list[Value], no: list[Value]) -> None:
    matcher = Matcher.build(method, patterns, type=type_)
    again: Matcher = pickle.loads(pickle.dumps(matcher))
    assert again == matcher
    for one in (matcher, again):
        assert [value for value in yes + no if one.matches(value)] == yes


def test_every_method_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(METHODS)


@pytest.mark.parametrize("method", ["is", "prefix", "suffix", "contains", "directory", "domain", "regex", "name"])
def test_ignore_case(method: str) -> None:
    assert Matcher.build(method, ["Example"], ignore_case=True).matches("eXAMPLE")
    assert Matcher.build(method, ["Example"]).matches("eXAMPLE") == (method == "name")


def test_absence_matches_only_where_it_is_asked_for() -> None:
    assert Matcher.build("found", ["false"]).when_absent
    assert not Matcher.build("found", []).when_absent
    assert not Matcher.build("is", [""]).when_absent


@pytest.mark.parametrize(
    ("method", "patterns", "index", "message"),
    [
        ("name", ["a.org", "*a.org"], 1, "a \"\\*\" stands only at the front"),
        ("name", [".a.org"], 0, "\"\\*.a.org\" stands for all below"),
        ("name", ["bücher.example"], 0, "xn--"),
        ("name", ["a.org:443"], 0, "no host name"),
        ("name", [""], 0, "no host name"),
        ("regex", ["a", "("], 1, "no regular expression"),
        ("regex", ["[[:alnum:]]+"], 0, "not known here"),
        ("regex", ["[a--b]"], 0, "no regular expression"),
        ("domain", ["..."], 0, "nothing to look for"),
        ("integer", ["x"], 0, "no number"),
        ("integer", ["9:1"], 0, "ends before it begins"),
        ("integer", ["ge 1:2"], 0, "not a range"),
        ("integer", [""], 0, "a number is missing"),
        ("integer", ["-"], 0, "no number"),
        ("integer", ["²"], 0, "no number"),
        ("version", ["3.70000"], 0, "no version"),
        ("version", ["1.2.3"], 0, "no version"),
        ("cidr", ["10.0.0.0/8", "10.0.0.0/40"], 1, "no prefix length"),
        ("binary", ["1603", "xyz"], 1, "hexadecimal"),
        ("boolean", ["maybe"], 0, "\"true\" or \"false\""),
        ("is", [], -1, "needs a pattern"),
        ("equals", ["a"], -1, "there is no method"),
    ],
)  # fmt: skip
def test_a_bad_pattern_is_named(method: str, patterns: list[str], index: int, message: str) -> None:
    with pytest.raises(PatternError, match=message) as caught:
        Matcher.build(method, patterns)
    assert caught.value.index == index


@pytest.mark.parametrize(("method", "type_"), [("cidr", "integer"), ("name", "address"), ("integer", "binary")])
def test_a_method_that_never_fits_is_refused(method: str, type_: Type) -> None:
    with pytest.raises(PatternError, match="never holds"):
        Matcher.build(method, ["1"], type=type_)


def test_many_patterns_mean_the_same_as_few() -> None:
    patterns = [f"h{number}{'x' * (number % 5)}" for number in range(300)]
    for method in ("prefix", "suffix", "is"):
        many = Matcher.build(method, patterns)
        for text in ("h7", "h7xx", "ah7xx", "h299xxxxb", "", "xx"):
            assert many.matches(text) == any(Matcher.build(method, [one]).matches(text) for one in patterns), (
                method,
                text,
            )


@settings(deadline=None)
@given(st.lists(st.text("ab./", min_size=1, max_size=6), min_size=1, max_size=4), st.text("ab./:", max_size=12))
def test_words_stand_between_delimiters(patterns: list[str], text: str) -> None:
    words = [pattern.strip("/?.:") for pattern in patterns]
    if not all(words):
        return
    framed = "." + text + "."
    expected = any(
        framed[at - 1] in "/?.:" and framed[at + len(word)] in "/?.:"
        for word in words
        for at in range(1, len(framed) - len(word))
        if framed.startswith(word, at)
    )
    assert Matcher.build("domain", patterns).matches(text) == expected


@pytest.mark.parametrize(
    ("method", "patterns", "positive", "negative"),
    [
        ("is", ["a", "b"], 'is "a" or "b"', 'is not "a" or "b"'),
        ("regex", ["x"], "matches regex /x/", "does not match regex /x/"),
        ("cidr", ["10.0.0.0/8"], "is in 10.0.0.0/8", "is not in 10.0.0.0/8"),
        ("name", ["a", "b", "c", "d", "e"], "is a or b or c or 2 more", "is not a or b or c or 2 more"),
        ("found", [], "is known", "is not known"),
        ("found", ["false"], "is not known", "is known"),
        ("boolean", ["true"], "is true", "is not true"),
    ],
)
def test_in_words(method: str, patterns: list[str], positive: str, negative: str) -> None:
    matcher = Matcher.build(method, patterns)
    assert (matcher.says(), matcher.says(False)) == (positive, negative)
