"""Whom a bridge has seen, and what security groups let out."""

from __future__ import annotations

import pytest

from ferryman.opennebula.guests import lets_out, seen


def test_who_is_behind_a_port() -> None:
    table = [
        {"mac": "33:33:00:00:00:01", "ifname": "one-0-0", "flags": ["self"], "state": "permanent"},
        {"mac": "fe:00:00:00:00:02", "ifname": "one-0-0", "flags": [], "master": "br0", "state": "permanent"},
        {"mac": "02:00:00:00:00:02", "ifname": "one-0-0", "flags": [], "master": "br0", "state": ""},
        {"mac": "02:00:00:00:00:03", "ifname": "eth0", "flags": [], "master": "br0", "state": "stale"},
    ]
    assert seen(table, ["one-0-0", "one-1-0"]) == {"one-0-0": {"02:00:00:00:00:02"}}


SHUT = "-A one-0-0-o -j DROP"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], True),
        ([SHUT], False),
        (["-A one-0-0-o -p tcp -m multiport --dports 80,443 -j RETURN", SHUT], False),
        (["-A one-0-0-o -p tcp -m multiport --dports 80,5000:5030 -j RETURN", SHUT], True),
        (["-A one-0-0-o -p tcp -m tcp --dport 5030 -j ACCEPT", SHUT], True),
        (["-A one-0-0-o -p udp -m udp --dport 5030 -j ACCEPT", SHUT], False),
        (["-A one-0-0-o -p icmp -j RETURN", SHUT], False),
        (["-A one-0-0-o -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", SHUT], False),
        (["-A one-0-0-o -m state --state ESTABLISHED -j ACCEPT", SHUT], False),
        (["-A one-0-0-o -m mac ! --mac-source 02:00:00:00:00:01 -j DROP", "-A one-0-0-o -j RETURN"], True),
        (["-A one-0-0-o -p tcp -m set --match-set one-0-0-1-i dst -j RETURN", SHUT], True),
        (["-A one-0-0-o -p tcp -j RETURN", SHUT], True),
    ],
)
def test_what_security_groups_let_out(rules: list[str], expected: bool) -> None:
    assert lets_out(rules, 5030) is expected
