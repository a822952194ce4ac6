"""Where the clients of an explicit proxy are not carried unless somebody says so: this machine, its link, metadata."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from ferry import Ferry, free_port
from servers import EchoServer
from talk import Answer, Talk


class Site:
    """Proxies with a guard: strict, with allowances, one that leads out through another proxy, one without."""

    def __init__(self, run: Callable[..., Ferry], end: ExitStack) -> None:
        names = ("strict", "by_name", "by_range", "by_suffix", "through", "through_allowed", "off", "everywhere")
        self.ports = {name: free_port() for name in names}
        upstream = free_port()
        run(f'listeners: {{up: {{bind: "127.0.0.1:{upstream}", connect: {{egress_allow: [127.0.0.0/8, "::1"]}}}}}}')
        self.echo, self.six = EchoServer(), EchoServer("::1")
        end.callback(self.echo.close)
        end.callback(self.six.close)
        allowed = {
            "strict": "",
            "by_name": "egress_allow: localhost",
            "by_range": 'egress_allow: [127.0.0.0/8, "::1"]',
            "by_suffix": 'egress_allow: ["*.localhost"]',
            "through": f'via: [{{through: "http://127.0.0.1:{upstream}"}}]',
            "through_allowed": f'egress_allow: 127.0.0.0/8, via: [{{through: "http://127.0.0.1:{upstream}"}}]',
            "off": "egress_guard: false",
        }
        text = "".join(
            f'\n  {name}: {{bind: "127.0.0.1:{self.ports[name]}", connect: {{{settings}}}}}'
            for name, settings in allowed.items()
        )
        # the last one listens everywhere, hence also at every address of this machine
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:{text}
  everywhere: {{bind: "[::]:{self.ports["everywhere"]}", connect: {{}}}}
""")

    def connect(self, listener: str, host: str, port: int = 0) -> Answer:
        with Talk(self.ports[listener]) as talk:
            return talk.connect(f"{host}:{port or self.echo.port}")


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, at_the_end)


PROHIBITED = [
    "127.0.0.1",
    "127.8.9.10",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "0.0.0.0",
    "[::]",
    "[::ffff:0.0.0.0]",
    "169.254.1.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
]


@pytest.mark.parametrize("host", PROHIBITED)
@pytest.mark.parametrize("listener", ["strict", "through"])
def test_nobody_is_carried_to(site: Site, listener: str, host: str) -> None:
    answer = site.connect(listener, host)
    assert (answer.status, answer.error) == (403, "destination_ip_prohibited")
    assert "egress guard" in answer.body.decode()


@pytest.mark.parametrize("method", ["plain", "socks5"])
def test_other_protocols_are_guarded_as_well(site: Site, method: str) -> None:
    with Talk(site.ports["strict"]) as talk:
        if method == "plain":
            talk.send(f"GET http://{site.echo.address}/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert talk.answer().error == "destination_ip_prohibited"
        else:
            talk.send(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01" + site.echo.port.to_bytes(2, "big"))
            assert talk.rest()[:4] == b"\x05\x00\x05\x02"


def test_a_target_that_only_the_upstream_proxy_can_resolve_is_its_matter(site: Site) -> None:
    answer = site.connect("through", "nowhere.invalid")
    assert (answer.status, answer.error) == (502, "http_request_denied")


def test_what_is_allowed_by_name_is_reached_by_that_name_alone(site: Site) -> None:
    assert site.connect("by_name", "localhost").status == 200
    assert site.connect("by_name", "LocalHost.").status == 200
    assert site.connect("by_name", "127.0.0.1").status == 403
    assert site.connect("by_suffix", "localhost").status == 403


def test_what_is_allowed_by_address_is_reached_by_whatever_name(site: Site) -> None:
    assert site.connect("by_range", "127.0.0.1").status == 200
    assert site.connect("by_range", "localhost").status == 200
    assert site.connect("by_range", "[::1]", site.six.port).status == 200
    assert site.connect("by_range", "0.0.0.0").status == 403
    assert site.connect("by_range", "169.254.169.254").status == 403


def test_what_is_allowed_may_be_reached_through_an_upstream_proxy(site: Site) -> None:
    assert site.connect("through_allowed", "127.0.0.1").status == 200
    assert site.connect("through_allowed", "localhost").status == 200
    assert site.connect("through_allowed", "[::1]", site.six.port).status == 403


def test_listeners_of_this_proxy_are_no_targets(site: Site) -> None:
    own = own_address()
    assert site.connect("everywhere", own, site.ports["everywhere"]).error == "destination_ip_prohibited"
    assert site.connect("strict", own, site.ports["everywhere"]).error == "destination_ip_prohibited"
    if not own.startswith("127."):
        assert site.connect("strict", own, 1).error == "connection_refused", "other ports of this machine may be tried"


def test_a_network_that_is_allowed_does_not_open_the_listeners_in_it(site: Site) -> None:
    answer = site.connect("by_range", "127.0.0.1", site.ports["everywhere"])
    assert (answer.status, answer.error) == (403, "destination_ip_prohibited")
    assert "a listener of this proxy" in answer.body.decode()
    assert site.connect("by_name", "localhost", site.ports["everywhere"]).status == 200


def own_address() -> str:
    """An address of this machine other than loopback, if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def test_the_guard_can_be_turned_off(site: Site) -> None:
    assert site.connect("off", "127.0.0.1").status == 200
    assert site.connect("off", "localhost").status == 200
