"""Log lines into native log targets."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, findings, frontend, parsed


def targets(line: str) -> Any:
    return frontend(f"log {line}")["log"]


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("127.0.0.1 local0", "udp:127.0.0.1"),
        ("127.0.0.1:5514 local0", "udp:127.0.0.1:5514"),
        ("udp@[::1]:514 local0", "udp:[::1]:514"),
        ("/dev/log local0", "unix:/dev/log"),
        ("unix@/dev/log local0", "unix:/dev/log"),
        ("stdout local0", "stdout"),
        ("fd@3 local0", "fd@3"),
    ],
)
def test_target(line: str, target: str) -> None:
    assert targets(line) == [{"target": target, "facility": "local0", "tag": "haproxy", "format": "local"}]


def test_settings() -> None:
    assert targets("stdout len 4096 format raw daemon notice err") == [
        {
            "target": "stdout",
            "length": 4096,
            "format": "raw",
            "facility": "daemon",
            "max_level": "notice",
            "min_level": "err",
            "tag": "haproxy",
        }
    ]


def test_no_log_line_is_no_log() -> None:
    assert frontend()["log"] == []
    assert frontend("log global")["log"] == []  # as there is nothing global
    assert frontend("log stdout local0", "no log")["log"] == []


def test_the_global_log_is_the_native_default() -> None:
    data, _ = parsed("global\n log stdout local0\n" + TIMEOUTS + " log global\nfrontend f\n bind :1\n")
    assert data["global"]["log"] == [{"target": "stdout", "facility": "local0", "tag": "haproxy", "format": "local"}]
    assert "log" not in data["listeners"]["f"]


def test_a_tag_of_its_own_needs_targets_of_its_own() -> None:
    text = "global\n log stdout local0\n log-tag lb\n" + TIMEOUTS + " log global\nfrontend f\n bind :1\n log-tag web\n"
    data, _ = parsed(text)
    assert data["global"]["log"][0]["tag"] == "lb"
    assert data["listeners"]["f"]["log"][0]["tag"] == "web"


def test_sending_the_host_name_changes_the_default_format() -> None:
    data, _ = parsed("global\n log stdout local0\n log stderr format raw local0\n log-send-hostname gw\n")
    assert [(log["format"], log["hostname"]) for log in data["global"]["log"]] == [("rfc3164", "gw"), ("raw", "gw")]
    data, _ = parsed("global\n log stdout local0\n log-send-hostname\n")
    assert data["global"]["log"] == [{"target": "stdout", "facility": "local0", "tag": "haproxy", "format": "rfc3164"}]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("log", "needs a target and a facility"),
        ("log 127.0.0.1", "needs a facility"),
        ("log 127.0.0.1 localx", "'localx' is not known here"),
        ("log 127.0.0.1 local0 loud", "'loud' is not known here"),
        ("log 127.0.0.1 len 10 local0", "10 is out of range"),
        ("log 127.0.0.1 format xml local0", "'xml' is not known here"),
        ("log 127.0.0.1 sample 1:2 local0", "not supported by ferryman yet"),
        ("log ring@r local0", "not supported by ferryman yet"),
        ("log global local0", "unexpected 'local0'"),
        ("log 127.0.0.1 local0 info err more", "unexpected 'more'"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    (found,) = findings(line)
    assert finding in found
