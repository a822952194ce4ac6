"""A setup as text, whole: what nft and ip are given."""

from __future__ import annotations

import re

from ferryman.transparent import ruleset
from ferryman.transparent.setup import Catch, Setup

TPROXY = Catch("web", "tproxy", ((443, 443), (8000, 8010)), ("", 8443), ("2001:db8::1", 8444))
REDIRECT = Catch("mail", "redirect", ((25, 25),), ("", 2525), None)

TEXT = """\
table inet ferryman {
}
delete table inet ferryman
table inet ferryman {
	chain deliver {
		type filter hook prerouting priority mangle; policy accept;
		fib daddr type { local, broadcast, anycast, multicast } return comment "for this machine itself #"
		meta l4proto tcp socket wildcard 0 socket transparent 1 counter meta mark set 0x7 accept \
comment "connections that ferryman has #"
		iifname != { "eth1", "eth2" } return comment "from elsewhere #"
		ip daddr { 10.0.0.0/8 } return comment "spared, ipv4 #"
		ip6 daddr { fd00::/8 } return comment "spared, ipv6 #"
		meta nfproto ipv4 ip saddr { 192.0.2.0/24 } tcp dport { 443, 8000-8010 } counter tproxy ip to :8443 \
meta mark set 0x7 accept comment "tproxy ipv4 to web #"
	}
	chain rewrite {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type { local, broadcast, anycast, multicast } return comment "for this machine itself #"
		iifname != { "eth1", "eth2" } return comment "from elsewhere #"
		ip daddr { 10.0.0.0/8 } return comment "spared, ipv4 #"
		ip6 daddr { fd00::/8 } return comment "spared, ipv6 #"
		meta nfproto ipv4 ip saddr { 192.0.2.0/24 } tcp dport { 25 } counter redirect to :2525 \
comment "redirect ipv4 to mail #"
	}
}
"""


def without_digests(text: str) -> str:
    return re.sub(r'#[0-9a-f]{8}"', '#"', text)


def test_the_whole_of_it() -> None:
    setup = Setup(
        (TPROXY, REDIRECT),
        interfaces=("eth1", "eth2"),
        clients=("192.0.2.0/24",),
        spared=("10.0.0.0/8", "fd00::/8"),
        mark=7,
        table=8,
        priority=9,
    )
    assert without_digests(ruleset.script(setup)) == TEXT
    rule = "priority 9 fwmark 0x7 lookup 8 protocol 102"
    route = "local default dev lo table 8 protocol 102"
    assert ruleset.routings(setup) == [ruleset.Routing("4", rule, route), ruleset.Routing("6", rule, route)]
    lines = ruleset.commands(setup).splitlines()
    assert lines[:5] == [
        f"ip -4 rule add {rule}", f"ip -4 route add {route}",
        f"ip -6 rule add {rule}", f"ip -6 route add {route}", "nft -f - <<'END'",
    ]  # fmt: skip
    assert "\n".join(lines[5:-1]) + "\n" == ruleset.script(setup)
    assert lines[-1] == "END"


def test_only_what_is_needed() -> None:
    assert ruleset.rules(Setup()) == []
    assert ruleset.routings(Setup((REDIRECT,))) == [], "rewriting needs no routing"
    four = Catch("web", "tproxy", ((443, 443),), ("", 8443), None)
    assert [each.family for each in ruleset.routings(Setup((four,)))] == ["4"]
    answers = Setup(answers=True)
    assert [rule.what for rule in ruleset.rules(answers)] == [
        "for this machine itself", "connections that ferryman has",
    ]  # fmt: skip
    assert len(ruleset.routings(answers)) == 2


def test_an_address_is_written_as_nft_wants_it() -> None:
    texts = [rule.text for rule in ruleset.rules(Setup((TPROXY,)))]
    assert any("tproxy ip6 to [2001:db8::1]:8444 " in text for text in texts)


def test_a_digest_is_of_the_text() -> None:
    one, two = (ruleset.rules(Setup((TPROXY,), mark=mark))[1] for mark in (1, 2))
    assert one.what == two.what
    assert one.comment != two.comment
    assert len(one.comment) <= 128, "the longest that nft takes"
