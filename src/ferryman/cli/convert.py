"""`ferryman convert FILE…`: another dialect as native YAML."""

from __future__ import annotations

import click

from ferryman.cli.configuration import Input, demand, source_options
from ferryman.cli.verb import verb


@verb(
    "convert",
    examples="""
    ferryman convert haproxy.cfg --to ferryman > ferryman.yaml

    # does it mean the same? the output can be read like any other file
    ferryman convert haproxy.cfg | ferryman check -
    """,
)
@source_options
@click.option("--to", "target", type=click.Choice(["ferryman"]), default="ferryman", show_default=True,
              help="The dialect to write.")  # fmt: skip
def convert(source: Input, target: str) -> None:
    """Print a configuration as native YAML.

    Only what differs from the defaults is written. Comments of the original are not kept.
    """
    from ferryman.config.emit import emit

    loaded = source.load()
    demand(loaded)
    assert loaded.configuration is not None
    click.echo(emit(loaded.configuration), nl=False)
