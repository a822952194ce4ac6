"""`ferryman reload`."""

from __future__ import annotations

import click

from ferryman.cli.running import client, control_option
from ferryman.cli.verb import FAILED, verb


@verb(
    "reload",
    examples="""
    # read the same files again; what is wrong is said here, and nothing changes then
    ferryman reload

    # look first
    ferryman check --strict /etc/ferryman/ && ferryman reload
    """,
    exits={0: "the new configuration is in use", 1: "it was refused; the old one stays in use"},
)
@control_option
def reload(control: str) -> None:
    """Make the running ferryman read its files again.

    The new one is taken whole or not at all. Connections that are being carried go on as they are.
    """
    answer = client(control).reload()
    for message in answer["messages"]:
        click.echo(message, err=True)
    if not answer["ok"]:
        click.echo("ferryman: refused; the configuration in use stays as it was", err=True)
        raise click.exceptions.Exit(FAILED)
    click.echo("reloaded")
