"""Destinations that connections name themselves, in the native configuration."""

from __future__ import annotations

import pytest
from tests.unit.config.findings import loaded, said

from ferryman.config.emit import emit
from ferryman.plan import Destination, Plan

LISTENER = "listeners: {web: {bind: '*:443', to: by-name}}\n"


def plan(body: str) -> Plan:
    found = loaded(f"{LISTENER}backends: {{by-name: {{{body}}}}}")
    assert found.plan is not None, said(found)
    return found.plan


def destination(body: str) -> Destination:
    found = plan(body).backends[0].destination
    assert found is not None
    return found


def test_the_name_in_the_hello() -> None:
    made = plan("destination: {to: '{sni}:443', names: '*.example.org', egress_allow: 10.0.0.0/8}")
    found = made.backends[0].destination
    assert found is not None
    assert str(found.template) == "{sni}:443"
    assert found.names is not None
    assert found.names.matches("a.example.org")
    assert not found.names.matches("example.com")
    assert found.connect.egress_guard
    assert found.connect.egress_networks.hold("10.1.2.3")
    assert found.connect.resolve_timeout == 10.0
    listener = made.listeners[0]
    assert (listener.needs_hello, listener.awaits_hello, listener.inspect_timeout) == (True, True, 5.0)


def test_where_the_client_wanted_to_go_needs_no_hello() -> None:
    found = loaded(
        "listeners: {web: {bind: '*:443', transparent: tproxy, to: a}}\n"
        "backends: {a: {destination: '{original_address}:{original_port}'}}"
    )
    assert found.plan is not None, said(found)
    assert not found.plan.listeners[0].needs_hello
    assert said(found) == []


def test_how_it_is_spoken_with() -> None:
    made = destination(
        "destination: '{sni-1}.example:443', tls: true, send_proxy: v2, via: 'http://proxy.example:3128'"
    )
    assert made.server.tls is not None
    assert made.server.send_proxy is not None
    assert len(made.connect.via) == 1


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("destination: '{sni}'", "has no host and port"),
        ("destination: '{sin}:443'", "there is no {sin}"),
        ("destination: {to: '{sni}:443', names: '*.*'}", "'*.*'"),
        ("destination: '{sni}:443', servers: 'a:1'", "`servers` says nothing of a backend with a destination"),
        ("destination: '{sni}:443', check: true", "`check` says nothing of a backend with a destination"),
        ("destination: '{sni}:443'", "warning: whoever gets here chooses where to: any name leads there"),
        ("destination: {to: '{sni}:443', egress_guard: false}", "warning: clients can reach 127.0.0.1, ::1, 169.254"),
        ("destination: {to: 'a.example:443', egress_allow: x/y}", "x/y"),
    ],
)
def test_what_is_said(body: str, finding: str) -> None:
    found = loaded(f"{LISTENER}backends: {{by-name: {{{body}}}}}")
    assert any(finding in each for each in said(found)), said(found)


def test_back_to_text() -> None:
    for text in ("'{sni}:443'", "{to: '{sni}:443', names: [a.example, '*.b.example']}"):
        source = f"{LISTENER}backends: {{by-name: {{destination: {text}}}}}"
        found = loaded(source)
        assert found.configuration is not None
        again = loaded(emit(found.configuration))
        assert again.plan is not None
        assert found.plan is not None
        assert again.plan.backends[0].destination == found.plan.backends[0].destination
