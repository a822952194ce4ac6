"""The configuration that a database and settings come to."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.config.source import Diagnostics, Source
from ferryman.opennebula import native, settings
from ferryman.opennebula.database import Endpoint

TEXT = """\
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
- :service_port: 80
  :remote_addr: web.example
  :remote_port: 8080
  :networks: [vnet0]
"""
GATE = Endpoint(5030, "10.11.12.13", 5030)
WEB = Endpoint(80, "10.0.0.9", 8080)


def read(more: str = "") -> settings.Settings:
    diagnostics = Diagnostics()
    found = settings.parse(Source("one.conf", TEXT + more), diagnostics)
    assert [str(one) for one in diagnostics.found] == []
    return found


def made(*endpoints: Endpoint, more: str = "", networks: native.Networks | None = None) -> dict[str, Any]:
    data: dict[str, Any] = native.document({"br0": endpoints}, read(more), networks or {}).data
    return data


def servers(data: dict[str, Any]) -> list[Any]:
    (backend,) = data["backends"].values()
    found: list[Any] = backend["servers"]
    return found


def test_a_listener_for_each_port_and_a_backend_for_each_place() -> None:
    document = native.document({"br0": [GATE, WEB], "br1": [GATE]}, read(), {})
    listeners: Any = document.data["listeners"]
    assert list(listeners) == ["br0:5030", "br0:80", "br1:5030"]
    assert listeners["br1:5030"]["bind"] == [{"address": "169.254.16.9:5030", "namespace": "one_tproxy_br1"}]
    assert listeners["br0:5030"]["to"] == listeners["br1:5030"]["to"] == "5030-10.11.12.13_5030"
    plan, diagnostics = native.plan({"br0": [GATE, WEB], "br1": [GATE]}, read(), {})
    assert plan is not None
    assert diagnostics.found == []
    assert (plan.settings.workers, plan.settings.user, len(plan.backends)) == (1, "nobody", 2)


def test_a_bridge_that_was_brought_up_here_has_ipv6_too() -> None:
    listener = made(GATE, networks={"br0": ["vnet0"]})["listeners"]["br0:5030"]
    assert listener["bind"][1] == {"address": "[fe80::a9fe:1009%br0a]:5030", "namespace": "one_tproxy_br0"}


@pytest.mark.parametrize(
    ("endpoint", "networks", "first"),
    [
        (WEB, {"br0": ["vnet0"]}, "web.example:8080"),
        (WEB, {}, "web.example:8080"),
        (WEB, {"br0": ["other"]}, "10.0.0.9:8080"),
        (Endpoint(80, "10.0.0.9", 8081), {}, "10.0.0.9:8081"),
    ],
    ids=["its network", "no other entry", "another network", "another port"],
)
def test_by_name_where_the_entry_is_known(endpoint: Endpoint, networks: Any, first: str) -> None:
    found = servers(made(endpoint, networks=networks))
    assert found[0] == first
    rest = [{"address": "10.0.0.9:8080", "backup": True}] if "example" in first else []
    assert found[1:] == rest, "what the name stood for when the bridge came up is the last resort"


def test_options_of_a_service_on_some_bridges() -> None:
    more = """\
:tproxy_options:
- :service_port: 5030
  :bridges: [br0]
  :remotes: ["10.11.12.14:5030"]
  :backend: {send_proxy: v2}
  :listener: {max_per_client: 10}
"""
    document = native.document({"br0": [GATE], "br1": [GATE]}, read(more), {})
    listeners: Any = document.data["listeners"]
    backends: Any = document.data["backends"]
    assert listeners["br0:5030"]["max_per_client"] == 10
    assert listeners["br1:5030"]["max_per_client"] == native.PER_GUEST
    assert listeners["br0:5030"]["to"] != listeners["br1:5030"]["to"]
    own = backends[listeners["br0:5030"]["to"]]
    assert (own["send_proxy"], own["check"]) == ("v2", True)
    assert own["servers"] == ["10.11.12.13:5030", {"address": "10.11.12.14:5030", "backup": True}]


def test_mistakes_in_options_are_told_where_they_are() -> None:
    more = """\
:tproxy_options:
- :service_port: 5030
  :backend: {send_prxy: v2}
  :listener:
    max_per_client: many
:tproxy_page: nowhere
"""
    plan, diagnostics = native.plan({"br0": [GATE]}, read(more), {})
    assert plan is None
    told = "\n".join(str(one) for one in diagnostics.found)
    assert "one.conf:11:14: error: " in told
    assert "send_proxy" in told
    assert "one.conf:13:21: error: " in told
    assert "one.conf:14:15: error: " in told


def test_a_page_and_its_users() -> None:
    more = ":tproxy_page: {bind: 127.0.0.1:8404, pages: {users: {admin: secret}}}\n"
    plan, diagnostics = native.plan({"br0": [GATE]}, read(more), {})
    assert plan is not None
    assert not diagnostics.errors
    pages = plan.listeners[1].pages
    assert pages is not None
    assert pages.users == (("admin", "secret"),)


@pytest.mark.parametrize("level", ["error", "warning", "info", "debug"])
def test_every_level_is_one_of_the_logs(level: str) -> None:
    number = ["error", "warning", "info", "debug"].index(level)
    plan, _ = native.plan({"br0": [GATE]}, read(f":tproxy_debug_level: {number}\n"), {})
    assert plan is not None
    assert len(plan.settings.log) == 1


@pytest.mark.parametrize(
    ("level", "normal", "start"), [(0, False, False), (1, False, False), (2, True, False), (3, True, True)]
)
def test_the_level_of_logging_is_that_of_connections_too(level: int, normal: bool, start: bool) -> None:
    listener = made(GATE, more=f":tproxy_debug_level: {level}\n")["listeners"]["br0:5030"]
    assert (listener["log_normal"], listener["log_start"]) == (normal, start)
