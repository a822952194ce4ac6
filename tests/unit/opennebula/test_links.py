"""Which devices are uplinks, what ip(8) is told. What becomes of it: tests/e2e/test_tproxy_bridges.py."""

from __future__ import annotations

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import links
from ferryman.opennebula.links import Device, Link
from ferryman.opennebula.names import MAC


def device(name: str, kind: str = "", master: str = "", peer: int = 0) -> Device:
    return Device(name, kind, master, 1500, 7, peer, True)


def test_uplinks_are_guessed() -> None:
    kinds = {
        "eth0": "", "eth0.7": "vlan", "vx": "vxlan", "bond0": "bond", "one-0-0": "tun", "tap": "tap", "v": "veth",
    }  # fmt: skip
    devices = {name: device(name, kind, "br0") for name, kind in kinds.items()} | {"eth1": device("eth1", "", "br1")}
    assert links.uplinks("br0", devices) == ["bond0", "eth0", "eth0.7", "vx"]


def test_a_pair_is_made_at_once() -> None:
    made, up = links._pair(Link("br0"), 0, {"br0": device("br0", "bridge")})
    assert made.startswith("link add br0b mtu 1500 address fe:")
    assert made.endswith(f"type veth peer name br0a mtu 1500 address {MAC} netns one_tproxy_br0")
    assert up == "link set br0b master br0 mtu 1500 addrgenmode none up"


def test_a_pair_that_is_there_is_kept() -> None:
    devices = {"br0": device("br0", "bridge"), "br0b": device("br0b", "veth", "br0", 5)}
    assert list(links._pair(Link("br0"), 5, devices)) == ["link set br0b master br0 mtu 1500 addrgenmode none up"]


def test_half_a_pair_goes_first() -> None:
    devices = {"br0": device("br0", "bridge"), "br0b": device("br0b", "veth", "", 5)}
    assert next(links._pair(Link("br0"), 0, devices)) == "link delete br0b"


def test_another_device_of_that_name() -> None:
    devices = {"br0": device("br0", "bridge"), "br0b": device("br0b")}
    with pytest.raises(StartError, match="br0b that is not the bridge's veth but hardware; rename it"):
        list(links._pair(Link("br0"), 0, devices))
    assert not links.leftovers("br0", devices)


@pytest.mark.parametrize(("vlan", "others"), [(1, ["2-4094"]), (4094, ["1-4093"]), (100, ["1-99", "101-4094"])])
def test_tags(vlan: int, others: list[str]) -> None:
    first, *rest = links._tags(Link("br0", vlan))
    assert first == f"vlan add dev br0b vid {vlan} pvid untagged"
    assert rest == [f"vlan del dev br0b vid {each}" for each in others]


def test_a_missing_namespace_is_a_fault() -> None:
    assert links.faults(Link("no-such-bridge"), {}) == ["the namespace one_tproxy_no-such-bridge is missing"]


def test_without_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StartError, match="ip is not installed; it is in the package iproute2"):
        links.survey()
