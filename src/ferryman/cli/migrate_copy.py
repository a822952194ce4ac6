"""`ferryman migrate copy SOURCE… DEST`: volumes to another place. Also what `serve` shares with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ferryman.cli.migrate_order import order, renewed
from ferryman.cli.verb import FAILED, FINE, INTERRUPTED, REFUSED, verb

if TYPE_CHECKING:
    from ferryman.migrate.display import Display
    from ferryman.migrate.memory import Memory

_EXITS = {
    FINE: "everything is there",
    FAILED: "it is not, or checksums differ; `--resume` goes on",
    REFUSED: "refused: the other end is not the one it should be, or does not want this one; or a proxy does not",
    INTERRUPTED: "stopped by Ctrl-C or SIGTERM; `--resume` goes on",
}


def state_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add --state to a verb that remembers migrations."""
    return click.option(
        "--state", "place", metavar="FOLDER", type=click.Path(file_okay=False), envvar="FERRYMAN_MIGRATIONS",
        help="Where unfinished migrations are remembered; also $FERRYMAN_MIGRATIONS.",
    )(function)  # fmt: skip


def _bwlimit(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[0-9]+(\.[0-9]+)?([kmgtpKMGTP]([iI]?[bB])?)?", value):
        raise click.BadParameter(f"{value!r} is no rate, such as 20m (MiB in a second) or 500k")
    return value


@verb(
    "copy",
    examples="""
    # within this machine
    ferryman migrate /srv/old /srv/new

    # two volumes, to /srv/new/data and /srv/new/logs, comparing checksums afterwards
    ferryman migrate data=/srv/data logs=/var/log/app /srv/new --checksum

    # with the token of `ferryman migrate serve`, from a file, so that no list of processes shows it
    ferryman migrate /srv/data @token --via http://proxy.example:3128 --via-user alice --via-password-file password

    # to the rsync daemon behind stunnel that MTC has made
    ferryman migrate /data --to dvm-shop.apps.example.org:443 --module 0cc175b9c0f1b6a831c399e269772661 \\
        --password-file password --cert tls.crt --key tls.key --fingerprint 5E:A1:...

    # go on after a crash, a reboot or Ctrl-C
    ferryman migrate --resume

    # the same, when the proxy's password is another one by now
    ferryman migrate --resume --via-password-file password
    """,
    exits=_EXITS,
)
@click.argument("places", metavar="SOURCE... DEST", nargs=-1)
@click.option("--resume", metavar="[NAME]", is_flag=False, flag_value="", default=None,
              help="Go on with an unfinished migration; NAME, if there are several. The proxy, passwords, --parallel, "
                   "--bwlimit, --retries and --timeout may be given anew.")  # fmt: skip
@click.option("--via", metavar="URL", envvar="FERRYMAN_MIGRATE_VIA", default="",
              help="A proxy: http:// or https://, perhaps USER:PASSWORD@; also $FERRYMAN_MIGRATE_VIA.")  # fmt: skip
@click.option("--via-user", metavar="USER", default="", help="Its user, if not in the URL.")
@click.option("--via-password-file", metavar="FILE", type=click.Path(dir_okay=False),
              help="Its password: the first line of a file.")  # fmt: skip
@click.option("--via-ca", metavar="FILE", type=click.Path(dir_okay=False), help="What verifies an https:// proxy.")
@click.option("--to", "address", metavar="HOST:PORT", default="",
              help="Instead of DEST: an rsync daemon behind a TLS server of others, such as MTC's.")  # fmt: skip
@click.option(
    "--module", metavar="NAME", default="", help="Of --to: the daemon's module; of several volumes, their names."
)
@click.option("--user", metavar="NAME", default="root", show_default=True, help="Of --to: the daemon's user.")
@click.option("--password-file", metavar="FILE", type=click.Path(dir_okay=False),
              help="Of --to: the daemon's password, the first line of a file; also $RSYNC_PASSWORD.")  # fmt: skip
@click.option("--cert", metavar="FILE", type=click.Path(dir_okay=False), help="Of --to: a certificate to show.")
@click.option("--key", metavar="FILE", type=click.Path(dir_okay=False), help="Of --to: its key, if not in --cert.")
@click.option("--ca", metavar="FILE", type=click.Path(dir_okay=False), help="Of --to: what verifies its certificate.")
@click.option("--fingerprint", metavar="SHA256", default="", help="Of --to: of its certificate, in hexadecimal.")
@click.option("--no-verify", is_flag=True, help="Of --to: whoever answers there will do.")
@click.option("--server-name", metavar="NAME", default="", help="Of --to: asked for (SNI); default: its host.")
@click.option("--parallel", metavar="N", type=click.IntRange(1, 64), default=2, show_default=True,
              help="Volumes at once.")  # fmt: skip
@click.option("--bwlimit", metavar="RATE", default="", callback=_bwlimit,
              help="At most so much in a second for each volume, as rsync has it: 20m, 500k.")  # fmt: skip
@click.option("--retries", metavar="N", type=click.IntRange(0), default=20, show_default=True,
              help="Attempts after one that failed, counted anew once something was moved.")  # fmt: skip
@click.option("--timeout", metavar="SECONDS", type=click.IntRange(0), default=30, show_default=True,
              help="Silence that ends an attempt; 0: none.")  # fmt: skip
@click.option("--checksum", is_flag=True, help="Compare checksums of both sides afterwards.")
@click.option("--delete", is_flag=True, help="Delete at the destination what the source does not have.")
@click.option("--sparse", is_flag=True, help="Write holes where there are zeros.")
@click.option("--hard-links/--no-hard-links", default=True, help="Keep hard links; default: yes.")
@click.option("--xattrs", is_flag=True, help="Keep extended attributes.")
@click.option("--acls", is_flag=True, help="Keep ACLs.")
@click.option("--exclude", "excludes", metavar="PATTERN", multiple=True,
              help="Leave out, as rsync has it; lost+found is left out in any case.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@click.option("--json", "as_json", is_flag=True, help="Events and the report as JSON, an object a line.")
@click.option("--quiet", is_flag=True, help="No progress, only what goes wrong and the report.")
@state_option
def copy(
    places: tuple[str, ...], resume: str | None, place: str | None, as_json: bool, quiet: bool, **more: Any
) -> None:
    """Move what is below SOURCE to DEST.

    DEST is a folder, or the token of `ferryman migrate serve` on another machine: itself, as @FILE, or - to read it
    from standard input. One SOURCE goes to DEST itself; of several, and of NAME=PATH, each to a folder of its name.
    Either way the bytes go through TLS 1.3 with certificates that are made for this migration and known to both ends.
    """  # fmt: skip
    from ferryman.migrate import memory
    from ferryman.migrate.display import choose
    from ferryman.migrate.session import recalled

    where = place or memory.default_place()
    source = click.get_current_context().get_parameter_source
    given = [name for name in more if source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)]
    if resume is not None:
        if places:
            raise click.UsageError("--resume goes on with what was begun: it takes neither SOURCE nor DEST")
        remembered = memory.find(where, "migrate", resume)
        remembered.data["order"] = renewed(recalled(remembered.data["order"]), more, given).kept()
        remembered.save()
    else:
        asked = order(places, more, given)
        remembered = memory.begin(where, "migrate", {"about": asked.about, "order": asked.kept()})
    raise click.exceptions.Exit(_run(remembered, choose(as_json, quiet), as_json))


def _run(remembered: Memory, display: Display, as_json: bool) -> int:
    """The exit code."""
    import asyncio
    import signal

    from ferryman.migrate import MigrationError, RefusedError, report, session
    from ferryman.migrate.attempts import Interrupted

    async def main() -> int:
        running = session.Session(remembered, display)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.stop)
        code, reason = FINE, ""
        try:
            await running.run()
        except Interrupted:
            code, reason = INTERRUPTED, "stopped"
        except RefusedError as error:
            code, reason = REFUSED, str(error)
        except MigrationError as error:
            code, reason = FAILED, str(error)
        if code == FINE and (found := session.problems(running.standings)):
            code, reason = FAILED, f"not the same on both sides: {'; '.join(found)}"
        dry = running.order.flags.dry_run
        if as_json:
            volumes = [one.kept() for one in running.standings]
            display.tell("end", code=code, reason=reason, seconds=running.seconds, volumes=volumes)  # type: ignore[attr-defined]
        else:
            click.echo(report.text(running.standings, running.seconds, dry))
        if code == FINE or dry or running.complete or (code != INTERRUPTED and not running.begun):
            remembered.forget()
        else:
            remembered.remove_runtime()
            remembered.close()
            reason += f"; `ferryman migrate --resume {remembered.name}` goes on"
        if reason:
            click.echo(f"ferryman: {reason}", err=True)
        return code

    return asyncio.run(main())
