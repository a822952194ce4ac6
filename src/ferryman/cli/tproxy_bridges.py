"""`ferryman tproxy up`, `down`, `apply`, `heal`: the driver half of OpenNebula's transparent proxies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ferryman.cli.verb import verb
from ferryman.opennebula.names import SETTINGS

if TYPE_CHECKING:
    from ferryman.opennebula.settings import Settings

_EXITS = {0: "done", 1: "not done: what is wrong, and whether anything has changed, is told"}
_FILE = click.option("--settings", "file", metavar="FILE", help=f"Instead of {SETTINGS}.")


@verb(
    "up",
    examples="""
    # guests of the bridge br0, which belongs to one network, reach what is for it
    ferryman tproxy up br0 --network vnet0 --network 3

    # other hosts are behind a port that does not look like it
    ferryman tproxy up br0 --network vnet0 --uplink veth7

    # a bridge that tells VLANs apart
    ferryman tproxy up onebr.100 --network vnet1 --vlan 100
    """,
    exits=_EXITS,
)
@click.argument("bridge")
@click.option("--network", "networks", multiple=True, metavar="NAME|ID", help="A virtual network on the bridge.")
@click.option("--uplink", "uplinks", multiple=True, metavar="DEVICE", help="A port with other hosts behind it.")
@click.option(
    "--vlan", type=click.IntRange(1, 4094), metavar="ID", help="The VLAN of the guests, on a filtering bridge."
)
@_FILE
def up(bridge: str, networks: tuple[str, ...], uplinks: tuple[str, ...], vlan: int | None, file: str | None) -> None:
    """Let guests of a bridge reach the services.

    Makes what it takes: a pair of devices, a namespace with the address 169.254.16.9, rules and a map in nftables.
    What is there already is mended. Networks add up until `down`; give a network's name and its id to get what is for
    either. BRIDGE is one of the kernel's or of Open vSwitch. Uplinks are guessed: hardware, VLANs, VXLANs, bonds and
    the like.
    """
    from ferryman.opennebula import driver

    _end(driver.up(bridge, networks, _read(file), uplinks, vlan), file)


@verb(
    "down",
    examples="""
    # no proxy on br0 any more; the bridge and its guests stay
    ferryman tproxy down br0
    """,
    exits=_EXITS,
)
@click.argument("bridge")
def down(bridge: str) -> None:
    """Remove all that `up` made for a bridge.

    Goes by what there is, not by the settings, and forgets the bridge.
    """
    from ferryman.opennebula import driver

    _end(driver.down(bridge))


@verb(
    "apply",
    examples="""
    # the file has come from the front-end: make it count, without touching any guest
    ferryman tproxy apply
    """,
    exits=_EXITS,
)
@_FILE
def apply(file: str | None) -> None:
    """Bring all bridges to the present settings.

    Every bridge that was brought up gets what the file now has for its networks, all in one step; names are resolved
    anew. Connections of services that stay are not touched.
    """
    from ferryman.opennebula import driver

    _end(driver.apply(_read(file)), file)


@verb(
    "heal",
    examples="""
    # after `nft flush ruleset`, or when the host has started
    ferryman tproxy heal
    """,
    exits=_EXITS,
)
def heal() -> None:
    """Make again what was lost.

    Rules that were flushed, namespaces and devices that were deleted, everything after the host started anew. What
    OpenNebula took down stays down.
    """
    from ferryman.opennebula import daemons, driver

    if messages := driver.heal():
        _end(messages)
    else:
        for message in daemons.start():  # without a reload, which would be one a minute
            click.echo(message, err=True)


def _read(file: str | None) -> Settings:
    """The settings; none where OpenNebula has put none there. Shows what is wrong with them. Raises ConfigError."""
    import os

    from ferryman.config.source import Diagnostics, Source
    from ferryman.errors import ConfigError
    from ferryman.opennebula import settings

    if file is None and not os.path.exists(SETTINGS):
        return settings.Settings()
    diagnostics, sources, found = Diagnostics(), list[Source](), settings.Settings()
    try:
        from ferryman.config.load import read

        sources = read([file or SETTINGS])
        found = settings.read(sources[0], diagnostics)
    except ConfigError as error:
        diagnostics = error.diagnostics
    if diagnostics.found:
        from ferryman.cli.configuration import show
        from ferryman.config.load import Loaded
        from ferryman.config.source import Document

        show(Loaded(Document("opennebula", {}), None, None, diagnostics, tuple(sources)), err=True)
    if diagnostics.errors:
        raise ConfigError(diagnostics)
    return found


def _end(messages: Iterable[str], file: str | None = None) -> None:
    """Let the daemons follow, and tell what there is to tell. What is wrong with the settings was shown already."""
    from ferryman.opennebula import daemons

    for message in (*messages, *daemons.follow(file or SETTINGS)):
        click.echo(message, err=True)
