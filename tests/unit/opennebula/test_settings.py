"""OpenNebulaNetwork.conf: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config.source import Diagnostics, Source
from ferryman.opennebula.settings import Service, Settings, read

# the example of OpenNebula's manual
MANUAL = """\
:tproxy_debug_level: 2 # 0 = ERROR, 1 = WARNING, 2 = INFO, 3 = DEBUG
:tproxy:
# OneGate service.
- :service_port: 5030
  :remote_addr: 10.11.12.13 # OpenNebula Front-end VIP
  :remote_port: 5030
# Custom service.
- :service_port: 1234
  :remote_addr: 10.11.12.34
  :remote_port: 1234
  :networks: [vnet_name_or_id]
"""
REST = ":remote_addr: 10.0.0.1, :remote_port: 5030"


def settings(text: str) -> tuple[Settings, list[str]]:
    diagnostics = Diagnostics()
    found = read(Source("one.conf", text), diagnostics)
    return found, [str(each) for each in diagnostics.found]


def entry(body: str) -> tuple[list[Service], list[str]]:
    found, said = settings(":tproxy:\n" + block(body))
    return list(found.services), said


def block(body: str) -> str:
    """Keys with commas between them as an entry: within braces YAML has no keys that begin with a colon."""
    return "- " + body.replace(", :", "\n  :") + "\n"


def short(services: list[Service]) -> list[tuple[int, str, int, tuple[str, ...]]]:
    return [(each.port, each.host, each.remote_port, each.networks) for each in services]


def test_the_manual_s_example() -> None:
    found, said = settings(MANUAL)
    assert said == []
    assert found.level == "info"
    gate = (5030, "10.11.12.13", 5030, ())
    assert short(list(found.services)) == [gate, (1234, "10.11.12.34", 1234, ("vnet_name_or_id",))]
    assert short(found.on(["other", "7"])) == [gate]
    assert len(found.on(["vnet_name_or_id", "7"])) == 2


@pytest.mark.parametrize("text", ["", "---\n", ":tproxy:\n", ":tproxy: []\n", ":vxlan_mode: evpn\n:arp_cache: true\n"])
def test_nothing_is_nothing(text: str) -> None:
    assert settings(text) == (Settings(), [])


@pytest.mark.parametrize(
    ("level", "said"), [("0", "error"), ("1", "warning"), ("2", "info"), ("3", "debug"), ("'3'", "debug")]
)
def test_levels(level: str, said: str) -> None:
    assert settings(f":tproxy_debug_level: {level}\n")[0].level == said


@pytest.mark.parametrize(
    ("port", "number"),
    [("5030", 5030), ("'5030'", 5030), ("0x13a6", 5030), ("1", 1), ("65535", 65535), ("5_030", 5030)],
)
def test_ports_as_ruby_reads_them(port: str, number: int) -> None:
    services, said = entry(f":service_port: {port}, {REST}")
    assert said == []
    assert services[0].port == number


@pytest.mark.parametrize("host", ["10.0.0.1", "one.example.org", "one", "one.", "front-end_1.lab"])
def test_hosts(host: str) -> None:
    services, said = entry(f":service_port: 1, :remote_addr: {host}, :remote_port: 2")
    assert said == []
    assert services[0].host == host


@pytest.mark.parametrize(
    ("body", "networks"),
    [("[]", ()), ("", ()), ("null", ()), ("[a, 7]", ("a", "7")), ("['with blank']", ("with blank",))],
)
def test_networks(body: str, networks: tuple[str, ...]) -> None:
    services, said = entry(f":service_port: 1, {REST}, :networks: {body}")
    assert said == []
    assert services[0].networks == networks


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (":tproxy: {a: b}\n", "1:10: error: `:tproxy:` is a list of services; begin each with"),
        (":tproxy: 5030\n", "1:10: error: `:tproxy:` is a list of services"),
        (":tproxy: [5030]\n", "1:11: error: a service is a mapping"),
        ("- 1\n", "1:1: error: this is no OpenNebulaNetwork.conf"),
        ("tproxy:\n- 1\n", "1:1: error: 'tproxy' without a colon in front has no effect; write `:tproxy:`"),
        (":tproxi: []\n", "1:1: error: there is no key ':tproxi'; did you mean ':tproxy'?"),
        (":tproxy_debug_level: 4\n", "1:22: error: '4' is no level of logging; 0 is errors"),
        (":tproxy_debug_level: [1]\n", "1:22: error: `:tproxy_debug_level` takes one value"),
        (":tproxy: [\n", "error: this is not YAML"),
    ],
)
def test_mistakes_of_the_whole(text: str, finding: str) -> None:
    found, said = settings(text)
    assert found.services == ()
    assert len(said) == 1
    assert f"one.conf:{finding}" in said[0] or finding in said[0]


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (f":service_port: http, {REST}", "2:18: error: 'http' is no port; such as 5030"),
        (f":service_port: 65536, {REST}", "2:18: error: 65536 is no port; ports are 1 to 65535"),
        (f":service_port: 0, {REST}", "0 is no port"),
        (f":service_port: -1, {REST}", "'-1' is no port"),
        (f":service_port: 08, {REST}", "a number that begins with 0 is octal"),
        (f":service_port: 5030.0, {REST}", "'5030.0' is no port"),
        (f":service_port: [5030], {REST}", "`:service_port` takes one value"),
        (f":service_port: , {REST}", "`:service_port` needs a value"),
        (REST, "`:service_port:` is missing, so this service would be left out"),
        (":service_port: 1, :remote_port: 2", "`:remote_addr:` is missing"),
        (":service_port: 1, :remote_addr: a", "`:remote_port:` is missing"),
        (":service_port: 1, :remote_addr: 10.0.0, :remote_port: 2", "'10.0.0' is neither an IPv4 address nor a name"),
        (":service_port: 1, :remote_addr: 'a b', :remote_port: 2", "'a b' is neither"),
        (":service_port: 1, :remote_addr: 'fd00::1', :remote_port: 2", "lead to IPv4 addresses only, not to fd00::1"),
        (f":service_port: 1, {REST}, :networks: vnet", "a single name makes OpenNebula's drivers fail; write [vnet]"),
        (f":service_port: 1, {REST}, :networks: {{a: b}}", "`:networks` takes one value"),
        (f":service_port: 1, {REST}, :network: [a]", "unknown key ':network'; did you mean ':networks'?"),
        (f"service_port: 1, :service_port: 1, {REST}", "unknown key 'service_port'; write `:service_port:`"),
        (f":service_port: 1, {REST}, :tls: true", "unknown key ':tls'; there are :service_port"),
    ],
)  # fmt: skip
def test_mistakes_of_a_service(body: str, finding: str) -> None:
    services, said = entry(body)
    assert services == []
    assert len(said) == 1
    assert finding in said[0]


def test_all_mistakes_of_a_service_are_named_at_once() -> None:
    services, said = entry(":service_port: x, :remote_addr: '?', :remote_port: 0, :networks: a, :b: c")
    assert services == []
    assert len(said) == 5


def test_what_is_wrong_with_one_leaves_the_others() -> None:
    found, said = settings(":tproxy:\n" + block(f":service_port: x, {REST}") + block(f":service_port: 7, {REST}"))
    assert [each.port for each in found.services] == [7]
    assert len(said) == 1


def test_the_first_of_a_port_counts() -> None:
    text = "".join(
        block(f":service_port: 5030, :remote_addr: 10.0.0.{number}, :remote_port: 1, :networks: [{networks}]")
        for number, networks in enumerate(["a, b", "c", "b, d", ""], start=1)
    )
    found, said = settings(f":tproxy:\n{text}")
    assert [line.split(": ", 2)[2].split(";")[0] for line in said] == [
        "service port 5030 is taken by the entry at one.conf:2:3, which counts on the networks that both name",
        "service port 5030 is taken by the entry at one.conf:2:3, which counts",
    ]
    hosts = {network: found.on([network])[0].host for network in ("a", "b", "c", "d", "e")}
    assert hosts == {"a": "10.0.0.1", "b": "10.0.0.1", "c": "10.0.0.2", "d": "10.0.0.3", "e": "10.0.0.4"}


@given(st.text(alphabet=":tproxy_sevicdalnwk {}[]-,'\n0123456789&*#", max_size=200))
def test_no_text_raises_anything(text: str) -> None:
    found, said = settings(":tproxy:\n" + text)
    assert all(0 < each.port < 65536 and 0 < each.remote_port < 65536 for each in found.services)
    assert all("one.conf" in line for line in said)
