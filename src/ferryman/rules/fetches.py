"""The facts by name: the keyword table behind expressions.

A fetch is a pure function of `Facts` (and its arguments) that answers a value, ABSENT or UNKNOWN. It is read by
rules.expression and by the reference documentation. Nothing here waits for what is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack
from time import localtime
from typing import Final

from ferryman.rules.facts import ABSENT, UNKNOWN, Argument, Facts, Missing, Needs, Parameter, Type, Value


def _never(args: tuple[Argument, ...]) -> bool:
    return False


def _always(args: tuple[Argument, ...]) -> bool:
    return True


def _to_the_end(args: tuple[Argument, ...]) -> bool:
    return args[1] == 0


@dataclass(frozen=True, slots=True)
class Fetch:
    """One fact. `function` takes the facts and the arguments, of which the last `optional` may be left out."""

    type: Type
    needs: Needs
    function: Callable[..., Value | Missing]
    text: str
    parameters: tuple[Parameter, ...] = ()
    optional: int = 0
    growing: Callable[[tuple[Argument, ...]], bool] = _never  # has a value, which may change until the facts are final
    many: bool = False  # several values joined by commas: a test holds when it holds for one of them


def _numbers(name: str) -> Callable[[Facts], Value | Missing]:
    """A list of 16-bit numbers in the hello, as it stood on the wire."""

    def fetch(facts: Facts) -> Value | Missing:
        hello = facts.hello
        if isinstance(hello, Missing):
            return hello
        numbers: tuple[int, ...] = getattr(hello, name)
        return pack(f">{len(numbers)}H", *numbers) if numbers else ABSENT

    return fetch


def _sni(facts: Facts) -> Value | Missing:
    hello = facts.hello
    if isinstance(hello, Missing):
        return hello
    return ABSENT if hello.sni is None else hello.sni


def _alpn(facts: Facts) -> Value | Missing:
    hello = facts.hello
    if isinstance(hello, Missing):
        return hello
    return ",".join(hello.alpn) or ABSENT


def _ech(facts: Facts) -> Value | Missing:
    return facts.hello if isinstance(facts.hello, Missing) else facts.hello.ech


def _hello_type(facts: Facts) -> Value | Missing:
    return facts.hello if isinstance(facts.hello, Missing) else 1


def _dotted(version: int) -> str:
    return f"{version >> 8}.{version & 255}"


def _tls_version(facts: Facts) -> Value | Missing:
    return facts.hello if isinstance(facts.hello, Missing) else _dotted(facts.hello.version)


def _tls_versions(facts: Facts) -> Value | Missing:
    hello = facts.hello
    if isinstance(hello, Missing):
        return hello
    return ",".join(map(_dotted, hello.versions)) or ABSENT


def _payload(facts: Facts, offset: int, length: int) -> Value | Missing:
    if offset + length > len(facts.data):
        return UNKNOWN
    return facts.data[offset : offset + length] if length else facts.data[offset:]


def _payload_lv(facts: Facts, offset: int, size: int, start: str = "+0") -> Value | Missing:
    """Bytes whose length stands, big-endian, in `size` bytes at `offset`. `start`: where, or how far after those."""
    data = facts.data
    if offset + size > len(data):
        return UNKNOWN
    length = int.from_bytes(data[offset : offset + size], "big")
    begin = int(start) + (offset + size if start[0] in "+-" else 0)
    if not length or begin < 0:
        return ABSENT
    return data[begin : begin + length] if begin + length <= len(data) else UNKNOWN


_COOKIE: Final = re.compile(rb"Cookie: *([^\r\n=]*)=([^\r]*)\r\Z", re.IGNORECASE)


def _rdp_cookie(facts: Facts, name: str = "") -> Value | Missing:
    """The value of the routing cookie in an RDP connection request (MS-RDPBCGR 2.2.1.1), after 11 bytes of headers."""
    line, end, _ = facts.data[11:].partition(b"\n")
    if line[:7].lower() != b"cookie:"[: len(line)]:
        return ABSENT
    if not end:
        return UNKNOWN
    found = _COOKIE.match(line)
    if found is None or (name and found[1].decode("latin-1").lower() != name.lower()):
        return ABSENT
    return found[2].decode("latin-1")


_METHOD: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}"
_METHOD_START: Final = re.compile(_METHOD + rb"(?: |\Z)")
_REQUEST_LINE: Final = re.compile(_METHOD + rb" \S+ HTTP/[0-9]\.[0-9]\r?\Z")


def _proto_http(facts: Facts) -> Value | Missing:
    """Does an HTTP/1 request line stand at the start? (HAProxy waits for the end of the header as well.)"""
    line, end, _ = facts.data.partition(b"\n")
    if end:
        return _REQUEST_LINE.match(line) is not None
    if facts.final or (line and not _METHOD_START.match(line)):
        return False
    return UNKNOWN


def _wait_end(facts: Facts) -> Value | Missing:
    return True if facts.final else UNKNOWN


def _usable_servers(facts: Facts, backend: str) -> Value | Missing:
    return facts.usable_servers.get(backend, ABSENT)


def _capture(facts: Facts, slot: int) -> Value | Missing:
    value = facts.captures[slot] if slot < len(facts.captures) else None
    return ABSENT if value is None else value


def _target_address(facts: Facts) -> Value | Missing:
    addresses = facts.target_addresses
    return addresses if isinstance(addresses, Missing) else ",".join(addresses) or ABSENT


def _server_name(facts: Facts) -> Value | Missing:
    """The best that is known by now: names in the certificate, else the SNI, else the target's host."""
    if not isinstance(facts.server_names, Missing) and facts.server_names:
        return ",".join(facts.server_names)
    sni = _sni(facts)
    return facts.target_host if isinstance(sni, Missing) else sni


def _announced(name: str) -> Callable[[Facts], Value | Missing]:
    """An address or port that a PROXY header may still change."""

    def fetch(facts: Facts) -> Value | Missing:
        value: Value = getattr(facts, name)
        return UNKNOWN if facts.header_due else value

    return fetch


_SSL_TLV: Final = 0x20
_SSL_FIXED: Final = 5  # bytes before the TLVs within


def _proxy_tlv(facts: Facts, kind: int, within: int | None = None) -> Value | Missing:
    """A TLV of the header; of type 0x20 also one of those within."""
    tlvs = facts.proxy_tlvs
    if isinstance(tlvs, Missing):
        return UNKNOWN if facts.header_due else ABSENT
    value = tlvs.get(kind)
    if value is None or within is None:
        return ABSENT if value is None else value
    rest = value[_SSL_FIXED:] if kind == _SSL_TLV else b""
    while len(rest) >= 3:
        end = 3 + int.from_bytes(rest[1:3], "big")
        if rest[0] == within:
            return rest[3:end]
        rest = rest[end:]
    return ABSENT


def _proxy_text(kind: int) -> Callable[[Facts], Value | Missing]:
    """A TLV of the header as text."""

    def fetch(facts: Facts) -> Value | Missing:
        value = _proxy_tlv(facts, kind)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    return fetch


def _proxied(facts: Facts) -> Value | Missing:
    return UNKNOWN if facts.header_due else facts.proxy_tlvs is not ABSENT


def _agreed(name: str) -> Callable[[Facts], Value | Missing]:
    """What a handshake with the client has come to."""

    def fetch(facts: Facts) -> Value | Missing:
        if isinstance(facts.tls, Missing):
            return facts.tls
        value: Value = getattr(facts.tls, name)
        return ABSENT if value == "" else value

    return fetch


def _tls_terminated(facts: Facts) -> Value | Missing:
    return UNKNOWN if facts.tls is UNKNOWN else facts.tls is not ABSENT


def _client_cert(facts: Facts) -> Value | Missing:
    if isinstance(facts.tls, Missing):
        return UNKNOWN if facts.tls is UNKNOWN else False
    return bool(facts.tls.certificate)


def _client_cert_names(facts: Facts) -> Value | Missing:
    return facts.tls if isinstance(facts.tls, Missing) else ",".join(facts.tls.names) or ABSENT


def _distinguished(which: str) -> Callable[..., Value | Missing]:
    """A name in the client's certificate on one line (RFC 4514), or the first value of one of its attributes."""

    def fetch(facts: Facts, attribute: str = "") -> Value | Missing:
        if isinstance(facts.tls, Missing):
            return facts.tls
        parts: tuple[tuple[str, str], ...] = getattr(facts.tls, which)
        if attribute:
            wanted = attribute.lower()
            return next((value for key, value in parts if key.lower() == wanted), ABSENT)
        return one_line(parts) or ABSENT

    return fetch


def one_line(name: tuple[tuple[str, str], ...]) -> str:
    """A distinguished name as RFC 4514 writes it, the last part first."""
    return ",".join(f"{key}={_ESCAPED.sub(_escape, value)}" for key, value in reversed(name))


_ESCAPED: Final = re.compile(r'[,+"\\<>;]|^[ #]| $|\x00')
"""What has to be escaped in the value of an attribute (RFC 4514 section 2.4)."""


def _escape(found: re.Match[str]) -> str:
    return "\\00" if found[0] == "\x00" else "\\" + found[0]


DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _time(facts: Facts) -> Value | Missing:
    """ "Mon 14:05", by the machine's own time zone."""
    now = localtime(facts.time)
    return f"{DAYS[now.tm_wday]} {now.tm_hour:02}:{now.tm_min:02}"


FETCHES: Final[dict[str, Fetch]] = {
    "client_address": Fetch("address", "address", _announced("client_address"), "the client's address"),
    "client_port": Fetch("integer", "address", _announced("client_port"), "the client's port"),
    "local_address": Fetch("address", "address", _announced("local_address"), "the address the client connected to"),
    "local_port": Fetch("integer", "address", _announced("local_port"), "the port the client connected to"),
    "peer_address": Fetch(
        "address", "address", lambda f: f.peer_address or f.client_address, "who connected: a proxy, or the client"
    ),
    "peer_port": Fetch(
        "integer", "address", lambda f: f.peer_port if f.peer_address else f.client_port, "the port of who connected"
    ),
    "proxied": Fetch("boolean", "address", _proxied, "whether a PROXY header came"),
    "proxy_tlv": Fetch(
        "binary",
        "address",
        _proxy_tlv,
        "a TLV of the PROXY header, by type; 0x20: also by type within",
        ("size",) * 2,
        1,
    ),
    "proxy_authority": Fetch("string", "address", _proxy_text(0x02), "the host name in the PROXY header"),
    "proxy_unique_id": Fetch("string", "address", _proxy_text(0x05), "the connection's ID in the PROXY header"),
    "original_address": Fetch(
        "address", "address", lambda f: f.original_address, "the address a client sent here by a firewall rule wanted"
    ),
    "original_port": Fetch("integer", "address", lambda f: f.original_port, "the port it wanted"),
    "listener": Fetch("string", "address", lambda f: f.listener, "the listener's name"),
    "sni": Fetch("string", "bytes", _sni, "the server name a TLS client asks for, as it sent it"),
    "hello_type": Fetch("integer", "bytes", _hello_type, "1 once a whole TLS ClientHello is there"),
    "tls_version": Fetch("string", "bytes", _tls_version, "the hello's own version; 3.3 in TLS 1.2 and 1.3"),
    "tls_versions": Fetch("string", "bytes", _tls_versions, "the versions the client offers; 3.4: TLS 1.3", many=True),
    "alpn": Fetch("string", "bytes", _alpn, "the application protocols the client offers", many=True),
    "ciphers": Fetch("binary", "bytes", _numbers("ciphers"), "the cipher suites, two bytes each"),
    "groups": Fetch("binary", "bytes", _numbers("groups"), "the supported groups, two bytes each"),
    "sigalgs": Fetch("binary", "bytes", _numbers("sigalgs"), "the signature algorithms, two bytes each"),
    "keyshare_groups": Fetch("binary", "bytes", _numbers("keyshares"), "the groups of the key shares, two bytes each"),
    "ech": Fetch("string", "bytes", _ech, "encrypted hello: none, outer (or GREASE), inner"),
    "tls_terminated": Fetch("boolean", "handshake", _tls_terminated, "whether the client's TLS ends here"),
    "tls_agreed_version": Fetch("string", "handshake", _agreed("version"), "the version agreed on, such as TLSv1.3"),
    "tls_agreed_alpn": Fetch("string", "handshake", _agreed("alpn"), "the application protocol agreed on"),
    "tls_cipher": Fetch("string", "handshake", _agreed("cipher"), "the cipher suite agreed on, as OpenSSL names it"),
    "tls_resumed": Fetch("boolean", "handshake", _agreed("resumed"), "whether the client resumed a session"),
    "client_cert": Fetch("boolean", "handshake", _client_cert, "whether the client showed a certificate"),
    "client_cert_subject": Fetch(
        "string",
        "handshake",
        _distinguished("subject"),
        "whose certificate it is, as in CN=a,O=b; or one attribute of it, such as CN",
        ("text",),
        1,
    ),
    "client_cert_issuer": Fetch(
        "string", "handshake", _distinguished("issuer"), "who signed the client's certificate, likewise", ("text",), 1
    ),
    "client_cert_names": Fetch(
        "string", "handshake", _client_cert_names, "the host names and addresses in the client's certificate", many=True
    ),
    "client_cert_fingerprint": Fetch(
        "string", "handshake", _agreed("fingerprint"), "SHA-256 of the client's certificate, hexadecimal, lower case"
    ),
    "length": Fetch("integer", "bytes", lambda f: len(f.data), "bytes that have come", growing=_always),
    "payload": Fetch(
        "binary", "bytes", _payload, "bytes at an offset; length 0: the rest", ("size", "size"), 0, _to_the_end
    ),
    "payload_lv": Fetch(
        "binary", "bytes", _payload_lv, "bytes whose length is in the data", ("size", "size", "offset"), 1
    ),
    "rdp_cookie": Fetch("string", "bytes", _rdp_cookie, "an RDP client's cookie, or the one so named", ("text",), 1),
    "proto_http": Fetch("boolean", "bytes", _proto_http, "whether the client speaks HTTP/1"),
    "wait_end": Fetch("boolean", "bytes", _wait_end, "true when nothing more is waited for"),
    "always_true": Fetch("boolean", "address", lambda f: True, "true"),
    "always_false": Fetch("boolean", "address", lambda f: False, "false"),
    "text": Fetch("string", "address", lambda f, value: value, "a constant text", ("text",)),
    "integer": Fetch("integer", "address", lambda f, value: value, "a constant number", ("integer",)),
    "boolean": Fetch("boolean", "address", lambda f, value: value != 0, "0 is false, any other is true", ("integer",)),
    "usable_servers": Fetch("integer", "state", _usable_servers, "servers of a backend that take traffic", ("text",)),
    "capture": Fetch("string", "state", _capture, "what the capture rule of that number kept", ("size",)),
    "date": Fetch("integer", "state", lambda f: int(f.time), "when the connection came, in seconds since 1970"),
    "time": Fetch("string", "state", _time, "day of the week and time of day, local, as in Mon 14:05"),
    "user": Fetch("string", "target", lambda f: f.user, "who the client has proved to be"),
    "method": Fetch("string", "target", lambda f: f.method, "the method of an HTTP request, such as CONNECT"),
    "protocol": Fetch(
        "string", "target", lambda f: f.protocol, "how the client names its target: connect, http or socks5"
    ),
    "target_host": Fetch("string", "target", lambda f: f.target_host, "the host the client asks for"),
    "target_port": Fetch("integer", "target", lambda f: f.target_port, "the port the client asks for"),
    "target_address": Fetch("address", "target", _target_address, "the addresses of the target's host", many=True),
    "server_name": Fetch(
        "string", "target", _server_name, "the certificate's names, else the SNI, else the host asked for", many=True
    ),
    "step": Fetch("integer", "target", lambda f: f.step or ABSENT, "step of the tls rules: 1, 2 or 3"),
}
