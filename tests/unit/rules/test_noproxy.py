"""Targets that a proxy is not used for."""

from __future__ import annotations

import pytest

from ferryman.rules.noproxy import NoProxy


@pytest.mark.parametrize(
    ("entry", "held", "not_held"),
    [
        ("example.org", [("example.org", 443), ("a.Example.org", 80)], [("notexample.org", 443), ("192.0.2.1", 443)]),
        (".example.org", [("a.example.org", 443)], [("example.org", 443)]),
        ("*.example.org", [("a.b.example.org", 443)], [("example.org", 443)]),
        ("example.org:8080", [("example.org", 8080)], [("example.org", 443)]),
        ("10.0.0.0/8", [("10.1.2.3", 443)], [("11.0.0.1", 443), ("ten.example", 443)]),
        ("192.0.2.7", [("192.0.2.7", 1)], [("192.0.2.8", 1)]),
        ("192.0.2.7:443", [("192.0.2.7", 443)], [("192.0.2.7", 80)]),
        ("fd00::/8", [("fd00::1", 443)], [("fe80::1", 443)]),
        ("::1", [("::1", 443)], [("::2", 443)]),
        ("[2001:db8::]/32", [("2001:db8:1::1", 443)], [("2001:db9::1", 443)]),
        ("[2001:db8::/32]:443", [("2001:db8:1::1", 443)], [("2001:db8:1::1", 80)]),
        ("[::1]:443", [("::1", 443)], [("::1", 80)]),
        ("*", [("example.org", 443), ("10.0.0.1", 80), ("::1", 22)], []),
    ],
)
def test_entries(entry: str, held: list[tuple[str, int]], not_held: list[tuple[str, int]]) -> None:
    exceptions = NoProxy.of(["unrelated.example", entry])
    assert [target for target in held if not exceptions.holds(*target)] == []
    assert [target for target in not_held if exceptions.holds(*target)] == []


@pytest.mark.parametrize("entry", ["", "a b", "10.0.0.0/33", "example.org:0", "example.org:70000", "[zz]", "a.*.org"])
def test_what_is_no_entry(entry: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        NoProxy.of([entry])
