"""Short ways to ask what the loader says about a piece of native configuration."""

from __future__ import annotations

from ferryman.config.load import Loaded, load
from ferryman.config.source import Source
from ferryman.plan import Backend, Connect


def loaded(text: str) -> Loaded:
    return load([Source("f.yaml", text)], "ferryman", environment={})


def with_connect(body: str, around: str = "") -> Loaded:
    """A listener `out` on loopback whose `connect` is this flow mapping. `around`: more keys of the listener."""
    return loaded(f"listeners: {{out: {{bind: '127.0.0.1:3128', {around} connect: {{{body}}}}}}}")


def connect(body: str, around: str = "") -> Connect:
    found = with_connect(body, around)
    assert found.plan is not None, said(found)
    assert found.plan.listeners[0].connect is not None
    return found.plan.listeners[0].connect


def backend(body: str) -> Backend:
    found = loaded(f"listeners: {{web: {{bind: '*:1', to: app}}}}\nbackends: {{app: {{{body}}}}}")
    assert found.plan is not None, said(found)
    return found.plan.backends[0]


def said(found: Loaded) -> list[str]:
    """Severity, message and hint of every finding."""
    return [
        f"{each.severity}: {each.message}" + (f"; {each.hint}" if each.hint else "") for each in found.diagnostics.found
    ]
