"""Asks a runtime socket, HAProxy's or ferryman's, as `socat - UNIX:path` would."""

from __future__ import annotations

import socket
from pathlib import Path


def ask(path: Path, text: str) -> str:
    """Send what `socat - UNIX:path` would, and read to the end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode()
