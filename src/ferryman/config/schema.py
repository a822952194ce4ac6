"""The JSON Schema of the native configuration, for editors (yaml-language-server) and other tools.

Made from config.model, used by `ferryman schema` and by the reference documentation.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ferryman.config.fields import Section
from ferryman.config.model import Configuration


def schema() -> dict[str, Any]:
    """The schema, in JSON Schema's draft 2020-12. It knows no references: that a backend exists is the compiler's."""
    made = Configuration.model_json_schema(by_alias=True, mode="validation")
    _describe(made)
    _tidy(made)
    made["patternProperties"] = {"^x-": {"description": "room for YAML anchors; left out"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ferryman configuration",
        "description": "Listeners, where they lead, and what concerns the process as a whole.",
        **{key: value for key, value in made.items() if key not in ("title", "description")},
    }


def _describe(made: dict[str, Any]) -> None:
    """Give every property what stands under its field. Pydantic could, but would read all sources at every import."""
    for section in _below(Section):
        place = made if section is Configuration else made["$defs"].get(section.__name__, {})
        texts = {name: text for each in reversed(section.__mro__) for name, text in _texts(each)}
        for name, field in section.model_fields.items():
            if name in texts and (key := field.alias or name) in place.get("properties", {}):
                place["properties"][key]["description"] = texts[name]


def _below(section: type[Section]) -> Iterator[type[Section]]:
    for each in section.__subclasses__():
        yield each
        yield from _below(each)


def _texts(section: type) -> Iterator[tuple[str, str]]:
    """The fields of a class that have a text under them, and the text."""
    if not issubclass(section, Section):
        return
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, inspect.cleandoc(words)


def _tidy(node: object) -> None:
    """Drop the titles made of field names, which editors would show beside them, and refuse names of other forms."""
    if isinstance(node, list):
        for entry in node:
            _tidy(entry)
    elif isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for entry in node.values():
            _tidy(entry)
