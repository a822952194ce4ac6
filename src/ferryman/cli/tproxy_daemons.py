"""`ferryman tproxy start|stop|restart|reload|status`: the verbs of OpenNebula's own, each done when it returns."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ferryman.cli.verb import verb


@verb(
    "start",
    examples="""
    ferryman tproxy start
    """,
)
def start() -> None:
    """Start the daemons that should run and do not.

    One daemon for each bridge that nftables holds services of, and one for all of them; none where there is nothing.
    Daemons of bridges that have no services any more are ended, those of OpenNebula's own replaced.
    """
    from ferryman.opennebula import daemons

    _tell(daemons.start())


@verb(
    "stop",
    examples="""
    ferryman tproxy stop
    """,
)
def stop() -> None:
    """End the daemons, and the connections of guests with them.

    What is in nftables and on the bridges stays: `start` goes on from there.
    """
    from ferryman.opennebula import daemons

    daemons.stop()


@verb(
    "restart",
    examples="""
    ferryman tproxy restart
    """,
)
def restart() -> None:
    """Start the daemons anew.

    Connections of guests end; those who come meanwhile wait and are not refused.
    """
    from ferryman.opennebula import daemons

    _tell(daemons.restart())


@verb(
    "reload",
    examples="""
    ferryman tproxy reload
    """,
)
def reload() -> None:
    """Follow nftables and OpenNebulaNetwork.conf as they are now.

    Connections go on: a changed remote is for new ones, a port that is gone takes no more. The daemons follow changes
    of nftables by themselves; this waits until they have.
    """
    from ferryman.opennebula import daemons

    _tell(daemons.reload())


@verb(
    "status",
    examples="""
    ferryman tproxy status

    # bridges, services, guests and their connections
    ferryman tproxy status --json
    """,
)
@click.option("--json", "as_json", is_flag=True, help="Print everything known of bridges and guests, as JSON.")
def status(as_json: bool) -> None:
    """Show the daemons that run, with their process ids."""
    from ferryman.opennebula import daemons

    if as_json:
        import json

        click.echo(json.dumps(daemons.overview(), indent=2, ensure_ascii=False))
        return
    for name, pid in daemons.status():
        click.echo(f"{name}: {pid}")


def _tell(messages: Iterable[str]) -> None:
    for message in messages:
        click.echo(f"ferryman: {message}", err=True)
