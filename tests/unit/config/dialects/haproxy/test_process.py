"""The global section."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import findings, parsed


def settings(*lines: str) -> Any:
    data, found = parsed("global\n" + "".join(f" {line}\n" for line in lines))
    assert found == []
    return data.get("global", {})


def test_settings() -> None:
    assert settings(
        "chroot /var/empty",
        "pidfile /run/p",
        "maxconn 4000",
        "user nobody",
        "gid 5",
        "daemon",
        "nbthread 4",
        "node gw",
        "hard-stop-after 30s",
        "stats timeout 1m",
    ) == {
        "chroot": "/var/empty",
        "pidfile": "/run/p",
        "max_connections": 4000,
        "user": "nobody",
        "group": "5",
        "daemon": True,
        "workers": 4,
        "node": "gw",
        "drain_timeout": 30.0,
        "runtime_timeout": 60.0,
    }


def test_stats_sockets() -> None:
    assert settings(
        "stats socket /run/a.sock mode 0660 user root gid 4 level admin expose-fd listeners", "stats socket *:9999"
    )["runtime_sockets"] == [
        {"address": "/run/a.sock", "mode": "660", "user": "root", "group": "4", "level": "admin"},
        {"address": "*:9999"},
    ]


@pytest.mark.parametrize(
    "line",
    [
        "ssl-default-bind-ciphers PROFILE=SYSTEM",
        "tune.ssl.default-dh-param 2048",
        "master-worker",
        "ca-base /x",
        "no log",
    ],
)
def test_accepted_without_a_word(line: str) -> None:
    assert settings(line) == {}


def test_what_is_said_twice_counts_once() -> None:
    (found,) = findings("maxconn 1", "maxconn 2", section="global")
    assert found == "3:10: warning: max_connections is set already, at h.cfg:2:10: this is ignored"


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("tune.bufsize 1", "warning: 'tune.bufsize' has no effect here"),
        ("spread-checks 5", "warning: 'spread-checks' has no effect here"),
        ("stats maxconn 5", "warning: 'stats maxconn' has no effect here"),
        ("tune.bufsiz 1", "error: unknown keyword 'tune.bufsiz'; did you mean 'tune.bufsize'?"),
        ("maxcon 1", "error: unknown keyword 'maxcon'; did you mean 'maxconn'?"),
        ("nbproc 2", "error: 'nbproc' is gone from HAProxy"),
        ("lua-load x", "error: 'lua-load' is HAProxy's, not supported by ferryman yet"),
        ("maxconn", "error: 'maxconn' needs a number"),
        ("daemon now", "error: unexpected 'now' after 'daemon'"),
        ("no daemon", "error: 'no' cannot stand before 'daemon'"),
        ("stats", "error: 'stats' needs a second word"),
        ("stats page", "error: unknown keyword 'stats page'"),
        ("stats socket /x level root", "error: 'root' is not known here"),
        ("stats socket /x ssl", "error: unknown stats socket keyword 'ssl'"),
    ],
)
def test_findings(line: str, finding: str) -> None:
    (found,) = findings(line, section="global")
    assert finding in found


def test_variables_count_for_the_lines_that_follow() -> None:
    environment = {"A": "given", "C": "x"}
    lines = ['node "$A-$B-$C"', "setenv A set", "presetenv A again", "presetenv B b", "unsetenv C", 'user "$A-$B-$C"']
    data, _ = parsed("global\n" + "".join(f" {line}\n" for line in lines), environment)
    assert data["global"] == {"node": "given--x", "user": "set-b-"}
    assert environment == {"A": "given", "C": "x"}
    data, _ = parsed('global\n resetenv C\n node "$A-$C"\n', environment)
    assert data["global"] == {"node": "-x"}
