"""The languages ferryman reads. Each module knows one and ends in native data; none imports another.

A dialect has `NAME`, `recognise(source) -> int` (0: not mine, 100: surely mine; looks at words, parses nothing) and
`parse(sources, diagnostics, environment) -> Document`, which reports every mistake and raises nothing for bad text.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

from ferryman.config.source import Diagnostics, Document, Source

DIALECTS: Final = {
    "ferryman": "native",
    "haproxy": "haproxy",
    "squid": "squid",
    "trafficserver": "ats",
    "stunnel": "stunnel",
    "mtc": "mtc",
}
"""Name, as in `--as NAME`, to module of this package."""


class Dialect(Protocol):
    """What a dialect's module offers."""

    NAME: str

    def recognise(self, source: Source) -> int: ...
    def parse(
        self, sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]
    ) -> Document: ...


def module(name: str) -> Dialect:
    """The module of a dialect in DIALECTS, loaded when first needed."""
    return cast(Dialect, importlib.import_module(f"{__name__}.{DIALECTS[name]}"))
