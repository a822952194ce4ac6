"""The egress guard: what it lets through, and where clients get to that none should when it is off.

Called by config.compile_connect and compile_destination. Plays `access` through for addresses inside (this machine, the
local link, the metadata of clouds); whatever else a rule asks for, such as who the client is, may or may not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferryman.config.source import Path, Report
from ferryman.rules.access import Access
from ferryman.rules.condition import All, Any, Condition, Named, Not, State, Test
from ferryman.rules.facts import UNKNOWN, Facts
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Network, Networks, network

_INSIDE: Final = ("127.0.0.1", "::1", "169.254.169.254")
_KNOWN: Final = ("target_host", "target_address", "always_true", "always_false")


def compile_egress(
    entries: Sequence[str], guarded: bool, path: Path, report: Report
) -> tuple[Networks, Matcher | None]:
    """What the guard lets through, by address and by name. `path` is where `egress_allow` stands."""
    networks: list[Network] = []
    names: list[str] = []
    for number, entry in enumerate(entries):
        try:
            if "/" in entry or ":" in entry or entry.replace(".", "").isdigit():
                networks.append(network(entry))
            else:
                Matcher.build("name", [entry])
                names.append(entry)
        except ValueError as error:
            at = (*path, "egress_allow", number)
            report.error(at, f"{entry}: {error}", "write 10.0.0.0/8, ::1, host.example or *.example.org")
    if entries and not guarded:
        report.warning((*path, "egress_allow"), "this allows nothing new: the guard is off", "remove it")
    return Networks.of(networks), Matcher.build("name", names) if names else None


def warn_of_inside(rules: Sequence[Access] | None, path: Path, report: Report) -> None:
    """`path` is that of `connect`; None is no list at all, which lets everybody go everywhere."""
    reached: dict[Path, list[str]] = {}
    for address in _INSIDE:
        facts = Facts("", 0, "", 0, target_host=address, target_addresses=(address,))
        if rules is None:
            reached.setdefault((*path, "egress_guard"), []).append(address)
        elif (number := _lets_in(rules, facts)) is not None:
            reached.setdefault((*path, "access", number), []).append(address)
    for at, addresses in reached.items():
        message = f"clients let in here can reach {', '.join(addresses)} as this machine does: the guard is off"
        report.warning(at, message, "refuse such addresses before, or run with --egress-guard")


def _lets_in(rules: Sequence[Access], facts: Facts) -> int | None:
    """The first rule that may allow it."""
    for number, rule in enumerate(rules):
        state = True if rule.condition is None else _state(rule.condition, facts)
        if rule.allow and state is not False:
            return number
        if not rule.allow and state is True:
            return None
    return None


def _state(condition: Condition, facts: Facts) -> State:
    """UNKNOWN where it depends on more than the target."""
    match condition:
        case Test():
            return condition.state(facts) if condition.expression.fact.name in _KNOWN else UNKNOWN
        case Named():
            return _state(condition.condition, facts)
        case Not():
            state = _state(condition.part, facts)
            return state if state is UNKNOWN else not state
        case All() | Any():
            decisive = isinstance(condition, Any)
            states = [_state(part, facts) for part in condition.parts]
            return decisive if decisive in states else UNKNOWN if UNKNOWN in states else not decisive
