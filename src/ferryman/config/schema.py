"""The JSON Schema of the native configuration, for editors (yaml-language-server) and other tools.

Made from config.model, used by `ferryman schema` and by the reference documentation.
"""

from __future__ import annotations

from typing import Any

from ferryman.config.model import Configuration


def schema() -> dict[str, Any]:
    """The schema, in JSON Schema's draft 2020-12. It knows no references: that a backend exists is the compiler's."""
    made = Configuration.model_json_schema(by_alias=True, mode="validation")
    _without_titles(made)
    made["patternProperties"] = {"^x-": {"description": "room for YAML anchors; left out"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ferryman configuration",
        "description": "Listeners, where they lead, and what concerns the process as a whole.",
        **{key: value for key, value in made.items() if key not in ("title", "description")},
    }


def _without_titles(node: object) -> None:
    """Drop the titles pydantic makes of field names: editors would show them beside the names themselves."""
    if isinstance(node, list):
        for entry in node:
            _without_titles(entry)
    elif isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for entry in node.values():
            _without_titles(entry)
