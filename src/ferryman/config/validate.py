"""Document to Configuration: runs the model over the data and says every mistake at its place, in plain words.

Called by config.load. Looks at one value at a time; what depends on several is config.compile's.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ferryman.config.fields import Section
from ferryman.config.model import (
    BackendSettings,
    Configuration,
    GlobalSettings,
    ListenerSettings,
    PagesSettings,
    ServerSettings,
    section_at,
)
from ferryman.config.model_connect import ConnectSettings
from ferryman.config.nearest import nearest
from ferryman.config.source import Diagnostics, Document, Mark, Path
from ferryman.config.values import shown

_HOMES: Final[dict[str, type[Section]]] = {
    "`global`": GlobalSettings,
    "a listener": ListenerSettings,
    "a backend": BackendSettings,
    "a server": ServerSettings,
    "`pages`": PagesSettings,
    "`connect`": ConnectSettings,
}
_WRONG_TYPE: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_TRUTHS: Final = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
_MOST_REPAIRED: Final = 50


def validate(document: Document, diagnostics: Diagnostics) -> Configuration | None:
    """The configuration, or None when the data does not fit the schema; every mistake is reported."""
    try:
        return Configuration.model_validate(document.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _report(detail, document, diagnostics)
        return None


def salvage(document: Document) -> tuple[Document, Configuration] | None:
    """What is left of a faulty document without its faulty parts, so that the rest can be looked at all the same."""
    data, marks = copy.deepcopy(document.data), dict(document.marks)
    for _ in range(6):  # removing a value may leave its section without something it needs
        remaining = Document(document.dialect, data, marks, document.keys)
        try:
            return remaining, Configuration.model_validate(data)
        except ValidationError as error:
            paths = {_faulty_path(detail, data) for detail in error.errors(include_url=False)}
        if () in paths or len(paths) > _MOST_REPAIRED:
            return None
        for path in sorted(paths, key=_order, reverse=True):
            _remove(data, path)
            if isinstance(path[-1], int):
                marks = _close_gap(marks, path)
    return None


def _report(detail: ErrorDetails, document: Document, diagnostics: Diagnostics) -> None:
    path = _data_path(detail["loc"], document.data)
    kind = detail["type"]
    name = ".".join(map(str, path)) or "the configuration"
    if kind == "missing":
        inside = ".".join(map(str, path[:-1]))
        message = f"{path[-1]} is missing" + (f" in {inside}" if inside else "")
        diagnostics.error(document.key(path[:-1]), message, f"add `{path[-1]}:`")
    elif kind == "extra_forbidden":
        diagnostics.error(document.key(path), f"unknown key {name}", _key_hint(path))
    elif "[key]" in detail["loc"]:
        message = f"{shown(path[-1])} cannot be a name: letters, digits and -_.: may be in it, 255 at most"
        diagnostics.error(document.key(path), message, "choose another name")
    else:
        message, hint = _explain(detail)
        diagnostics.error(document.mark(path), f"{name}: {message}", hint)


def _explain(detail: ErrorDetails) -> tuple[str, str]:
    """(what is wrong with a value, hint)."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return message, hint
    if kind in _WRONG_TYPE:
        hint = ""
        if kind == "bool_type" and str(value).lower() in _TRUTHS:
            hint = f"write {_TRUTHS[str(value).lower()]}"
        elif kind == "string_type" and isinstance(value, int | float):
            hint = f'quote it: "{value}"'
        elif kind == "int_type" and isinstance(value, str) and value.isdigit():
            hint = "write it without quotes"
        return f"must be {_WRONG_TYPE[kind]}, not {_shown(value)}", hint
    if kind == "literal_error":
        expected = str(context["expected"])
        return f"{_shown(value)} is none of {expected}", nearest(str(value), expected.replace("'", "").split(", "))
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if kind == "greater_than_equal" else f"at most {context['le']}"
        return f"must be {bound}, not {_shown(value)}", ""
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} is not of the form {context['pattern']}", ""
    return f"{detail['msg']}, not {_shown(value)}", ""


def _shown(value: object) -> str:
    words = {True: "true", False: "false", None: "nothing"}
    return words[value] if value is None or isinstance(value, bool) else shown(value)


def _key_hint(path: Path) -> str:
    section, key = section_at(path[:-1]), str(path[-1])
    if section is None:
        return ""
    if homes := [home for home, model in _HOMES.items() if key in model.model_fields]:
        return f"it belongs in {' or '.join(homes)}"
    known = [info.alias or name for name, info in section.model_fields.items()]
    return nearest(key, known) or (f"there are {', '.join(known)}" if len(known) <= 10 else "")


def _data_path(loc: tuple[str | int, ...], data: object) -> Path:
    """The error's location as a path in the data: without the tags of unions and what short forms stand for."""
    path: list[str | int] = []
    current: Any = data
    for part in loc:
        if isinstance(part, str) and part.startswith(("<", "[key]")):
            continue
        path.append(part)
        if isinstance(current, dict) and isinstance(part, str):
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            current = current[part]
        else:
            path.pop()
    return tuple(path)


def _faulty_path(detail: ErrorDetails, data: object) -> Path:
    path = _data_path(detail["loc"], data)
    return path[:-1] if detail["type"] == "missing" else path


def _order(path: Path) -> tuple[tuple[bool, int, str], ...]:
    return tuple((isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in path)


def _remove(data: Any, path: Path) -> None:
    *around, last = path
    for part in around:
        data = data[part]
    if around == ["backends"] and data[last] != {}:
        data[last] = {}  # keeps what refers to it from looking wrong as well
    elif isinstance(last, int) or last in data:
        del data[last]


def _close_gap(marks: dict[Path, Mark], path: Path) -> dict[Path, Mark]:
    """The marks once the list entry at `path` is gone and those behind it have moved up."""
    at, index = len(path) - 1, path[-1]
    moved: dict[Path, Mark] = {}
    for of, mark in marks.items():
        if len(of) <= at or of[:at] != path[:at]:
            moved[of] = mark
        elif (part := of[at]) != index:
            later = isinstance(part, int) and isinstance(index, int) and part > index
            moved[(*of[:at], part - 1, *of[at + 1 :]) if later and isinstance(part, int) else of] = mark
    return moved
