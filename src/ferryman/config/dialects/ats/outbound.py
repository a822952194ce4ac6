"""TLS with the servers of a partial_blind_route, into native `tls` of a backend. Called by native.py.

What sni.yaml says of a server (whether to verify it, which certificate it is shown) stands in the entry for the name
that the *server* is asked for, which is the host of the route unless client_sni_policy says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ferryman.config.dialects.ats import limits
from ferryman.config.dialects.ats.records import Records
from ferryman.config.dialects.ats.sni import Entry, Route
from ferryman.config.dialects.ats.values import choice, fraction, is_address, truth
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_POLICIES: Final = ("host", "remap", "server_name", "verify_with_name_source")
_OF_SERVERS: Final = ("verify_server_policy", "verify_server_properties", "client_cert", "client_key")


@dataclass(frozen=True, slots=True)
class Site:
    """What all entries have in common."""

    entries: Sequence[Entry]
    records: Records
    folder: str
    diagnostics: Diagnostics


def tls(entry: Entry, route: Route, site: Site) -> dict[str, object]:
    """Raises Mistake."""
    policy = _policy(entry, site.records)
    if "$1" in route.host and policy in ("host", "remap", "verify_with_name_source"):
        message = "a name that is computed, asked of the server as well, is not supported by ferryman yet"
        raise Mistake(route.word, message, "add `client_sni_policy: server_name`")
    named = {"server_name": entry.name}.get(policy, policy[1:] if policy.startswith("@") else route.host.lower())
    about = next((each for each in site.entries if each.covers(named)), None)
    if about is not entry:
        _warn_of_strays(entry, named, about, site.diagnostics)
    tree: dict[str, object] = _trust(entry, about, site)
    if policy == "server_name":
        tree["server_name"] = "received"
    else:
        tree["server_name"] = "none" if is_address(named) else named
    checked = route.host.lower() if policy == "verify_with_name_source" else named
    if tree["verify"] is True and "verify_name" not in tree and (is_address(named) or checked != named):
        tree["verify_name"] = checked
    tree.update(_certificate(about, site))
    tree.update(limits.of_servers(site.records, site.diagnostics))
    return tree


def prewarm(entry: Entry, backend: Mapping[str, object], moving: bool, site: Site) -> At | None:
    """Native `prewarm`, if connections of this entry are to be held ready and can be. `moving`: servers' ports
    are the clients'."""
    word = entry.settings.get("tunnel_prewarm") or site.records.word("tunnel.prewarm")
    if word is None or not truth(word):
        return None
    reason = next((_DEPENDENT[key] for key in _DEPENDENT if key in backend), "")
    if isinstance(source := backend.get("source"), At) and source.value == "client":
        reason = "servers see the client's address"
    if moving:
        reason = "the port is that of the client"
    if reason:
        site.diagnostics.warning(word.mark, f"{entry.fqdn.text}: no connection is held ready, since {reason}")
        return None
    said = {key: fraction(found) for key in _POOL if (found := entry.settings.get(f"tunnel_prewarm_{key}")) is not None}
    least, most, idle = int(said.get("min", 0)), int(said.get("max", -1)), said.get("inactive_timeout", 0)
    tree: dict[str, object] = {"min": max(least, 0), "max": _MOST if most < 0 else max(least, most, 1)}
    if "rate" in said:
        tree["rate"] = said["rate"]
    return At({**tree, "idle": max(idle, 0)}, word.mark)


_POOL: Final = ("min", "max", "rate", "inactive_timeout")
_MOST: Final = 10_000  # what no limit is
_DEPENDENT: Final = {
    "destination": "its destination depends on the client",
    "send_proxy": "servers are told first who the client is",
}


def _policy(entry: Entry, records: Records) -> str:
    word = entry.settings.get("client_sni_policy") or records.word("ssl.client.sni_policy")
    if word is None:
        return "host"
    if word.text not in _POLICIES and not (word.text.startswith("@") and len(word.text) > 1):
        hint = nearest(word.text, _POLICIES) or f"there are {', '.join(_POLICIES)} and @name"
        raise Mistake(word, f"there is no policy {word.text!r}", hint)
    return word.text


def _warn_of_strays(entry: Entry, named: str, about: Entry | None, diagnostics: Diagnostics) -> None:
    for key in _OF_SERVERS:
        if (word := entry.settings.get(key)) is not None:
            message = f"{key} does not count for this route: its server is asked for {named}, as in Traffic Server"
            hint = f"write it into the entry for {about.fqdn.text if about is not None else named}"
            diagnostics.warning(word.mark, message, hint)


def _said(about: Entry | None, key: str, record: str, records: Records) -> Word | None:
    own = about.settings.get(key) if about is not None else None
    return own or records.word(record)


def _trust(entry: Entry, about: Entry | None, site: Site) -> dict[str, object]:
    records = site.records
    policy = _said(about, "verify_server_policy", "ssl.client.verify.server.policy", records)
    properties = _said(about, "verify_server_properties", "ssl.client.verify.server.properties", records)
    usual = "ENFORCED" if records.modern else "PERMISSIVE"
    demand = choice(policy, ("DISABLED", "PERMISSIVE", "ENFORCED")) if policy is not None else usual
    looked_at = choice(properties, ("NONE", "SIGNATURE", "NAME", "ALL")) if properties is not None else "ALL"
    if demand != "ENFORCED" or looked_at == "NONE":
        place = (properties if demand == "ENFORCED" else policy) or entry.fqdn
        return {"verify": At(False, place.mark)}
    tree: dict[str, object] = {"verify": True}
    if looked_at == "NAME":
        assert properties is not None
        message = "a name in a certificate that anybody may have made proves nothing: NAME is not supported by ferryman"
        raise Mistake(properties, message, "write ALL, or SIGNATURE")
    if looked_at == "SIGNATURE":
        tree["verify_name"] = "*"
    file, path = records.word("ssl.client.CA.cert.filename"), records.word("ssl.client.CA.cert.path")
    if file is not None:
        tree["ca"] = At(os.path.join(records.folder("ssl.client.CA.cert.path", site.folder), file.text), file.mark)
    elif path is not None:
        message = "a folder of CAs is Traffic Server's, not supported by ferryman yet"
        raise Mistake(path, message, "add proxy.config.ssl.client.CA.cert.filename with them all")
    return tree


def _certificate(about: Entry | None, site: Site) -> dict[str, object]:
    records = site.records
    file = _said(about, "client_cert", "ssl.client.cert.filename", records)
    if file is None:
        return {}
    folder = records.folder("ssl.client.cert.path", site.folder)
    certificate: dict[str, object] = {"file": At(os.path.join(folder, file.text), file.mark)}
    key = _said(about, "client_key", "ssl.client.private_key.filename", records)
    if key is not None:
        keys = records.folder("ssl.client.private_key.path", folder)
        certificate["key"] = At(os.path.join(keys, key.text), key.mark)
    return {"certificate": At(certificate, file.mark)}
