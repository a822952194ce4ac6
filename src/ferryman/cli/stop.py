"""`ferryman stop`."""

from __future__ import annotations

import click

from ferryman.cli.running import Watch, client, control_option
from ferryman.cli.verb import verb
from ferryman.errors import ControlError


@verb(
    "stop",
    examples="""
    # end it now, connections included
    ferryman stop

    # end it once its connections have ended, but in five minutes at the latest
    ferryman drain --timeout 300 || ferryman stop
    """,
)
@control_option
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(min=0), default=30.0, show_default=True,
              help="How long to wait for its end.")  # fmt: skip
def stop(control: str, timeout: float) -> None:
    """End the running ferryman at once.

    The connections it carries are cut. Comes back when the process is gone. `ferryman drain`
    lets the connections end first.
    """
    talk = client(control)
    watch = Watch(talk)
    talk.stop()
    if not watch.wait(timeout):
        raise ControlError(f"process {watch.pid} is still there after {timeout:g} s")
    click.echo(f"process {watch.pid} has ended")
