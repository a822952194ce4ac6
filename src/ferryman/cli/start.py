"""`ferryman start FILE…`: in the background."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from ferryman.cli.configuration import Input, source_options
from ferryman.cli.run import prepare, process_options, reloader
from ferryman.cli.verb import verb
from ferryman.controlplane import background


@verb(
    "start",
    examples="""
    ferryman start /etc/ferryman/ --log-file /var/log/ferryman.log

    # then
    ferryman status
    ferryman reload
    ferryman drain
    """,
    exits={0: "it runs in the background", 1: "it was refused; every reason was printed"},
)
@source_options
@process_options
@click.option("--log-file", metavar="PATH", default="", type=click.Path(dir_okay=False),
              help="Where what it prints goes, such as logs to stdout; default: nowhere.")  # fmt: skip
def start(source: Input, workers: int | None, control: str, log_file: str) -> None:
    """Run a configuration in the background.

    Comes back when it accepts connections, or with every reason why it does not. Under systemd or in a container use
    `ferryman run`.
    """
    if workers:
        source = source.with_overrides(("global.workers", str(workers)))
    plan = prepare(source.load())
    control = os.path.abspath(control) if control else ""

    def body(ready: Callable[[], None]) -> int:
        from ferryman.controlplane.supervisor import Options
        from ferryman.controlplane.supervisor import run as supervise

        return supervise(plan, reloader(source), Options(control=control, foreground=False, ready=ready))

    click.echo(f"ferryman runs in the background, process {background.start(body, log_file)}")
