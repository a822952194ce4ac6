"""`ferryman migrate copy SOURCE… DEST`: volumes to another place. Also what `serve` shares with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferryman.cli.verb import FAILED, FINE, INTERRUPTED, REFUSED, verb

if TYPE_CHECKING:
    from ferryman.migrate.display import Display
    from ferryman.migrate.ends import Via
    from ferryman.migrate.memory import Memory
    from ferryman.migrate.session import Foreign, Order
    from ferryman.migrate.token import Token

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
    """,
    exits=_EXITS,
)
@click.argument("places", metavar="SOURCE... DEST", nargs=-1)
@click.option("--resume", metavar="[NAME]", is_flag=False, flag_value="", default=None,
              help="Go on with an unfinished migration; NAME, if there are several.")  # fmt: skip
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

    where = place or memory.default_place()
    if resume is not None:
        if places:
            raise click.UsageError("--resume goes on with what was begun: it takes neither SOURCE nor DEST")
        _refuse_others(more)
        remembered = memory.find(where, "migrate", resume)
    else:
        remembered = memory.begin(where, "migrate", {"order": _order(places, more).kept()})
    raise click.exceptions.Exit(_run(remembered, choose(as_json, quiet), as_json))


def _refuse_others(options: dict[str, Any]) -> None:
    """What was asked for at the beginning holds: no option of it is silently left out."""
    context = click.get_current_context()
    for name in options:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = {"address": "to", "excludes": "exclude"}.get(name, name).replace("_", "-")
            raise click.UsageError(f"--resume goes on as it was begun: --{option} cannot be given with it")


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
        began = any(one.attempts for one in running.standings)
        if code == FINE or dry or not began or running.complete:
            remembered.forget()
        else:
            remembered.remove_runtime()
            remembered.close()
            reason += f"; `ferryman migrate --resume {remembered.name}` goes on"
        if reason:
            click.echo(f"ferryman: {reason}", err=True)
        return code

    return asyncio.run(main())


def _order(places: tuple[str, ...], more: dict[str, Any]) -> Order:
    """What the command line asks for. Raises click.UsageError, MigrationError."""
    from ferryman.migrate import volumes
    from ferryman.migrate.rsync import Flags
    from ferryman.migrate.session import Order

    foreign = _foreign(more)
    sources, target = (places, "") if foreign else (places[:-1], places[-1] if places else "")
    if not sources:
        raise click.UsageError("say what to move, and where to: SOURCE... DEST")
    try:
        token = _token(target)
        named = volumes.parse(sources)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for volume in named:
        volumes.check_source(volume)
    if foreign and len(named) == 1 and not foreign.module:
        raise click.UsageError("--to needs --module, the name of the daemon's module")
    flags = Flags(
        **{key: more[key] for key in ("delete", "sparse", "hard_links", "xattrs", "acls", "dry_run", "bwlimit")},
        timeout=more["timeout"],
        excludes=("lost+found", *more["excludes"]),
    )
    return Order(
        tuple(named), flags, "" if token or foreign else str(Path(target).absolute()), token, foreign, _via(more),
        more["parallel"], more["retries"], more["checksum"],
    )  # fmt: skip


def _token(text: str) -> Token | None:
    """None: it is a folder. Raises ValueError."""
    import sys

    from ferryman.migrate import token

    if text == "-":
        return token.parse(click.prompt("token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read())
    if text.startswith("@"):
        return token.parse(_first_line(text[1:], "token"))
    return token.parse(text) if token.is_token(text) else None


def _via(more: dict[str, Any]) -> Via | None:
    from ferryman.config.proxy_url import parse_proxy_url
    from ferryman.migrate.ends import Via

    if not more["via"]:
        for option in ("via_user", "via_password_file", "via_ca"):
            if more[option]:
                raise click.UsageError(f"--{option.replace('_', '-')} is of --via, which is missing")
        return None
    try:
        parsed = parse_proxy_url(more["via"])
    except ValueError as error:
        raise click.UsageError(f"--via: {error}") from None
    if parsed.user and (more["via_user"] or more["via_password_file"]):
        raise click.UsageError("--via has credentials in its URL and beside it; leave one of them out")
    if bool(more["via_user"]) != bool(more["via_password_file"]):
        raise click.UsageError("--via-user and --via-password-file belong together")
    password = _first_line(more["via_password_file"], "password") if more["via_password_file"] else ""
    return Via(more["via"], more["via_user"], password, _absolute(more["via_ca"]))


def _foreign(more: dict[str, Any]) -> Foreign | None:
    import os

    from ferryman.config.values import parse_connect_address
    from ferryman.migrate.session import Foreign

    given = [key for key in ("module", "password_file", "cert", "key", "ca", "fingerprint", "no_verify", "server_name")
             if more[key]]  # fmt: skip
    if not more["address"]:
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} is of --to, which is missing")
        return None
    try:
        if not parse_connect_address(more["address"]).port:
            raise ValueError("a port is missing: HOST:PORT")
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None
    if sum(bool(more[key]) for key in ("ca", "fingerprint", "no_verify")) != 1:
        raise click.UsageError("say how the server is known: one of --ca, --fingerprint and --no-verify")
    digits = re.sub("[: ]", "", more["fingerprint"]).lower()
    if digits and not re.fullmatch("[0-9a-f]{64}", digits):
        raise click.UsageError("--fingerprint: a SHA-256 has 64 hexadecimal digits")
    path = more["password_file"]
    password = _first_line(path, "password") if path else os.environ.get("RSYNC_PASSWORD", "")
    return Foreign(
        more["address"], more["module"], more["user"], password, _absolute(more["cert"]), _absolute(more["key"]),
        _absolute(more["ca"]), digits, more["server_name"],
    )  # fmt: skip


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""


def _first_line(path: str, what: str) -> str:
    from ferryman.migrate import MigrationError

    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise MigrationError(f"cannot read the {what} in {path}: {why}") from None
