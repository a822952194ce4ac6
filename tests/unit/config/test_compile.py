"""Defaults and references of the plan. (Findings and their places: tests/golden/native.)"""

from __future__ import annotations

import os
import pickle

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.plan import Address, Backend, Listener, Plan
from ferryman.rules.decision import Action


def plan(text: str) -> Plan:
    loaded = load([Source("f.yaml", text)], "ferryman", environment={})
    assert loaded.plan is not None, list(map(str, loaded.diagnostics.found))
    return loaded.plan


def listener(body: str) -> Listener:
    return plan(
        f"listeners: {{web: {{bind: '*:1', to: app, {body}}}}}\nbackends: {{app: {{servers: 'a:1'}}}}"
    ).listeners[0]


def backend(body: str) -> Backend:
    return plan(f"listeners: {{web: {{bind: '*:1', to: app}}}}\nbackends: {{app: {{{body}}}}}").backends[0]


def test_workers_default_to_the_cpus_there_are() -> None:
    found = plan("listeners: {web: {bind: '*:1', servers: 'a:1'}}")
    assert found.settings.workers == len(os.sched_getaffinity(0))
    assert found.settings.node == os.uname().nodename
    assert found.settings.log == found.log_targets
    assert pickle.loads(pickle.dumps(found)) == found


def test_ids_are_places_in_the_plan() -> None:
    found = plan("""
listeners:
  off: {bind: "*:1", to: b, disabled: true}
  one: {bind: "*:2", to: b}
  two: {bind: "*:3", servers: ["x:1", "x:2"]}
backends:
  a: {servers: ["y:1"]}
  b: {servers: ["z:1", "z:2"]}
""")
    assert [each.name for each in found.listeners] == ["one", "two"]
    assert [each.name for each in found.backends] == ["a", "b", "two"]
    for row in (found.listeners, found.backends, found.servers, found.log_targets):
        assert [each.id for each in row] == list(range(len(row)))
    assert [server.backend for server in found.servers] == ["a", "b", "b", "two", "two"]


def test_timeouts_of_nothing_mean_no_limit() -> None:
    assert backend("connect_timeout: 0, server_timeout: 0s").connect_timeout is None
    assert backend("connect_timeout: 2s").queue_timeout == 2.0
    assert backend("connect_timeout: 2s, queue_timeout: 0").queue_timeout is None
    assert backend("connect_timeout: null").queue_timeout is None
    assert listener("client_timeout: 0").client_timeout is None
    assert listener("inspect_timeout: 0").inspect_timeout == 0.0


def test_redispatch_and_balance() -> None:
    assert backend("").redispatch == -1
    assert backend("redispatch: false").redispatch == 0
    assert backend("redispatch: 3").redispatch == 3
    assert (backend("balance: random(5)").algorithm, backend("balance: random(5)").draws) == ("random", 5)


def test_a_check_takes_no_longer_than_its_interval_or_a_connection() -> None:
    first, second, third, fourth = backend("""
connect_timeout: 3s, check: {interval: 2s}, servers: [
  "a:1",
  {address: "b:1", check: {interval: 10s, rise: 5}},
  {address: "c:1", check: {timeout: 7s, address: 127.0.0.1}},
  {address: "d:1", check: false}]""").servers
    assert first.check is not None
    assert (first.check.interval, first.check.timeout) == (2.0, 2.0)
    assert second.check is not None
    assert (second.check.interval, second.check.timeout, second.check.rise) == (10.0, 3.0, 5)
    assert third.check is not None
    assert (third.check.timeout, third.check.address) == (7.0, Address("inet", "127.0.0.1", 1))
    assert fourth.check is None


def test_only_what_reads_bytes_waits_for_them() -> None:
    assert not listener("routes: [{to: app, when: {client_address: 10.0.0.0/8}}]").needs_hello
    for reading in (
        "routes: [{to: app, when: {not: {sni: a.example.org}}}]",
        "routes: [{to: '%[sni]'}]",
        "inspect: [{action: capture, fact: sni, length: 10}]",
        "inspect: [{action: reject, when: [{client_port: 5}, {all: [{alpn: h2}]}]}]",
        "tests: {t: {sni: a.example.org}}, routes: [{to: app, when: t}]",
    ):
        found = listener(reading)
        assert (found.needs_hello, found.inspect_timeout) == (True, 5.0), reading
    rules = "servers: [{address: 'a:1', name: s}], server_rules: [{to: s, when: {sni: a.example.org}}]"
    assert plan(f"listeners: {{web: {{bind: '*:1', to: a}}}}\nbackends: {{a: {{{rules}}}}}").listeners[0].needs_hello


def test_captures_have_slots_in_their_order() -> None:
    found = listener("""
connection: [{action: capture, fact: client_address, length: 20}],
inspect: [{action: accept, when: {client_port: 5}}, {action: capture, fact: sni, length: 7}, {action: capture,
  fact: alpn, length: 8}]""")
    captures = [rule for rule in (*found.connection, *found.inspect) if rule.action is Action.CAPTURE]
    assert [(rule.slot, rule.length) for rule in captures] == [(0, 20), (1, 7), (2, 8)]
    assert found.capture_slots == 3
    assert found.inspect[0].where == "f.yaml:3"


def test_targets_of_logs_exist_once() -> None:
    found = plan("""
global: {log: [stdout, {target: "udp:127.0.0.1", format: rfc5424}]}
listeners:
  a: {bind: "*:1", servers: "a:1"}
  b: {bind: "*:2", servers: "a:1", log: [stdout, "file:/var/log/x"]}
  c: {bind: "*:3", servers: "a:1", log: []}
""")
    assert [(target.id, target.kind) for target in found.log_targets] == [(0, "stdout"), (1, "udp"), (2, "file")]
    assert [[target.id for target in each.log.targets] for each in found.listeners] == [[0, 1], [0, 2], []]
    assert plan("global: {log: []}\nlisteners: {a: {bind: '*:1', servers: 'a:1'}}").log_targets == ()


def test_pages() -> None:
    found = plan("listeners: {s: {bind: '*:1', pages: {users: {admin: 1234}, refresh: 0}}}").listeners[0]
    assert found.mode == "pages"
    assert found.pages is not None
    assert (found.pages.users, found.pages.refresh) == ((("admin", "1234"),), None)
    assert plan("listeners: {s: {bind: '*:1', mode: pages}}").listeners[0].pages is not None
    assert listener("").pages is None


def test_runtime_sockets() -> None:
    text = "global: {runtime_sockets: {address: unix@/run/x, mode: 0660, level: admin}}\n"
    (socket,) = plan(text + "listeners: {a: {bind: '*:1', servers: 'a:1'}}").settings.runtime_sockets
    assert (socket.address, socket.mode, socket.level) == (Address("unix", "/run/x"), 0o660, "admin")
