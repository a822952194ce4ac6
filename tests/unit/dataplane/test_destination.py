"""Destinations that connections name themselves, in a worker: what is said to them first."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import replace

import pytest
import trustme
from rig import PATIENCE, Rig, gauges, plan, server

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.plan import Connect, Destination, SendProxy, Server, TlsConnect
from ferryman.rules.networks import Networks, network
from ferryman.rules.template import parse

CA = trustme.CA()
ALLOWED = Connect(egress_networks=Networks.of([network("127.0.0.1")]))


def destination(port: int, how: Server | None = None, connect: Connect = ALLOWED) -> Destination:
    return Destination(parse(f"127.0.0.1:{port}"), connect, how or server(0))


def test_tls_and_a_header_for_the_destination(rig: Rig) -> None:
    far = rig.server()
    how = replace(
        server(0),
        tls=TlsConnect(ca=CA.cert_pem.bytes().decode(), server_name="api.example"),
        send_proxy=SendProxy(1),
    )
    made = plan(backend={"destination": destination(far.port, how)})
    cells = rig.follow(made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("api.example").configure_cert(context)
    seen: list[bytes] = []

    def serve() -> None:
        connection = far.accept()
        head = b""
        while not head.endswith(b"\r\n"):
            head += connection.recv(1)
        seen.append(head)
        with context.wrap_socket(connection, server_side=True) as sock:
            seen.append(sock.recv(4))

    client = rig.client()
    here, there = client.getsockname(), client.getpeername()
    client.sendall(b"ping")
    thread = threading.Thread(target=serve)
    thread.start()
    rig.run(lambda: not thread.is_alive())
    assert seen == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {here[1]} {there[1]}\r\n".encode(), b"ping"]
    client.close()
    rig.run(rig.over)
    line = json.loads(rig.lines()[0])
    assert (line["protocol"], line["target"]) == ("tcp", f"127.0.0.1:{far.port}")
    assert set(gauges(made, cells).values()) == {0}


def test_the_destination_is_down(rig: Rig) -> None:
    far = rig.server()
    far.close()
    rig.follow(plan(backend={"destination": destination(far.port)}))
    client = rig.client()
    rig.run(rig.over)
    client.settimeout(PATIENCE)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    line = json.loads(rig.lines()[0])
    assert (line["code"], line["how"]) == ("SC", "rst")
    assert "Connection refused" in line["reason"]


def test_the_guard_is_asked(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(backend={"destination": destination(far.port, connect=Connect())}))
    rig.client()
    rig.run(rig.over)
    line = json.loads(rig.lines()[0])
    assert (line["code"], line["how"]) == ("PR", "policy")
    assert not far.waiting()


def test_what_is_not_allowed_is_refused_and_no_error_of_a_server(rig: Rig) -> None:
    far = rig.server()
    made = plan(backend={"destination": destination(far.port, connect=Connect())})
    cells = rig.follow(made)
    rig.client()
    rig.run(rig.over)
    assert json.loads(rig.lines()[0])["code"] == "PR"
    listener, backend = counters.listener_base(made, 0), counters.backend_base(made, 0)
    assert (cells[listener + Cell.DENIED_CONTENT], cells[listener + Cell.CONNECT_ERRORS]) == (1, 0)
    assert cells[backend + Cell.CONNECT_ERRORS] == 0
