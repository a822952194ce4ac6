"""Backends: connections that are held ready, and where that cannot be."""

from __future__ import annotations

import pytest
from tests.unit.config.findings import backend, loaded, said

from ferryman.config.emit import emit
from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.plan import Prewarm


@pytest.mark.parametrize(
    ("body", "prewarm"),
    [
        ("servers: 'a:1'", None),
        ("servers: 'a:1', prewarm: {}", Prewarm(1, 64, 1.0, 20.0)),
        ("servers: 'a:1', prewarm: {min: 0, max: 7, rate: 0.5, idle: 500ms}", Prewarm(0, 7, 0.5, 0.5)),
        ("servers: 'a:1', prewarm: {idle: 0}", Prewarm(1, 64, 1.0, None)),
        ("servers: [{address: 'a:1', source: 127.0.0.1}], prewarm: {idle: null}", Prewarm(1, 64, 1.0, None)),
    ],
)
def test_what_is_held_ready(body: str, prewarm: Prewarm | None) -> None:
    assert backend(body).prewarm == prewarm


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("servers: 'a:1', send_proxy: v1", "a:1 is told first who the client is (`send_proxy`)"),
        ("servers: ['a:1', {address: 'b:1', send_proxy: v2}]", "b:1 is told first who the client is (`send_proxy`)"),
        ("servers: 'a:1', source: client", "a:1 sees the client's address (`source`)"),
        (
            "servers: 'a:1', via: http://p:1",
            "it goes through other proxies (`via`), which is made anew for each client",
        ),
        ("servers: a", "the port of a is that of the client"),
        ("servers: 'a:+1'", "the port of a:+1 is that of the client"),
        ("destination: '{sni}:443'", "each client says itself where it leads (`destination`)"),
    ],
)
def test_what_depends_on_the_client_is_not(body: str, reason: str) -> None:
    text = f"listeners: {{web: {{bind: '*:1', to: b}}}}\nbackends:\n  b: {{{body}, prewarm: {{min: 2}}}}"
    found = loaded(text)
    assert found.plan is None
    errors = [line for line in said(found) if "held ready" in line]
    assert len(errors) == 1
    assert f"error: connections of backend b cannot be held ready: {reason}" in errors[0]
    assert errors[0].endswith("remove `prewarm`, or the other")


def test_more_than_the_most_is_refused() -> None:
    found = loaded("listeners: {web: {bind: '*:1', backend: {servers: 'a:1', prewarm: {min: 9, max: 3}}}}")
    assert found.plan is None
    assert "`min` 9 is more than `max` 3" in said(found)[0]


def test_it_is_written_as_it_was_read() -> None:
    text = "listeners: {web: {bind: '*:1', backend: {servers: 'a:1', prewarm: {min: 0, rate: 2, idle: 90s}}}}"
    found = loaded(text)
    assert found.configuration is not None
    again = load([Source("again.yaml", emit(found.configuration))], "ferryman", environment={})
    assert again.plan is not None
    assert found.plan is not None
    assert again.plan.backends == found.plan.backends
