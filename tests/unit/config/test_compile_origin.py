"""`source` and `transparent`: short and long forms, what does not go together, and the way back to text."""

from __future__ import annotations

import pytest
import yaml

from ferryman.config.emit import emit
from ferryman.config.load import Loaded, load
from ferryman.config.source import Source as File
from ferryman.plan import Source


def loaded(text: str) -> Loaded:
    return load([File("f.yaml", text)], "ferryman", environment={})


def findings(text: str) -> list[str]:
    return [str(finding).partition(": ")[2] for finding in loaded(text).diagnostics.found]


def with_source(source: str, server: str = "192.0.2.7:443") -> str:
    return f"listeners: {{a: {{bind: '*:1', to: b}}}}\nbackends: {{b: {{servers: '{server}', source: {source}}}}}\n"


@pytest.mark.parametrize(
    ("text", "expected", "short"),
    [
        ("192.0.2.1", Source("192.0.2.1"), "192.0.2.1"),
        ("client", Source(client="address"), "client"),
        ("{client: address}", Source(client="address"), "client"),
        ("{client: port}", Source(client="port"), {"client": "port"}),
        (
            "{address: 192.0.2.1, client: port, interface: eth1}",
            Source("192.0.2.1", client="port", interface="eth1"),
            {"address": "192.0.2.1", "client": "port", "interface": "eth1"},
        ),
        (
            "{address: 203.0.113.1, port: 99, foreign: true}",
            Source("203.0.113.1", 99, foreign=True),
            {"address": "203.0.113.1", "port": 99, "foreign": True},
        ),
    ],
)
def test_forms(text: str, expected: Source, short: object) -> None:
    found = loaded(with_source(text))
    assert found.plan is not None
    assert found.plan.servers[0].source == expected
    assert found.plan.transparent_out is expected.transparent
    assert found.configuration is not None
    again = emit(found.configuration)
    assert yaml.safe_load(again)["backends"]["b"]["source"] == short
    assert loaded(again).plan is not None


def test_a_server_s_own_comes_first() -> None:
    text = "listeners: {a: {bind: '*:1', backend: {source: client, servers: ['192.0.2.7:1', {address: '192.0.2.8:1', "
    plan = loaded(text + "source: 192.0.2.1}, unix@/run/x.sock]}}}").plan
    assert plan is not None
    assert [server.source for server in plan.servers] == [Source(client="address"), Source("192.0.2.1"), None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clients", "'clients' is no address; write 192.0.2.7 or 2001:db8::7, or client for the client's own"),
        ("192.0.2.1:443", "'192.0.2.1:443' is no address"),
        ("{}", "`source` needs an `address`, `client` or `interface`"),
        ("{client: address, port: 1}", "`port` needs an `address`"),
        ("{client: address, foreign: true}", "`foreign` needs an `address`"),
        ("{interface: an/other}", "interface"),
        ("{client: both}", "client"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    (found,) = findings(with_source(text))
    assert found.startswith("error: ")
    assert message in found


def test_what_cannot_come_together() -> None:
    (found,) = findings(with_source("192.0.2.1", "[2001:db8::7]:443"))
    assert "[2001:db8::7]:443 cannot be reached from 192.0.2.1, which is an IPv4 address" in found
    assert findings(with_source("client", "[2001:db8::7]:443")) == []
    assert findings(with_source("192.0.2.1", "host.example:443")) == []
    via = with_source("client, via: 'http://192.0.2.3:3128'")
    assert any("says nothing of connections that go out `via` another proxy" in each for each in findings(via))
    own = "listeners: {a: {bind: '*:1', servers: {address: unix@/run/x, source: client}}}"
    assert any("come from this machine anyway" in each for each in findings(own))


@pytest.mark.parametrize("how", ["tproxy", "redirect"])
def test_transparent(how: str) -> None:
    found = loaded(f"listeners: {{a: {{bind: '*:1', transparent: {how}, servers: '192.0.2.7:1'}}}}")
    assert found.plan is not None
    assert found.plan.listeners[0].transparent == how
    assert found.plan.transparent_in is (how == "tproxy")
    assert found.configuration is not None
    assert f"transparent: {how}" in emit(found.configuration)


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        ("{bind: '*:1', transparent: tproxy, connect: {}}", "with mode connect mean this machine"),
        ("{bind: '*:1', transparent: tproxy, pages: {}}", "with mode pages mean this machine"),
        ("{bind: unix@/run/x, transparent: tproxy, servers: '192.0.2.7:1'}", "nothing is intercepted at unix@/run/x"),
        ("{bind: '127.0.0.1:9', transparent: redirect, servers: '192.0.2.7:1'}", 'bind to "*:9"'),
        ("{bind: '*:1', transparent: yes, servers: '192.0.2.7:1'}", "transparent"),
    ],
)
def test_what_cannot_be_transparent(listener: str, message: str) -> None:
    found = findings(f"listeners: {{a: {listener}}}")
    assert any(message in each for each in found), found
