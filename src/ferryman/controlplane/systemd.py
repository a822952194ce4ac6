"""What systemd wants to hear: readiness, reloading, stopping, a sign of life (sd_notify(3)).

Silent where systemd is not: everything here does nothing without NOTIFY_SOCKET. Sockets it passes are in sockets.
"""

from __future__ import annotations

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send lines such as "READY=1" or "STATUS=…"; a failure is nobody's problem but systemd's, which will say so."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


def reloading() -> None:
    """Type=notify-reload wants the time along (CLOCK_MONOTONIC, microseconds)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float | None:
    """How often a sign of life is due, in seconds: half of what WatchdogSec= allows. None: not wanted."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
