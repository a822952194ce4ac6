"""Sections, and what they inherit."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import parsed

from ferryman.config.dialects import haproxy
from ferryman.config.source import Diagnostics, Source


def test_defaults_count_until_the_next_ones() -> None:
    text = (
        "frontend a\n bind :1\n timeout client 1s\n"
        "defaults\n timeout client 2s\n maxconn 5\nfrontend b\n bind :2\nfrontend c\n bind :3\n maxconn 6\n"
        "defaults\n timeout client 3s\nfrontend d\n bind :4\n"
    )
    data, found = parsed(text)
    assert found == []
    seen = {name: (x["client_timeout"], x.get("max_connections")) for name, x in data["listeners"].items()}
    assert seen == {"a": (1.0, None), "b": (2.0, 5), "c": (2.0, 6), "d": (3.0, None)}


def test_named_defaults() -> None:
    text = (
        "defaults base\n timeout client 2s\n maxconn 5\n"
        "defaults more from base\n maxconn 6\n"
        "frontend a from base\n bind :1\nfrontend b from more\n bind :2\nfrontend c\n bind :3\n"
    )
    data, found = parsed(text)
    assert found == []
    limits = [(x["client_timeout"], x["max_connections"]) for x in data["listeners"].values()]
    assert limits == [(2.0, 5), (2.0, 6), (2.0, 6)]


def test_several_files_and_globals_are_one_configuration() -> None:
    diagnostics = Diagnostics()
    sources = [Source("1.cfg", "global\n node a\n"), Source("2.cfg", "global\n user u\nglobal\n group g\n")]
    found = haproxy.parse(sources, diagnostics, {})
    assert found.data["global"] == {"node": "a", "user": "u", "group": "g"}
    assert str(found.mark(("global", "group"))) == "2.cfg:4:8"


def test_a_listen_is_a_listener_and_a_backend() -> None:
    data, _ = parsed("listen l\n bind :1\n server s h:1\nlisten m\n server s h:1\n")
    assert data["listeners"]["l"]["to"] == "l"
    assert [list(data["backends"]), list(data["listeners"])] == [["l", "m"], ["l"]]


def test_disabled_proxies() -> None:
    data: Any
    data, _ = parsed("defaults\n disabled\nlisten l\n bind :1\nfrontend f\n bind :2\n enabled\n")
    assert data["listeners"]["l"]["disabled"] is True
    assert "disabled" not in data["listeners"]["f"]
    assert "backends" not in data


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("maxconn 5\n", "h.cfg:1:1: error: 'maxconn' stands in no section; write `global`"),
        ("fronted f\n bind :1\n", "h.cfg:1:1: error: 'fronted' stands in no section; did you mean 'frontend'?"),
        ("peers p\n peer a b\n", "h.cfg:1:1: error: the section 'peers' is HAProxy's, not supported by ferryman yet"),
        ("ruleset r\n x\n", "h.cfg:1:1: error: the section 'ruleset' is gone from HAProxy"),
        ("global x\n y\n", "h.cfg:1:8: error: unexpected 'x' after 'global'"),
        ("frontend\n x\n", "h.cfg:1:1: error: 'frontend' needs a name"),
        ("frontend a!\n x\n", "h.cfg:1:10: error: 'a!' cannot be a name"),
        ("listen l 1.2.3.4:5\n x\n", "h.cfg:1:10: error: unexpected '1.2.3.4:5' after the name of the section; write"),
        ("frontend f from x\n x\n", "h.cfg:1:17: error: there are no defaults 'x' above this"),
        ("defaults x\ndefaults x\nfrontend f from x\n", "h.cfg:3:17: error: which defaults 'x'? They are at h.cfg:1"),
        ("backend b\nlisten b\n", "h.cfg:2:8: error: there is a backend 'b' already, at h.cfg:1:9"),
        ("defaults\n bind :1\n", "h.cfg:2:2: error: 'bind' cannot stand in a defaults section"),
        ("defaults\n acl a src 1\n", "h.cfg:2:2: error: 'acl' cannot stand in a defaults section without a name"),
        ("defaults x\n acl a src 1\n", "h.cfg:2:2: error: 'acl' in a defaults section is HAProxy's, not supported"),
        ("frontend f\n server s h:1\n", "h.cfg:2:2: error: 'server' cannot stand in a frontend"),
        ("backend b\n bind :1\n", "h.cfg:2:2: warning: 'bind' is ignored: backend 'b' listens nowhere"),
        ("frontend f\n reqrep a b\n", "h.cfg:2:2: error: 'reqrep' is gone from HAProxy; write `http-request"),
        ("frontend f\n bnd :1\n", "h.cfg:2:2: error: unknown keyword 'bnd'; did you mean 'bind'?"),
    ],
)
def test_mistakes(text: str, finding: str) -> None:
    assert parsed(text)[1][0].startswith(finding)


def test_a_mistake_does_not_end_the_reading() -> None:
    _, found = parsed('frontend f\n bind "\n nonsense\n mode udp\n timeout client 1x\nbackend b\n balance x\n')
    assert [finding.split(": ")[0] for finding in found if "error" in finding] == [
        "h.cfg:2:7",
        "h.cfg:3:2",
        "h.cfg:4:7",
        "h.cfg:5:17",
        "h.cfg:7:10",
    ]
