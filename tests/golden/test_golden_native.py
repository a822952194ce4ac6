"""Native configurations and what becomes of them: text, a line of dashes, the findings and the plan in short.

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second halves anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman.config.load import Loaded, load
from ferryman.config.render import render
from ferryman.config.source import Source
from ferryman.plan import Connect, Plan

FOLDER = Path(__file__).parent / "native"
DASHES = "-" * 40 + "\n"


def summary(plan: Plan) -> list[str]:
    lines = []
    for listener in plan.listeners:
        bind = " ".join(map(str, listener.bind))
        lines.append(f"listener {listener.name} ({listener.mode}) {bind} -> {listener.default_backend or 'nowhere'}")
        for kind, rules in (("connection", listener.connection), ("inspect", listener.inspect)):
            lines += [f"  {kind} {rule.where}: {rule.action.value}" for rule in rules]
        lines += [f"  route {route.where}: {route.backend or f'%[{route.expression}]'}" for route in listener.routes]
        lines += explicit(listener.connect) if listener.connect else []
        if listener.needs_hello:
            lines.append(f"  waits for the first bytes {listener.inspect_timeout} s")
        lines += [f"  log {target.id} {target.kind} {listener.log.format}" for target in listener.log.targets]
    for backend in plan.backends:
        lines.append(f"backend {backend.name} {backend.algorithm}, connect {backend.connect_timeout} s")
        if backend.via:
            lines.append(f"  via {backend.via}")
        for server in backend.servers:
            check = f" check every {server.check.interval} s within {server.check.timeout} s" if server.check else ""
            lines.append(f"  server {server.id} {server.name} {server.address} weight {server.weight}{check}")
    return lines


def explicit(connect: Connect) -> list[str]:
    lines = [f"  access {rule.where}: {'allow' if rule.allow else 'deny'}" for rule in connect.access or ()]
    lines += [f"  tls {rule.where}: {rule.action}" for rule in connect.tls]
    return lines + [f"  via {rule.where}: {rule.through}" for rule in connect.via]


def outcome(name: str, text: str) -> str:
    loaded: Loaded = load([Source(name, text)], "ferryman", environment={"PORT": "8443"})
    lines = [render(finding, loaded.sources) for finding in loaded.diagnostics.found]
    lines += summary(loaded.plan) if loaded.plan else ["refused"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_native(file: Path) -> None:
    text, dashes, expected = file.read_text().partition(DASHES)
    got = outcome(file.name, text)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + DASHES + got)
        return
    assert dashes, "a line of dashes ends the configuration"
    assert got == expected
