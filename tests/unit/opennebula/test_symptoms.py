"""Differences between settings and nftables; who listens. The rest: tests/e2e/test_tproxy_doctor.py."""

from __future__ import annotations

import os
import socket

import pytest

from ferryman.config.source import Diagnostics, Source
from ferryman.opennebula import settings
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.state import Bridge
from ferryman.opennebula.symptoms import Finding, _differences, listening

TEXT = """\
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
- :service_port: 1234
  :remote_addr: one.example
  :remote_port: 80
  :networks: [vnet0]
"""
SAID = settings.read(Source("one.conf", TEXT), Diagnostics())
GATE = Endpoint(5030, "10.11.12.13", 5030)


@pytest.mark.parametrize(
    ("networks", "present", "expected"),
    [
        (("vnet0",), [Endpoint(1234, "192.0.2.1", 80), GATE], []),
        (("vnet1",), [GATE], []),
        ((), [GATE], []),
        (("vnet0",), [GATE], ["port 1234 is in the settings, and not in nftables"]),
        (
            ("vnet1",),
            [Endpoint(1234, "192.0.2.1", 80), GATE],
            ["port 1234 is in nftables, and not in the settings for its networks"],
        ),
        (
            ("vnet0",),
            [Endpoint(1234, "192.0.2.2", 80), Endpoint(5030, "10.11.12.13", 80)],
            [
                "port 1234 leads to 192.0.2.2:80, and in the settings to one.example:80",
                "port 5030 leads to 10.11.12.13:80, and in the settings to 10.11.12.13:5030",
            ],
        ),
    ],
)
def test_settings_and_nftables(networks: tuple[str, ...], present: list[Endpoint], expected: list[str]) -> None:
    assert list(_differences(SAID, {"one.example": "192.0.2.1"}, Bridge(networks), present)) == expected


def test_a_name_that_never_had_an_address_is_named() -> None:
    """Otherwise nobody would know why `apply` does not help."""
    (only,) = _differences(SAID, {}, Bridge(("vnet0",)), [GATE])
    assert only == "port 1234 is in the settings, and not in nftables: no IPv4 address is known of one.example"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_listens(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        place = host, sock.getsockname()[1]
        assert place not in listening()
        sock.listen()
        assert place in listening()


def test_what_can_be_repaired() -> None:
    assert Finding("error", "br0", "it is down", repair="heal").fixable
    assert not Finding("error", "", "a remote is down").fixable
