"""ACLs and conditions into native ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import document, findings, frontend


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("req.ssl_sni a.b c.d", {"sni": {"is": ["a.b", "c.d"]}}),
        ("req.ssl_sni -i a.b", {"sni": {"is": ["a.b"], "ignore_case": True}}),
        ("req.ssl_sni -i -m end -- .a", {"sni": {"suffix": [".a"], "ignore_case": True}}),
        ("req.ssl_sni -m beg a", {"sni": {"prefix": ["a"]}}),
        ("req.ssl_sni -m sub a", {"sni": {"contains": ["a"]}}),
        ("req.ssl_sni -m dir a", {"sni": {"directory": ["a"]}}),
        ("req.ssl_sni -m dom a", {"sni": {"domain": ["a"]}}),
        ("req.ssl_sni -m reg ^a", {"sni": {"regex": ["^a"]}}),
        ("req.ssl_sni -m len 1:5", {"sni": {"length": ["1:5"]}}),
        ("req.ssl_sni -m found", {"sni": {"found": True}}),
        ("req.ssl_sni -m found ignored", {"sni": {"found": True}}),
        ("req.ssl_sni -n -u 5 a", {"sni": {"is": ["a"]}}),
        ("req.ssl_sni a -i b", {"sni": {"is": ["a", "-i", "b"]}}),
        ("req.ssl_sni --", {"always_false": {"boolean": True}}),
        ("src 10/8 ::1", {"client_address": {"cidr": ["10/8", "::1"]}}),
        ("dst_port 1 2:4 gt 9 8 eq 5", {"local_port": {"integer": ["1", "2:4", "gt 9", "gt 8", "5"]}}),
        ("req.ssl_ver ge 3.3", {"tls_version": {"version": ["ge 3.3"]}}),
        ("req.payload(0,2) -m bin 1603", {"payload(0,2)": {"binary": ["1603"]}}),
        ("always_true", {"always_true": {"boolean": True}}),
        ("req.proto_http -m bool", {"proto_http": {"boolean": True}}),
    ],
)
def test_an_acl(text: str, native: object) -> None:
    assert frontend(f"acl a {text}")["tests"]["a"] == native


def test_one_name_several_times_is_an_alternative() -> None:
    listener = frontend("acl a src 10/8", "acl a dst_port 443")
    assert listener["tests"]["a"] == {
        "any": [{"client_address": {"cidr": ["10/8"]}}, {"local_port": {"integer": ["443"]}}]
    }


@pytest.mark.parametrize(
    ("condition", "native"),
    [
        ("if a", "a"),
        ("unless a", {"not": "a"}),
        ("if !a", {"not": "a"}),
        ("if ! a", {"not": "a"}),
        ("if !!a", "a"),
        ("if a b", {"all": ["a", "b"]}),
        ("if a or b", {"any": ["a", "b"]}),
        ("if a !b || b", {"any": [{"all": ["a", {"not": "b"}]}, "b"]}),
        ("if !{ dst_port 1 } b", {"all": [{"not": {"local_port": {"integer": ["1"]}}}, "b"]}),
        ("unless a or b", {"not": {"any": ["a", "b"]}}),
    ],
)
def test_a_condition(condition: str, native: object) -> None:
    listener = frontend("acl a src 10/8", "acl b dst_port 443", f"use_backend x {condition}")
    assert listener["routes"] == [{"to": "x", "when": native}]


def test_predefined_acls_are_tests_where_they_are_used() -> None:
    listener = frontend("use_backend x if LOCALHOST or HTTP", "tcp-request content reject if WAIT_END")
    assert listener["tests"] == {
        "LOCALHOST": {"client_address": {"cidr": ["127.0.0.0/8", "::1"]}},
        "HTTP": {"proto_http": {"boolean": True}},
        "WAIT_END": {"wait_end": {"boolean": True}},
    }


def test_an_own_acl_comes_before_a_predefined_one() -> None:
    listener = frontend("acl TRUE src 10/8", "use_backend x if TRUE")
    assert listener["tests"] == {"TRUE": {"client_address": {"cidr": ["10/8"]}}}


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("acl", "needs a name and a test"),
        ("acl a", "the ACL a tests nothing"),
        ("acl a! src 1.2.3.4", "'a!' cannot be the name of an ACL"),
        ("acl or src 1.2.3.4", "'or' cannot be the name of an ACL"),
        ("acl a req.ssl_sni -m", "-m needs a word after it"),
        ("acl a req.ssl_sni -m nope x", "unknown method 'nope'"),
        ("acl a req.ssl_sni -z x", "unknown flag -z"),
        ("acl a req.payload(0,2) 16", "has no method of its own"),
        ("acl a src -f /does/not/exist", "cannot read the pattern file '/does/not/exist': No such file"),
        ("acl a src -f /", "the pattern file '/' is no file"),
        ("use_backend x if a", "there is no ACL 'a' up to here"),
        ("use_backend x if {src 1}", "there is no ACL '{src' up to here; put blanks inside the braces"),
        ("use_backend x if METH_GET", "the ACL METH_GET is HAProxy's, not supported by ferryman yet"),
        ("use_backend x if { src 1.2.3.4", "the { is not closed"),
        ("use_backend x if { }", "there is no test between { and }"),
        ("use_backend x if", "a condition is missing after 'if'"),
        ("use_backend x if TRUE or", "a condition is missing after 'or'"),
        ("use_backend x if || TRUE", "a condition is missing before '||'"),
        ("use_backend x if !", "a condition is missing after '!'"),
        ("use_backend x when TRUE", "only if or unless may follow"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    (found,) = findings(line)
    assert finding in found
    assert "error" in found


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("acl a req.ssl_sni", "this never holds, as there is nothing to compare req.ssl_sni with"),
        ("acl a always_true no", "'no' is ignored"),
    ],
)
def test_warnings(line: str, finding: str) -> None:
    (found,) = findings(line)
    assert finding in found
    assert "warning" in found


def test_patterns_from_files_stand_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("# names\r\n\r\n  a.example.org\r\nb.example.org ignored\r\n")
    found, complaints = document(f"frontend f\n bind :1\n acl a req.ssl_sni -M -f {file} c.example.org\n")
    assert all("hangs for ever" in complaint for complaint in complaints)
    data: Any = found.data
    assert data["listeners"]["f"]["tests"]["a"] == {"sni": {"is": ["a.example.org", "b.example.org", "c.example.org"]}}
    path = ("listeners", "f", "tests", "a", "sni", "is")
    assert [str(found.mark((*path, n))) for n in range(3)] == [
        f"{file}:3:3",
        f"{file}:4:1",
        f"h.cfg:3:{27 + len(str(file))}",
    ]


def test_the_mark_of_a_pattern_is_its_word() -> None:
    found, _ = document("frontend f\n bind :1\n acl a req.ssl_sni -m reg foo.bar\n")
    mark = found.mark(("listeners", "f", "tests", "a", "sni", "regex", 0))
    assert mark is not None
    assert (mark.line, mark.column, mark.length) == (3, 27, 7)
