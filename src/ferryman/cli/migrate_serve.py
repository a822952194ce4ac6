"""`ferryman migrate serve DEST…`: the end that volumes come to, for a client on another machine."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import click

from ferryman.cli.migrate_copy import state_option
from ferryman.cli.verb import FAILED, FINE, INTERRUPTED, verb

if TYPE_CHECKING:
    from ferryman.migrate.memory import Memory


def _listen(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    """[ADDRESS:]PORT; an address of IPv6 stands in brackets."""
    import ipaddress

    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is no [ADDRESS:]PORT, such as 6443 or 192.0.2.7:6443")
    try:
        return ("" if host in ("", "*") else str(ipaddress.ip_address(host))), int(port)
    except ValueError:
        raise click.BadParameter(f"{host!r} is no address of this machine") from None


def _addresses(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    from ferryman.config.values import parse_connect_address

    for one in value:
        try:
            if not parse_connect_address(one).port:
                raise ValueError("a port is missing")
        except ValueError as error:
            raise click.BadParameter(f"{one}: {error}") from None
    return value


@verb(
    "serve",
    examples="""
    # here; then `ferryman migrate SOURCE TOKEN` on the other machine
    ferryman migrate serve /srv/data --listen 6443

    # behind a router that passes TLS on by its server name
    ferryman migrate serve /srv/data --listen 6443 --address dvm-shop.apps.example.org:443

    # the token into a file that only its owner can read
    ferryman migrate serve data=/srv/data logs=/srv/logs --token-file token

    # after a crash or a reboot: the same client finds it again
    ferryman migrate serve --resume
    """,
    exits={FINE: "the client has said that everything is there", FAILED: "it cannot be served",
           INTERRUPTED: "stopped before that; `serve --resume` goes on"},
)  # fmt: skip
@click.argument("targets", metavar="DEST...", nargs=-1)
@click.option("--listen", metavar="[ADDRESS:]PORT", default="0", callback=_listen,
              help="Where; default: any free port of all addresses.")  # fmt: skip
@click.option("--address", "addresses", metavar="HOST:PORT", multiple=True, callback=_addresses,
              help="Where the client finds it, if not at this machine's addresses; several: in turn.")  # fmt: skip
@click.option("--server-name", metavar="NAME", default="",
              help="What the client asks for (SNI); default: the host of its address, if it is a name.")  # fmt: skip
@click.option("--token-file", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write the token to a file, with mode 600, instead of printing it.")  # fmt: skip
@click.option("--resume", metavar="[NAME]", is_flag=False, flag_value="", default=None,
              help="Go on serving an unfinished migration; NAME, if there are several.")  # fmt: skip
@state_option
def serve(
    targets: tuple[str, ...],
    listen: tuple[str, int],
    addresses: tuple[str, ...],
    server_name: str,
    token_file: str | None,
    resume: str | None,
    place: str | None,
) -> None:
    """Be the end that volumes come to.

    Prints one token, which `ferryman migrate SOURCE... TOKEN` on the other machine is given: it has the address of this
    one, the fingerprint of its certificate and a secret. The first client that comes with it begins the migration; from
    then on that client alone is let in, and the token is worth nothing. One DEST takes a volume without a name, or any
    named ones below it. Ends when the client says that everything is there.
    """
    from ferryman.migrate import memory, service, volumes

    where = place or memory.default_place()
    if resume is not None:
        if targets:
            raise click.UsageError("--resume goes on with what was begun: it takes no DEST")
        if listen[1] or addresses or server_name:
            raise click.UsageError("--resume goes on as it was begun: at the same address, so none can be given")
        remembered = memory.find(where, "serve", resume)
    else:
        if not targets:
            raise click.UsageError("say where volumes go: DEST...")
        try:
            named = volumes.parse(targets)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        for volume in named:
            volumes.prepare_target(volume.path)
        remembered = memory.begin(where, "serve", service.first_data(named, *listen, addresses, server_name))
    raise click.exceptions.Exit(_run(remembered, token_file, resume is None))


def _run(remembered: Memory, token_file: str | None, fresh: bool) -> int:
    """The exit code. `fresh`: if nobody gets to have the token, there is nothing to go on with."""
    import asyncio
    import contextlib
    import signal

    from ferryman.config.render import printable
    from ferryman.migrate.service import Service

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it is gone; the migration goes on
            click.echo(f"ferryman: {printable(text)}", err=True)

    async def main() -> int:
        running = Service(remembered, say)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.stop)
        known = not fresh
        try:
            await running.start()
            token = running.token
            if not token:
                say(f"migration {remembered.name} waits for its client again")
            elif token_file:
                _write(token_file, token)
                click.echo(f"ferryman: the token is in {token_file}", err=True)
            else:
                click.echo(token)
            known = True
            await running.run()
        finally:
            await running.close()
            if not known:
                remembered.forget()
        if running.finished is not None:
            say("the client says that everything is there")
            return FINE
        name = remembered.name
        say(f"stopped; `ferryman migrate serve --resume {name}` goes on")
        return INTERRUPTED

    return asyncio.run(main())


def _write(path: str, token: str) -> None:
    from ferryman.migrate import MigrationError

    def ours(path: str, flags: int) -> int:
        """A file that was there before is taken if it is ours; then nobody else can read it any more."""
        fd = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        if os.fstat(fd).st_uid != os.geteuid():
            os.close(fd)
            raise PermissionError(errno.EPERM, "it is another user's")
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
        return fd

    try:
        with open(path, "w", encoding="ascii", opener=ours) as file:
            file.write(token + "\n")
    except OSError as error:
        raise MigrationError(f"cannot write the token to {path}: {error.strerror}") from None
