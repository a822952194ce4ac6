"""Ways that lead back to ferryman itself are found where they are written."""

from __future__ import annotations

import os

import pytest
from tests.unit.config.findings import loaded, said

BACK = "leads back to ferryman itself, to its listener"
HINT = "; name another proxy, or remove this way"


def proxy(bind: str, through: str) -> str:
    return f"listeners: {{h: {{bind: {bind}, connect: {{access: [], via: [{{through: {through}}}]}}}}}}"


@pytest.mark.parametrize(
    ("bind", "address", "loop"),
    [
        ("'127.0.0.1:3128'", "127.0.0.1:3128", True),
        ("'127.0.0.1:3128'", "127.0.0.1:3129", False),
        ("'127.0.0.1:3128'", "127.0.0.2:3128", False),
        ("'127.0.0.1:3120-3130'", "127.0.0.1:3128", True),
        ("'127.0.0.1:3128'", "localhost:3128", True),
        ("'[::1]:3128'", "localhost.:3128", True),
        ("'[::1]:3128'", "127.0.0.1:3128", False),
        ("'127.0.0.1:3128'", "[::ffff:7f00:1]:3128", True),
        ("'*:3128'", "127.8.9.10:3128", True),
        ("'*:3128'", f"{os.uname().nodename}:3128", True),
        ("'0.0.0.0:3128'", "[::1]:3128", False),
        ("'[::]:3128'", "127.0.0.1:3128", True),
        ("'*:3128'", "192.0.2.1:3128", False),
        ("'*:3128'", "proxy.example:3128", False),
        ("{address: '127.0.0.1:3128', namespace: blue}", "127.0.0.1:3128", False),
        ("['192.0.2.1:3128', 'unix@/run/x']", "192.0.2.1:3128", True),
    ],
)
def test_explicit_proxies_that_go_out_through_themselves(bind: str, address: str, loop: bool) -> None:
    found = [text for text in said(loaded(proxy(bind, f"['socks5://p:1', 'http://{address}']"))) if BACK in text]
    assert found == ([f"error: {address} {BACK} h{HINT}"] if loop else [])


def test_through_another_own_listener_and_in_a_row() -> None:
    text = """
listeners:
  a:
    bind: 127.0.0.1:1
    connect:
      via:
        - through:
            - ["http://p:1", "http://127.0.0.1:2"]
            - http://127.0.0.1:3
            - http://127.0.0.1:4
  b: {bind: "127.0.0.1:2", connect: {}}
  balanced: {bind: "127.0.0.1:3", servers: ["proxy-1:3128", "proxy-2:3128"]}
  crooked: {bind: "127.0.0.1:4", servers: ["proxy-1:3128", "127.0.0.1:2"]}
"""
    found = loaded(text).diagnostics.found
    assert [(each.mark.line, each.message) for each in found if each.mark] == [
        (8, f"127.0.0.1:2 {BACK} b"),
        (10, f"127.0.0.1:4 {BACK} b"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "listeners: {out: {bind: '127.0.0.1:1', connect: {}}, w: {bind: '*:2', to: app}}\n"
        "backends: {app: {via: 'http://localhost:1', servers: 'x:1'}}",
        "listeners: {out: {bind: '127.0.0.1:1', connect: {}}, "
        "w: {bind: '*:2', backend: {via: 'http://localhost:1', servers: 'x:1'}}}",
    ],
)
def test_backends(text: str) -> None:
    assert said(loaded(text)) == [f"error: localhost:1 {BACK} out{HINT}"]


@pytest.mark.parametrize(
    ("server", "round"),
    [("127.0.0.1:443", True), ("'127.0.0.1:+0'", True), ("192.0.2.1:443", False), ("127.0.0.1:444", False)],
)
def test_servers_that_are_the_listener_itself(server: str, round: bool) -> None:
    text = f"listeners: {{web: {{bind: '*:443', servers: [{server}]}}}}"
    found = [each for each in said(loaded(text)) if "round" in each]
    shown = "127.0.0.1" if "+" in server else server.strip("'")
    message = f"{shown} is listener web, which leads here: connections go round and round"
    assert found == ([f"warning: {message}; name the server's own address"] if round else [])
