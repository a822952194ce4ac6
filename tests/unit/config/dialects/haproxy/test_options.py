"""option, timeout and stats lines."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, backend, findings, frontend, parsed


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("dontlognull", "log_empty", False),
        ("dontlog-normal", "log_normal", False),
        ("logasap", "log_asap", True),
        ("log-separate-errors", "log_separate_errors", True),
        ("clitcpka", "keepalive", True),
        ("tcpka", "keepalive", True),
    ],
)
def test_options_of_frontends(option: str, key: str, value: object) -> None:
    assert frontend(f"option {option}")[key] is value
    if option != "tcpka":
        assert key not in frontend(f"option {option}", f"no option {option}")


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        ((), "redispatch", False),
        (("option redispatch",), "redispatch", True),
        (("option redispatch 2",), "redispatch", 2),
        (("option redispatch -1",), "redispatch", -1),
        (("option redispatch", "no option redispatch"), "redispatch", False),
        (("option allbackups",), "use_all_backups", True),
        (("option srvtcpka",), "keepalive", True),
        (("timeout queue 1m",), "queue_timeout", 60.0),
        (("timeout tunnel 1h",), "tunnel_timeout", 3600.0),
        (("timeout server-fin 5",), "server_fin_timeout", 0.005),
        ((), "connect_timeout", 1.0),
        ((), "server_timeout", 3.0),
    ],
)
def test_options_and_timeouts_of_backends(lines: tuple[str, ...], key: str, value: object) -> None:
    found = backend(*lines)[key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ((), "connect"),
        (("option tcplog",), "tcp"),
        (('log-format "%ci %ts"',), "%ci %ts"),
        (("option tcplog", "log-format x"), "x"),
        (("log-format x", "option tcplog"), "tcp"),
    ],
)
def test_log_format(lines: tuple[str, ...], value: str) -> None:
    assert frontend(*lines)["log_format"] == value


def test_httplog_falls_back_to_tcplog_unless_replaced() -> None:
    text = TIMEOUTS + " option httplog\nfrontend f\n bind :1\nfrontend g\n bind :2\n log-format x\n"
    data, found = parsed(text)
    assert [listener["log_format"] for listener in data["listeners"].values()] == ["tcp", "x"]
    assert [finding[:40] for finding in found] == ["h.cfg:5:9: warning: 'option httplog' nee"]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("option", "needs the name of an option"),
        ("option dontlognul", "error: unknown option 'option dontlognul'; did you mean 'dontlognull'?"),
        ("option redis-check", "error: 'option redis-check' is HAProxy's, not supported by ferryman yet"),
        ("option http-tunnel", "error: 'option http-tunnel' is gone from HAProxy"),
        ("option dontlognull x", "error: unexpected 'x' after 'option dontlognull'"),
        ("no option tcplog", "error: 'no option tcplog' is not known"),
        ("no maxconn 5", "error: 'no' cannot stand before 'maxconn'"),
        ("option allbackups", "warning: 'option allbackups' is ignored: frontend 'f' has no servers"),
        ("option socket-stats", "warning: 'option socket-stats' has no effect here"),
        ("option forwardfor", "warning: 'option forwardfor' is ignored for frontend 'f', as it needs HTTP mode"),
        ("timeout", "error: 'timeout' needs a second word"),
        ("timeout clint 5s", "error: unknown keyword 'timeout clint'; did you mean 'client'?"),
        ("timeout client-hs 5s", "error: 'timeout client-hs' is HAProxy's, not supported by ferryman yet"),
        ("timeout client", "error: 'timeout client' needs a time"),
        ("timeout client 5s 6s", "error: unexpected '6s' after 'timeout client'"),
        ("timeout server 5s", "warning: 'timeout server' is ignored: frontend 'f' has no servers"),
        ("stats enable", "warning: 'stats' is ignored for frontend 'f', as it needs HTTP mode"),
        ("stats admin if TRUE", "error: 'stats admin' is HAProxy's, not supported by ferryman yet"),
        ("stats page", "error: unknown keyword 'stats page'"),
    ],
)
def test_findings(line: str, finding: str) -> None:
    (found,) = findings(line)
    assert finding in found


def test_a_timeout_said_twice() -> None:
    (found,) = findings("timeout client 5s", "timeout client 6s")
    assert found == "4:10: warning: 'timeout client' overrides the one at h.cfg:3:17; keep one of them"


def pages(*lines: str) -> Any:
    return frontend("mode http", *lines)["pages"]


def test_the_statistics_page() -> None:
    assert pages("stats enable") == {"uri": "/haproxy?stats"}
    assert pages(
        "stats uri /stats",
        "stats auth admin:a:b",
        "stats auth guest:",
        "stats refresh 10",
        "stats realm A\\ B",
        "stats hide-version",
        "stats show-node",
        "stats show-desc Two words",
        "stats scope .",
        "stats scope x",
    ) == {
        "uri": "/stats",
        "refresh": 10.0,
        "realm": "A B",
        "hide_version": True,
        "title": "Two words",
        "users": {"admin": "a:b", "guest": ""},
        "scope": ["f", "x"],
    }
