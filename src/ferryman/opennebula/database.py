"""What nftables holds of transparent proxies: the services of each bridge, and who may be 169.254.16.9.

    table ip one_tproxy      map ep_BRIDGE { type inet_service : ipv4_addr . inet_service }
    table bridge one_tproxy  chain ch_BRIDGE  at forward: questions for the address go to this host's own proxy
                             chain guard      at prerouting: nobody else has the proxy's MAC address
                             chain border     at forward: nobody else claims the address, nothing goes to other hosts
                             sets doors, uplinks, bridges

Maps and chains by bridge are OpenNebula's: its drivers and its daemons use the same. The rest is ours. Called by driver
and native; runs nft(8) in the network namespace of the process; a change is one transaction. What cannot be read is an
error, never an empty database.

Not every kernel can tell a packet's bridge (`meta ibrname`, nft_meta_bridge); OpenNebula's own driver fails without.
Here `oifname` is then compared with the doors of all bridges: no two bridges share a port, so that is as good. Only
what keeps others from claiming the address also holds on bridges that have no proxy then.

Source: OpenNebula's manual, "Transparent Proxies"; nft(8).
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferryman.errors import StartError
from ferryman.opennebula.names import ADDRESS, ADDRESS6, MAC, TABLE

_MAP: Final = "{ type inet_service : ipv4_addr . inet_service ; }"
_TARGET: Final = f"@th,64,128 {int(ipaddress.ip_address(ADDRESS6)):#x}"
"""Of a neighbour solicitation or advertisement: nft(8) has a name for it since 1.0.8 only."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """What guests of a bridge reach at `port`."""

    port: int
    address: str  # IPv4
    remote_port: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules of all bridges together need to know."""

    doors: Collection[str]  # the bridges' ends of all veth pairs
    uplinks: Collection[str]  # ports behind which there are other hosts
    bridges: Collection[str]


@dataclass(frozen=True, slots=True)
class Content:
    """What the table of maps holds. `flushed`: somebody has removed it; who takes bridges down leaves it."""

    endpoints: Mapping[str, list[Endpoint]]  # of every bridge that has a map, by port
    flushed: bool = False


def read() -> Content:
    """What there is now. Raises StartError."""
    try:
        return Content(endpoints(_nft("-j", "list", "table", "ip", TABLE)))
    except StartError:
        # asked only now, as each question is a process; several at once are answered wrongly by some nft
        if ("ip", TABLE) in tables():
            raise
        return Content({}, flushed=True)


def endpoints(text: str) -> dict[str, list[Endpoint]]:
    """The endpoints in what nft(8) prints as JSON. Raises StartError where that is something else."""
    found: dict[str, list[Endpoint]] = {}
    for each in _objects(text, "map"):
        try:
            if (name := each["name"]).startswith("ep_"):
                found[name.removeprefix("ep_")] = sorted(_endpoint(*pair) for pair in each.get("elem", []))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unexpected(error) from None
    return found


def tables() -> set[tuple[str, str]]:
    """Family and name of all tables of nftables. Raises StartError."""
    return {(each["family"], each["name"]) for each in _objects(_nft("-j", "list", "tables"), "table")}


def chains() -> set[str]:
    """The bridges that have a chain. Raises StartError."""
    listed = _objects(_nft("-j", "list", "chains", "bridge"), "chain")
    names = (each["name"] for each in listed if each["table"] == TABLE)
    return {name.removeprefix("ch_") for name in names if name.startswith("ch_")}


def change(
    wanted: Mapping[str, Sequence[Endpoint]], gone: Collection[str], doors: Mapping[str, str], around: Surroundings
) -> None:
    """Let these bridges have these endpoints and no others, and forget others; all at once. Raises StartError.

    `doors` has the bridge's end of the veth pair of each bridge that is wanted.
    """
    lines = [*_forget(gone), *_sets(around)]
    try:
        _nft("-f", "-", text="\n".join([*lines, *_write(wanted, doors), *_guard("meta ibrname @bridges ")]) + "\n")
    except StartError as error:
        if "Operation not supported" not in str(error):
            raise
        _nft("-f", "-", text="\n".join([*lines, *_write(wanted), *_guard("")]) + "\n")


def remove(gone: Collection[str], around: Surroundings) -> None:
    """Forget bridges; without any left, nothing is left of the tables. Raises StartError."""
    if (chains() | set(read().endpoints)) - set(gone):
        _nft("-f", "-", text="\n".join([*_forget(gone), *_sets(around)]) + "\n")
    elif present := tables() & {("ip", TABLE), ("bridge", TABLE)}:
        lines = (f"{verb} table {family} {name}" for family, name in sorted(present) for verb in ("add", "delete"))
        _nft("-f", "-", text="\n".join(lines) + "\n")


def _write(wanted: Mapping[str, Sequence[Endpoint]], doors: Mapping[str, str] | None = None) -> Iterator[str]:
    """`doors`: where the kernel can tell the bridge of a packet; the rule is then OpenNebula's, letter for letter."""
    yield f"add table ip {TABLE}"
    for bridge, found in wanted.items():
        yield f"add map ip {TABLE} ep_{bridge} {_MAP}"
        yield f"flush map ip {TABLE} ep_{bridge}"
        if found:
            elements = ", ".join(f"{one.port} : {one.address} . {one.remote_port}" for one in found)
            yield f"add element ip {TABLE} ep_{bridge} {{ {elements} }}"
        where = f'meta ibrname "{bridge}" oifname != "{doors[bridge]}"' if doors else "oifname != @doors"
        yield from _chain(f"ch_{bridge}", "forward")
        yield f"add rule bridge {TABLE} ch_{bridge} {where} arp operation request arp daddr ip {ADDRESS} drop"


def _guard(where: str) -> Iterator[str]:
    """`where`: what a packet of a bridge with a proxy looks like."""
    yield from _chain("guard", "prerouting")  # before the bridge learns where an address is
    yield f"add rule bridge {TABLE} guard iifname != @doors {where}ether saddr {MAC} drop"
    yield from _chain("border", "forward")  # where a VLAN's tag has been taken off
    yield f"add rule bridge {TABLE} border iifname @doors oifname @uplinks drop"
    yield f"add rule bridge {TABLE} border iifname @doors accept"
    yield f"add rule bridge {TABLE} border iifname @uplinks oifname @doors drop"
    for claim in (
        f"arp saddr ip {ADDRESS}",
        f"ip saddr {ADDRESS}",
        f"ip6 saddr {ADDRESS6}",
        f"icmpv6 type nd-neighbor-advert {_TARGET}",
    ):
        yield f"add rule bridge {TABLE} border {where}{claim} drop"
    for question in (f"ether daddr {MAC}", f"icmpv6 type nd-neighbor-solicit {_TARGET}"):
        yield f"add rule bridge {TABLE} border oifname != @doors {where}{question} drop"


def _sets(around: Surroundings) -> Iterator[str]:
    yield f"add table bridge {TABLE}"
    for name, devices in (("doors", around.doors), ("uplinks", around.uplinks), ("bridges", around.bridges)):
        yield f"add set bridge {TABLE} {name} {{ type ifname ; }}"
        yield f"flush set bridge {TABLE} {name}"
        if devices:
            yield f"add element bridge {TABLE} {name} {{ {', '.join(_quoted(sorted(devices)))} }}"


def _forget(gone: Iterable[str]) -> Iterator[str]:
    """Whether they are there or not: what is added first can be deleted."""
    for bridge in gone:
        yield f"add table ip {TABLE}"
        yield f"add map ip {TABLE} ep_{bridge} {_MAP}"
        yield f"delete map ip {TABLE} ep_{bridge}"
        yield f"add table bridge {TABLE}"
        yield f"add chain bridge {TABLE} ch_{bridge}"
        yield f"delete chain bridge {TABLE} ch_{bridge}"


def _chain(name: str, hook: str) -> Iterator[str]:
    yield f"add chain bridge {TABLE} {name} {{ type filter hook {hook} priority filter; policy accept; }}"
    yield f"flush chain bridge {TABLE} {name}"


def _quoted(devices: Iterable[str]) -> list[str]:
    return [f'"{device}"' for device in devices]


def _endpoint(port: Any, goal: Any) -> Endpoint:
    address, remote = goal["concat"]
    return Endpoint(int(port), str(address), int(remote))


def _objects(text: str, kind: str) -> list[dict[str, Any]]:
    try:
        return [each[kind] for each in json.loads(text)["nftables"] if kind in each]
    except (ValueError, KeyError, TypeError) as error:
        raise _unexpected(error) from None


def _unexpected(error: Exception) -> StartError:
    return StartError(f"nft printed what was not expected: {error!r}")


def _nft(*arguments: str, text: str = "") -> str:
    try:
        environment = {**os.environ, "LC_ALL": "C"}  # its errors are looked at
        ended = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, check=False, env=environment
        )
    except FileNotFoundError:
        raise StartError("nft is not installed; it is in the package nftables") from None
    except OSError as error:
        raise StartError(f"cannot run nft: {error.strerror}") from None
    if ended.returncode:
        said = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise StartError(f"nft {' '.join(arguments)}: {said}")
    return ended.stdout
