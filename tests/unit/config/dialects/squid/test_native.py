"""What is said once for the whole process, and Squid's defaults."""

from __future__ import annotations

from tests.unit.config.dialects.squid.reading import OPEN, connect, parsed

from ferryman.config.load import load
from ferryman.config.source import Source


def test_squid_s_defaults_are_said_in_full() -> None:
    found = connect(OPEN)
    times = ("head_timeout", "max_head", "connect_timeout", "resolve_timeout", "server_timeout", "tunnel_timeout")
    assert [found[key] for key in times] == [300.0, 65536, 60.0, 30.0, 900.0, 900.0]
    assert (found["protocols"], found["egress_guard"]) == (["connect", "http"], False)


def test_everybody_is_refused_is_said_once_and_in_squid_s_words() -> None:
    found = load([Source("squid.conf", "http_port 127.0.0.1:3128\n")], "squid", environment={})
    assert [each.message for each in found.diagnostics.found] == [
        "there is no http_access: as in Squid everybody is refused"
    ]


def test_times_and_sizes() -> None:
    found = connect(
        "request_timeout 1 minute\nrequest_start_timeout 30 seconds\nrequest_header_max_size 32 KB\n"
        f"connect_timeout 5 seconds\ndns_timeout 6 seconds\nread_timeout 1 hour\n{OPEN}"
    )
    times = ("head_timeout", "max_head", "connect_timeout", "resolve_timeout", "server_timeout", "tunnel_timeout")
    assert [found[key] for key in times] == [30.0, 32768, 5.0, 6.0, 3600.0, 3600.0]


def test_the_process() -> None:
    data, found = parsed(
        "http_port 3128\nworkers 0\ncache_effective_user proxy\ncache_effective_group proxy\nchroot none\n"
        "pid_filename /run/${service_name}.pid\nvisible_hostname p.example\nshutdown_lifetime 3 seconds\n"
        f"client_idle_pconn_timeout 1 minute\n{OPEN}"
    )
    assert found == []
    assert data["global"] == {
        "workers": 1, "user": "proxy", "group": "proxy", "pidfile": "/run/squid.pid", "node": "p.example",
        "drain_timeout": 3.0,
    }  # fmt: skip
    assert data["listeners"]["3128"]["client_timeout"] == 60.0


def test_what_is_said_twice() -> None:
    data, found = parsed(f"http_port 1\nvisible_hostname a\nvisible_hostname b\n{OPEN}")
    assert data["global"] == {"node": "b"}
    assert found == ["2:18: warning: this counts for nothing: it is said again at s.conf:3:18"]


def test_a_faulty_line_is_not_missed_as_well() -> None:
    _, found = parsed("http_port x\nhttp_access alow all\n")
    assert len(found) == 2
