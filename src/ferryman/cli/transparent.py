"""`ferryman transparent setup|show|clear`: how connections to other machines come here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import click

from ferryman.cli.configuration import Input, demand
from ferryman.cli.verb import FAILED, verb

if TYPE_CHECKING:
    from ferryman.transparent.kernel import Present
    from ferryman.transparent.setup import Setup

T = TypeVar("T")


@verb(
    "transparent",
    examples="""
    # for the listeners with `transparent`, and for servers that see the clients' addresses: show the commands
    ferryman transparent setup ferryman.yaml

    # run them; the listener is for ports 80 and 443
    ferryman transparent setup --ports 80,443 --apply ferryman.yaml

    # without a file: what comes from eth1 for port 443 goes to port 8443
    ferryman transparent setup --tproxy 443=8443 --interface eth1 --apply

    # is everything there? how many packets came?
    ferryman transparent show ferryman.yaml

    # remove it again
    ferryman transparent clear --apply
    """,
    exits={0: "fine", 1: "not possible; show: something is missing, or there that should not be"},
)
@click.argument("action", type=click.Choice(["setup", "show", "clear"]))
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(allow_dash=True))
@click.option("--as", "dialect", metavar="DIALECT", help="Read the files as this dialect.")
@click.option("--apply", "do", is_flag=True, help="Do it, instead of printing what would be done.")
@click.option("--ports", multiple=True, metavar="[NAME=]PORTS", help="Ports that a listener is for; default: its own.")
@click.option("--tproxy", multiple=True, metavar="PORTS=PORT", help="What is for PORTS goes to a listener at PORT.")
@click.option("--redirect", multiple=True, metavar="PORTS=PORT", help="The same, by rewriting the address.")
@click.option("--answers", is_flag=True, help="Servers' answers to clients' addresses are for this machine.")
@click.option("--interface", "interfaces", multiple=True, metavar="NAME", help="Only what comes from there.")
@click.option("--from", "clients", multiple=True, metavar="NETWORK", help="Only what clients in there send.")
@click.option("--to", "servers", multiple=True, metavar="NETWORK", help="Only what is for machines in there.")
@click.option("--except", "spared", multiple=True, metavar="NETWORK", help="Not what is for machines in there.")
@click.option("--mark", metavar="NUMBER", help="Mark of the packets that are delivered here.")
@click.option("--table", metavar="NUMBER", help="Routing table for them.")
def transparent(action: str, files: tuple[str, ...], dialect: str | None, do: bool, **options: object) -> None:
    """Have the kernel send connections to others here.

    For listeners with `transparent` (tproxy or redirect) it makes a table of nftables rules; for tproxy, and for
    servers with `source: client`, also a routing rule and a route. What is for this machine itself, and what this
    machine sends, is never intercepted. Nothing is changed without --apply, and then all of it or nothing.
    """
    from ferryman.transparent import kernel

    if action == "clear":
        commands = kernel.clear() if do else kernel.removal(kernel.look())
        click.echo("\n".join(map(shlex.join, commands)) or "# nothing is installed")
        return
    wanted = _setup(files, dialect, options)
    if action == "show":
        _show(kernel.look(), wanted)
        return
    from ferryman.transparent import ruleset

    if not wanted.catches and not wanted.answers:
        raise click.UsageError("nothing is transparent: name a file with `transparent` or `source: client`, "
                               "or say --tproxy, --redirect or --answers")  # fmt: skip
    if not do:
        click.echo(ruleset.commands(wanted), nl=False)
    else:
        click.echo("installed" if kernel.apply(wanted) else "it was installed already")


def _setup(files: tuple[str, ...], dialect: str | None, options: dict[str, object]) -> Setup:
    from ferryman.transparent import setup

    def words(key: str) -> tuple[str, ...]:
        return tuple(map(str, options[key]))  # type: ignore[call-overload]

    found = []
    answers = bool(options["answers"])
    if files:
        plan = demand(Input(files, dialect, ()).load())
        ports = _parsed(_named_ports, words("ports"))
        try:
            found = setup.catches(plan, dict(ports))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        answers = answers or plan.transparent_out
    elif options["ports"]:
        raise click.UsageError("--ports is for the listeners of a FILE; without one say --tproxy or --redirect")
    for method in ("tproxy", "redirect"):
        found += _parsed(lambda text, method=method: setup.parse_catch(method, text), words(method))  # type: ignore[misc]
    return setup.Setup(
        tuple(found),
        answers,
        tuple(_parsed(setup.parse_interface, words("interfaces"))),
        tuple(_parsed(setup.parse_network, words("clients"))),
        tuple(_parsed(setup.parse_network, words("servers"))),
        tuple(_parsed(setup.parse_network, words("spared"))),
        _number(options["mark"], setup.MARK),
        _number(options["table"], setup.TABLE),
    )


def _named_ports(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    from ferryman.transparent.setup import parse_ports

    name, _, ports = text.rpartition("=")
    return name, parse_ports(ports)


def _parsed(parse: Callable[[str], T], texts: Iterable[str]) -> list[T]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _number(text: object, default: int) -> int:
    if text is None:
        return default
    try:
        number = int(str(text), 0)
    except ValueError:
        number = 0
    if not 0 < number < 1 << 32:
        raise click.UsageError(f"{text} is no number from 1 to 4294967295")
    return number


def _show(present: Present, wanted: Setup) -> None:
    for chain, comment, packets in present.rules:
        click.echo(f"{chain}: {comment}" + (f", {packets} packets" if packets >= 0 else ""))
    for command in present.routing:
        click.echo(" ".join(command[1:3] + command[4:]))
    if not present.anything:
        click.echo("nothing is installed")
    if wanted.catches or wanted.answers:
        missing = present.missing(wanted)
        click.echo("\n".join(missing) or "all is as it should be")
        if missing:
            raise click.exceptions.Exit(FAILED)
