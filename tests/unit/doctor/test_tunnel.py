"""Connections for probes: the lines that stunnel sends, what answers become, and how each end is told from others."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, Handler, Server, head, proxy, reset, to_the_end, unused_port

from ferryman.doctor.answer import Foreign
from ferryman.doctor.tunnel import Cut, Dialer, Reply, Tunnel, Unreached

Start = Callable[..., Server]


def answers(*parts: bytes) -> Handler:
    """To the head of a request."""

    def handler(tunnel: Tunnel) -> None:
        head(tunnel)
        for part in parts:
            tunnel.send(part, PATIENCE)

    return handler


def asked(port: int, user: str = "", form: str = "", seconds: float = PATIENCE) -> Reply:
    reply, tunnel = Dialer(seconds).ask(proxy(port, user=user), "dvm.test", 443, form)
    tunnel.close()
    return reply


def test_the_lines_are_those_of_stunnel(server: Start) -> None:
    heads: list[bytes] = []

    def handler(tunnel: Tunnel) -> None:
        heads.append(head(tunnel))
        tunnel.send(b"HTTP/1.1 200 OK\r\n\r\n", PATIENCE)

    there = server(handler)
    assert asked(there.port, "walter:p%40x", "basic").opened
    there.close()
    credentials = base64.b64encode(b"walter:p@x").decode()
    assert heads[0].decode() == (
        f"CONNECT dvm.test:443 HTTP/1.1\r\nHost: dvm.test:443\r\nProxy-Authorization: basic {credentials}\r\n\r\n"
    )


def test_an_ipv6_target_has_brackets(server: Start) -> None:
    heads: list[bytes] = []
    there = server(lambda tunnel: heads.append(head(tunnel)))
    _, tunnel = Dialer(PATIENCE).ask(proxy(there.port), "2001:db8::1", 6443, "")
    tunnel.close()
    there.close()
    assert heads[0].startswith(b"CONNECT [2001:db8::1]:6443 HTTP/1.1\r\nHost: [2001:db8::1]:6443\r\n")


def test_what_follows_the_answer_stays_in_the_tunnel(server: Start) -> None:
    there = server(answers(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nfirst", b" bytes"))
    reply, tunnel = Dialer(PATIENCE).ask(proxy(there.port), "dvm.test", 443, "")
    with tunnel:
        assert reply.opened
        assert reply.interim == ("HTTP/1.1 100 Continue",)
        assert tunnel.exactly(11, PATIENCE) == b"first bytes"


def resets(tunnel: Tunnel) -> None:
    head(tunnel)
    reset(tunnel)


def hangs(tunnel: Tunnel) -> None:
    assert to_the_end(tunnel)


@pytest.mark.parametrize(
    ("handler", "how", "foreign"),
    [
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "foreign", Foreign.OTHER),
        (answers(b"\x15\x03\x01\0\x02\x02\x46"), "foreign", Foreign.TLS),
        (answers(b"HTTP/1.1 20"), "foreign", Foreign.OTHER),
        (answers(), "closed", None),
        (resets, "reset", None),
        (hangs, "silent", None),
    ],
)
def test_no_answer_says_how(handler: Handler, how: str, foreign: Foreign | None, server: Start) -> None:
    reply = asked(server(handler).port, seconds=0.2 if how == "silent" else PATIENCE)
    assert (reply.how, reply.foreign, reply.status, reply.opened) == (how, foreign, 0, False)


def test_nobody_listens() -> None:
    with pytest.raises(Unreached) as fault:
        Dialer(PATIENCE).connect("127.0.0.1", unused_port())
    assert fault.value.why == "refused"


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(Unreached) as fault:
        Dialer(PATIENCE).addresses("no-such-name.invalid", 443)
    assert fault.value.why == "name"


def test_a_proxy_that_has_no_tls(server: Start) -> None:
    there = server(lambda tunnel: tunnel.send(b"HTTP/1.1 400 Bad\r\n\r\n", PATIENCE))
    with pytest.raises(Unreached) as fault:
        Dialer(PATIENCE).to_proxy(proxy(there.port, "https"))
    assert fault.value.why == "tls"
    assert fault.value.text


def test_what_is_passed_over_may_come_in_pieces(server: Start) -> None:
    def handler(tunnel: Tunnel) -> None:
        for part in (b"hel", b"lo\n", b"hello\n"):
            tunnel.send(part, PATIENCE)

    with Dialer(PATIENCE).connect("127.0.0.1", server(handler).port) as tunnel:
        tunnel.skip = b"hello\n"
        assert tunnel.exactly(6, PATIENCE) == b"hello\n"
        assert tunnel.receive(PATIENCE) == b""


@pytest.mark.parametrize("first", [b"help\n", b"h"])
def test_what_only_begins_like_it_is_kept(first: bytes, server: Start) -> None:
    there = server(lambda tunnel: tunnel.send(first, PATIENCE))
    with Dialer(PATIENCE).connect("127.0.0.1", there.port) as tunnel:
        tunnel.skip = b"hello\n"
        assert tunnel.receive(PATIENCE) == first


def test_one_direction_ends_before_the_other(server: Start) -> None:
    def handler(tunnel: Tunnel) -> None:
        tunnel.send(to_the_end(tunnel)[::-1], PATIENCE)

    with Dialer(PATIENCE).connect("127.0.0.1", server(handler).port) as tunnel:
        tunnel.send(b"abc", PATIENCE)
        assert tunnel.end()
        assert tunnel.exactly(3, PATIENCE) == b"cba"
        with pytest.raises(Cut) as cut:
            tunnel.exactly(1, PATIENCE)
    assert cut.value.how == "closed"
