"""Findings as text and JSON."""

from __future__ import annotations

import time

import pytest

from ferryman.config.render import as_json, masked, render
from ferryman.config.source import Diagnostic, Mark, Source


def show(line: str, column: int, length: int) -> list[str]:
    mark = Mark("f.yaml", 1, column, length)
    return render(Diagnostic("error", mark, "wrong", "right"), [Source("f.yaml", line)]).split("\n")


def test_the_line_is_shown_and_the_spot_marked() -> None:
    assert show("workers: four", 10, 4) == [
        "f.yaml:1:10: error: wrong; right",
        "    workers: four",
        "             ^~~~",
    ]


def test_without_a_place_there_is_only_the_message() -> None:
    assert render(Diagnostic("warning", None, "odd")) == "warning: odd"
    assert render(Diagnostic("error", Mark("gone", 3, 1), "odd")) == "gone:3:1: error: odd"


def test_tabs_and_control_characters_do_not_move_the_spot_or_the_terminal() -> None:
    assert show("\ta\x1b[2Jb: x", 9, 1) == ["f.yaml:1:9: error: wrong; right", "     a?[2Jb: x", "            ^"]
    assert "\x1b" not in render(Diagnostic("error", None, "bad \x1b[2J name\n", "\x07"))


def test_a_long_line_is_cut_around_the_spot() -> None:
    _, line, spot = show("x" * 500 + "BAD" + "y" * 500, 501, 3)
    assert line[spot.index("^") :].startswith("BAD")
    assert spot.endswith("^~~")
    assert len(line) <= 124


def test_a_spot_never_leaves_the_line() -> None:
    assert show("ab", 2, 50)[2] == "     ^"
    assert show("ab", 3, 1)[2] == "      ^"
    assert len(show("ab", 9, 1)) == 1


def test_style_is_the_callers() -> None:
    text = render(
        Diagnostic("error", Mark("f", 1, 1, 1), "m", "h"), [Source("f", "x")], lambda role, t: f"<{role}:{t}>"
    )
    assert text.split("\n") == ["<place:f:1:1:> <error:error:> m; <hint:h>", "    x", "    <spot:^>"]


def test_json_has_everything() -> None:
    assert as_json(Diagnostic("error", Mark("f", 1, 2, 3), "m", "h")) == {
        "severity": "error",
        "file": "f",
        "line": 1,
        "column": 2,
        "length": 3,
        "message": "m",
        "hint": "h",
    }
    assert as_json(Diagnostic("warning", None, "m"))["file"] is None


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('through: ["http://u:p@ss@proxy:1", "http://v:hush@b:2"]', 'through: ["http://u:****@proxy:1", "http://v:****@b:2"]'),
        ("{url: 'http://p:1', user: u, password: 'hu sh'}", "{url: 'http://p:1', user: u, password: *******}"),
        ("password: password", "password: ********"),
        ("cache_peer p parent 3128 0 login=u:hush default", "cache_peer p parent 3128 0 login=u:**** default"),
        ("server a http://b:1 # nothing@all", "server a http://b:1 # nothing@all"),
        ("protocolPassword hush", "protocolPassword ****"),
        ("stunnel_tcp_proxy: u:hu sh@proxy:1", "stunnel_tcp_proxy: *******@proxy:1"),
    ],
)  # fmt: skip
def test_passwords_are_not_shown(line: str, shown: str) -> None:
    assert masked(line) == shown
    error = Diagnostic("error", Mark("f", 1, 1, 3), "wrong")
    assert render(error, [Source("f", line)]).split("\n")[1] == f"    {shown}"


@pytest.mark.parametrize(
    "piece",
    [
        "://a:",
        "stunnel_tcp_proxy:x",
        "login=",
        "password:'",
        "protocolPas ",
        "@ ://a:",
        "://",
        "a@",
        "Proxy-Authorization :",
    ],
)
def test_the_time_for_a_line_grows_with_its_length_only(piece: str) -> None:
    def took(length: int) -> float:
        line = piece * (length // len(piece))
        begun = time.process_time()
        assert len(masked(line)) == len(line)
        return time.process_time() - begun

    took(1000)
    assert min(took(100_000) for _ in range(3)) < 1.0, "a quadratic one takes half a minute"


def test_a_text_with_thousands_of_findings_is_shown_in_a_moment() -> None:
    source = Source("x", "what: is this\n" * 20_000)
    begun = time.process_time()
    for line in range(1, 20_001):
        assert "^" in render(Diagnostic("error", Mark("x", line, 1, 4), "no"), [source])
    assert time.process_time() - begun < 5.0, "once it took two minutes"
