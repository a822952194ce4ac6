"""Configuration to native YAML text, for `ferryman convert`: only what differs from the defaults, in the short forms.

Reading the text again gives the same plan. Comments of the original are not kept: no dialect hands them on.
"""

from __future__ import annotations

from typing import Any

import yaml

from ferryman.config.dialects.native import resolve
from ferryman.config.model import Configuration
from ferryman.config.model_check import shortened_check
from ferryman.config.model_connect import shortened
from ferryman.config.model_origin import shortened_origin
from ferryman.config.model_proxy import shortened_proxy
from ferryman.config.model_tls import shortened_cases, shortened_server


def emit(configuration: Configuration, folder: str | None = None, password: str = "") -> str:
    """YAML text, ending with a newline. `folder`: files are named in full, relative names being relative to that.
    `password`: the environment variable that stands for passwords of proxies on the way to servers, if they are not to
    be written down.
    """
    context = None if folder is None else {"folder": folder}
    data = configuration.model_dump(by_alias=True, exclude_defaults=True, context=context)
    settings = data.get("global", {})
    _shorten_logs(settings)
    if "runtime_sockets" in settings:
        settings["runtime_sockets"] = _shorten(settings["runtime_sockets"], "address")
    for listener in data["listeners"].values():
        _shorten_logs(listener)
        listener["bind"] = listener["bind"][0] if len(listener["bind"]) == 1 else listener["bind"]
        _shorten_servers(listener)
        if "tls" in listener:
            listener["tls"] = shortened_cases(listener["tls"])
        for rule in listener.get("connect", {}).get("via", []):
            rule["through"] = shortened(rule["through"])
        if "backend" in listener:
            _shorten_servers(listener["backend"])
            if listener["backend"].keys() == {"servers"} and "servers" not in listener:
                listener["servers"] = listener.pop("backend")["servers"]
    for backend in data.get("backends", {}).values():
        for hop in (hop for way in backend.get("via", []) for hop in way if password and "password" in hop):
            hop["password"] = _Variable(f"${{{password}}}")
        _shorten_servers(backend)
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=float("inf"), allow_unicode=True)


def _shorten(entries: list[dict[str, Any]], key: str) -> list[Any]:
    """Entries of which only this key is said become its value, unless that is a mapping itself."""
    return [entry[key] if entry.keys() == {key} and isinstance(entry[key], str) else entry for entry in entries]


def _shorten_servers(section: dict[str, Any]) -> None:
    for entry in (section, *section.get("servers", [])):
        if "source" in entry:
            entry["source"] = shortened_origin(entry["source"])
    for each in (section, *section.get("servers", [])):
        if "send_proxy" in each:
            each["send_proxy"] = shortened_proxy(each["send_proxy"])
        if "check" in each:
            each["check"] = shortened_check(each["check"])
    for each in section.get("servers", []):
        if "tls" in each:
            each["tls"] = shortened_server(each["tls"])
    if isinstance(section.get("tls"), bool | dict):
        section["tls"] = shortened_server(section["tls"])
    if "servers" in section:
        section["servers"] = _shorten(section["servers"], "address")
    if "via" in section:
        section["via"] = shortened(section["via"])


def _shorten_logs(section: dict[str, Any]) -> None:
    if section.get("log"):
        entries = _shorten([entry or {"target": "stdout"} for entry in section["log"]], "target")
        section["log"] = entries[0] if len(entries) == 1 else entries


class _Dumper(yaml.SafeDumper):
    """Indents lists, never makes anchors, and quotes what the native dialect would not read as the same text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


class _Variable(str):
    """A reference to a variable, to be written as it is."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    written = text.replace("${", "$${")
    style = '"' if resolve(text) != text or "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", written, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _Variable, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)
