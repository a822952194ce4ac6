"""What follows the address of a bind or a server."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import backend, findings, frontend, parsed


def test_lists_and_ranges_of_addresses() -> None:
    listener = frontend("bind 127.0.0.1:80,:81-83 name x defer-accept", "bind *:90 v6only")
    assert listener["bind"] == [":1", "127.0.0.1:80", ":81-83", "*:90"]


def test_v6only_is_for_ipv6() -> None:
    listener = frontend("bind [::]:80,:::81 v6only", "bind [::]:82 v4v6")
    assert listener["bind"][1:] == [
        {"address": "[::]:80", "v6only": True},
        {"address": ":::81", "v6only": True},
        "[::]:82",
    ]


def test_namespaces() -> None:
    listener = frontend("bind :80,[::]:80 v6only namespace blue", "bind unix@/run/x")
    assert listener["bind"][1:] == [
        {"address": ":80", "namespace": "blue"},
        {"address": "[::]:80", "namespace": "blue", "v6only": True},
        "unix@/run/x",
    ]


def test_limits_on_the_only_bind_are_the_listener_s() -> None:
    data, found = parsed("frontend f\n bind :1 maxconn 5 backlog 9\n maxconn 7\n timeout client 1s\n")
    assert found == []
    assert (data["listeners"]["f"]["max_connections"], data["listeners"]["f"]["backlog"]) == (5, 9)
    assert "not supported by ferryman yet" in findings("bind :2 maxconn 5")[0]


def test_variables_expand_without_quotes() -> None:
    data, _ = parsed("frontend f\n bind $IP:1\nbackend b\n server s ${IP}:2\n", {"IP": "127.0.0.9"})
    assert data["listeners"]["f"]["bind"] == ["127.0.0.9:1"]
    assert data["backends"]["b"]["servers"][0]["address"] == "127.0.0.9:2"


def test_a_server_s_settings() -> None:
    line = "server s 10.0.0.1:80 weight 10 backup maxconn 5 maxqueue 8 disabled on-marked-down shutdown-sessions"
    assert backend(line)["servers"] == [
        {
            "address": "10.0.0.1:80",
            "name": "s",
            "weight": 10,
            "max_connections": 5,
            "max_queue": 8,
            "backup": True,
            "disabled": True,
            "close_on_down": True,
        }
    ]


def test_a_check_s_settings() -> None:
    server = backend("server s h:80 check inter 5s fastinter 100 downinter 1m rise 4 fall 5")["servers"][0]
    assert server["check"] == {
        "interval": 5.0,
        "fast_interval": 0.1,
        "down_interval": 60.0,
        "rise": 4,
        "fall": 5,
        "timeout": 5.0,
    }


@pytest.mark.parametrize(
    ("lines", "timeout"),
    [
        (("server s h:80 check",), 2.0),
        (("server s h:80 check inter 500",), 0.5),
        (("timeout check 9s", "server s h:80 check"), 1.0),
        (("timeout check 9s", "server s h:80 check inter 500"), 0.5),
    ],
)
def test_how_long_a_check_s_connection_may_take(lines: tuple[str, ...], timeout: float) -> None:
    assert backend(*lines)["servers"][0]["check"]["timeout"] == timeout


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ("port 8080", "[2001:db8::1]:8080"),
        ("addr 10.0.0.2", "10.0.0.2"),
        ("addr 10.0.0.2 port 8080", "10.0.0.2:8080"),
    ],
)
def test_where_a_check_goes(options: str, address: str) -> None:
    assert backend(f"server s [2001:db8::1]:80 check {options}")["servers"][0]["check"]["address"] == address


def test_defaults_of_servers() -> None:
    lines = ("default-server check weight 5 backup", "server a h:1", "server b h:2 no-check no-backup weight 6")
    a, b = backend(*lines)["servers"]
    assert a == {"address": "h:1", "name": "a", "weight": 5, "backup": True, "check": {"timeout": 2.0}}
    assert b == {"address": "h:2", "name": "b", "weight": 6}


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("server", "needs a name and an address"),
        ("server s", "needs an address"),
        ("server s! h:1", "'s!' cannot be the name of a server"),
        ("server s h:1 chek", "unknown server keyword 'chek'; did you mean 'check'?"),
        ("server s h:1 weight", "needs a value for 'weight'"),
        ("server s h:1 weight 300", "300 is out of range"),
        ("server s h:1 inter 0", "inter cannot be 0"),
        ("server s h:1 ssl", "no 'ca-file' says by which CAs"),
        ("server s h:1 check-via-socks4", "'check-via-socks4' is HAProxy's, not supported by ferryman yet"),
        ("server s h:1 proto h2", "'proto' is HAProxy's, not supported by ferryman yet"),
        ("server s h:1 on-marked-down nothing", "unknown action 'nothing'"),
        ("server s h:1 init-addr 10.0.0.1", "not supported by ferryman yet"),
        ("server s h:1 sni req.ssl_snip", "unknown fact"),
        ("default-server h:1", "unknown server keyword 'h:1'"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    assert finding in findings(line, section="backend b")[0]


def test_one_warning_for_all_that_name_an_sni_in_vain() -> None:
    found = findings("server a h:1 sni str(x)", "server b h:2", "server c h:3 sni req.ssl_sni", section="backend b")
    assert len(found) == 1
    assert found[0].startswith("2:15: warning: 'sni' does nothing without 'ssl'")
    assert "servers a, c of backend 'b'" in found[0]
