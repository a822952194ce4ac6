"""Why an attempt failed, in one line; and whether another one makes sense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.migrate import diagnosis
from ferryman.migrate.diagnosis import Outlook


def line(reason: str | None, code: str = "SC", **more: Any) -> dict[str, Any]:
    return {"reason": reason, "code": code, "how": "error", "ended_by": "server", "bytes": {"in": 0, "out": 0}, **more}


@pytest.mark.parametrize(
    ("reason", "outlook"),
    [
        ("proxy 127.0.0.1:3128 answered 407 Proxy Authentication Required to CONNECT a:443", "refused"),
        ("a:443: proxy 127.0.0.1:3128 answered 403 Forbidden to CONNECT a:443", "refused"),
        ("proxy 127.0.0.1:3128 answered 503 Service Unavailable to CONNECT a:443", "again"),
        ("proxy 127.0.0.1:3128: connection refused", "again"),
        ("a:443: its certificate: it is another one", "refused"),
        ("a:443: it sent the TLS alert certificate required", "refused"),
        ("a:443: no answer within 10 s", "again"),
    ],
)
def test_what_the_log_says_is_said(reason: str, outlook: Outlook) -> None:
    cause = diagnosis.of(10, ["rsync error: error in socket IO (code 10) at x.c(1)"], [line(reason)])
    assert reason in cause.text
    assert cause.outlook == outlook


def test_a_cut_says_whose_connection_and_after_how_much() -> None:
    cause = diagnosis.of(12, [], [line("server: connection reset", "SD", bytes={"in": 4711, "out": 3})], "proxy p:1")
    assert cause.text == "proxy p:1: connection reset, after 4711 bytes (SD, rsync 12)"
    assert cause.outlook == "again"


def test_without_a_line_rsyncs_code_has_to_do() -> None:
    assert diagnosis.of(30, [], []).text == "nothing came for too long (rsync 30)"
    assert diagnosis.of(12, [], []).text == "connection cut in the middle (rsync 12)"
    assert diagnosis.of(-9, [], []).outlook == "again"
    assert "killed" in diagnosis.of(12, [], [], "", "2026-01-01 00:00:00 alert: worker 0 killed by SIGKILL").text


@pytest.mark.parametrize(
    ("said", "code", "words", "outlook"),
    [
        ('rsync: [receiver] write failed on "/x": No space left on device (28)', 11, "destination is full", "failed"),
        ("@ERROR: auth failed on module volume", 5, "auth failed on module volume", "refused"),
        ("@ERROR: Unknown module 'x'", 5, "Unknown module", "failed"),
        ("@ERROR: max connections (1) reached -- try again later", 5, "max connections", "again"),
        ('rsync: server sent "HTTP/1.1 400 Bad Request" rather than greeting', 5, "no rsync daemon", "failed"),
        ('rsync: [sender] send_files failed to open "/x": Permission denied (13)', 23, "some files", "again"),
        ('file has vanished: "/x"', 24, "vanished", "again"),
        ("rsync: --foo: unknown option", 1, "unknown option", "failed"),
    ],
)
def test_rsyncs_own_words(said: str, code: int, words: str, outlook: Outlook) -> None:
    cause = diagnosis.of(code, [said], [])
    assert words in cause.text
    assert cause.outlook == outlook


@given(st.integers(-64, 255), st.lists(st.text(), max_size=5), st.lists(st.text() | st.none(), max_size=3))
def test_fuzz_any_words_have_one_line(code: int, said: list[str], reasons: list[str | None]) -> None:
    if code == 0:
        return
    cause = diagnosis.of(code, said, [line(reason) for reason in reasons])
    assert cause.text
    assert "\n" not in cause.text
