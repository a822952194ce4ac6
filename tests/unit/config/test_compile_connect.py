"""The explicit proxy of the plan: defaults, lists of rules, and warnings of proxies that are too open or too shut."""

from __future__ import annotations

import pickle

import pytest
from tests.unit.config.findings import connect, loaded, said, with_connect

from ferryman.plan import Connect


def test_defaults() -> None:
    found = connect("")
    assert found == Connect()
    assert pickle.loads(pickle.dumps(found)) == found
    assert loaded("listeners: {out: {bind: '127.0.0.1:1', mode: connect}}").plan is not None


def test_no_list_is_not_an_empty_list() -> None:
    assert connect("").access is None
    assert connect("access: []").access == ()


def test_values() -> None:
    found = connect(
        "protocols: [socks5, socks5], realm: here, match_sni: true, head_timeout: 0, connect_timeout: null, "
        "max_head: 8KiB, tunnel_timeout: 1h, on_unknown_protocol: terminate, "
        "egress_allow: [10.0.0.0/8, '::1', '*.internal', host.example]"
    )
    assert (found.protocols, found.realm, found.match_sni, found.max_head) == (("socks5",), "here", True, 8192)
    assert (found.head_timeout, found.connect_timeout, found.tunnel_timeout) == (None, None, 3600.0)
    assert found.on_unknown_protocol == "terminate"
    assert found.egress_networks.hold("10.1.2.3")
    assert found.egress_networks.hold("::1")
    assert not found.egress_networks.hold("11.0.0.1")
    assert found.egress_names is not None
    assert [name for name in ("a.internal", "host.example", "internal") if found.egress_names.matches(name)] == [
        "a.internal",
        "host.example",
    ]


def test_rules_keep_their_order_and_place() -> None:
    found = connect(
        "access: [{action: deny, when: {target_port: 25}}, {action: allow, when: near}], tls: [{action: splice}]",
        "tests: {near: {client_address: 10.0.0.0/8}},",
    )
    assert found.access is not None
    assert [(rule.allow, rule.where) for rule in found.access] == [(False, "f.yaml:1"), (True, "f.yaml:1")]
    assert [rule.action for rule in found.tls] == ["splice"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("access: []", "warning: an empty list refuses everybody; leave `access` out to allow everybody"),
        (
            "access: [{action: deny, when: {target_port: 1}}]",
            "warning: no rule allows anything: everybody is refused; add {action: allow, when: …}",
        ),
        (
            "access: [{action: allow}, {action: deny, when: {target_port: 1}}]",
            "warning: this is never reached: f.yaml:1 always ends the list before it",
        ),
        (
            "via: [{through: direct}, {through: direct, when: {target_port: 1}}]",
            "warning: this is never reached: f.yaml:1 always ends the list before it",
        ),
        (
            "egress_guard: false, egress_allow: 10.0.0.0/8",
            "warning: this allows nothing new: the guard is off; remove it",
        ),
        (
            "access: [{action: deny, when: {target_port: 25}}, {action: deny, when: {method: TRACE}}, "
            "{action: deny, when: {method: PUT}}, {action: allow}]",
            "warning: requests by SOCKS5 have no method: no test of it holds for them; "
            "say `protocols: [connect, http]`, or what holds for {protocol: socks5}",
        ),
        (
            "access: [{action: allow, when: {sni: a.example.org}}]",
            "error: sni is not known here: the client speaks TLS once it has a connection; "
            "target_host is what it asks for; or decide in `tls`",
        ),
        (
            "via: [{through: direct, when: {alpn: h2}}]",
            "error: alpn is not known here: the client speaks TLS once it has a connection; "
            "target_host is what it asks for; or decide in `tls`",
        ),
        (
            "access: [{action: allow, when: {target_host: {suffix: example.org}}}]",
            'warning: the suffix "example.org" also holds for "notexample.org", which is another name; '
            '"*.example.org" as a name, or ".example.org"',
        ),
        (
            "egress_allow: 10.0.0.0/33",
            'error: 10.0.0.0/33: "33" is no prefix length for IPv4 (0 to 32); '
            "write 10.0.0.0/8, ::1, host.example or *.example.org",
        ),
        (
            "access: [{action: allow, when: {time: 'Mon 8-18'}}]",
            'error: "Mon 8-18": a time is written "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-06:00"',
        ),
    ],
)
def test_findings(body: str, message: str) -> None:
    assert [line for line in said(with_connect(body)) if "can reach 127.0.0.1" not in line] == [message]


@pytest.mark.parametrize(
    "body",
    [
        "protocols: [connect, http], access: [{action: allow, when: {method: CONNECT}}]",
        "access: [{action: deny, when: {protocol: socks5}}, {action: allow, when: {method: CONNECT}}]",
        "protocols: socks5, access: [{action: allow, when: {target_port: 443}}]",
    ],
)
def test_rules_about_methods_that_socks5_cannot_pass_by(body: str) -> None:
    assert said(with_connect(body)) == []


@pytest.mark.parametrize("key", ["to: b", "servers: 'a:1'", "routes: []", "inspect: []", "inspect_timeout: 1s"])
def test_what_leads_elsewhere_is_refused(key: str) -> None:
    text = f"listeners: {{out: {{bind: '127.0.0.1:1', connect: {{}}, {key}}}}}\nbackends: {{b: {{servers: 'a:1'}}}}"
    found = loaded(text)
    assert found.plan is None
    assert any("the clients of an explicit proxy say themselves where they go" in line for line in said(found))


@pytest.mark.parametrize(
    "body",
    [
        "connection: [{action: reject, when: {user: x}}]",
        "connection: [{action: capture, fact: target_host, length: 9}]",
        "inspect: [{action: reject, when: [{sni: x}, {step: 1}]}]",
        "routes: [{to: b, when: {not: {target_port: 443}}}]",
        "routes: [{to: '%[target_host]'}]",
        "backend: {servers: 'a:1', server_rules: [{to: 'a:1', when: {target_host: x}}]}",
    ],
)
def test_facts_of_an_explicit_proxy_are_none_elsewhere(body: str) -> None:
    to = "" if "backend" in body else "to: b, "
    text = f"listeners: {{web: {{bind: '*:1', {to}{body}}}}}\nbackends: {{b: {{servers: 'a:1'}}}}"
    errors = [line for line in said(loaded(text)) if line.startswith("error")]
    assert len(errors) == 1
    assert "is not known here: no client has named a target" in errors[0]


def test_connect_and_another_mode() -> None:
    found = loaded("listeners: {out: {bind: '127.0.0.1:1', mode: tcp, servers: 'a:1', connect: {}}}")
    assert said(found) == ["error: `connect` needs a listener of its own; remove `mode: tcp`, or move it"]


OPEN = "this is an open proxy"


@pytest.mark.parametrize(
    ("bind", "body", "warned"),
    [
        ("*:3128", "connect: {}", True),
        ("[::]:3128", "connect: {}", True),
        ("192.0.2.1:3128", "mode: connect", True),
        ("127.0.0.1:3128", "connect: {}", False),
        ("127.9.9.9:3128", "connect: {}", False),
        ("[::1]:3128", "connect: {}", False),
        ("unix@/run/proxy.sock", "connect: {}", False),
        ("*:3128", "connect: {access: [{action: allow, when: {client_address: 10.0.0.0/8}}]}", False),
        ("*:3128", "connection: [{action: reject, when: {not: {client_address: 10.0.0.0/8}}}], connect: {}", False),
    ],
)
def test_open_proxies_are_pointed_out(bind: str, body: str, warned: bool) -> None:
    findings = said(loaded(f"listeners: {{out: {{bind: '{bind}', {body}}}}}"))
    assert [OPEN in line for line in findings] == [True] * warned
