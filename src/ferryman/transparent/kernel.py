"""The kernel's side: what of a setup is there, installing it all or not at all, removing exactly what was installed.

Called by cli.transparent. Runs nft(8) and ip(8), in the network namespace of the process. Of the firewall only the
table `inet ferryman` is touched; of the routing only what carries our protocol number.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from ferryman.errors import StartError
from ferryman.transparent import ruleset
from ferryman.transparent.ruleset import PROTOCOL, TABLE
from ferryman.transparent.setup import Setup

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """What is there of ours. Routing as the words for `ip -FAMILY rule|route add`."""

    table: bool
    rules: tuple[tuple[str, str, int], ...]  # chain, comment, packets counted
    routing: tuple[Command, ...]

    @property
    def anything(self) -> bool:
        return self.table or bool(self.routing)

    def missing(self, setup: Setup) -> list[str]:
        """What of the setup is not there, or is there and does not belong to it; [] if all is as it should be."""
        wanted = [(rule.chain, rule.comment) for rule in ruleset.rules(setup)]
        there = [(chain, comment) for chain, comment, _ in self.rules]
        found = [f"missing: rule {chain}: {comment}" for chain, comment in wanted if (chain, comment) not in there]
        found += [f"not wanted: rule {chain}: {comment}" for chain, comment in there if (chain, comment) not in wanted]
        if not found and wanted != there:
            found.append("the rules are in another order")
        if not self.table and not found and wanted:
            found.append(f"missing: table {TABLE}")
        routing = _wanted_routing(setup)
        found += [f"missing: {' '.join(each)}" for each in routing if each not in self.routing]
        return found + [f"not wanted: {' '.join(each)}" for each in self.routing if each not in routing]


def look() -> Present:
    """Raises StartError."""
    listed = _run(("nft", "-j", "list", "tables"))
    names = [each["table"] for each in json.loads(listed)["nftables"] if "table" in each]
    there = any(f"{name['family']} {name['name']}" == TABLE for name in names)
    rules: list[tuple[str, str, int]] = []
    if there:
        for each in json.loads(_run(("nft", "-j", "list", "table", *TABLE.split())))["nftables"]:
            if "rule" in each:
                rules.append(_rule(each["rule"]))
    return Present(there, tuple(rules), tuple(_routing()))


def apply(setup: Setup) -> bool:
    """Install it in place of whatever of ours was there before; False: it is there already.

    Raises StartError, and then everything is as it was.
    """
    before = look()
    if not before.missing(setup):
        return False
    wanted = _wanted_routing(setup)
    _refuse_used_table(setup)
    done: list[Command] = []
    try:
        for each in wanted:
            if each not in before.routing:
                _run(each)
                done.append(each)
        _run(("nft", "-f", "-"), ruleset.script(setup) if setup.catches or setup.answers else _removal(before))
    except StartError as error:
        raise StartError("\n".join([str(error), *_undo(done)])) from None
    for each in before.routing:
        if each not in wanted:
            _run(_opposite(each))
    return True


def removal(present: Present) -> list[Command]:
    """The commands that remove what is there, and nothing else."""
    table = [("nft", "delete", "table", *TABLE.split())] if present.table else []
    return [*table, *(_opposite(each) for each in reversed(present.routing))]


def clear() -> list[Command]:
    """Remove what is there; what was done for that. Raises StartError."""
    wanted = removal(look())
    for command in wanted:
        _run(command)
    return wanted


def _undo(done: list[Command]) -> list[str]:
    """Take back what was done; what could not be."""
    failures = []
    for each in reversed(done):
        try:
            _run(_opposite(each))
        except StartError as error:
            failures.append(f"and this could not be undone: {error}")
    return failures


def _removal(before: Present) -> str:
    return f"delete table {TABLE}\n" if before.table else ""


def _wanted_routing(setup: Setup) -> list[Command]:
    return [
        ("ip", f"-{each.family}", kind, "add", *text.split())
        for each in ruleset.routings(setup)
        for kind, text in (("rule", each.rule), ("route", each.route))
    ]


def _routing() -> list[Command]:
    """Rules and routes that carry our number, in the words of ruleset.routings."""
    found: list[Command] = []
    for family in ("4", "6"):
        for rule in json.loads(_run(("ip", "-j", f"-{family}", "rule", "show")) or "[]"):
            if str(rule.get("protocol")) == str(PROTOCOL):
                text = f"priority {rule['priority']} fwmark {rule.get('fwmark')} lookup {rule['table']}"
                found.append(("ip", f"-{family}", "rule", "add", *text.split(), "protocol", str(PROTOCOL)))
        listed = _run(("ip", "-j", f"-{family}", "route", "show", "table", "all", "protocol", str(PROTOCOL)))
        for route in json.loads(listed or "[]"):
            text = f"{route.get('type', 'unicast')} {route['dst']} dev {route['dev']} table {route['table']}"
            found.append(("ip", f"-{family}", "route", "add", *text.split(), "protocol", str(PROTOCOL)))
    return found


def _refuse_used_table(setup: Setup) -> None:
    """Routes of somebody else would be followed by what we mark."""
    for family in ("4", "6") if ruleset.routings(setup) else ():
        for route in json.loads(_run(("ip", "-j", f"-{family}", "route", "show", "table", "all")) or "[]"):
            if str(route.get("table")) == str(setup.table) and str(route.get("protocol")) != str(PROTOCOL):
                used = f"routing table {setup.table} has other routes (ip route show table {setup.table})"
                raise StartError(f"{used}; choose another one with --table")


def _rule(data: dict[str, Any]) -> tuple[str, str, int]:
    packets = next((each["counter"]["packets"] for each in data["expr"] if "counter" in each), -1)
    return data["chain"], data.get("comment", ""), packets


def _opposite(command: Command) -> Command:
    return tuple("del" if word == "add" else word for word in command)


def _run(command: Command, text: str = "") -> str:
    """What it printed. Raises StartError with what it said."""
    try:
        ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        package = {"nft": "nftables", "ip": "iproute2"}[command[0]]
        raise StartError(f"{command[0]} is not installed; it is in the package {package}") from None
    if ended.returncode:
        said = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise StartError(f"{' '.join(command)}: {said}")
    return ended.stdout
