"""What would become of a connection: the listener, the rules in their order, the backend, the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.controlplane.trace import AmbiguousError, Attempt, Trace, trace
from ferryman.plan import Plan

_RECORDED = Path(__file__).parent.parent / "wire" / "hellos" / "openssl-noname.hex"
HELLO = bytes.fromhex("".join(_RECORDED.read_text().splitlines()[1:]))


def plan(text: str) -> Plan:
    loaded = load([Source("x.yaml", text)], "ferryman")
    assert loaded.plan is not None, loaded.diagnostics
    return loaded.plan


def told(text: str, **attempt: object) -> Trace:
    values: dict[str, object] = {"client_host": "192.0.2.7", "client_port": 1024, "port": 80, "first_bytes": HELLO}
    return trace(plan(text), Attempt(**(values | attempt)))  # type: ignore[arg-type]


DOORS = """
listeners:
  any: {bind: "*:80", servers: "10.0.0.1:1"}
  one: {bind: "192.0.2.1:81", servers: "10.0.0.1:1"}
  other: {bind: "192.0.2.2:81", servers: "10.0.0.1:1"}
  six: {bind: "[::]:82-83", servers: "10.0.0.1:1"}
  only: {bind: {address: "[::]:84", v6only: true}, servers: "10.0.0.1:1"}
  path: {bind: unix@/run/x.sock, servers: "10.0.0.1:1"}
"""


@pytest.mark.parametrize(
    ("attempt", "listener"),
    [
        ({}, "any"),
        ({"address": "192.0.2.9"}, "any"),
        ({"port": 81, "address": "192.0.2.2"}, "other"),
        ({"port": 81, "address": "192.0.2.3"}, None),
        ({"port": 82}, "six"),
        ({"port": 83, "address": "::1"}, "six"),
        ({"port": 84}, None),
        ({"port": 84, "client_host": "2001:db8::7"}, "only"),
        ({"port": 80, "client_host": "2001:db8::7"}, None),
        ({"port": 0, "address": "/run/x.sock", "client_host": "unix"}, "path"),
        ({"port": 99}, None),
    ],
)
def test_the_listener_is_the_one_the_kernel_would_take(attempt: dict[str, object], listener: str | None) -> None:
    found = told(DOORS, **attempt)
    assert (found.listener and found.listener.name) == listener
    assert bool(found.refused) is (listener is None)


def test_an_address_that_is_not_said_may_be_needed() -> None:
    with pytest.raises(AmbiguousError, match="several listeners are at port 81"):
        told(DOORS, port=81)


def test_an_exact_address_goes_before_any() -> None:
    text = """
listeners:
  any: {bind: "*:80", servers: "10.0.0.1:1"}
  own: {bind: "192.0.2.1:8080", servers: "10.0.0.1:1"}
"""
    both = plan(text.replace("8080", "81"))
    assert trace(both, Attempt("192.0.2.7", 1, 81, "192.0.2.1")).listener is not None


RULES = """
listeners:
  web:
    bind: "*:80"
    connection:
      - {action: reject, when: {client_address: 192.0.2.66}}
    inspect:
      - {action: capture, fact: sni, length: 40}
      - {action: reject, when: {client_port: 7}}
    routes:
      - {to: tls, when: {hello_type: 1}}
    to: plain
backends:
  tls: {servers: "10.0.0.1:443"}
  plain: {servers: "10.0.0.2"}
"""


def test_rules_are_asked_in_the_order_of_the_journey() -> None:
    found = told(RULES)
    assert [step.outcome for step in (*found.connection, *found.inspect, *found.routes)] == [
        "did not hold", "held", "did not hold", "held", "not reached",
    ]  # fmt: skip
    assert found.backend is not None
    assert found.backend.name == "tls"
    assert found.waited is None


def test_a_refusal_ends_it_and_says_where() -> None:
    found = told(RULES, client_host="192.0.2.66")
    assert found.refused == "refused by the rule at x.yaml:6"
    assert found.inspect == ()
    assert found.server is None


def test_what_is_no_hello_goes_on_without_one() -> None:
    found = told(RULES, first_bytes=b"SSH-2.0-x\r\n")
    assert found.server is not None
    assert found.backend is not None
    assert (found.backend.name, found.target_of(found.server)) == ("plain", "10.0.0.2:80")


def test_half_a_hello_is_waited_for() -> None:
    found = told(RULES, first_bytes=HELLO[:20])
    assert found.waited == 5.0
    assert found.backend is not None
    assert found.backend.name == "plain"


SERVERS = """
listeners:
  web: {bind: "*:80", to: b}
backends:
  b:
    balance: ALGORITHM
    servers:
      - {name: a, address: "10.0.0.1:1"}
      - {name: b, address: "10.0.0.2:+1000"}
      - {name: c, address: "10.0.0.3:1", disabled: true}
      - {name: d, address: "10.0.0.4:1", backup: true}
"""


@pytest.mark.parametrize(("algorithm", "turns"), [("roundrobin", True), ("leastconn", True), ("source", False)])
def test_candidates_and_whether_they_take_turns(algorithm: str, turns: bool) -> None:
    found = told(SERVERS.replace("ALGORITHM", algorithm))
    assert [server.name for server in found.candidates] == ["a", "b"]
    assert found.takes_turns is turns
    assert found.target_of(found.candidates[1]) == "10.0.0.2:1080"


def test_servers_that_are_down() -> None:
    text = SERVERS.replace("ALGORITHM", "source")
    attempt = Attempt("192.0.2.7", 1, 80)
    two = trace(plan(text), attempt, [("b", "a"), ("b", "b")])
    assert two.server is not None
    assert two.server.name == "d"
    three = trace(plan(text), attempt, [("b", "a"), ("b", "b"), ("b", "d")])
    assert three.refused == "backend b has no server available"


def test_a_server_chosen_by_rule() -> None:
    text = SERVERS.replace("ALGORITHM", "roundrobin") + "    server_rules: [{to: b, when: {client_port: 7}}]\n"
    chosen = trace(plan(text), Attempt("192.0.2.7", 7, 80))
    assert chosen.server is not None
    assert (chosen.server.name, chosen.takes_turns) == ("b", False)
    assert [step.outcome for step in chosen.server_rules] == ["held"]
    down = trace(plan(text), Attempt("192.0.2.7", 7, 80), [("b", "b")])
    assert "but b takes no connections" in down.server_rules[0].why
    assert down.server is not None
    assert down.server.name == "a"
