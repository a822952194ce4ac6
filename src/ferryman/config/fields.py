"""What the sections of the native schema are made of: their base, durations, sizes, addresses, conditions, short forms.

Used by config.model and config.model_connect. Imported lazily like these: pydantic is slow to load.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SerializationInfo, WithJsonSchema

from ferryman.config.values import format_seconds, format_size, parse_connect_address, parse_seconds, parse_size
from ferryman.plan import Address


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors.

    What stands under a field is its description (config.schema). Validators are made when first needed: every command
    loads the schema, and few need it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


def one_or_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def text_for(key: str, section: type[BaseModel], examples: Sequence[str]) -> BeforeValidator:
    """Plain text stands for a mapping with this one key."""
    return BeforeValidator(
        lambda value: {key: value} if isinstance(value, str) else value,
        json_schema_input_type=Annotated[str, WithJsonSchema({"type": "string", "examples": examples})] | section,
    )


def _in_full(name: str, info: SerializationInfo) -> str:
    return os.path.abspath(os.path.join(info.context["folder"], name)) if name and info.context else name


FileName = Annotated[str, PlainSerializer(_in_full)]
"""Of a file that is read. Dumped in full if the context says the `folder` that it is relative to."""

Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    PlainSerializer(format_seconds),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+$|^[0-9]+(\.[0-9]+)?$|\$\{",
            "minimum": 0,
            "examples": ["500ms", "10s", "1m", "2h"],
        }
    ),
]
"""A duration: "500ms", "10s", "1m", "2h", "1d", or a number of seconds."""

Interval = Annotated[Seconds, Field(ge=0.01)]

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+ ?([kKMG]i?B?)?$|\$\{",
            "minimum": 0,
            "examples": ["64KiB", "4MB"],
        }
    ),
]
"""A number of bytes: "64KiB", "4MB" (which are powers of 1024), or a plain number."""

CONNECT_EXAMPLES = ["192.0.2.7:443", "[2001:db8::7]:443", "host.example:443", "unix@/run/x.sock"]
Connect = Annotated[
    Address,
    BeforeValidator(parse_connect_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": CONNECT_EXAMPLES}),
]
"""Where to connect."""

Condition = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A test such as {sni: '*.example.org'} (several keys: all must hold), a list (one must "
            "hold), the name of an entry of `tests`, or {all: [...]}, {any: [...]}, {not: ...}.",
            "type": ["object", "array", "string", "null"],
        }
    ),
]
"""Checked by config.conditions, which knows the facts and methods."""
