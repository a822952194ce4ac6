"""What can be told from outside of guests that do not reach the services. Hints only: they may not want to.

Called by opennebula.doctor. Asks the bridge whom it has seen, the namespace whom it has heard, and iptables what
OpenNebula's security groups let out; changes nothing, and asks no guest anything.

Source: OpenNebula's manual, "Transparent Proxies", "Guest Configuration" and "Security Groups"; bridge(8).
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from ferryman.opennebula.names import ADDRESS, inner

_FILTERED: Final = "/proc/sys/net/bridge/bridge-nf-call-iptables"
_MANY: Final = 3
"""More addresses than a guest has behind its port: there are other machines."""

Hint = tuple[str, str]
"""What there is, and what to do if that is not meant so."""


def hints(
    bridge: str, ports: Collection[str], services: Collection[int], filters: Mapping[str, Sequence[str]]
) -> Iterator[Hint]:
    """What is to be said of the guests behind these ports of a bridge; `filters`: as the function gives them."""
    behind = seen(_json("bridge", "-json", "fdb", "show", "br", bridge), ports)
    heard = {each.get("lladdr", "") for each in _json("ip", "-json", "-netns", inner(bridge), "neighbour", "show")}
    crowded = {port for port, found in behind.items() if len(found) >= _MANY}
    for port in sorted(crowded):
        message = f"{len(behind[port])} addresses are behind {port}, as if there were other hosts"
        yield message, f"if there are: `ferryman tproxy up {bridge} --uplink {port}`"
    silent = sorted(port for port, found in behind.items() if port not in crowded and not found & heard)
    if silent:
        what = f"the guest behind {silent[0]} has" if len(silent) == 1 else f"the guests behind {_list(silent)} have"
        route = f"{ADDRESS} dev eth0 scope link"
        advice = f"there, `ip route show to {ADDRESS}` is to print `{route}`; `ip route add {route}` makes it so"
        yield f"{what} not asked for {ADDRESS} lately", advice
    for port in sorted(ports):
        if shut := [each for each in sorted(services) if not lets_out(filters.get(f"{port}-o", ()), each)]:
            message = f"the security groups of {port} do not let it out to {_list(map(str, shut))}"
            yield message, "allow it, if it is to reach them: protocol TCP, outbound, these ports"


def seen(table: Sequence[Mapping[str, Any]], ports: Collection[str]) -> dict[str, set[str]]:
    """The MAC addresses behind each port, as bridge(8) prints them as JSON."""
    found: dict[str, set[str]] = {}
    for each in table:
        if each.get("ifname") in ports and each.get("state") != "permanent" and "self" not in each.get("flags", ()):
            found.setdefault(each["ifname"], set()).add(each["mac"])
    return found


def lets_out(rules: Sequence[str], port: int) -> bool:
    """Do the rules of a chain, as iptables-save(8) prints them, let new connections to a TCP port pass?

    Where that cannot be told, as with sets of addresses, they do.
    """
    for rule in rules:
        words = shlex.split(rule)[2:]
        value = {word: words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("-")}
        if words == ["-j", "DROP"]:
            return False
        if value.get("-j") not in ("RETURN", "ACCEPT") or value.get("-p", "tcp") not in ("tcp", "all"):
            continue
        if "ESTABLISHED" in value.get("--ctstate", value.get("--state", "")):
            continue
        ranges = (each.partition(":") for each in value.get("--dports", value.get("--dport", "0:65535")).split(","))
        if any(int(first) <= port <= int(last or first) for first, _, last in ranges):
            return True
    return True


def filters() -> dict[str, list[str]]:
    """The rules of security groups by chain; none where packets within a bridge do not get there."""
    found: dict[str, list[str]] = {}
    try:
        with open(_FILTERED) as file:
            filtered = file.read().strip() == "1"
    except FileNotFoundError:
        filtered = False
    if not filtered or shutil.which("iptables-save") is None:
        return found
    ended = subprocess.run(["iptables-save", "-t", "filter"], capture_output=True, text=True, check=False)
    for line in ended.stdout.splitlines():
        if line.startswith("-A one-"):
            found.setdefault(line.split()[1], []).append(line)
    return found


def _list(words: Iterator[str] | Sequence[str]) -> str:
    shown = list(words)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _json(*command: str) -> list[dict[str, Any]]:
    """Nothing where it fails, as with a bridge of Open vSwitch: these are only hints."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if ended.returncode else json.loads(ended.stdout or "[]")
