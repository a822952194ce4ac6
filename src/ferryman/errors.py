"""The exceptions ferryman raises on purpose; anything else that escapes is a bug.

    FerrymanError
    ├── ConfigError     a configuration was refused as a whole; carries every diagnostic
    ├── StartError      the configuration is fine, this machine is not: a port is taken, a user is missing
    └── ControlError    the running process could not be reached, or refused what it was asked

Messages are for people: they name the file, the value and what to do, and never contain a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferryman.config.source import Diagnostics


class FerrymanError(Exception):
    """The root: catch this to catch everything above."""


class ConfigError(FerrymanError):
    """A configuration was refused; `diagnostics` names every mistake with its place."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__(f"{diagnostics.errors} error(s) in the configuration")
        self.diagnostics = diagnostics


class StartError(FerrymanError):
    """The machine lacks something the configuration needs; the text says what and how to go on."""


class ControlError(FerrymanError):
    """No answer, or a refusal, from the running ferryman."""
