"""The section of the native schema for destinations that connections name themselves.

Part of config.model; the same rules hold: field descriptions are the reference documentation.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from ferryman.config.fields import Seconds, Section, one_or_list, text_for
from ferryman.rules.match import Matcher, PatternError
from ferryman.rules.template import parse


def _template(value: str) -> str:
    parse(value)
    return value


def _name(value: str) -> str:
    try:
        Matcher.build("name", [value])
    except PatternError as error:
        raise ValueError(f"{value!r}: {error}; write host.example, or *.example.org for all below") from None
    return value


class DestinationSettings(Section):
    """Where connections go that say so themselves. Plain text stands for {to: …}."""

    to: Annotated[str, AfterValidator(_template)]
    """HOST:PORT with facts in it: {sni}, {sni-N} (without its last N labels), {local_address}, {local_port},
    {original_address}, {original_port} (of listeners with `transparent`), {proxy_port}"""
    names: Annotated[
        list[Annotated[str, AfterValidator(_name)]],
        BeforeValidator(one_or_list, json_schema_input_type=str | list[str]),
    ] = []
    """hosts that it may be, host.example or *.example.org; none: any"""
    egress_guard: bool = True
    """refuse what leads to this machine, the local link or cloud metadata (its own listeners are always refused)"""
    egress_allow: Annotated[list[str], BeforeValidator(one_or_list, json_schema_input_type=str | list[str])] = []
    """addresses, networks and names (*.example.org) that the guard lets through all the same"""
    resolve_timeout: Seconds | None = 10.0
    """for the name to be resolved; none or 0: no limit"""


Destination = Annotated[
    DestinationSettings, text_for("to", DestinationSettings, ["{sni}:443", "{original_address}:{original_port}"])
]
