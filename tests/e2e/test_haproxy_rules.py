"""haproxy.cfg's rules on real connections: addresses, names, captures, conditions, and where each leads."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority, EchoServer, TlsServer

DEFAULTS = """
global
    log stdout format raw local0
    nbthread 1
defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 5m
    timeout server 5m
"""


def answer(authority: Authority, port: int, name: str | None) -> str:
    """Which server answers a TLS client that asks for `name`; "rst" or "fin" if none does."""
    context = authority.client_context()
    context.check_hostname = False
    try:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=name) as sock,
        ):
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b""
            while chunk := sock.recv(4096):
                text += chunk
        return text.split()[-1].decode()
    except ConnectionResetError:
        return "rst"
    except (ssl.SSLError, OSError):
        return "fin"


def test_names_lead_where_the_acls_say(
    run_ferry: Callable[..., Ferry], tls: Callable[..., TlsServer], authority: Authority
) -> None:
    servers = {name: tls(name, f"{name}.example.org") for name in ("exact", "ending", "domain", "regex", "other")}
    port = free_port()
    backends = "".join(f"backend {n}\n    server s {s.address}\n" for n, s in servers.items())
    run_ferry(
        f"""{DEFAULTS}
frontend f
    bind 127.0.0.1:{port}
    tcp-request inspect-delay 1m
    tcp-request content reject if {{ req.ssl_sni -m beg forbidden. }}
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    acl is_exact req.ssl_sni -i api.example.org www.example.org
    acl is_domain req.ssl_sni -m dom shop
    use_backend exact if is_exact
    use_backend ending if {{ req.ssl_sni -m end .apps.example.org }} !is_domain
    use_backend domain if is_domain
    use_backend regex if {{ req.ssl_sni -m reg ^node[0-9]+\\.example\\.org$ }}
    default_backend other
{backends}""",
        "haproxy.cfg",
    )
    expected = {
        "api.example.org": "exact",
        "WWW.example.org": "exact",
        "x.apps.example.org": "ending",
        "a.shop.apps.example.org": "domain",
        "node12.example.org": "regex",
        "xnode12.example.org": "other",
        "shopping.example.org": "other",
    }
    assert {name: answer(authority, port, name) for name in expected} == expected
    assert answer(authority, port, None) == "other"
    assert answer(authority, port, "forbidden.example.org") in ("fin", "rst")


def test_addresses_are_refused_before_a_byte_is_read(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(
        f"""{DEFAULTS}
frontend f
    bind 127.0.0.1:{port}
    option tcplog
    tcp-request connection reject if {{ src 127.0.0.9/32 }}
    default_backend b
backend b
    server s {server.address}
""",
        "haproxy.cfg",
    )
    with socket.create_connection(("127.0.0.1", port), PATIENCE, ("127.0.0.9", 0)) as sock:
        assert sock.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, ("127.0.0.8", 0)) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert ferry.listener("f")["counts"]["denied_connection"] == 1
    until(lambda: " f b/s " in ferry.log, "the line of the one that got through")


def test_a_listen_block_is_both_ends_and_counts_as_one(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    one, two, port = echo(), echo("::1"), free_port()
    ferry = run_ferry(
        f"""{DEFAULTS}
listen pair
    bind 127.0.0.1:{port}
    balance roundrobin
    server one {one.address}
    server two {two.address} weight 3
""",
        "haproxy.cfg",
    )
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
    assert (one.connections, two.connections) == (2, 6)
    status = ferry.status()
    assert status["listeners"][0]["proxy_id"] == status["backends"][0]["proxy_id"] == 2


def test_the_hello_is_waited_for_even_without_inspect_delay(
    run_ferry: Callable[..., Ferry], tls: Callable[..., TlsServer], authority: Authority
) -> None:
    """HAProxy decides at once there, on what happens to have come; here the rule waits."""
    wanted, other, port = tls("wanted", "api.example.org"), tls("other", "x.example.org"), free_port()
    ferry = run_ferry(
        f"""{DEFAULTS}
frontend f
    bind 127.0.0.1:{port}
    option tcplog
    use_backend wanted if {{ req.ssl_sni -i api.example.org }}
    default_backend other
backend wanted
    server s {wanted.address}
backend other
    server s {other.address}
""",
        "haproxy.cfg",
    )
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="api.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(hello[:20])
        until(lambda: ferry.listener("f")["counts"]["sessions_now"] == 1, "the first piece to be there")
        sock.sendall(hello[20:])
        assert sock.recv(1) == b"\x16"
    until(lambda: " f wanted/s " in ferry.log, "it to be routed by its name")


def test_ports_follow_the_client_where_the_server_names_none(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server = echo("127.0.0.2")
    run_ferry(
        f"""{DEFAULTS}
frontend f
    bind 127.0.0.1:{server.port}
    default_backend b
backend b
    server s 127.0.0.2
""",
        "haproxy.cfg",
    )
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(b"same port")
        assert sock.recv(20) == b"same port"
