"""Where clients wanted to go, by the sockets they came on. Real redirection is in tests/e2e/test_transparent.py."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from rig import plan, server

from ferryman.dataplane import interception
from ferryman.plan import Address, Listener

pytestmark = pytest.mark.twin


def listening(transparent: str, *bind: Address) -> Listener:
    (made,) = plan(server(1), listener={"transparent": transparent, "bind": bind}).listeners
    return made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def accepted(stack: ExitStack, host: str) -> socket.socket:
    """What a client that called `host` came on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = stack.enter_context(socket.create_server((host, 0), family=family))
    stack.enter_context(socket.create_connection(listener.getsockname()[:2], 5))
    return stack.enter_context(listener.accept()[0])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transparent", ["tproxy", "redirect"])
def test_who_calls_the_listener_itself_wanted_nothing_else(stack: ExitStack, transparent: str, host: str) -> None:
    sock = accepted(stack, host)
    port = sock.getsockname()[1]
    family, wildcard = ("inet6", "::") if ":" in host else ("inet", "0.0.0.0")
    for bound in (host, wildcard):
        listener = listening(transparent, Address("inet", "192.0.2.1", 1), Address(family, bound, port - 1, port + 1))
        assert interception.wanted(sock.fileno(), listener) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_came_by_tproxy_shows_what_it_wanted(stack: ExitStack, host: str) -> None:
    """A port that is not the listener's."""
    sock = accepted(stack, host)
    wanted = interception.wanted(sock.fileno(), listening("tproxy", Address("inet", "0.0.0.0", 1)))
    assert wanted == sock.getsockname()[:2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a socket at an address of another machine")
@pytest.mark.parametrize(("host", "family"), [("203.0.113.9", socket.AF_INET), ("2001:db8::9", socket.AF_INET6)])
def test_another_machine_s_address_at_the_same_port_is_not_the_listener(
    stack: ExitStack, host: str, family: socket.AddressFamily
) -> None:
    sock = stack.enter_context(socket.socket(family))
    sock.setsockopt(*((socket.IPPROTO_IP, 19) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 75)), 1)
    sock.bind((host, 443))
    listener = listening("tproxy", Address("inet", "0.0.0.0", 443), Address("inet6", "::", 443))
    assert interception.wanted(sock.fileno(), listener) == (host, 443)
