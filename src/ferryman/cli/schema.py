"""`ferryman schema`."""

from __future__ import annotations

import json

import click

from ferryman.cli.verb import verb


@verb(
    "schema",
    examples="""
    ferryman schema > ferryman.schema.json

    # editors that use yaml-language-server take it from a first line such as
    # yaml-language-server: $schema=ferryman.schema.json
    """,
)
def schema() -> None:
    """Print the JSON Schema of the native configuration."""
    from ferryman.config.schema import schema as made

    click.echo(json.dumps(made(), indent=2, ensure_ascii=False))
