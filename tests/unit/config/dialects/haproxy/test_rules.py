"""tcp-request, use_backend and use-server lines."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, backend, findings, frontend, parsed


def test_connection_and_session_rules_come_in_order() -> None:
    listener = frontend(
        "tcp-request connection reject if { src 10/8 }",
        "tcp-request session silent-drop",
        "tcp-request content accept if { req_ssl_hello_type 1 }",
        "tcp-request content reject",
    )
    assert listener["connection"] == [
        {"action": "reject", "when": {"client_address": {"cidr": ["10/8"]}}},
        {"action": "drop"},
    ]
    assert listener["inspect"] == [
        {"action": "accept", "when": {"hello_type": {"integer": ["1"]}}},
        {"action": "reject"},
    ]


def test_capture() -> None:
    listener = frontend(
        "tcp-request inspect-delay 3s", "tcp-request content capture req.ssl_sni,lower len 100 if { dst_port 1 }"
    )
    assert listener["inspect"] == [
        {"action": "capture", "fact": "sni|lower", "length": 100, "when": {"local_port": {"integer": ["1"]}}}
    ]
    assert listener["inspect_timeout"] == 3.0


def test_routes() -> None:
    listener = frontend("use_backend %[req.ssl_sni,lower] if TRUE", "use_backend b", "default_backend c")
    assert listener["routes"] == [{"to": "%[sni|lower]", "when": "TRUE"}, {"to": "b"}]
    assert listener["to"] == "c"


def test_rules_for_servers_have_tests_of_their_backend() -> None:
    found = backend("acl a src 10/8", "use-server s if a", "server s h:1")
    assert found["tests"] == {"a": {"client_address": {"cidr": ["10/8"]}}}
    assert found["server_rules"] == [{"to": "s", "when": "a"}]


def test_a_listen_shares_out_its_tests() -> None:
    lines = "listen l\n bind :1\n acl a src 10/8\n acl b src 11/8\n use-server s if a\n server s h:1\n"
    data, found = parsed(TIMEOUTS + lines)
    assert found == []
    assert list(data["listeners"]["l"]["tests"]) == ["b"]
    assert list(data["backends"]["l"]["tests"]) == ["a"]


def test_a_delay_that_nothing_waits_for() -> None:
    (found,) = findings("tcp-request inspect-delay 3s")
    assert "3:2: warning: 'inspect-delay' does nothing" in found
    assert findings("tcp-request inspect-delay 3s", "use_backend x if { req.ssl_sni a }") == []
    assert findings("tcp-request inspect-delay 3s", "use_backend %[req.ssl_sni]") == []


def test_rules_out_of_order() -> None:
    (found,) = findings("tcp-request content accept", "tcp-request connection reject")
    assert "4:2: warning: 'tcp-request connection' still comes before the 'tcp-request content' rules above it" in found


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("tcp-request", "needs a second word"),
        ("tcp-request contents accept", "unknown keyword 'tcp-request contents'; did you mean 'content'?"),
        ("tcp-request inspect-delay", "needs a time"),
        ("tcp-request content", "needs an action"),
        ("tcp-request content acept", "unknown action 'tcp-request content acept'; did you mean 'accept'?"),
        ("tcp-request content set-var(txn.x) src", "'tcp-request content set-var' is HAProxy's, not supported"),
        ("tcp-request content accept x", "unexpected 'x' after 'tcp-request content accept'"),
        ("tcp-request content silent-drop rst-ttl 3", "not supported by ferryman yet"),
        ("tcp-request content capture req.ssl_sni", "needs to know how many characters to keep"),
        ("tcp-request content capture req.ssl_sni len 0", "0 is out of range"),
        ("tcp-request connection capture src len 5", "cannot stand in 'tcp-request connection'"),
        ("tcp-request connection reject if { req.ssl_sni a }", "is not known yet in 'tcp-request connection'"),
        ("use_backend", "needs the name of a backend"),
        ("use_backend a_%[req.ssl_sni]", "not supported by ferryman yet"),
        ("use_backend %[req.ssl_snip]", "unknown fact"),
        ("default_backend", "needs the name of a backend"),
        ("default_backend x if TRUE", "unexpected 'if'"),
        ("tcp-response content accept", "'tcp-response' is ignored"),
        ("acl a nbsrv(x) gt 1", "there is no backend 'x'"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    found = findings(line)[0]
    if "is ignored" in finding:
        assert "not supported by ferryman yet" in found
    else:
        assert finding in found


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("tcp-request connection reject", "cannot stand in a backend"),
        ("tcp-request content reject", "in a backend is HAProxy's, not supported by ferryman yet"),
        ("use-server s", "'use-server' needs a condition"),
        ("use-server %[src] if TRUE", "not supported by ferryman yet"),
        ("use_backend x", "'use_backend' is ignored: backend 'b' listens nowhere"),
    ],
)
def test_mistakes_in_backends(line: str, finding: str) -> None:
    assert finding in findings(line, section="backend b")[0]


def test_session_rules_that_an_accept_would_hide() -> None:
    found = findings("tcp-request connection accept", "tcp-request session reject")
    assert "not supported by ferryman yet" in found[0]
