"""The entry point: the group of all verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ferryman.cli.check import check
from ferryman.cli.completion import completion
from ferryman.cli.convert import convert
from ferryman.cli.doctor import doctor
from ferryman.cli.drain import drain
from ferryman.cli.explain import explain
from ferryman.cli.forward import forward
from ferryman.cli.learned import learned
from ferryman.cli.migrate import migrate
from ferryman.cli.policy import policy
from ferryman.cli.reload import reload
from ferryman.cli.run import run
from ferryman.cli.schema import schema
from ferryman.cli.start import start
from ferryman.cli.status import status
from ferryman.cli.stop import stop
from ferryman.cli.tproxy import tproxy
from ferryman.cli.transparent import transparent
from ferryman.cli.verb import BROKEN_PIPE, FAILED, INTERRUPTED, write_epilog
from ferryman.cli.version import version
from ferryman.errors import FerrymanError

EXAMPLES = """\
# run a configuration in the foreground; HAProxy's files are taken as they are
ferryman run haproxy.cfg

# carry port 8443 to two servers, without any file
ferryman forward '*:8443' 192.0.2.7:443 '[2001:db8::7]:443'

# every mistake at once, before anything runs
ferryman check haproxy.cfg

# where would this client get to, and why?
ferryman explain haproxy.cfg --client 192.0.2.7 --port 6443 --sni api.example.org

# how is the running one?
ferryman status"""
EXITS = {
    0: "fine",
    1: "refused: a mistake in the configuration, something missing on this machine, or no ferryman that answers",
    2: "the command line is wrong",
    3: "explain: this connection would be refused",
    130: "interrupted (Ctrl-C)",
}


class Ferryman(click.Group):
    """Verbs in the order of their use; expected failures end in one message on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except FerrymanError as error:
            click.echo(f"ferryman: {error}", err=True)
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # the reader has gone, as in `ferryman schema | head`: nobody wants to read about it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_epilog(formatter, EXAMPLES, EXITS)


@click.group(
    cls=Ferryman,
    subcommand_metavar="VERB ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ferryman", message="ferryman %(version)s")
def main() -> None:
    """Carry TCP and TLS streams from one network to another, untouched.

    `ferryman VERB --help` tells more about each verb.
    """


for command in (
    run, start, forward, check, convert, explain, status, learned, reload, drain, stop, migrate, transparent, tproxy,
    doctor, policy, schema, completion, version,
):  # fmt: skip
    main.add_command(command)
