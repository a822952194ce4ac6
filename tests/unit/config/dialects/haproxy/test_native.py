"""What is left once all lines have been read: modes, missing time-outs, what HTTP mode would do."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, backend, parsed


@pytest.mark.parametrize(
    ("line", "algorithm"),
    [
        ("balance", "roundrobin"),
        ("balance roundrobin", "roundrobin"),
        ("balance static-rr", "static-rr"),
        ("balance leastconn", "leastconn"),
        ("balance first", "first"),
        ("balance source", "source"),
        ("balance random", "random"),
        ("balance random(3)", "random(3)"),
        ("hash-type map-based sdbm", "roundrobin"),
    ],
)
def test_algorithms(line: str, algorithm: str) -> None:
    assert backend(line)["balance"] == algorithm


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        ("backend b\n balance hash src\n", "'balance hash' is HAProxy's, not supported by ferryman yet"),
        ("backend b\n balance x\n", "unknown algorithm 'x'"),
        ("backend b\n balance uri\n", "'balance uri' needs HTTP mode: roundrobin is used instead"),
        ("backend b\n balance source\n hash-type consistent\n", "'hash-type consistent' is HAProxy's, not supported"),
        ("backend b\n disabled\n", "a disabled backend is HAProxy's, not supported by ferryman yet"),
        ("backend b\n cookie x\n", "'cookie' is ignored for backend 'b', as it needs HTTP mode"),
        ("frontend f\n", "frontend 'f' has no 'bind': it listens nowhere"),
        ("frontend f\n bind :1\n mode health\n", "'mode health' is gone from HAProxy"),
        ("frontend f\n bind :1\n mode log\n", "'mode log' is HAProxy's, not supported by ferryman yet"),
        (
            "frontend f\n bind :1\n mode http\n",
            "frontend 'f' is in mode http: HTTP proxying is HAProxy's, not supported",
        ),
        ("backend b\n mode http\n", "backend 'b' is in mode http: HTTP proxying is HAProxy's, not supported"),
        (
            "frontend f\n bind :1\n mode http\n stats enable\n http-request deny\n",
            "'http-request' beside the statistics page is HAProxy's, not supported",
        ),
        (
            "frontend f\n bind :1\n mode http\n stats enable\n default_backend b\nbackend b\n mode http\n",
            "frontend 'f' is in mode http: HTTP proxying is HAProxy's, not supported",
        ),
    ],
)
def test_findings(lines: str, finding: str) -> None:
    (found,) = parsed(TIMEOUTS + lines)[1]
    assert finding in found


def test_metrics_beside_the_page() -> None:
    rule = " http-request use-service prometheus-exporter if { path /metrics }\n"
    data, found = parsed(TIMEOUTS + "frontend f\n bind :1\n mode http\n" + rule)
    assert found == []
    assert data["listeners"]["f"]["pages"] == {"uri": "/"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("frontend f\n bind :1\n", "'timeout client'"),
        ("backend b\n server s h:1\n", "'timeout connect' and 'timeout server'"),
        ("backend b\n server s h:1\n timeout connect 1\n timeout tunnel 1\n", ""),
        ("backend b\n", ""),
        ("listen l\n bind :1\n server s h:1\n", "'timeout client' and 'timeout connect' and 'timeout server'"),
    ],
)
def test_missing_time_outs(text: str, missing: str) -> None:
    found = [finding.partition(" has no ")[2].partition(":")[0] for finding in parsed(text)[1]]
    assert found == ([missing] if missing else [])


def test_without_a_connect_time_out_there_is_no_limit() -> None:
    data, _ = parsed("backend b\n server s h:1\n")
    assert data["backends"]["b"]["connect_timeout"] is None
