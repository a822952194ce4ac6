"""TLS on a `bind` or a `server`, and what `global` says of it, into native `tls` (HAProxy manual, 3.1, 5.1, 5.2).

addresses.py gives the keywords here one by one as it reads a line; native.py and serving.py ask for what they come to.
The files named are read by the native configuration, except lists of certificates, which are this dialect's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.haproxy.quantities import one_of
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics, Mark

_VERSIONS: Final = ("SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_TEXTS: Final = ("ciphers", "ciphersuites", "curves", "ecdhe", "ca-file", "crl-file", "verifyhost")
_FLAGS: Final = {
    "ssl": ("ssl", True),
    "no-ssl": ("ssl", False),
    "strict-sni": ("strict-sni", True),
    "no-strict-sni": ("strict-sni", False),
    "tls-tickets": ("tickets", True),
    "no-tls-tickets": ("tickets", False),
    "ssl-reuse": ("reuse", True),
    "no-ssl-reuse": ("reuse", False),
    "no-alpn": ("alpn", []),
    "no-verifyhost": ("verifyhost", None),
    "force-tlsv12": ("only", "1.2"),
    "force-tlsv13": ("only", "1.3"),
    "no-tlsv12": ("min", "1.3"),
    "no-tlsv13": ("max", "1.2"),
}
_OTHERS: Final = ("alpn", "crt", "crt-list", "default-crt", "ssl-max-ver", "ssl-min-ver", "verify")
KEYWORDS: Final = frozenset({*_FLAGS, *_TEXTS, *_OTHERS})
"""What `setting` knows."""
_LIMITS: Final = {"min": "min_version", "max": "max_version", "ciphers": "ciphers", "ciphersuites": "ciphersuites"}
_RECEIVED: Final = ("ssl_fc_sni", "req.ssl_sni", "req_ssl_sni")
_LITERAL: Final = re.compile(r"str\(([^(),'\"\\]+)\)")


@dataclass(slots=True)
class Defaults:
    """What `global` says of TLS."""

    ca_base: str = ""
    crt_base: str = ""
    bind: dict[str, At] = field(default_factory=dict)
    server: dict[str, At] = field(default_factory=dict)
    verify_servers: bool = True


def setting(keyword: Word, values: Sequence[Word], diagnostics: Diagnostics) -> dict[str, At]:
    """What one keyword says of TLS; {} where it is about something else. Raises Mistake."""
    name = keyword.text
    if name in _FLAGS:
        key, value = _FLAGS[name]
        mark = keyword.mark
        return {"min": At(value, mark), "max": At(value, mark)} if key == "only" else {key: At(value, mark)}
    if name in _TEXTS:
        return {name: At(values[0].text, values[0].mark)}
    match name:
        case "verify":
            return {name: one_of(values[0], ("none", "optional", "required"))}
        case "alpn":
            return {name: At([part for part in values[0].text.split(",") if part], values[0].mark)}
        case "crt" | "default-crt" | "crt-list":
            return {name: At([At(values[0].text, values[0].mark)], values[0].mark)}
        case "ssl-min-ver" | "ssl-max-ver":
            return _version(name, values[0], diagnostics)
    return {}


def _version(keyword: str, word: Word, diagnostics: Diagnostics) -> dict[str, At]:
    version = str(one_of(word, _VERSIONS).value)
    number = version.removeprefix("TLSv")
    if number in ("1.2", "1.3"):
        return {keyword[4:7]: At(number, word.mark)}
    if keyword == "ssl-max-ver":
        raise Mistake(word, f"{version} is HAProxy's, not supported by ferryman", "TLS 1.2 is the oldest there is")
    diagnostics.warning(word.mark, f"{version} is not spoken", "TLS 1.2 is the oldest there is")
    return {}


def added(before: Mapping[str, At], more: Mapping[str, At]) -> dict[str, At]:
    """Settings with more of them; several certificates add up, everything else is replaced."""
    both = {**before, **more}
    for key in ("crt", "default-crt", "crt-list"):
        if key in before and key in more:
            both[key] = At([*_list(before[key]), *_list(more[key])], before[key].mark)
    return both


def _list(at: At) -> list[At]:
    assert isinstance(at.value, list)
    return at.value


def of_options(words: Sequence[Word], diagnostics: Diagnostics) -> dict[str, At]:
    """`ssl-default-bind-options` and `ssl-default-server-options`. Raises Mistake."""
    found: dict[str, At] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.text in ("ssl-min-ver", "ssl-max-ver"):
            if not rest:
                raise Mistake(word, f"a version is missing after {word.text!r}", "such as TLSv1.2")
            found.update(setting(word, [rest.pop(0)], diagnostics))
        elif word.text in ("no-sslv3", "no-tlsv10", "no-tlsv11"):
            continue
        elif word.text in _FLAGS:
            found.update(setting(word, (), diagnostics))
        elif word.text in ("prefer-client-ciphers", "no-ca-names"):
            diagnostics.warning(word.mark, f"{word.text!r} has no effect here", "")
        else:
            raise Mistake(word, f"the option {word.text!r} is HAProxy's, not supported by ferryman yet", "")
    return found


# a bind


def listener(line: Mapping[str, At], defaults: Defaults, diagnostics: Diagnostics) -> At | None:
    """The native `tls` of a bind line; None without `ssl`."""
    if "ssl" not in line:
        named = next((line[key] for key in ("crt", "crt-list", "default-crt") if key in line), None)
        if named is not None:
            diagnostics.warning(named.mark, "a certificate without 'ssl' is not used", "write `ssl` before it")
        return None
    line = {**defaults.bind, **line}
    tree: dict[str, object] = {"certificates": _certificates(line, defaults, diagnostics), **_limits(line)}
    if not tree["certificates"]:
        del tree["certificates"]  # which the native configuration complains of
    if "alpn" in line and line["alpn"].value:
        tree["alpn"] = line["alpn"]
    for key, name in (("strict-sni", "strict"), ("tickets", "tickets")):
        if key in line:
            tree[name] = line[key]
    verify = line.get("verify")
    if verify is not None and verify.value != "none":
        clients: dict[str, object] = {"certificate": verify}
        for key, name in (("ca-file", "ca"), ("crl-file", "crl")):
            if key in line:
                clients[name] = _based(line[key], defaults.ca_base)
        tree["clients"] = At(clients, verify.mark)
    return At(tree, line["ssl"].mark)


def _certificates(line: Mapping[str, At], defaults: Defaults, diagnostics: Diagnostics) -> list[At]:
    found = [_based(entry, defaults.crt_base) for entry in _list(line.get("default-crt", _NONE))]
    found += [_based(entry, defaults.crt_base) for entry in _list(line.get("crt", _NONE))]
    for entry in _list(line.get("crt-list", _NONE)):
        found += _of_crt_list(entry, defaults, diagnostics)
    return found


_NONE: Final = At([], Mark("", 0, 0))


def _based(at: At, base: str) -> At:
    """A file, seen from the folder that `global` names for its kind."""
    return At(os.path.join(base, str(at.value)), at.mark)


def _of_crt_list(entry: At, defaults: Defaults, diagnostics: Diagnostics) -> list[At]:
    """The entries of a list of certificates: file, options in brackets, names (HAProxy manual, 5.1, crt-list)."""
    name = str(entry.value)
    try:
        with open(name, encoding="utf-8") as file:
            lines = file.read(1 << 24).split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        diagnostics.error(entry.mark, f"cannot read the list of certificates {name!r}: {reason}", "")
        return []
    found: list[At] = []
    for number, text in enumerate(lines, start=1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        mark = Mark(name, number, text.index(words[0]) + 1, len(text.strip()))
        odd = next((word for word in words[1:] if word[0] in "[!" or word == "*"), None)
        if odd is not None:
            what = "options of one certificate" if odd[0] == "[" else f"the filter {odd!r}"
            diagnostics.error(mark, f"{what} in a crt-list: HAProxy's, not supported by ferryman yet", "")
            continue
        certificate: dict[str, object] = {"file": _based(At(words[0], mark), defaults.crt_base)}
        if words[1:]:
            certificate["names"] = [At(word, mark) for word in words[1:]]
        found.append(At(certificate, mark))
    return found


def _limits(line: Mapping[str, At]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, name in _LIMITS.items():
        if key in line and line[key].value != "PROFILE=SYSTEM":  # which is what OpenSSL takes without a word
            tree[name] = line[key]
    if groups := line.get("curves") or line.get("ecdhe"):
        tree["groups"] = groups
    return tree


# a server


def server(line: Mapping[str, At], defaults: Defaults, diagnostics: Diagnostics) -> At | None:
    """The native `tls` of a server line; None without `ssl`."""
    if "ssl" not in line or not line["ssl"].value:
        return None
    place = line["ssl"].mark
    line = {**defaults.server, **line}
    tree: dict[str, object] = dict(_limits(line))
    verify = line.get("verify", At("required" if defaults.verify_servers else "none", place))
    if verify.value == "optional":
        diagnostics.error(verify.mark, "'verify' of a server is none or required", "")
    if verify.value == "none":
        tree["verify"] = At(False, verify.mark)
    elif "ca-file" not in line:
        hint = "add `ca-file FILE`, `ca-file @system-ca`, or `verify none`"
        diagnostics.error(place, "a server's certificate is to be verified, but no 'ca-file' says by which CAs", hint)
    elif line["ca-file"].value != "@system-ca":
        tree["ca"] = _based(line["ca-file"], defaults.ca_base)
    tree["server_name"] = asked = _asked(line, place, diagnostics)
    if verify.value != "none" and asked.value == "none":
        host = line.get("verifyhost")
        tree["verify_name"] = host if host is not None and host.value else At("*", place)
    if "crt" in line:
        tree["certificate"] = _based(_list(line["crt"])[-1], defaults.crt_base)
    tree["alpn"] = line["alpn"] if "alpn" in line and line["alpn"].value else At("none", place)
    if "reuse" in line and not line["reuse"].value:
        tree["resume"] = line["reuse"]
    return At(tree, place)


def _asked(line: Mapping[str, At], place: Mark, diagnostics: Diagnostics) -> At:
    """The native `server_name`."""
    sni = line.get("sni")
    if sni is None:
        return At("none", place)
    text = str(sni.value)
    if text in _RECEIVED:
        return At("received", sni.mark)
    if found := _LITERAL.fullmatch(text):
        return At(found[1], sni.mark)
    message = f"'sni {text}' is HAProxy's, not supported by ferryman yet"
    diagnostics.error(sni.mark, message, "there are ssl_fc_sni, req.ssl_sni and str(NAME)")
    return At("none", place)
