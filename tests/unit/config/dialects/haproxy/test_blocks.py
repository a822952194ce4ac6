"""Conditional blocks and messages."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import parsed

ENVIRONMENT = {"A": "1"}


def holds(condition: str) -> bool:
    data, found = parsed(f".if {condition}\nglobal\n node yes\n.else\nglobal\n node no\n.endif\n", ENVIRONMENT)
    assert found == []
    return bool(data["global"]["node"] == "yes")


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("", False),
        ("0", False),
        ("1", True),
        ("true", True),
        ("defined(A)", True),
        ("defined(B)", False),
        ("!defined(B)", True),
        ('streq("$A",1)', True),
        ('streq("$A","")', False),
        ('strneq("$A",2)', True),
        ("version_atleast(2.4)", True),
        ("version_atleast(99)", False),
        ("version_before(2.4)", False),
        ("defined(B) || defined(A)", True),
        ("defined(B) && defined(A) || 1", True),
        ("!(defined(B) || defined(A))", False),
    ],
)
def test_conditions(condition: str, value: bool) -> None:
    assert holds(condition) is value


def test_only_one_branch_counts() -> None:
    text = "global\n.if 0\n node a\n.elif 1\n node b\n.elif 1\n node c\n.else\n node d\n.endif\n"
    assert parsed(text)[0] == {"global": {"node": "b"}, "listeners": {}}


def test_what_is_skipped_is_not_even_read() -> None:
    text = 'global\n.if 0\n node "\n.if 1\n nonsense\n.else\n more\n.endif\n.foo\n.alert x\n.endif\n node a\n'
    assert parsed(text) == ({"global": {"node": "a"}, "listeners": {}}, [])


def test_messages() -> None:
    text = '.notice "a"\n.diag b\n.warning "c d"\n.alert e\n'
    assert parsed(text)[1] == [
        "h.cfg:3:1: warning: the configuration says: c d",
        "h.cfg:4:1: error: the configuration says: e",
    ]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (".if 1\n", "h.cfg:1:1: error: this .if has no .endif"),
        (".endif\n", "h.cfg:1:1: error: .endif without an .if"),
        (".if 1\n.else\n.else\n.endif\n", "h.cfg:3:1: error: .else after .else"),
        (".fi\n", "h.cfg:1:1: error: unknown directive '.fi'; did you mean '.if'?"),
        (".if foo\n.endif\n", "h.cfg:1:5: error: cannot make sense of the condition 'foo'"),
        (".if foo()\n.endif\n", "h.cfg:1:5: error: unknown predicate foo()"),
        (".if streq(a)\n.endif\n", "h.cfg:1:5: error: streq() takes 2 argument(s), not 1"),
        (".if feature(LUA)\n.endif\n", "h.cfg:1:5: error: the predicate feature() is HAProxy's, not supported"),
        (".if (1\n.endif\n", "h.cfg:1:5: error: a ) is missing in the condition"),
        (".if 1 1\n.endif\n", "h.cfg:1:5: error: unexpected '1' in the condition"),
        (".if 1 &&\n.endif\n", "h.cfg:1:5: error: the condition is not complete"),
        (".if version_atleast(x)\n.endif\n", "h.cfg:1:5: error: 'x' is not a version"),
        (".if 1\n" * 65 + ".endif\n" * 65, "h.cfg:65:1: error: blocks nested deeper than 64"),
    ],
)
def test_mistakes(text: str, finding: str) -> None:
    assert parsed(text)[1][0].startswith(finding)
