"""cache_peer, and which requests go where."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, connect, loaded, parsed

from ferryman.rules.access import via
from ferryman.rules.facts import Facts

PEERS = """http_port 3128
acl work dstdomain .work.example
acl post method POST
cache_peer 192.0.2.1 parent 3128 0 name=one
cache_peer 192.0.2.2 parent 3129 0 name=two
"""


def ways(lines: str, **facts: Any) -> list[str]:
    """How www.example.org:443 is reached by CONNECT, but for `facts`."""
    result, found = loaded(PEERS + lines + OPEN)
    assert result.plan is not None, found
    settings = result.plan.listeners[0].connect
    assert settings is not None
    given = {"method": "CONNECT", "protocol": "connect", "target_host": "www.example.org", "target_port": 443, **facts}
    through = via(settings.via, Facts("192.0.2.9", 5000, "192.0.2.1", 3128, **given))
    if through is None:
        return ["direct"]
    assert not isinstance(through, str)
    return [str(chain[0]) if chain else "direct" for chain in through.chains]  # type: ignore[union-attr]


ONE, TWO = "http://192.0.2.1:3128", "http://192.0.2.2:3129"
GET = {"method": "GET", "protocol": "http"}


@pytest.mark.parametrize(
    ("lines", "facts", "expected"),
    [
        ("", {}, ["direct"]),
        ("", GET, [ONE, TWO, "direct"]),
        ("prefer_direct on\n", GET, ["direct", ONE, TWO]),
        ("nonhierarchical_direct off\n", {}, [ONE, TWO, "direct"]),
        ("never_direct allow all\n", {}, [ONE, TWO]),
        ("never_direct allow work\n", {}, ["direct"]),
        ("never_direct allow work\n", {"target_host": "a.work.example"}, [ONE, TWO]),
        ("never_direct deny work\n", {}, [ONE, TWO]),
        ("never_direct deny work\nnever_direct allow all\n", {"target_host": "work.example"}, ["direct"]),
        ("always_direct allow work\nnever_direct allow all\n", {"target_host": "work.example"}, ["direct"]),
        ("always_direct allow work\nnever_direct allow all\n", {}, [ONE, TWO]),
        ("always_direct allow all\n", GET, ["direct"]),
        ("cache_peer_access one allow work\nnever_direct allow all\n", {}, [TWO]),
        ("cache_peer_access one allow work\nnever_direct allow all\n", {"target_host": "work.example"}, [ONE, TWO]),
        ("cache_peer_access one deny all\nnever_direct allow all\n", {}, [TWO]),
        ("cache_peer_access one deny work\ncache_peer_access two allow work\nnever_direct allow all\n", {}, [ONE]),
    ],
)
def test_ways(lines: str, facts: dict[str, Any], expected: list[str]) -> None:
    assert ways(lines, **facts) == expected


def test_a_request_without_any_way_is_refused() -> None:
    data, found = parsed(f"{PEERS}cache_peer_access one deny work\ncache_peer_access two deny all\n"
                         f"never_direct allow all\n{OPEN}")  # fmt: skip
    assert data["listeners"]["3128"]["connect"]["access"][0] == {"action": "deny", "when": {"not": {"not": "work"}}}
    assert found[0].startswith("8:1: warning: never_direct allows requests for which there is no cache_peer")
    data, _ = parsed(f"http_port 3128\nnever_direct allow all\n{OPEN}")
    assert data["listeners"]["3128"]["connect"]["access"][0] == {"action": "deny"}


def test_each_of_several_peers_may_have_requests_of_its_own() -> None:
    lines = "".join(
        f"acl p{n} port {n}\ncache_peer 192.0.2.{n} parent 3128 0\ncache_peer_access 192.0.2.{n} allow p{n}\n"
        for n in range(3, 6)
    )
    lines += "acl low port 1-4\ncache_peer_access one allow low\ncache_peer_access two deny all\n"
    lines += "never_direct allow all\n"
    assert ways(lines, target_port=5) == ["http://192.0.2.5:3128"]
    assert ways(lines, target_port=4) == [ONE, "http://192.0.2.4:3128"]
    assert ways(lines, target_port=1) == [ONE]


def test_hops() -> None:
    text = (
        "cache_peer p.example parent 3128 0 no-query default login=u%40x:p%3Aw\n"
        "cache_peer 2001:db8::1 parent 443 0 tls tls-cafile=/ca.pem tls-domain=x.example tls-flags=DONT_VERIFY_PEER\n"
        f"cache_peer q.example parent 3128 3130 login=PASS\nnever_direct allow all\n{OPEN}"
    )
    assert connect(text)["via"] == [
        {
            "through": [
                {"url": "http://p.example:3128", "user": "u@x", "password": "p:w"},
                {"url": "https://[2001:db8::1]:443", "ca": "/ca.pem", "server_name": "x.example", "verify": False},
                {"url": "http://q.example:3128", "credentials": "client"},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("cache_peer p.example", "6:1: error: 'cache_peer' needs a type: parent"),
        ("cache_peer p.example sibling 3128 3130", "6:22: warning: a sibling has no effect here: nothing is cached"),
        ("cache_peer p.example cousin 3128 0", "6:22: error: there are no peers of type 'cousin'"),
        ("cache_peer p.example parent 0 0", "6:29: error: 0 is out of range; it is 1 to 65535"),
        ("cache_peer p.example parent 3128", "6:1: error: 'cache_peer' needs an ICP port, or 0"),
        ("cache_peer p.example parent 3128 0 defalt", "6:36: error: unknown cache_peer option 'defalt'; did you mean"),
        (
            "cache_peer p.example parent 3128 0 login=*:x",
            "6:36: error: such a 'login' is Squid's, not supported by fer",
        ),
        ("cache_peer p.example parent 3128 0 originserver", "6:36: error: 'originserver' is Squid's, not supported"),
        ("cache_peer p.example parent 3128 0 tls-flags=X", "6:36: error: the flag 'X' is Squid's, not supported"),
        ("cache_peer x.example parent 3128 0 name=ONE", "6:12: error: there is a cache_peer 'ONE' already"),
        ("cache_peer p.example parent 3128 0 carp", "6:36: warning: 'carp' has no effect here; peers are tried in"),
        ("cache_peer_access tow allow all", "6:19: error: there is no cache_peer 'tow' up to here; did you mean 'two'"),
    ],
)
def test_findings(line: str, finding: str) -> None:
    _, found = parsed(f"{PEERS}{line}\nnever_direct allow all\n{OPEN}")
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_the_trap_of_connect_that_goes_directly() -> None:
    _, found = parsed(PEERS + OPEN)
    assert found == [
        "4:1: warning: only plain GET requests go through this peer: CONNECT goes directly, as in Squid; "
        "add `never_direct allow all`"
    ]


def test_too_many_peers_with_rules_of_their_own() -> None:
    lines = "".join(
        f"cache_peer 192.0.2.{n} parent 1 0 name=p{n}\ncache_peer_access p{n} allow work\n" for n in range(6)
    )
    _, found = parsed(f"{PEERS}{lines}{OPEN}")
    assert found == ["17:1: error: cache_peer_access of more than 5 peers is not supported by ferryman yet"]
