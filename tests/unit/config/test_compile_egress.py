"""Where clients of an explicit proxy get to with the guard off."""

from __future__ import annotations

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source


def reached(access: str, guard: str = "false") -> list[str]:
    text = (
        "listeners:\n  p:\n    bind: 127.0.0.1:3128\n    tests: {inside: {target_address: [127.0.0.0/8, '::1']}}\n"
        f"    connect: {{egress_guard: {guard}, access: {access}}}\n"
    )
    loaded = load([Source("f.yaml", text)], "ferryman")
    assert loaded.plan is not None, loaded.diagnostics.found
    found = [finding.message for finding in loaded.diagnostics.found if "can reach" in finding.message]
    return [message.partition("can reach ")[2].partition(" as this")[0] for message in found]


@pytest.mark.parametrize(
    ("access", "addresses"),
    [
        ("null", ["127.0.0.1, ::1, 169.254.169.254"]),
        ("[]", []),
        ("[{action: allow}]", ["127.0.0.1, ::1, 169.254.169.254"]),
        ("[{action: deny, when: inside}, {action: allow}]", ["169.254.169.254"]),
        ("[{action: deny, when: [inside, {target_address: 169.254.0.0/16}]}, {action: allow}]", []),
        ("[{action: allow, when: {target_host: '*.example.org'}}]", []),
        ("[{action: allow, when: {client_address: 10.0.0.0/8}}]", ["127.0.0.1, ::1, 169.254.169.254"]),
        ("[{action: deny, when: {client_address: 10.0.0.0/8}}, {action: allow, when: inside}]", ["127.0.0.1, ::1"]),
        ("[{action: allow, when: {all: [{target_port: 443}, {not: inside}]}}]", ["169.254.169.254"]),
        ("[{action: allow, when: inside}, {action: allow}]", ["127.0.0.1, ::1", "169.254.169.254"]),
    ],
)
def test_addresses_inside(access: str, addresses: list[str]) -> None:
    assert reached(access) == addresses


def test_with_the_guard_there_is_nothing_to_say() -> None:
    assert reached("[{action: allow}]", "true") == []
