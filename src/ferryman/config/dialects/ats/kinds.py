"""Which of Traffic Server's files is it? Told by what stands in it, and by its name where nothing does.

Called by the package's `recognise` and `parse`. Looks at words, parses nothing.
"""

from __future__ import annotations

import os
import re
from typing import Final

from ferryman.config.source import Source

SNI: Final = "sni"
RECORDS: Final = "records"
RECORDS_YAML: Final = "records.yaml"
MULTICERT: Final = "multicert"
IP_ALLOW: Final = "ip_allow"
OTHER: Final = "other"  # of HTTP, the cache or logs

_PATTERNS: Final = (
    (SNI, re.compile(r"^sni[ \t]*:", re.MULTILINE)),
    (IP_ALLOW, re.compile(r"^ip_(?:allow|categories)[ \t]*:", re.MULTILINE)),
    (RECORDS_YAML, re.compile(r"^(?:ts|records)[ \t]*:", re.MULTILINE)),
    (RECORDS, re.compile(r"^[ \t]*(?:CONFIG|LOCAL)[ \t]+proxy\.", re.MULTILINE)),
    (MULTICERT, re.compile(r"^[ \t]*(?:[\w.]+=\S+[ \t]+)*ssl_(?:cert|key)_name=", re.MULTILINE)),
)
_NAMES: Final = {
    "sni.yaml": SNI,
    "records.config": RECORDS,
    "records.yaml": RECORDS_YAML,
    "ssl_multicert.config": MULTICERT,
    "ip_allow.yaml": IP_ALLOW,
}
_OTHERS: Final = frozenset(
    (
        *("cache.config", "cache.yaml", "hosting.config", "ip_categories.yaml", "jsonrpc.yaml", "logging.yaml"),
        *("parent.config", "plugin.config", "plugin.yaml", "remap.config", "remap.yaml", "socks.config"),
        *("splitdns.config", "ssl_multicert.yaml", "storage.config", "storage.yaml", "strategies.yaml"),
        *("virtualhost.yaml", "volume.config"),
    )
)


def kind(source: Source) -> str:
    """One of the above; "": none of Traffic Server's, as far as can be told."""
    for name, pattern in _PATTERNS:
        if pattern.search(source.text):
            return name
    base = os.path.basename(source.name)
    return _NAMES.get(base) or (OTHER if base in _OTHERS else "")


def is_bare(source: Source) -> bool:
    """Does it say nothing at all?"""
    return all(not line.strip() or line.lstrip().startswith("#") for line in source.text.splitlines())
