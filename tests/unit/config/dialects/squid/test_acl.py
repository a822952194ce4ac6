"""ACLs by name: several lines, groups, options, files, what is predefined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, files, parsed

from ferryman.config.dialects import squid
from ferryman.config.source import Diagnostics, Source


def native_tests(text: str) -> Any:
    data, found = parsed(f"http_port 3128\n{text}{OPEN}")
    assert found == []
    return data["listeners"]["3128"]["tests"]


def test_lines_of_one_name_are_alternatives() -> None:
    text = "acl a src 10.0.0.0/8\nacl A src 192.0.2.1\nacl a src ipv6\nhttp_access deny a\n"
    assert native_tests(text)["a"] == {
        "any": [
            {"client_address": {"cidr": ["10.0.0.0/8", "192.0.2.1/32"]}},
            {"not": {"client_address": {"cidr": ["0.0.0.0/0"]}}},
        ]
    }


def test_groups_come_after_what_they_refer_to() -> None:
    text = (
        "acl b src 10.0.0.0/8\nacl g any-of b !localhost\nacl h all-of g CONNECT\n"
        "acl c port 5\nacl g any-of c\nhttp_access deny h\n"
    )
    found = native_tests(text)
    assert list(found)[:6] == ["b", "localhost", "c", "g", "CONNECT", "h"]
    assert found["g"] == {"any": [{"any": ["b", {"not": "localhost"}]}, "c"]}
    assert found["h"] == {"all": ["g", "CONNECT"]}


def test_only_what_is_used_is_there() -> None:
    assert "b" not in native_tests("acl b src 10.0.0.0/8\n")


def test_what_is_predefined_can_be_added_to() -> None:
    text = "acl localhost src 192.0.2.1\nacl CONNECT method CONNECT\nacl manager proto cache_object\n"
    text += "http_access allow localhost manager\nhttp_access deny manager\nhttp_access deny localhost\n"
    found = native_tests(text)
    assert found["localhost"] == {"client_address": {"cidr": ["127.0.0.1/32", "::1/128", "192.0.2.1/32"]}}
    assert "manager" not in found  # what cannot hold is left out


def test_values_in_a_file(tmp_path: Path) -> None:
    folder = files(tmp_path)
    diagnostics = Diagnostics()
    text = f'http_port 3128\nacl a dstdomain .x.example "{folder}/names" www.y.example\nhttp_access deny a\n{OPEN}'
    document = squid.parse([Source("s.conf", text)], diagnostics, {})
    assert diagnostics.found == []
    data: Any = document.data
    assert data["listeners"]["3128"]["tests"]["a"]["target_host"]["name"] == [
        "x.example", "*.x.example", "a.example", "*.a.example", "www.b.example", "www.y.example",
    ]  # fmt: skip
    path = ("listeners", "3128", "tests", "a", "target_host", "name", 4)
    assert str(document.mark(path)) == f"{folder}/names:3:3"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("acl", "1:1: error: 'acl' needs a name and a type"),
        ("acl a", "1:5: error: 'acl' needs a name and a type"),
        ("acl a sorc 1", "1:7: error: unknown acl type 'sorc'; did you mean 'src'?"),
        ("acl a maxconn 5", "1:7: error: 'maxconn' is Squid's, not supported by ferryman yet"),
        ("acl a src 10.0.0.1\nacl a port 1", "2:7: error: the acl 'a' is of type src already, at s.conf:1:5"),
        ("acl localhost port 1", "1:15: error: the acl 'localhost' is of type src already, by Squid itself"),
        ("acl a src -i 10.0.0.1", "1:11: error: an acl of type src has no option '-i'"),
        ("acl a dstdomain -i x.y", "1:17: error: an acl of type dstdomain has no option '-i'; it has -n"),
        ("acl a any-of", "1:7: error: 'any-of' needs other acls"),
        ("acl a any-of b", "1:14: error: there is no acl 'b' up to here"),
        ("acl a any-of localhost\nacl b any-of a\nacl a any-of b", "3:14: error: the acl 'a' would refer to itself"),
        ("acl a src", "1:5: warning: the acl 'a' has no values: this line never holds"),
        ('acl a src "/nonexistent"', "1:11: error: cannot read '/nonexistent': No such file or directory"),
        ('acl a src "/dev/zero"', "1:11: error: '/dev/zero' is no file"),
        ("acl a proxy_auth REQUIRED", "1:5: error: nobody can log in, which the acl 'a' needs; add auth_param"),
        ("acl e squid_error X\nhttp_access deny e", "2:18: error: the acl 'e' is about errors"),
    ],
)
def test_findings(text: str, finding: str) -> None:
    _, found = parsed(f"{text}\nhttp_port 3128\n{OPEN}")
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_values_may_begin_with_a_dash_after_two_of_them() -> None:
    assert native_tests("acl a dstdom_regex -i -- -i x\nhttp_access deny a\n")["a"] == {
        "target_host": {"regex": ["x"], "ignore_case": True}
    }
