"""ssl_bump, and how servers are verified."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, parsed

PORT = "http_port 3128 ssl-bump tls-cert=/ca.pem tls-key=/ca.key dynamic_cert_mem_cache_size=8MB\n"
PLAIN = "http_port 3128 ssl-bump\n"


def test_rules_and_the_ca() -> None:
    data, found = parsed(
        f"{PORT}acl step1 at_step SslBump1\nacl x ssl::server_name .x.example\n{OPEN}"
        "ssl_bump none x\nssl_bump peek step1\nssl_bump terminate !localhost CONNECT\nssl_bump bump all\n"
        "tls_outgoing_options cafile=/servers.pem default-ca=off\n"
    )
    assert found == []
    connect = data["listeners"]["3128"]["connect"]
    assert connect["tls"] == [
        {"action": "splice", "when": "x"},
        {"action": "peek", "when": "step1"},
        {"action": "terminate", "when": {"all": [{"not": "localhost"}, "CONNECT"]}},
        {"action": "bump"},
    ]
    assert connect["bump"] == {"ca": "/ca.pem", "key": "/ca.key", "cache": 8 << 20, "server_ca": "/servers.pem"}
    assert connect["on_unknown_protocol"] == "respond"


def test_ports_without_ssl_bump_leave_tls_alone() -> None:
    data, _ = parsed(f"http_port 3127\n{PORT}ssl_bump bump all\n{OPEN}")
    assert "tls" not in data["listeners"]["3127"]["connect"]
    assert "bump" not in data["listeners"]["3127"]["connect"]


def test_the_old_names() -> None:
    data, found = parsed(
        "http_port 3128 ssl-bump cert=/ca.pem key=/ca.key generate-host-certificates=on\n"
        f"ssl_bump server-first all\nsslproxy_cafile /servers.pem\ntls_outgoing_options default-ca=off\n{OPEN}"
    )
    assert len(found) == 1
    assert "'server-first' does as bump does" in found[0]
    assert data["listeners"]["3128"]["connect"]["bump"]["server_ca"] == "/servers.pem"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", "respond"),
        ("on_unsupported_protocol tunnel all\n", "tunnel"),
        ("acl e squid_error ERR_PROTOCOL_UNKNOWN\non_unsupported_protocol tunnel e\n", "tunnel"),
        ("acl e squid_error ERR_TOO_BIG\non_unsupported_protocol tunnel e\n", "respond"),
    ],
)
def test_what_is_done_where_no_tls_comes(lines: str, expected: str) -> None:
    data, found = parsed(f"{PLAIN}ssl_bump peek all\n{lines}{OPEN}")
    assert found == []
    assert data["listeners"]["3128"]["connect"]["on_unknown_protocol"] == expected


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (f"{PLAIN}ssl_bump bump all", "1:1: error: to bump, this port needs a CA that signs what clients get to see"),
        (f"{PORT}ssl_bump splice all", "1:25: warning: this has no effect: nothing is bumped on this port"),
        ("http_port 3128\nssl_bump bump all", "2:1: warning: ssl_bump has no effect: no http_port has ssl-bump"),
        (f"{PLAIN}ssl_bump splise all", "2:10: error: 'ssl_bump' has no action 'splise'; did you mean 'splice'?"),
        (f"{PLAIN}ssl_bump peek-and-splice all", "2:10: error: 'peek-and-splice' is Squid's, not supported"),
        (f"{PORT}ssl_bump bump all\ntls_outgoing_options cafile=/a", "3:22: warning: servers are verified with this"),
        (f"{PORT}tls_outgoing_options cafile=/a\ntls_outgoing_options cafile=/b\nssl_bump bump all",
         "3:22: error: a second cafile is Squid's"),
        (f"{PORT}ssl_bump bump all\ntls_outgoing_options flags=DONT_VERIFY_PEER", "3:22: error: 'flags' is Squid's"),
        (f"{PORT}ssl_bump bump all\nsslproxy_flags DONT_VERIFY_PEER", "3:16: error: 'flags' is Squid's"),
        (f"{PORT}ssl_bump bump all\nsslproxy_cert_error allow all", "3:1: error: 'sslproxy_cert_error' is Squid's"),
        (f"{PORT}ssl_bump bump all\ntls_outgoing_options cafle=x", "3:22: error: unknown option of outgoing TLS 'cafl"),
        (f"{PORT.strip()} generate-host-certificates=off\nssl_bump bump all", "1:90: error: one certificate for all"),
        (f"{PLAIN}ssl_bump splice all\nacl p port 1\non_unsupported_protocol tunnel p", "4:32: error: on_unsupported_"),
        (f"{PLAIN}ssl_bump splice all\non_unsupported_protocol x all", "3:25: error: 'on_unsupported_protocol' has no"),
    ],
)  # fmt: skip
def test_findings(text: str, finding: str) -> None:
    _, found = parsed(f"{text}\n{OPEN}")
    assert found[0].startswith(finding)
