"""What an API server does with a request to execute a command, as far as its way there shows in it.

Used by the far end, so that the control path can be examined without credentials of a cluster. After 101 it answers
pings, of SPDY and of WebSocket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Final

from ferryman.doctor.tlsstream import TlsStream
from ferryman.wire.http1 import Request

SPDY_PING: Final = bytes.fromhex("800300060000000400000001")
"""A PING of SPDY/3.1 with an odd number, as a client sends it; it comes back as it is (section 2.6.5)."""

_WEBSOCKET: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_PATIENCE: Final = 20.0


def websocket_ping(payload: bytes, mask: bytes) -> bytes:
    """A PING of at most 125 bytes as a client sends it (RFC 6455 section 5.2)."""
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((0x89, 0x80 | len(payload))) + mask + masked


def websocket_pong(payload: bytes) -> bytes:
    """The server's answer to it."""
    return bytes((0x8A, len(payload))) + payload


def accept(key: str) -> str:
    """Sec-WebSocket-Accept (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _WEBSOCKET).encode()).digest()).decode()


def answer(stream: TlsStream, request: Request) -> str:
    """Answer; what it was, in words for a log. Raises Cut, TlsFault."""
    if "upgrade" not in ",".join(request.get_all("connection")).lower():
        _refuse(stream, "Upgrade request required")
        return "asked for an upgrade, of which Connection did not arrive"
    wanted = request.get("upgrade") or ""
    if wanted.lower() not in ("spdy/3.1", "websocket"):
        _refuse(stream, "unable to upgrade: missing upgrade headers in request")
        return "asked for an upgrade, of which Upgrade did not arrive"
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {wanted}"]
    if wanted.lower() == "websocket":
        protocol = request.get("sec-websocket-protocol") or "v5.channel.k8s.io"
        lines += [f"Sec-WebSocket-Accept: {accept(request.get('sec-websocket-key') or '')}"]
        lines += [f"Sec-WebSocket-Protocol: {protocol.split(',')[0].strip()}"]
    else:
        lines += ["X-Stream-Protocol-Version: v4.channel.k8s.io"]
    stream.write("\r\n".join([*lines, "", ""]).encode(), _PATIENCE)
    deadline, data = time.monotonic() + _PATIENCE, b""
    while len(data) < 4096:
        more = stream.read(deadline - time.monotonic())
        if not more:
            break
        data += more
        if pong := _pong(data):
            stream.write(pong, _PATIENCE)
            data = b""
    return f"spoke {wanted}"


def _pong(data: bytes) -> bytes:
    """The answer to a whole ping; b"": there is none."""
    if data.startswith(SPDY_PING):
        return SPDY_PING
    if len(data) >= 6 and data[0] == 0x89 and data[1] & 0x80 and len(data) >= 6 + (data[1] & 0x7F):
        size = data[1] & 0x7F
        return websocket_pong(bytes(byte ^ data[2 + place % 4] for place, byte in enumerate(data[6 : 6 + size])))
    return b""


def _refuse(stream: TlsStream, message: str) -> None:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": 400}
    body = json.dumps(status).encode()
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    stream.write(head.encode() + b"Connection: close\r\n\r\n" + body, _PATIENCE)
