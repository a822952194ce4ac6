"""Who may go where: http_access as it is decided in the end, with what Squid answers to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, files, loaded, parsed

from ferryman.rules.access import Kind, access
from ferryman.rules.facts import UNKNOWN, Facts

RULES = """
acl localnet src 10.0.0.0/8
acl SSL_ports port 443
acl users proxy_auth REQUIRED
acl bob proxy_auth bob
acl bad dstdomain .bad.example
acl net dst 192.0.2.0/24
acl staff any-of bob localnet
http_port 3128
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files(tmp_path_factory.mktemp("squid"))


def decided(folder: Path, lines: str, **facts: Any) -> Kind:
    """What is said to a client from 192.0.2.9 that asks for www.example.org:443 by CONNECT, but for `facts`."""
    text = f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users{RULES}{lines}"
    result, found = loaded(text)
    assert result.plan is not None, found
    connect = result.plan.listeners[0].connect
    assert connect is not None
    given = {
        "client_address": "192.0.2.9", "client_port": 5000, "local_address": "192.0.2.1", "local_port": 3128,
        "listener": "3128", "method": "CONNECT", "protocol": "connect", "target_host": "www.example.org",
        "target_port": 443, "target_addresses": ("198.51.100.1",), "user": UNKNOWN, **facts,
    }  # fmt: skip
    return access(connect.access, Facts(**given)).kind


@pytest.mark.parametrize(
    ("lines", "facts", "kind"),
    [
        ("", {}, "deny"),
        ("http_access allow all", {}, "allow"),
        ("http_access deny bad", {}, "allow"),  # the opposite of the last line
        ("http_access deny bad", {"target_host": "x.bad.example"}, "deny"),
        ("http_access allow localnet", {}, "deny"),
        ("http_access allow localnet", {"client_address": "10.1.1.1"}, "allow"),
        ("http_access deny CONNECT !SSL_ports\nhttp_access allow all", {"target_port": 6443}, "deny"),
        ("http_access deny CONNECT !SSL_ports\nhttp_access allow all", {"target_port": 6443, "method": "GET"}, "allow"),
        ("http_access allow users", {}, "challenge"),
        ("http_access allow users", {"user": "eve"}, "allow"),
        ("http_access allow localnet users\nhttp_access deny all", {}, "deny"),
        ("http_access allow localnet users\nhttp_access deny all", {"client_address": "10.1.1.1"}, "challenge"),
        ("http_access allow bob\nhttp_access deny all", {"user": "eve"}, "deny"),
        ("http_access allow bob", {"user": "eve"}, "challenge"),  # the last thing looked at is the user
        ("http_access allow localnet bob", {"user": "eve"}, "deny"),  # the last thing looked at is the address
        ("http_access deny bob\nhttp_access allow all", {"user": "bob"}, "challenge"),
        ("http_access deny bob all\nhttp_access allow all", {"user": "bob"}, "deny"),
        ("http_access deny bob bad\nhttp_access allow all", {"user": "bob", "target_host": "bad.example"}, "deny"),
        ("http_access deny bob bad\nhttp_access allow all", {}, "challenge"),
        ("http_access deny !users\nhttp_access allow all", {}, "challenge"),
        ("http_access deny !users\nhttp_access allow all", {"user": "eve"}, "allow"),
        ("http_access allow staff\nhttp_access deny all", {"client_address": "10.1.1.1"}, "challenge"),
        ("http_access allow staff\nhttp_access deny all", {"client_address": "10.1.1.1", "user": "eve"}, "allow"),
        ("http_access allow net\nhttp_access deny all", {"target_addresses": UNKNOWN}, "resolve"),
        ("http_access allow net\nhttp_access deny all", {"target_addresses": ("198.51.100.1", "192.0.2.1")}, "allow"),
        ("http_access deny manager\nhttp_access allow localhost manager\nhttp_access allow all", {}, "allow"),
        ("http_access deny to_linklocal\nhttp_access allow all", {"target_addresses": ("169.254.1.1",)}, "deny"),
    ],
)
def test_decisions(folder: Path, lines: str, facts: dict[str, Any], kind: str) -> None:
    assert decided(folder, lines, **facts) is Kind(kind)


def test_an_end_that_allows_is_pointed_out() -> None:
    _, found = parsed("http_port 3128\nhttp_access deny to_localhost\nhttp_access deny to_linklocal\n")
    assert found == [
        "3:1: warning: whoever no line of http_access is about is allowed, as the last one denies; "
        "add `http_access deny all`"
    ]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("http_access", "2:1: error: 'http_access' needs an action: allow or deny"),
        ("http_access permit all", "2:13: error: 'http_access' has no action 'permit'; there are allow, deny"),
        ("http_access allow", "2:1: error: 'http_access' names no acl; write http_access allow all"),
        (
            "http_access allow lokalhost",
            "2:19: error: there is no acl 'lokalhost' up to here; did you mean 'localhost'",
        ),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    _, found = parsed(f"http_port 3128\n{line}\n{OPEN}")
    assert len(found) == 1
    assert found[0].startswith(finding)
