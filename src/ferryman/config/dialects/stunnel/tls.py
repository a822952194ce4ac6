"""TLS of a service: certificates, versions, ciphers, sessions; into native `tls`. Called by native.py."""

from __future__ import annotations

import ipaddress
from typing import Final

from ferryman.config.dialects.stunnel import addresses, trust
from ferryman.config.dialects.stunnel.reader import Options
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_P12: Final = (".p12", ".pfx")
_OLD: Final = ("sslv2", "sslv3", "tlsv1", "tlsv1.1")
_NEW: Final = {"tlsv1.2": "1.2", "tlsv1.3": "1.3"}
_SETTLED: Final = (
    *("ALL", "CIPHER_SERVER_PREFERENCE", "NO_COMPRESSION", "NO_RENEGOTIATION", "NO_SSLv2", "NO_SSLv3", "NO_TLSv1"),
    *("NO_TLSv1_1", "NO_SESSION_RESUMPTION_ON_RENEGOTIATION", "SINGLE_DH_USE", "SINGLE_ECDH_USE", "NO_SSL_MASK"),
    *("ENABLE_MIDDLEBOX_COMPAT", "NO_DTLSv1", "NO_DTLSv1_2", "NO_DTLS_MASK", "NO_QUERY_MTU", "TLS_ROLLBACK_BUG"),
)
"""Options that ask for what is the case anyway, or for nothing."""
_IDLE: Final = (
    *("ALLOW_CLIENT_RENEGOTIATION", "ALLOW_NO_DHE_KEX", "ALLOW_UNSAFE_LEGACY_RENEGOTIATION", "CISCO_ANYCONNECT"),
    *("CLEANSE_PLAINTEXT", "COOKIE_EXCHANGE", "CRYPTOPRO_TLSEXT_BUG", "DISABLE_TLSEXT_CA_NAMES", "ENABLE_KTLS"),
    *("DONT_INSERT_EMPTY_FRAGMENTS", "EPHEMERAL_RSA", "IGNORE_UNEXPECTED_EOF", "LEGACY_SERVER_CONNECT"),
    *("MICROSOFT_BIG_SSLV3_BUFFER", "MICROSOFT_SESS_ID_BUG", "MSIE_SSLV2_RSA_PADDING", "NETSCAPE_CA_DN_BUG"),
    *("NETSCAPE_CHALLENGE_BUG", "NETSCAPE_DEMO_CIPHER_CHANGE_BUG", "NETSCAPE_REUSE_CIPHER_CHANGE_BUG"),
    *("NO_ANTI_REPLAY", "NO_ENCRYPT_THEN_MAC", "NO_EXTENDED_MASTER_SECRET", "PKCS1_CHECK_1", "PKCS1_CHECK_2"),
    *("PRIORITIZE_CHACHA", "SAFARI_ECDHE_ECDSA_BUG", "SSLEAY_080_CLIENT_DH_BUG", "SSLREF2_REUSE_CERT_TYPE_BUG"),
    *("TLS_BLOCK_PADDING_BUG", "TLS_D5_BUG", "TLSEXT_PADDING"),
)
"""Options that have no effect here."""
_LAST: Final = ("NO_TICKET", "NO_TLSv1_2", "NO_TLSv1_3")


def of_server(options: Options, asked: Word | None, diagnostics: Diagnostics) -> At:
    """TLS with the servers of a client. `asked`: the address that says which name they are asked for, if none is said.

    Raises Mistake.
    """
    tree = {
        **_limits(options, diagnostics),
        "server_name": _server_name(options, asked),
        "alpn": "none",
        **trust.of_server(options, diagnostics),
    }
    if (cert := options.last("cert")) is not None and cert.text:
        tree["certificate"] = _certificate(options, cert)
    if not options.truth("sessionresume", True):
        tree["resume"] = False
    return At(tree, options.mark)


def of_clients(options: Options, timeout: At | int, diagnostics: Diagnostics) -> tuple[dict[str, object], list[object]]:
    """A case of TLS with the clients of a server, and conditions under which these are refused after the handshake.

    Raises Mistake.
    """
    cert = options.last("cert")
    if cert is None or not cert.text:
        raise Mistake(
            options.mark, f"[{options.name}] is a server, which needs a certificate", "add cert, or client = yes"
        )
    clients, refused = trust.of_clients(options, diagnostics)
    tree: dict[str, object] = {"certificates": [_certificate(options, cert)], **_limits(options, diagnostics)}
    if clients is not None:
        tree["clients"] = clients
    if not options.truth("sessionresume", True) or any(word.text == "NO_TICKET" for word in options.all("options")):
        tree["tickets"] = False
    return {**tree, "handshake_timeout": timeout}, refused


def _certificate(options: Options, cert: Word) -> At:
    if cert.text.lower().endswith(_P12):
        hint = f"openssl pkcs12 -in {cert.text} -nodes -out cert.pem"
        raise Mistake(cert, "a certificate in P12 format is stunnel's, not supported by ferryman yet", hint)
    for word in (cert, options.last("key")):
        if word is not None and word.text.startswith("pkcs11:"):
            raise Mistake(word, "a key in a device is stunnel's, not supported by ferryman yet", "write it into a file")
    tree: dict[str, object] = {"file": At(cert.text, cert.mark)}
    key = options.last("key")
    if key is not None and key.text and key.text != cert.text:
        tree["key"] = At(key.text, key.mark)
    return At(tree, cert.mark)


def _server_name(options: Options, asked: Word | None) -> At:
    said = options.last("sni")
    if said is not None:
        return At(said.text or "none", said.mark)
    if asked is None or asked.text.startswith("/"):
        return At("none", options.mark)
    host = addresses.cut_host(asked)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return At(host or "none", asked.mark)
    return At("none", asked.mark)


def _limits(options: Options, diagnostics: Diagnostics) -> dict[str, object]:
    tree: dict[str, object] = {}
    oldest, newest = _versions(options, diagnostics)
    for word in options.all("options"):
        _option(word, diagnostics)
        if word.text == "NO_TLSv1_3" and (newest is None or newest.value == "1.3"):
            newest = At("1.2", word.mark)
        elif word.text == "NO_TLSv1_2" and (oldest is None or oldest.value == "1.2"):
            oldest = At("1.3", word.mark)
    if oldest is not None:
        tree["min_version"] = oldest
    if newest is not None:
        tree["max_version"] = newest
    for name, key in (("ciphers", "ciphers"), ("ciphersuites", "ciphersuites"), ("curves", "groups")):
        said = options.last(name)
        if said is not None and said.text:
            tree[key] = At(said.text, said.mark)
    if (level := options.last("securitylevel")) is not None:
        ciphers = tree.get("ciphers")
        named = ciphers.value if isinstance(ciphers, At) else "HIGH:!aNULL"
        if level.text != "2":
            tree["ciphers"] = At(f"{named}:@SECLEVEL={level.text}", level.mark)
    return tree


def _versions(options: Options, diagnostics: Diagnostics) -> tuple[At | None, At | None]:
    """The oldest and the newest version of TLS. Each option replaces what those before it said."""
    oldest: Word | None = None
    newest: Word | None = None
    for name, word in options.said:
        if name in ("sslversion", "sslversionmin"):
            oldest = word
        if name in ("sslversion", "sslversionmax"):
            newest = word
    if newest is not None and newest.text.lower() in _OLD:
        message = f"{newest.text} is too old: the oldest version of TLS that is spoken is 1.2"
        raise Mistake(newest, message, "write TLSv1.2")
    if oldest is not None and oldest.text.lower() in _OLD:
        diagnostics.warning(oldest.mark, f"{oldest.text} is not spoken: TLS 1.2 is the oldest", "write TLSv1.2")
    return _version(oldest), _version(newest)


def _version(word: Word | None) -> At | None:
    found = _NEW.get(word.text.lower()) if word is not None else None
    return At(found, word.mark) if word is not None and found is not None else None


def _option(word: Word, diagnostics: Diagnostics) -> None:
    name = word.text.removeprefix("-")
    if name not in (*_SETTLED, *_IDLE, *_LAST):
        raise Mistake(word, f"unknown TLS option {name!r}", nearest(name, (*_SETTLED, *_IDLE, *_LAST)))
    if name in _IDLE or word.text.startswith("-"):
        diagnostics.warning(word.mark, f"the TLS option {word.text} has no effect here")
