"""Emitted YAML is short, and reads back as the same plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.config.leaves import ca, issue, write

from ferryman.config.emit import emit
from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.plan import Connect, Plan


def emitted(text: str) -> str:
    loaded = load([Source("f.yaml", text)], "ferryman", environment={})
    assert loaded.configuration is not None, list(map(str, loaded.diagnostics.found))
    return emit(loaded.configuration)


def plan(text: str) -> Plan:
    loaded = load([Source("f.yaml", text)], "ferryman", environment={})
    assert loaded.plan is not None, list(map(str, loaded.diagnostics.found))
    return without_places(loaded.plan)


def without_places(plan: Plan) -> Plan:
    listeners = tuple(
        replace(
            listener,
            connection=tuple(replace(rule, where="") for rule in listener.connection),
            inspect=tuple(replace(rule, where="") for rule in listener.inspect),
            routes=tuple(replace(route, where="") for route in listener.routes),
            connect=None if listener.connect is None else connect_without_places(listener.connect),
            tls=tuple(replace(case, where="") for case in listener.tls),
        )
        for listener in plan.listeners
    )
    backends = tuple(
        replace(backend, server_rules=tuple(replace(rule, where="") for rule in backend.server_rules))
        for backend in plan.backends
    )
    return replace(plan, listeners=listeners, backends=backends)


def connect_without_places(connect: Connect) -> Connect:
    return replace(
        connect,
        access=None if connect.access is None else tuple(replace(rule, where="") for rule in connect.access),
        tls=tuple(replace(rule, where="") for rule in connect.tls),
        via=tuple(replace(rule, where="") for rule in connect.via),
    )


def test_what_was_short_stays_short() -> None:
    text = """\
global:
  drain_timeout: 1m
  log: stderr
listeners:
  web:
    bind: 127.0.0.1:8443
    servers:
      - '[::1]:9443'
      - address: host.example:9444
        weight: 2
        check: true
  both:
    bind:
      - 0.0.0.0:80
      - address: '[::]:80'
        v6only: true
      - address: 0.0.0.0:443
        namespace: blue
    routes:
      - to: app
        when:
          sni: '*.example.org'
    log: []
    log_format: '%ci:%cp'
backends:
  app:
    servers:
      - 192.0.2.1:1
    check:
      interval: 500ms
    connect_timeout: null
"""
    assert emitted(text) == text


def test_defaults_and_long_forms_are_left_out() -> None:
    text = """
listeners:
  web: {bind: ["*:1"], mode: tcp, backlog: 0, keepalive: false, backend: {servers: [{address: "a:1", weight: 1}]}}
"""
    assert yaml.safe_load(emitted(text)) == {
        "listeners": {"web": {"bind": "0.0.0.0:1", "mode": "tcp", "servers": ["a:1"]}}
    }


def test_text_that_looks_like_something_else_is_quoted() -> None:
    text = """
listeners: {web: {bind: "*:1", pages: {users: {a: "5", b: "true", c: "0x1f", d: "1e5", e: "$${X}", f: "no", g: "\\n"}}}}
"""
    again = load([Source("f.yaml", emitted(text))], "ferryman", environment={})
    assert again.plan is not None
    assert again.plan.listeners[0].pages is not None
    assert dict(again.plan.listeners[0].pages.users) == {
        "a": "5", "b": "true", "c": "0x1f", "d": "1e5", "e": "${X}", "f": "no", "g": "\n",
    }  # fmt: skip


def test_tls_stays_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "a.pem", *issue(ca(tmp_path), ["a.example"]))
    text = f"""\
listeners:
  web:
    bind: 127.0.0.1:443
    to: app
    tls:
      - when:
          sni: '*.tunnel.example'
        terminate: false
      - min_version: "1.3"
        certificates:
          - {file}
          - file: {file}
            names:
              - a.example
        alpn:
          - h2
        handshake_timeout: 3s
  short:
    bind: 127.0.0.1:444
    servers:
      - address: 127.0.0.1:1
        tls: true
      - address: 127.0.0.1:2
        tls:
          server_name: none
          certificate: {file}
          alpn: received
      - 127.0.0.1:3
    tls:
      certificates: {file}
backends:
  app:
    servers:
      - 127.0.0.1:1
      - address: 127.0.0.1:2
        tls: false
    tls: true
"""
    assert emitted(text) == text
    assert plan(emitted(text)) == plan(text)


def test_an_explicit_proxy_stays_as_it_is() -> None:
    text = """\
listeners:
  out:
    bind: 127.0.0.1:3128
    connect:
      users:
        alice: $2y$05$abcdefghijklmnopqrstuuJk5BqvGgQ0rZzQvGJ0Yl2nYyT2p1X2K
      access:
        - action: allow
          when:
            user: alice
      via:
        - through:
            - http://u:p%40x@proxy:3128
            - - https://a:443
              - socks5://[::1]:1080
            - direct
          when:
            target_host: '*.example.org'
        - through:
            - - http://a:1
              - http://b:1
        - through:
            url: https://p.example:443
            user: u
            password: "5"
            except:
              - .internal
      max_head: 8KiB
  plain:
    bind: 127.0.0.1:3129
    connect: {}
backends:
  b:
    servers:
      - a:1
    via: direct
"""
    assert emitted(text) == text
    assert plan(emitted(text)) == plan(text)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="$"), max_size=8)
SECONDS = st.sampled_from(["10s", "500ms", 3, 0.25, "1m30s"]) | st.floats(0.01, 1e6)
COUNT = st.integers(0, 1000)
CONNECT = st.sampled_from(["a.example:1", "[::1]:2", "192.0.2.1:3", "unix@/run/x", "2001:db8::1:4"])
CHECK = st.booleans() | some(interval=SECONDS, fast_interval=SECONDS, timeout=SECONDS, rise=st.integers(1, 9))
LOGS = st.lists(st.just("stderr") | some(tag=TEXTS, format=st.sampled_from(["raw", "iso"]), length=st.just(99)))
CONDITION = st.sampled_from([{"sni": ["a.example.org", "*.b.example"]}, {"not": {"client_port": 5}}, [{"alpn": "h2"}]])
SERVER = CONNECT | st.builds(
    lambda address, rest: {"address": address, **rest},
    CONNECT,
    some(weight=st.integers(0, 256), backup=st.booleans(), check=CHECK, max_queue=COUNT, disabled=st.booleans()),
)
BACKEND = some(
    servers=st.lists(SERVER, max_size=3, unique_by=lambda s: s["address"] if isinstance(s, dict) else s),
    balance=st.sampled_from(["source", "random(4)", "roundrobin"]),
    check=CHECK,
    redispatch=st.booleans() | st.integers(0, 9),
    connect_timeout=SECONDS | st.none(),
    queue_timeout=SECONDS,
    tunnel_timeout=SECONDS,
    keepalive=st.booleans(),
    via=st.deferred(lambda: THROUGH),
)
RULES = st.lists(
    st.builds(lambda when: {"action": "reject", "when": when}, CONDITION)
    | st.builds(lambda n: {"action": "capture", "fact": "sni|lower", "length": n}, st.integers(1, 99)),
    max_size=3,
)
LISTENER = some(
    inspect=RULES,
    routes=st.lists(st.builds(lambda when: {"to": "app", "when": when}, CONDITION | st.just(None)), max_size=2),
    inspect_timeout=SECONDS,
    client_timeout=SECONDS,
    keepalive=st.booleans(),
    log=LOGS,
    log_format=st.sampled_from(["json", "tcp", "connect"]),
    log_empty=st.booleans(),
)
HOP = st.sampled_from(["http://u:p%3A@a.example:3128", "https://[::1]:443", "socks5://192.0.2.1:1080"]) | st.builds(
    lambda rest: {"url": "https://p.example:443", **rest},
    some(
        server_name=st.sampled_from(["p.example", "bücher.example"]),
        verify=st.booleans(),
        credentials=st.sampled_from(["own", "client"]),
    ),
)
THROUGH = HOP | st.lists(st.just("direct") | HOP | st.lists(HOP, min_size=1, max_size=2), min_size=1, max_size=3)
TARGET = st.none() | st.sampled_from([{"target_port": "1-1023"}, {"time": "Mon-Fri"}, [{"target_host": "*.example"}]])
EXPLICIT = some(
    protocols=st.just(["http"]),
    credentials_ttl=SECONDS,
    access=st.lists(st.builds(lambda when: {"action": "allow", "when": when}, TARGET), max_size=2),
    tls=st.lists(st.builds(lambda when: {"action": "peek", "when": when}, TARGET), max_size=2),
    via=st.lists(st.builds(lambda when, ways: {"through": ways, "when": when}, TARGET, THROUGH), max_size=2),
    egress_allow=st.just("10.0.0.0/8") | st.just(["::1", "*.example"]),
    head_timeout=SECONDS | st.none(),
    max_head=st.sampled_from(["64KiB", 5000, "1MB"]),
)
GLOBAL = some(
    workers=st.integers(1, 9),
    node=TEXTS,
    user=TEXTS,
    log=LOGS,
    drain_timeout=SECONDS,
    runtime_sockets=st.just(["/run/x"]) | st.just([{"address": "abns@x", "mode": "600", "level": "admin"}]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GLOBAL, LISTENER, EXPLICIT, BACKEND, BACKEND, st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=2))
def test_reads_back_as_the_same_plan(
    process: dict[str, Any],
    listener: dict[str, Any],
    explicit: dict[str, Any],
    app: dict[str, Any],
    own: dict[str, Any],
    users: dict[str, str],
) -> None:
    for backend in (app, own):
        if "unix" in str(backend.get("servers")):  # no proxy leads there
            backend.pop("via", None)
    data = {
        "global": process,
        "listeners": {
            "web": {"bind": "*:1", "to": "app", **listener},
            "out": {"bind": "127.0.0.1:11", "connect": explicit},
            "own": {"bind": ["*:2", "[::1]:2-9"], "backend": own},
            "stats": {"bind": "*:10", "pages": {"users": users}},
        },
        "backends": {"app": app},
    }
    text = yaml.safe_dump(data, allow_unicode=True)
    assert plan(emitted(text)) == plan(text)
