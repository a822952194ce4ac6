"""Versions, ciphers and groups of TLS, into native limits. Called by native.py for clients, by outbound.py for servers.

TLS 1.0 and 1.1 are not spoken; where they are asked for beside newer ones a warning says so.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.ats.records import Records
from ferryman.config.dialects.ats.sni import VERSIONS, Entry
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_NUMBERS: Final = ("1.0", "1.1", "1.2", "1.3")  # of version.min and version.max
_SWITCHES: Final = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
_LISTS: Final = {
    "ciphers": ("server_cipher_suite", "cipher_suite"),
    "ciphersuites": ("server_TLSv1_3_cipher_suites", "TLSv1_3.cipher_suites"),
    "groups": ("server_groups_list", "groups_list"),
}


def of_clients(entry: Entry, records: Records, diagnostics: Diagnostics) -> dict[str, object]:
    """What of TLS clients may use; an entry's own words come before those of the records."""
    found: dict[str, object] = {}
    if entry.versions:
        named = sorted(VERSIONS[word.text.upper()] for word in entry.versions)
        found = _range(named[0], named[-1], entry.versions[0], diagnostics)
    elif entry.oldest is not None or entry.newest is not None:
        oldest = VERSIONS[entry.oldest.text.upper()] if entry.oldest is not None else "1.2"
        newest = VERSIONS[entry.newest.text.upper()] if entry.newest is not None else "1.3"
        found = _range(oldest, newest, entry.oldest or entry.newest, diagnostics)
    else:
        found = _of_records(records, "server.", "", diagnostics)
    for key, (own, common) in _LISTS.items():
        if (word := entry.settings.get(own) or records.word(f"ssl.server.{common}")) is not None:
            found[key] = At(word.text, word.mark)
    return found


def of_servers(records: Records, diagnostics: Diagnostics) -> dict[str, object]:
    """What of TLS is spoken with servers."""
    found = _of_records(records, "client.", "client.", diagnostics)
    for key, (_, common) in _LISTS.items():
        if (word := records.word(f"ssl.client.{common}")) is not None:
            found[key] = At(word.text, word.mark)
    return found


def _of_records(records: Records, whose: str, switches: str, diagnostics: Diagnostics) -> dict[str, object]:
    low, high = (records.number(f"ssl.{whose}version.{end}", -1) for end in ("min", "max"))
    if low >= 0 or high >= 0:
        word = records.word(f"ssl.{whose}version.min") or records.word(f"ssl.{whose}version.max")
        oldest = _NUMBERS[min(low, 3)] if low >= 0 else "1.2"
        return _range(oldest, _NUMBERS[min(high, 3)] if high >= 0 else "1.3", word, diagnostics)
    spoken = [version for version, name in _SWITCHES.items() if records.enabled(f"ssl.{switches}{name}", True)]
    for name in ("TLSv1", "TLSv1_1"):
        if records.enabled(f"ssl.{switches}{name}", False) and (word := records.word(f"ssl.{switches}{name}")):
            diagnostics.warning(word.mark, "TLS 1.0 and 1.1 are not spoken", "clients and servers need TLS 1.2")
    word = records.word(f"ssl.{switches}TLSv1_2") or records.word(f"ssl.{switches}TLSv1_3")
    return _range(spoken[0], spoken[-1], word, diagnostics) if spoken else _range("1.0", "1.1", word, diagnostics)


def _range(oldest: str, newest: str, word: Word | None, diagnostics: Diagnostics) -> dict[str, object]:
    if word is None:
        return {}
    if newest < "1.2":
        raise Mistake(word, "TLS 1.0 and 1.1 are not supported by ferryman", "allow TLSv1_2 or TLSv1_3 as well")
    if oldest < "1.2":
        diagnostics.warning(word.mark, "TLS 1.0 and 1.1 are not spoken", "clients and servers need TLS 1.2")
    found: dict[str, object] = {}
    if oldest == "1.3":
        found["min_version"] = At("1.3", word.mark)
    if newest == "1.2":
        found["max_version"] = At("1.2", word.mark)
    return found
