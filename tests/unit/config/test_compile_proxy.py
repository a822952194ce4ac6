"""The PROXY protocol in the native configuration: what becomes of it, and what is refused or warned of."""

from __future__ import annotations

import pytest
from tests.unit.config.findings import backend, loaded, said

from ferryman.config.emit import emit
from ferryman.plan import Listener, ReceiveProxy, SendProxy
from ferryman.rules.networks import Networks, network


def listener(body: str) -> Listener:
    found = loaded(f"listeners: {{web: {{bind: '*:1', servers: 'a:1', {body}}}}}")
    assert found.plan is not None, said(found)
    return found.plan.listeners[0]


def networks(*patterns: str) -> Networks:
    return Networks.of([network(pattern) for pattern in patterns])


@pytest.mark.parametrize(
    ("body", "receive"),
    [
        ("", None),
        ("proxy_protocol: false", None),
        ("proxy_protocol: true", ReceiveProxy(None, 3.0)),
        ("proxy_protocol: {}", ReceiveProxy(None, 3.0)),
        ("proxy_protocol: {timeout: 500ms}", ReceiveProxy(None, 0.5)),
        ("proxy_protocol: {from: 10.0.0.0/8}", ReceiveProxy(networks("10.0.0.0/8"))),
        ("proxy_protocol: {from: ['10.0.0.1', 'fd00::/8']}", ReceiveProxy(networks("10.0.0.1", "fd00::/8"))),
    ],
)
def test_who_sends_a_header(body: str, receive: ReceiveProxy | None) -> None:
    assert listener(body).receive_proxy == receive


def test_clients_of_an_explicit_proxy_may_be_behind_another_one() -> None:
    found = loaded("listeners: {out: {bind: '127.0.0.1:1', connect: {}, proxy_protocol: true}}")
    assert found.plan is not None
    assert found.plan.listeners[0].receive_proxy == ReceiveProxy()


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("proxy_protocol: {from: []}", "at least 1"),
        ("proxy_protocol: {from: 10.0.0.0/40}", '"40" is no prefix length'),
        ("proxy_protocol: {from: [10.0.0.0/8, lb.example]}", '"lb.example" is no IP address; such as 10.0.0.0/8'),
        ("proxy_protocol: {timeout: 0}", "0.01"),
        ("proxy_protocol: v2", "true"),
        ("mode: pages, proxy_protocol: true", "shows pages takes no PROXY header"),
        ("proxy_protocol: {from: 10/8}", "warning: 10/8 means 0.0.0.10/8; write it so, or 10.0.0.0/8 if you meant"),
    ],
)
def test_what_is_said_of_listeners(body: str, finding: str) -> None:
    found = loaded(f"listeners: {{web: {{bind: '*:1', servers: 'a:1', {body}}}}}")
    assert any(finding in each for each in said(found)), said(found)


@pytest.mark.parametrize(
    ("body", "send"),
    [
        ("servers: 'a:1'", [None]),
        ("send_proxy: v1, servers: 'a:1'", [SendProxy(1)]),
        ("send_proxy: v2, servers: ['a:1', {address: 'b:1', send_proxy: false}]", [SendProxy(2), None]),
        ("servers: ['a:1', {address: 'b:1', send_proxy: v1}]", [None, SendProxy(1)]),
        (
            "send_proxy: v1, servers: {address: 'b:1', send_proxy: {version: v2, tlvs: unique-id}}",
            [SendProxy(2, ("unique-id",))],
        ),
        (
            "send_proxy: {version: v2, tlvs: [ssl, crc32c, ssl]}, servers: 'a:1'",
            [SendProxy(2, ("ssl", "crc32c"))],
        ),
    ],
)
def test_which_servers_get_a_header(body: str, send: list[SendProxy | None]) -> None:
    assert [server.send_proxy for server in backend(body).servers] == send


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("send_proxy: true, servers: 'a:1'", "False"),
        ("send_proxy: v3, servers: 'a:1'", "'v1' or 'v2'"),
        ("send_proxy: {tlvs: ssl}, servers: 'a:1'", "version"),
        ("send_proxy: {version: v2, tlvs: sni}, servers: 'a:1'", "authority"),
        ("send_proxy: {version: v1, tlvs: ssl}, servers: 'a:1'", "version 1 has no room for TLVs; write `version: v2`"),
    ],
)
def test_what_is_said_of_servers(body: str, finding: str) -> None:
    found = loaded(f"listeners: {{web: {{bind: '*:1', to: app}}}}\nbackends: {{app: {{{body}}}}}")
    assert any(finding in each for each in said(found)), said(found)
    assert found.plan is None


@pytest.mark.parametrize(
    ("listener", "warned"),
    [
        ("to: app", True),
        ("to: app, proxy_protocol: true", False),
        ("routes: [{when: {sni: '*.example.org'}, to: app}]", False),
        ("routes: [{when: {client_address: 10.0.0.1}, to: app}]", True),
    ],
)
def test_a_name_that_nobody_reads_is_warned_of(listener: str, warned: bool) -> None:
    found = loaded(
        f"listeners: {{web: {{bind: '*:1', {listener}}}}}\n"
        "backends: {app: {send_proxy: {version: v2, tlvs: [authority]}, servers: 'a:1'}}"
    )
    text = "warning: app/a:1 is told no authority from here: nothing reads clients' TLS; let a rule ask for sni"
    assert (text in said(found)) is warned, said(found)


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ("servers: {address: 'a:1', check: true}", 0),
        ("send_proxy: v1, servers: {address: 'a:1', check: true}", 1),
        ("send_proxy: v2, check: true, servers: 'a:1'", 2),
        ("send_proxy: v2, servers: {address: 'a:1', check: {send_proxy: false}}", 0),
        ("send_proxy: v2, servers: {address: 'a:1', check: {address: 'a:2'}}", 0),
        ("send_proxy: v2, servers: {address: 'a:1', check: {address: 'a:2', send_proxy: true}}", 2),
        ("servers: {address: 'a:1', check: {send_proxy: true}}", 1),
        ("send_proxy: v2, servers: {address: 'a:1', send_proxy: false, check: true}", 0),
    ],
)
def test_checks_send_a_header_where_connections_do(body: str, version: int) -> None:
    check = backend(body).servers[0].check
    assert check is not None
    assert check.send_proxy == version


def test_it_is_written_as_it_was_read() -> None:
    text = """\
listeners:
  web:
    bind: 0.0.0.0:443
    to: app
    proxy_protocol:
      from:
        - 10.0.0.0/8
      timeout: 5s
backends:
  app:
    servers:
      - a:1
      - address: b:1
        send_proxy: false
      - address: c:1
        send_proxy:
          version: v2
          tlvs:
            - ssl
    send_proxy: v1
"""
    found = loaded(text)
    assert found.configuration is not None
    assert emit(found.configuration) == text
