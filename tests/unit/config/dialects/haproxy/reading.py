"""Reading text in tests: what a haproxy.cfg becomes, and what was found in it."""

from __future__ import annotations

from typing import Any

from ferryman.config.dialects import haproxy
from ferryman.config.source import Diagnostics, Document, Source

TIMEOUTS = "defaults\n timeout connect 1s\n timeout client 2s\n timeout server 3s\n"


def document(text: str, environment: dict[str, str] | None = None) -> tuple[Document, list[str]]:
    """The document, and every finding as text."""
    diagnostics = Diagnostics()
    found = haproxy.parse([Source("h.cfg", text)], diagnostics, environment or {})
    return found, [str(finding) for finding in diagnostics.found]


def parsed(text: str, environment: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """The native data, and every finding as text."""
    found, findings = document(text, environment)
    return found.data, findings


def frontend(*lines: str) -> Any:
    """The native listener of a frontend with these lines, in which nothing is found wrong."""
    data, findings = parsed(TIMEOUTS + "frontend f\n bind :1\n" + "".join(f" {line}\n" for line in lines))
    assert findings == []
    return data["listeners"]["f"]


def backend(*lines: str) -> Any:
    """The native backend with these lines, in which nothing is found wrong."""
    data, findings = parsed(TIMEOUTS + "backend b\n" + "".join(f" {line}\n" for line in lines))
    assert findings == []
    return data["backends"]["b"]


def findings(*lines: str, section: str = "frontend f\n bind :1") -> list[str]:
    """What is found in a section with these lines, without the name of the file."""
    _, found = parsed(f"{section}\n" + "".join(f" {line}\n" for line in lines) + TIMEOUTS)
    return [finding.removeprefix("h.cfg:") for finding in found if "hangs for ever" not in finding]
