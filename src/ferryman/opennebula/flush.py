"""A ruleset that somebody flushed: what was ours in it is written again.

`nft flush ruleset`, or a firewall that is loaded anew, takes the maps and chains of all bridges with it. That is no
reason to stop serving their guests. Called by outer and daemons; changes nothing but nftables.
"""

from __future__ import annotations

from collections.abc import Mapping

from ferryman.controlplane import namespaces
from ferryman.opennebula import database, links, names, state
from ferryman.opennebula.database import Endpoint, Surroundings


def mend(strangers: Mapping[str, list[Endpoint]]) -> dict[str, list[Endpoint]]:
    """Somebody flushed the ruleset: write what it should hold. Raises StartError.

    That is what is remembered of bridges, and what there was of `strangers`, which OpenNebula's own driver made; of
    those whose namespace is still there.
    """
    known = state.read().bridges
    lost = {**strangers, **{name: list(bridge.endpoints) for name, bridge in known.items()}}
    wanted = {name: each for name, each in lost.items() if each and namespaces.exists(names.inner(name))}
    if wanted:
        devices = links.survey()
        doors = {name: names.door(name)[0] for name in wanted}
        given = {name: bridge.uplinks for name, bridge in known.items()}
        uplinks = {port for name in wanted for port in given.get(name) or links.uplinks(name, devices)}
        database.change(wanted, (), doors, Surroundings(list(doors.values()), uplinks, list(wanted)))
    return wanted
