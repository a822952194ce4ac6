"""`ferryman forward LISTEN TARGET…`: a proxy without any file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ferryman.cli.configuration import demand
from ferryman.cli.run import prepare, process_options, serve
from ferryman.cli.verb import verb

if TYPE_CHECKING:
    from ferryman.config.load import Loaded


class _Parsed(click.ParamType[str]):
    """Text that `parse` (a function of config.values) takes; its complaint becomes a usage error."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value

    def parse(self, value: str) -> None:
        """Raises ValueError."""
        from ferryman.config import values

        if self.name == "target":
            values.parse_connect_address(value)
        else:
            for address in values.split_addresses(value):
                values.parse_listen_address(address)


class _NamedTarget(click.ParamType[tuple[str, str]]):
    """NAME=TARGET as (name, target)."""

    name = "named target"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, target = value.partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not of the form NAME=TARGET, such as api.example.org=192.0.2.7:443", param, ctx)
        return name, _Parsed("target").convert(target, param, ctx)


@verb(
    "forward",
    examples="""
    # IPv4 clients to an IPv6 server
    ferryman forward '*:8443' '[2001:db8::7]:443'

    # two servers in turns, each checked every two seconds
    ferryman forward 127.0.0.1:5432 db1.example.org:5432 db2.example.org:5432

    # by the server name in the TLS handshake, which stays untouched; others are refused
    ferryman forward '*:443' --sni api.example.org=192.0.2.7:443 --sni '*.shop.example.org=192.0.2.8:443'

    # the beginning of a configuration file
    ferryman forward '*:8443' 192.0.2.7:443 192.0.2.8:443 --print > ferryman.yaml
    """,
)
@click.argument("listen", type=_Parsed("listen"))
@click.argument("targets", metavar="TARGET...", nargs=-1, type=_Parsed("target"))
@click.option("--sni", "named", metavar="NAME=TARGET", multiple=True, type=_NamedTarget(),
              help="Clients that ask for NAME go to TARGET; may be given more than once.")  # fmt: skip
@click.option("--balance", metavar="ALGORITHM", default="roundrobin", show_default=True,
              help="How one of several targets is chosen: roundrobin, leastconn, source, first, random.")  # fmt: skip
@click.option("--check/--no-check", default=None, help="Check whether targets answer; default: if there are several.")
@click.option("--print", "print_only", is_flag=True, help="Print the configuration instead of running it.")
@process_options
def forward(
    listen: str,
    targets: tuple[str, ...],
    named: tuple[tuple[str, str], ...],
    balance: str,
    check: bool | None,
    print_only: bool,
    workers: int | None,
    control: str,
) -> None:
    """Run without any file: from LISTEN to TARGET.

    LISTEN is an address and a port such as '*:443', TARGET a host and a port. With several targets, those that do not
    answer are left out until they do.
    """
    if not targets and not named:
        raise click.UsageError("say where to: at least one TARGET, or --sni NAME=TARGET")
    source = _Generated(document(listen, targets, named, balance, check, workers))
    loaded = source.load()
    if print_only:
        from ferryman.config.emit import emit

        demand(loaded)
        assert loaded.configuration is not None
        click.echo(emit(loaded.configuration), nl=False)
        return
    raise click.exceptions.Exit(serve(prepare(loaded), source, control))


def document(
    listen: str,
    targets: Sequence[str],
    named: Sequence[tuple[str, str]],
    balance: str,
    check: bool | None,
    workers: int | None,
) -> dict[str, Any]:
    """The native configuration that the command line stands for."""

    def backend(servers: Sequence[str]) -> dict[str, Any]:
        checked = len(servers) > 1 if check is None else check
        return {"servers": list(servers), "balance": balance, "check": checked}

    by_name: dict[str, list[str]] = {}
    for name, target in named:
        by_name.setdefault(name, []).append(target)
    listener: dict[str, Any] = {"bind": listen}
    if by_name:
        listener["routes"] = [{"to": _backend_name(name), "when": {"sni": name}} for name in by_name]
    if targets:
        listener["backend"] = backend(targets)
    return {
        "global": {"workers": workers} if workers else {},
        "listeners": {"forward": listener},
        "backends": {_backend_name(name): backend(servers) for name, servers in by_name.items()},
    }


def _backend_name(name: str) -> str:
    return name.replace("*", "any")


class _Generated:
    """Reads the same document every time."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._text = json.dumps(data, indent=2)  # JSON is YAML, too

    def load(self, renew: bool = False) -> Loaded:
        from ferryman.config.load import load
        from ferryman.config.source import Source

        return load([Source("<command line>", self._text)], "ferryman")
