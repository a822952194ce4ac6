"""Proxies that lead to each other: a request that comes back is refused the first time it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from ferry import Ferry, free_port, until
from squid import Squid
from squid import folder as squid_folder
from talk import Talk

REQUESTS = {
    "CONNECT": "CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n",
    "GET": "GET http://x.example/ HTTP/1.1\r\nHost: x.example\r\n\r\n",
}


def goes_round_once(ferry: Ferry, port: int, method: str) -> None:
    """Answered, refused where it came back, and there is nothing left of it."""

    def ended() -> list[str]:  # Squid's probes of its peer ask nothing
        return [line["error"] for line in ferry.lines() if "error" in line]

    before = len(ended())  # every request is waited for: none is still to come

    def asked() -> list[str]:
        return ended()[before:]

    with Talk(port) as talk:
        talk.send(REQUESTS[method])
        assert talk.answer(method).status in (502, 503)  # Squid's own to CONNECT is 503
    until(lambda: len(asked()) > 1, "the request to come back, and to end")
    assert "proxy_loop_detected" in asked()
    assert len(asked()) == 2


@pytest.fixture(scope="module")
def pair(run_shared_ferry: Callable[..., Ferry]) -> tuple[Ferry, int]:
    """A ferryman and its port, which leads to another one, which leads back."""
    here, there = free_port(), free_port()
    text = 'listeners: {{out: {{bind: "127.0.0.1:{}", connect: {{via: [{{through: "http://127.0.0.1:{}"}}]}}}}}}'
    ferry = run_shared_ferry(text.format(here, there))
    run_shared_ferry(text.format(there, here))
    return ferry, here


@pytest.fixture(scope="module")
def beside_squid(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> tuple[Ferry, int]:
    """The same with a Squid."""
    here, there = free_port(), free_port()
    ferry = run_shared_ferry(
        f'listeners: {{out: {{bind: "127.0.0.1:{here}", connect: {{via: [{{through: "http://127.0.0.1:{there}"}}]}}}}}}'
    )
    text = f"""
http_port 127.0.0.1:{there}
http_access allow localhost
cache_peer 127.0.0.1 parent {here} 0 no-query no-digest default
never_direct allow all
"""
    at_the_end.callback(Squid(at_the_end.enter_context(squid_folder()), text, there).close)
    return ferry, here


@pytest.mark.parametrize("method", REQUESTS)
def test_two_that_lead_to_each_other(pair: tuple[Ferry, int], method: str) -> None:
    goes_round_once(*pair, method)


@pytest.mark.parametrize("method", REQUESTS)
def test_with_a_squid(beside_squid: tuple[Ferry, int], method: str) -> None:
    goes_round_once(*beside_squid, method)


def test_a_listener_that_is_its_own_server(run_ferry: Callable[..., Ferry]) -> None:
    """Said when it is checked, and nobody goes round when it runs all the same."""
    port = free_port()
    ferry = run_ferry(f'listeners: {{web: {{bind: "127.0.0.1:{port}", servers: "127.0.0.1"}}}}')
    for _ in range(3):
        with pytest.raises(ConnectionResetError), Talk(port) as talk:  # perhaps so soon that it meets the connecting
            talk.rest()
    until(lambda: len(ferry.lines()) == 3, "their lines")
    assert {line["reason"] for line in ferry.lines()} == {"127.0.0.1: that is listener web itself, which leads here"}
    assert ferry.listener("web")["counts"]["sessions"] == 3
