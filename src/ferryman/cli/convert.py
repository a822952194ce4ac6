"""`ferryman convert FILE…`: another dialect as native YAML."""

from __future__ import annotations

import os

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

    Only what differs from the defaults is written. Files that are read are named in full, so that the output may be
    saved anywhere. Comments of the original are not kept.
    """
    from ferryman.config.dialects import mtc
    from ferryman.config.dialects.native import NAME
    from ferryman.config.emit import emit
    from ferryman.config.source import OVERRIDES

    loaded = source.load()
    demand(loaded)
    assert loaded.configuration is not None
    native = loaded.document.dialect == NAME
    folders = {os.path.dirname(each.name) for each in loaded.sources if native and each.name != OVERRIDES}
    if len(folders) > 1:
        message = "names of files would be relative to several folders; convert the files of one folder at a time"
        raise click.UsageError(message)
    withheld = mtc.PASSWORD if loaded.document.dialect == mtc.NAME else ""
    click.echo(written := emit(loaded.configuration, "".join(folders), withheld), nl=False)
    if withheld and withheld in written:
        click.echo(f"the password is not written down: ${withheld} stands for it", err=True)
