"""access_log."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, parsed


def logs(lines: str) -> tuple[Any, list[str]]:
    data, found = parsed(f"http_port 3128\n{lines}\n{OPEN}")
    return data["listeners"]["3128"].get("log"), found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", None),
        ("access_log none", []),
        ("access_log none all", []),
        ("access_log stdio:/var/log/a.log", ["file:/var/log/a.log"]),
        ("access_log daemon:/var/log/a.log", ["file:/var/log/a.log"]),
        ("access_log /var/log/a.log buffer-size=64KB rotate=3 on-error=drop", ["file:/var/log/a.log"]),
        ("access_log stdio:/dev/stdout", ["stdout"]),
        ("access_log udp://127.0.0.1:514\naccess_log stdio:/a", ["udp:127.0.0.1:514", "file:/a"]),
        (
            "access_log syslog:daemon.info",
            [{"target": "unix:/dev/log", "format": "local", "facility": "daemon", "tag": "squid"}],
        ),
        (
            "access_log syslog",
            [{"target": "unix:/dev/log", "format": "local", "facility": "local4", "tag": "squid"}],
        ),
    ],
)
def test_targets(lines: str, expected: object) -> None:
    assert logs(lines) == (expected, [])


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        ("access_log stdio:/a squid", "2:21: warning: the format 'squid' has no effect here; a line is a JSON object"),
        ("logformat my %>a %ru\naccess_log stdio:/a logformat=my", "3:21: warning: the format 'my' has no effect here"),
        ("access_log stdio:/a logformat=my", "2:21: error: there is no logformat 'my' up to here"),
        ("access_log stdio:/a my", "2:21: error: there is no acl 'my' up to here"),
        ("access_log stdio:/a localhost", "2:21: error: a log of some connections only is Squid's, not supported"),
        ("access_log stdio:/a foo=1", "2:21: error: unknown option 'foo' of access_log"),
        ("access_log stdio:a", "2:12: error: 'a' is no whole path"),
        ("access_log tcp://127.0.0.1:1", "2:12: error: a log over TCP is Squid's, not supported by ferryman yet"),
        ("access_log syslog:nobody", "2:12: error: 'nobody' is no facility and level"),
        ("access_log", "2:1: error: 'access_log' needs a place, or none"),
    ],
)
def test_findings(lines: str, finding: str) -> None:
    _, found = logs(lines)
    assert len(found) == 1
    assert found[0].startswith(finding)
