"""`ferryman drain`."""

from __future__ import annotations

import sys

import click

from ferryman.cli.running import Watch, client, control_option
from ferryman.cli.verb import verb
from ferryman.errors import ControlError


@verb(
    "drain",
    examples="""
    # let everything end in its own time
    ferryman drain

    # five minutes at most
    ferryman drain --timeout 300 || ferryman stop
    """,
    exits={0: "all connections have ended, and so has the process", 1: "some are left after --timeout; it goes on"},
)
@control_option
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait this long; default: as it takes."
)
def drain(control: str, timeout: float | None) -> None:
    """End the running ferryman after its connections.

    It accepts nothing new, lets the connections end, and then ends. Shows how many are left.
    Interrupting this command, or its --timeout, does not interrupt the draining.
    """
    talk = client(control)
    watch = Watch(talk)
    talk.drain()
    progress = _Progress()

    def look() -> None:
        try:
            progress.show(int(talk.status()["process"]["counts"]["sessions_now"]))
        except ControlError:
            return  # it has closed its control socket, its end is near: Watch sees it

    ended = watch.wait(timeout, look)
    progress.close()
    if not ended:
        left = f": {progress.text()}" if progress.left >= 0 else ""
        raise ControlError(f"process {watch.pid} is still draining after {timeout:g} s{left}")
    click.echo(f"process {watch.pid} has ended")


class _Progress:
    """The number of connections left: one line that changes on a terminal, a line for each change elsewhere."""

    def __init__(self) -> None:
        self.left = -1  # not known yet
        self._terminal = sys.stdout.isatty()

    def show(self, left: int) -> None:
        if left != self.left:
            self.left = left
            click.echo(f"\r\033[K{self.text()}" if self._terminal else self.text(), nl=not self._terminal)

    def text(self) -> str:
        return f"{self.left} connection{'' if self.left == 1 else 's'} left"

    def close(self) -> None:
        if self._terminal and self.left >= 0:
            click.echo()
