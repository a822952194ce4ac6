"""ssl_bump lines and what outgoing TLS is like, into the native `tls` and `bump` of a port with ssl-bump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid import lists
from ferryman.config.dialects.squid.acl import Acls
from ferryman.config.dialects.squid.keywords import TLS
from ferryman.config.dialects.squid.lists import Line
from ferryman.config.dialects.squid.ports import Port
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_NATIVE: Final = {"none": "splice", "client-first": "bump", "server-first": "bump"}
_ACTIONS: Final = ("splice", "bump", "peek", "stare", "terminate", *_NATIVE, "peek-and-splice")


def read(arguments: Arguments, acls: Acls, diagnostics: Diagnostics) -> Line:
    """An `ssl_bump` line. Raises Mistake."""
    if (word := arguments.peek()) is not None and word.text == "peek-and-splice":
        raise Mistake(
            word, "'peek-and-splice' is Squid's, not supported by ferryman yet", "write peek, and then splice"
        )
    line = lists.read(arguments, acls, _ACTIONS)
    if line.action in ("client-first", "server-first"):
        assert word is not None
        message = f"{line.action!r} does as bump does: the server comes first, and its certificate is what is shown"
        diagnostics.warning(word.mark, message, "write bump")
    return line


class Outgoing:
    """tls_outgoing_options, and their old names sslproxy_…: what verifies servers."""

    def __init__(self) -> None:
        self.ca: At | None = None
        self.only_ca = False  # default-ca=off

    def read(self, arguments: Arguments, diagnostics: Diagnostics) -> None:
        """A line. Raises Mistake."""
        if arguments.keyword == "sslproxy_cafile":
            self._option(arguments.need("a file"), "cafile", arguments.words[1].text)
            return
        if arguments.keyword == "sslproxy_flags":
            word = arguments.need("flags")
            TLS.wanted(word, "flags", word.text, diagnostics)
        for word in arguments.rest():
            name, _, value = word.text.partition("=")
            if TLS.wanted(word, name, value, diagnostics):
                self._option(word, name, value)

    def _option(self, word: Word, name: str, value: str) -> None:
        if name == "default-ca":
            self.only_ca = value == "off"
            return
        if self.ca is not None:
            message = "a second cafile is Squid's, not supported by ferryman yet"
            raise Mistake(word, message, "put all certificates into one file")
        self.ca = At(value, word.mark)


def tls(lines: Sequence[Line]) -> list[At]:
    """The native `tls`."""
    rules = []
    for line in lines:
        if not line.never:
            rule: dict[str, object] = {"action": _NATIVE.get(line.action, line.action)}
            tree = line.tree
            rules.append(At(rule if tree is None else {**rule, "when": tree}, line.mark))
    return rules


def bump(port: Port, lines: Sequence[Line], outgoing: Outgoing, diagnostics: Diagnostics) -> At | None:
    """The native `bump`, where a line needs one."""
    needed = next((line for line in lines if line.action not in ("splice", "none", "peek", "terminate")), None)
    options = [port.cache] if port.tls is not None else [port.ca, port.key, port.cache]  # an https_port's are its own
    if not port.bumps or needed is None:
        for option in filter(None, options):
            diagnostics.warning(option.mark, "this has no effect: nothing is bumped on this port", "")
        return None
    if port.static is not None:
        message = "one certificate for all names is Squid's, not supported by ferryman yet"
        diagnostics.error(port.static.mark, message, "remove generate-host-certificates=off")
    if port.ca is None:
        message = f"to {needed.action}, this port needs a CA that signs what clients get to see"
        diagnostics.error(port.place, message, "add tls-cert=FILE, with a certificate and its key")
        return None
    settings: dict[str, object] = {"ca": port.ca}
    if port.key is not None:
        settings["key"] = port.key
    if port.cache is not None:
        settings["cache"] = port.cache
    if outgoing.ca is not None:
        settings["server_ca"] = outgoing.ca
        if not outgoing.only_ca:
            message = "servers are verified with this file alone, where Squid adds the system's certificates"
            diagnostics.warning(outgoing.ca.mark, message, "put those into the file as well, or say default-ca=off")
    return At(settings, port.ca.mark)


def read_unknown_protocol(arguments: Arguments, acls: Acls) -> Line:
    """An `on_unsupported_protocol` line, on all errors or on some. Raises Mistake."""
    line = lists.read(arguments, acls, ("tunnel", "respond"), errors=True)
    for term in line.terms:
        if term.negated or not (term.acl.always or term.acl.type == "squid_error"):
            message = f"{arguments.keyword} on {term.acl.name!r} is Squid's, not supported by ferryman yet"
            raise Mistake(term.mark, message, "write all, or an acl of type squid_error")
    return line
