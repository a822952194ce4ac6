"""`protocol` of a service: how it begins. Of clients `connect`, through other proxies; of servers `proxy`.

Called by native.py. All other protocols are stunnel's alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from ferryman.config.dialects.stunnel import addresses
from ferryman.config.dialects.stunnel.reader import Options
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_OTHERS: Final = {
    **dict.fromkeys(("cifs", "capwin", "capwinctrl"), "hardly anybody speaks it any more"),
    **dict.fromkeys(("imap", "ldap", "nntp", "pgsql", "pop3", "smtp"), "use the port that speaks TLS from the start"),
    "socks": "write a native listener with `connect: {protocols: socks5}` and `tls`",
}
_OF_CONNECT: Final = ("protocolhost", "protocolusername", "protocolpassword", "protocolheader")
_HEADER: Final = re.compile(r"proxy-authorization\s*:\s*basic\s+(\S+)", re.IGNORECASE)


def chosen(options: Options, client: bool, diagnostics: Diagnostics) -> str:
    """The protocol, "" for none. Raises Mistake."""
    word = options.last("protocol")
    name = word.text.lower() if word is not None else ""
    if word is None:
        for each in _OF_CONNECT:
            if options.last(each) is not None:
                message = f"this is about `protocol = connect`, which [{options.name}] does not say"
                diagnostics.warning(options.place(each), message, "add protocol = connect")
        return ""
    if name in _OTHERS:
        raise Mistake(word, f"the protocol {word.text} is stunnel's, not supported by ferryman yet", _OTHERS[name])
    if name not in ("connect", "proxy"):
        raise Mistake(word, f"unknown protocol {word.text!r}", nearest(name, ("connect", "proxy", *_OTHERS)))
    if client != (name == "connect"):
        side = "a client" if name == "connect" else "a server"
        hint = "add client = yes" if name == "connect" else "remove it: who connects is told to servers only"
        raise Mistake(word, f"the protocol {name} is one of {side}, not supported for [{options.name}]", hint)
    return name


def target(options: Options) -> Word:
    """Of connect: the server that the proxy is to lead to. Raises Mistake."""
    word = options.last("protocolhost")
    if word is None or not word.text:
        message = "where is the proxy to lead to? stunnel would refuse every connection"
        raise Mistake(options.place("protocol"), message, "add protocolHost = HOST:PORT")
    if word.text.startswith("/") or not re.search(r":[0-9]+$", word.text):
        raise Mistake(word, f"{word.text} says no port, and proxies refuse that", f"write {word.text}:443")
    return word


def server(options: Options) -> At:
    """Of connect: the address of the native server."""
    word = target(options)
    host, _, port = word.text.rpartition(":")
    if not 1 <= int(port[:6]) <= 65535:
        raise Mistake(word, f"port {port} does not exist", "ports are 1 to 65535")
    return At(addresses.written(host.removeprefix("[").removesuffix("]"), int(port)), word.mark)


def via(options: Options, diagnostics: Diagnostics) -> list[object]:
    """Of connect: the native `via`, each `connect` one way. Raises Mistake."""
    user, password = _credentials(options, diagnostics)
    ways: list[object] = []
    for word in options.all("connect"):
        address = addresses.connecting(word)
        if str(address.value).startswith("unix@"):
            raise Mistake(word, "a proxy behind a Unix socket is stunnel's, not supported by ferryman yet", "")
        hop: dict[str, object] = {"url": At(f"http://{address.value}", word.mark)}
        if user is not None and password is not None:
            hop |= {"user": user, "password": password}
        ways.append(At(hop, word.mark))
    failover = options.last("failover")
    if len(ways) > 1 and failover is not None and failover.text.lower() == "rr":
        message = "proxies are tried in the order of the file, not in turn"
        diagnostics.warning(failover.mark, message, "write failover = prio")
    return ways


def _credentials(options: Options, diagnostics: Diagnostics) -> tuple[At | None, At | None]:
    """User and password. Findings are at the names of options, since lines are shown with the place marked."""
    user, password = options.last("protocolusername"), options.last("protocolpassword")
    kind = options.last("protocolauthentication")
    if kind is not None and kind.text.lower() == "ntlm" and user is not None and password is not None:
        message = "NTLM is stunnel's, not supported by ferryman yet"
        raise Mistake(kind, message, "have the proxy accept Basic, and write protocolAuthentication = basic")
    sent = _sent(options)
    if user is not None and password is not None:
        if sent is not None:
            raise Mistake(options.place("protocolheader"), "credentials stand here and in protocolUsername", "keep one")
        if not user.text or not password.text:
            empty = "protocolUsername" if not user.text else "protocolPassword"
            message = f"{empty} is empty, and no proxy takes that"
            raise Mistake(options.place(empty.lower()), message, "write both, or neither")
        return _at(options, "protocolusername", user.text), _at(options, "protocolpassword", password.text)
    if user is not None or password is not None:
        said, missing = ("Username", "Password") if user is not None else ("Password", "Username")
        message = f"without protocol{missing} no credentials are sent, and the proxy may answer 407"
        diagnostics.warning(options.place(f"protocol{said.lower()}"), message, f"add protocol{missing}")
    if sent is None:
        return None, None
    return _at(options, "protocolheader", sent[0]), _at(options, "protocolheader", sent[1])


def _at(options: Options, name: str, text: str) -> At:
    return At(text, options.place(name))


def _sent(options: Options) -> tuple[str, str] | None:
    """The credentials in a `protocolHeader`. Raises Mistake for any other header."""
    for word in options.all("protocolheader"):
        place = options.place("protocolheader")
        found = _HEADER.fullmatch(word.text)
        if found is None:
            message = "a header of one's own is stunnel's, not supported by ferryman yet"
            raise Mistake(place, message, "only Proxy-Authorization: Basic … is; convert, and write `user:` into `via`")
        try:
            user, _, password = base64.b64decode(found[1], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Mistake(place, "these credentials are no base64 of USER:PASSWORD", "") from None
        if not user or not password:
            raise Mistake(place, "these credentials have no user, or no password", "")
        return user, password
    return None
