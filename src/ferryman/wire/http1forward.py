"""Heads on their way to the next hop (RFC 9110 section 7.6): without the fields that are for this hop only.

Called by the data plane for plain HTTP, and for CONNECT to an upstream proxy. Bodies are not touched, so their framing
fields go along.

A request to switch protocols (Upgrade, RFC 9110 section 7.8) and the 101 that grants it keep `Upgrade` and
`Connection: Upgrade`; but for `h2c`, which would carry requests past this proxy that nobody has judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ferryman.wire.authority import format_authority
from ferryman.wire.http1 import Framing, Headers, Request, Response, Version

PSEUDONYM: Final = "ferryman"
"""What this proxy calls itself in Via where it has no name of its own."""
_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authentication-info",
        "te",
        "upgrade",
    }
)
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_END_TO_END: Final = frozenset({"host", "content-length", "transfer-encoding", "via"})
"""Fields that stay though Connection names them: without them the next hop would read another message than this one."""


def upgrade(message: Request | Response) -> str:
    """The protocols that a request asks to switch to, or that a 101 switches to; "" for none that is passed on."""
    if message.version == (1, 0) or "upgrade" not in message.names or "upgrade" not in _connection(message):
        return ""
    protocols = ", ".join(message.get_all("upgrade"))
    return "" if "h2c" in [protocol.strip().lower() for protocol in protocols.split(",")] else protocols


def wants_close(message: Request | Response) -> bool:
    """Will whoever sent this close the connection after the exchange (RFC 9112 section 9.3)?

    In HTTP/1.0 yes unless it says keep-alive, for which clients of a proxy also write Proxy-Connection.
    """
    options = _connection(message)
    if "proxy-connection" in message.names and "connection" not in message.names:
        options = _options(message.get_all("proxy-connection"))
    return "close" in options or (message.version == (1, 0) and "keep-alive" not in options)


def via(message: Request | Response, name: str) -> str:
    """The Via to send on: the hops that it tells of, and this one, called `name` (RFC 9110 section 7.6.3)."""
    own = f"{message.version[0]}.{message.version[1]} {name}"
    return ", ".join([*message.get_all("via"), own]) if "via" in message.names else own


def has_passed(request: Request, name: str) -> bool:
    """Did it come by a proxy of this name before?"""
    if "via" not in request.names:
        return False
    hops = [hop.split() for value in request.get_all("via") for hop in value.split(",")]
    return name in [hop[1] for hop in hops if len(hop) > 1]


def forwards_left(request: Request) -> int | None:
    """How often it may still be forwarded (RFC 9110 section 7.6.2); None: nobody counts. 0: `final_answer` is due."""
    value = request.get("max-forwards") or ""
    if request.method not in ("OPTIONS", "TRACE") or not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0") or "0"
    return int(digits) if len(digits) < 10 else 999_999_999


def final_answer(request: Request, methods: str, stays: bool) -> bytes:
    """The answer to a TRACE or OPTIONS that goes no further than here. `stays`: the connection is kept.

    TRACE gets the head as it came here, without what is nobody's business (RFC 9110 section 9.3.8); OPTIONS `methods`.
    """
    about, content = f"Allow: {methods}", ""
    if request.method == "TRACE":
        about = "Content-Type: message/http"
        shown = [f"{name}: {value}\r\n" for name, value in request.headers if name.lower() not in _SECRET]
        version = ".".join(map(str, request.version))
        content = f"{request.method} {request.target} HTTP/{version}\r\n{''.join(shown)}\r\n"
    option = "keep-alive" if stays else "close"
    head = f"HTTP/1.1 200 OK\r\n{about}\r\nConnection: {option}\r\nContent-Length: {len(content)}\r\n\r\n"
    return f"{head}{content}".encode("latin-1")


def forwarded_request(
    request: Request, target: str, extra: Iterable[tuple[str, str]] = (), name: str = PSEUDONYM
) -> bytes:
    """The head for the next hop: `request.path` as `target` for the server, `request.target` for another proxy.

    Host is what the URI says, whatever the client wrote there (RFC 9112 section 3.2.2). `extra` are fields to add, such
    as `Connection: close`, which must not go with an `upgrade`. `name` is for Via.
    """
    host = request.get("host") or ""
    if request.form == "absolute":
        host = format_authority(request.host, request.port) if request.port != 80 else _bracketed(request.host)
    first, replaced = [("Host", host)], {"host"}
    left = forwards_left(request)
    if left is not None:
        assert left, "it ends here"
        first.append(("Max-Forwards", str(left - 1)))
        replaced.add("max-forwards")
    return _head(f"{request.method} {target} HTTP/1.1", first, request, replaced, extra, name)


def forwarded_response(
    response: Response, client: Version, extra: Iterable[tuple[str, str]] = (), name: str = PSEUDONYM
) -> bytes:
    """The head for a client that speaks this version.

    One that speaks 1.0 knows no chunks: then give it only the content (`ChunkReader.spans`) and close after it.
    """
    unknown: set[str] = set()
    if response.status < 200 or response.status == 204:  # RFC 9110 section 8.6: none is allowed, some are sent
        unknown = {"transfer-encoding", "content-length"}
    elif client == (1, 0) and response.body is Framing.CHUNKED:
        unknown = {"transfer-encoding"}
    return _head(f"HTTP/1.1 {response.status} {response.reason}", [], response, unknown, extra, name)


def connect_request(host: str, port: int, hops: str, authorization: str = "") -> bytes:
    """The request for a tunnel. `hops`: Via's value; `authorization`: Proxy-Authorization's, "" for none."""
    authority = format_authority(host, port)
    credentials = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nVia: {hops}\r\n{credentials}\r\n"
    assert head.count("\n") == (5 if authorization else 4), "no value ends a line"
    return head.encode("latin-1")


def _head(
    line: str,
    first: list[tuple[str, str]],
    message: Request | Response,
    more: set[str],
    extra: Iterable[tuple[str, str]],
    name: str,
) -> bytes:
    """`more` are names not to pass on besides those of this hop."""
    protocols = upgrade(message)
    dropped = _HOP | more | (_connection(message) - _END_TO_END)
    fields: Headers = (
        *first,
        *(field for key, field in zip(message.names, message.headers, strict=True) if key not in dropped),
        ("Via", f"{message.version[0]}.{message.version[1]} {name}"),
        *((("Connection", "Upgrade"), ("Upgrade", protocols)) if protocols else ()),
        *extra,
    )
    text = "".join([f"{key}: {value}\r\n" for key, value in fields])
    assert text.count("\n") == len(fields), "no value ends a line"
    return f"{line}\r\n{text}\r\n".encode("latin-1")


def _connection(message: Request | Response) -> set[str]:
    return _options(message.get_all("connection"))


def _options(values: list[str]) -> set[str]:
    return {option.strip(" \t").lower() for value in values for option in value.split(",")}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
