"""An explicit proxy in a worker of this process, for the tests of its parts."""

from __future__ import annotations

import json
import socket
from typing import Any

from rig import Far, Rig, plan, server

from ferryman.dataplane.channel import send_order
from ferryman.plan import Address, Chain, Connect, Hop, Plan, Through, Via
from ferryman.rules.networks import Networks, network

HERE = Networks.of([network("127.0.0.1")])


def proxy(rig: Rig, **connect: Any) -> Plan:
    """Let the door "web" be one, for clients who may go to this machine."""
    made = Connect(**{"egress_networks": HERE, **connect})
    new = plan(server(1), listener={"connect": made, "mode": "connect", "default_backend": ""})
    rig.follow(new)
    return new


def through(*ways: Chain) -> tuple[Via, ...]:
    """The only way out."""
    return (Via(None, "f:1", Through(ways)),)


def hop(far: Far | int, scheme: str = "http", **fields: Any) -> Hop:
    """A proxy on this machine."""
    return Hop(scheme, Address("inet", "127.0.0.1", far if isinstance(far, int) else far.port), **fields)


def asks(rig: Rig, text: str) -> socket.socket:
    """A client that has said this."""
    client = rig.client()
    client.sendall(text.encode())
    return client


def connect_to(rig: Rig, port: int, *fields: str) -> socket.socket:
    """A client that wants a tunnel to this machine."""
    return asks(rig, "\r\n".join([f"CONNECT 127.0.0.1:{port} HTTP/1.1", *fields, "", ""]))


def head(rig: Rig, sock: socket.socket) -> str:
    """What arrives, up to an empty line."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = rig.read(sock)
        assert byte, f"it ended after {data!r}"
        data += byte
    return data.decode("latin-1")


def answer(rig: Rig, what: str, value: Any, error: str = "", text: str = "") -> dict[str, Any]:
    """Wait until this is asked of the supervisor, and answer."""
    rig.run(lambda: any(report["what"] == what for report in rig.reports("ask")))
    question = next(report for report in rig.said if report["kind"] == "ask" and report["what"] == what)
    rig.said.remove(question)
    send_order(rig.channel, ("answer", question["id"], value, error, text))
    return question


def line(rig: Rig) -> dict[str, Any]:
    """The log line of the last connection that ended."""
    rig.run(lambda: rig.over() and bool(rig.lines()))
    found: dict[str, Any] = json.loads(rig.lines()[-1])
    return found
