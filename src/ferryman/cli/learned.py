"""`ferryman learned`: clients that refuse minted certificates, and are therefore not bumped for a while."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ferryman.cli.running import client, control_option
from ferryman.cli.table import columns
from ferryman.cli.verb import verb


@verb(
    "learned",
    examples="""
    # who is spliced, for which names, and for how long
    ferryman learned

    # this client trusts the CA now: open its TLS again
    ferryman learned --client 192.0.2.7 --forget

    ferryman learned --json | jq -r '.[].name' | sort | uniq -c
    """,
)
@control_option
@click.option("--listener", default="", metavar="NAME", help="Only of this listener.")
@click.option("--client", "address", default="", metavar="ADDRESS", help="Only this client.")
@click.option("--name", default="", metavar="HOST", help="Only for this name.")
@click.option("--forget", is_flag=True, help="Bump them again from now on, instead of listing them.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def learned(control: str, listener: str, address: str, name: str, forget: bool, as_json: bool) -> None:
    """Show which clients are spliced for refusing to be bumped.

    A client that refuses the certificate made for a name too often (`bump.learn`) has its TLS to that name carried
    unopened, for a time. --forget ends that at once.
    """
    talk = client(control)
    if forget:
        count = talk.forget_learned(listener, address, name)
        click.echo(json.dumps({"forgotten": count}) if as_json else f"{count} forgotten")
        return
    wanted = {"listener": listener, "client": address, "name": name}
    entries = [one for one in talk.learned() if all(part in ("", one[key]) for key, part in wanted.items())]
    click.echo(json.dumps(entries, indent=2) if as_json else table(entries))


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """For people."""
    from ferryman.config.render import printable
    from ferryman.controlplane.wording import duration

    if not entries:
        return "nothing is learned at the moment"
    rows = [("LISTENER", "CLIENT", "NAME", "FOR")]
    for one in entries:
        rows.append((printable(one["listener"]), one["client"], printable(one["name"]), duration(one["seconds"])))
    return columns(rows, style=lambda row, column, cell: cell if row else click.style(cell, bold=True))
