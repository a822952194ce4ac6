"""--control: reaching the running process, and waiting for its end. Used by status, reload, drain and stop."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from ferryman.errors import ControlError

if TYPE_CHECKING:
    from ferryman.controlplane.control import Client

INTERVAL: Final = 0.2
"""Seconds between two looks at a process that is ending."""

control_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--control",
    metavar="PATH",
    default="",
    envvar="FERRYMAN_CONTROL",
    type=click.Path(readable=False),
    help="Control socket of the process; also $FERRYMAN_CONTROL. Default: the user's own, "
    "/run/ferryman/control.sock for root.",
)


def client(control: str) -> Client:
    """The way to the process behind a control socket; "": the default one."""
    from ferryman.controlplane.control import Client

    return Client(control)


class Watch:
    """The end of a process, seen from outside: `gone`. Made while it still runs."""

    def __init__(self, talk: Client) -> None:
        """Raises ControlError when nobody answers."""
        self._talk = talk
        self.status: dict[str, Any] = talk.status()
        self.pid = int(self.status["process"]["pid"])
        try:
            self._descriptor: int | None = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._descriptor = None  # its number means nothing here, as in a container: it is gone when it is silent

    def gone(self) -> bool:
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], 0)[0])
        try:
            self._talk.status()
        except ControlError:
            return True
        return False

    def wait(self, timeout: float | None, tick: Callable[[], None] = lambda: None) -> bool:
        """Wait until it is gone, calling `tick` at once and then now and then. False: not within `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.gone():
            tick()
            if end is not None and time.monotonic() >= end:
                return False
            if self._descriptor is None:
                time.sleep(INTERVAL)
            else:
                select.select([self._descriptor], [], [], INTERVAL)
        return True
