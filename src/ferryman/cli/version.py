"""`ferryman version`."""

from __future__ import annotations

import platform

import click

from ferryman.cli.verb import verb


@verb(
    "version",
    examples="""
    ferryman version
    """,
)
def version() -> None:
    """Print the version, and what it runs on."""
    from importlib.metadata import version as installed

    from ferryman.dataplane import fdio

    click.echo(f"ferryman {installed('ferryman')}")
    click.echo(f"system calls: {fdio.IMPLEMENTATION}; Python {platform.python_version()}; Linux {platform.release()}")
