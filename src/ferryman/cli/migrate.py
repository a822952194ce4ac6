"""`ferryman migrate`: volumes to another place. The group of its verbs, of which `copy` need not be named."""

from __future__ import annotations

import click

from ferryman.cli.migrate_copy import copy
from ferryman.cli.migrate_manifests import manifests
from ferryman.cli.migrate_serve import serve
from ferryman.cli.verb import Verbs


class Migrate(Verbs):
    """A first word that is no verb is a SOURCE: then it is `copy` that is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["copy", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] SOURCE... DEST")
        formatter.write_usage(ctx.command_path, "serve [OPTIONS] DEST...")
        formatter.write_usage(ctx.command_path, "manifests [OPTIONS]")


@click.group(
    "migrate",
    cls=Migrate,
    examples="""
    # within this machine, with a second look at every byte
    ferryman migrate /srv/old /srv/new --checksum

    # to another machine: there
    ferryman migrate serve /srv/data --listen 6443
    # and here, with the token that it prints
    ferryman migrate /srv/data fmt1-...

    # after a crash, a reboot or Ctrl-C
    ferryman migrate --resume
    """,
)
def migrate(**_: object) -> None:
    """Move volumes to another place: rsync within TLS.

    `ferryman migrate SOURCE... DEST` is short for `ferryman migrate copy SOURCE... DEST`, whose options these are. What
    is below SOURCE goes to DEST, and an attempt that fails is followed by others, which go on where it ended.
    """


for command in (copy, serve, manifests):
    migrate.add_command(command)

migrate.params.extend(parameter for parameter in copy.params if isinstance(parameter, click.Option))  # for its help
migrate.exits = copy.exits
