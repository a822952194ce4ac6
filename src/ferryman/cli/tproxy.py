"""`ferryman tproxy`: OpenNebula's transparent proxies. The group of its verbs, and `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ferryman.cli.configuration import count, show
from ferryman.cli.table import columns
from ferryman.cli.tproxy_bridges import apply, down, heal, up
from ferryman.cli.tproxy_daemons import reload, restart, start, status, stop
from ferryman.cli.tproxy_host import doctor, install, uninstall
from ferryman.cli.verb import FAILED, Verbs, verb
from ferryman.opennebula import names

if TYPE_CHECKING:
    from ferryman.opennebula.settings import Service


@click.group(
    "tproxy",
    cls=Verbs,
    examples="""
    # is the file of this host right, and what reaches what?
    ferryman tproxy check

    # put it in the place of OpenNebula's own
    ferryman tproxy install

    # without OpenNebula: let the guests of a bridge reach the services
    ferryman tproxy up br0 --network vnet0
    ferryman tproxy status
    """,
)
def tproxy() -> None:
    """OpenNebula's transparent proxies.

    Guests of isolated networks reach services, such as OneGate, at 169.254.16.9. What there is to reach says
    OpenNebulaNetwork.conf; what is reached on which bridge is held in nftables, where OpenNebula's drivers, or `up`,
    write it. `start`, `stop`, `restart`, `reload` and `status` are those of OpenNebula's /var/tmp/one/vnm/tproxy.
    """


@verb(
    "check",
    examples="""
    # the file of this host: is it right, and what reaches what?
    ferryman tproxy check

    # another file, and what guests of one virtual network get
    ferryman tproxy check OpenNebulaNetwork.conf --network vnet0
    """,
    exits={0: "it is right", 1: "it has errors (with --strict: or warnings)"},
)
@click.argument("file", metavar="[FILE]", default=names.SETTINGS, type=click.Path(allow_dash=True))
@click.option("--network", "networks", multiple=True, metavar="NAME|ID", help="Only the services of this network.")
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
def check(file: str, networks: tuple[str, ...], strict: bool) -> None:
    """Find what is wrong with an OpenNebulaNetwork.conf.

    Finds every mistake at once, those that make OpenNebula leave a service out without a word among them, and shows
    what guests reach at 169.254.16.9. FILE is the one of this hypervisor host by default. A network has a name and an
    id: give both to see what is for either.
    """
    import sys

    from ferryman.config.load import Loaded, read
    from ferryman.config.source import Diagnostics, Document, Source
    from ferryman.errors import ConfigError
    from ferryman.opennebula import settings

    diagnostics, sources, found = Diagnostics(), list[Source](), settings.Settings()
    try:
        sources = read([file], sys.stdin.buffer)
        found = settings.read(sources[0], diagnostics)
    except ConfigError as error:
        diagnostics = error.diagnostics
    show(Loaded(Document("opennebula", {}), None, None, diagnostics, tuple(sources)), err=False)
    services = found.on(networks) if networks else list(found.services)
    if services:
        click.echo(columns([_row(service) for service in services]))
    elif not diagnostics.errors:
        click.echo("no service" + (f" is for {' or '.join(networks)}" if networks else " is named under `:tproxy:`"))
    if diagnostics.found:
        click.echo(count(diagnostics.found))
    if diagnostics.errors or (strict and diagnostics.warnings):
        raise click.exceptions.Exit(FAILED)


def _row(service: Service) -> tuple[str, ...]:
    where = ", ".join(service.networks) or "all networks"
    return f"{names.ADDRESS}:{service.port}", "→", f"{service.host}:{service.remote_port}", where


for command in (check, start, stop, restart, reload, status, up, down, apply, heal, doctor, install, uninstall):
    tproxy.add_command(command)
