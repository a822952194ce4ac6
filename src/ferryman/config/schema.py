"""The JSON Schema of the native configuration, for editors (yaml-language-server) and other tools.

Made from config.model, used by `ferryman schema` and by the reference documentation.
"""

from __future__ import annotations

from typing import Any

from ferryman.config.model import Configuration


def schema() -> dict[str, Any]:
    """The schema, in JSON Schema's draft 2020-12. It knows no references: that a backend exists is the compiler's."""
    made = Configuration.model_json_schema(by_alias=True, mode="validation")
    _tidy(made)
    made["patternProperties"] = {"^x-": {"description": "room for YAML anchors; left out"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ferryman configuration",
        "description": "Listeners, where they lead, and what concerns the process as a whole.",
        **{key: value for key, value in made.items() if key not in ("title", "description")},
    }


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
