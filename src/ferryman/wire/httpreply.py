"""What a proxy answers itself: status, a few fields, a line of text.

Called by the data plane, with texts that may come from elsewhere (a resolver, an upstream proxy): no value given here
can end a header line. Every reply ends its head with an empty line, since clients wait for it (stunnel for 5 minutes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""The answer to CONNECT once the target is connected. It has no fields: RFC 9110 section 9.3.6 forbids those of a body,
and what follows is the tunnel's."""

_NOT_IN_VALUE: Final = re.compile(r"[^\t -~\x80-\xff]")
_TOKEN: Final = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ERROR: Final = re.compile("[a-z][a-z_]*")
_NOT_IN_STRING: Final = re.compile("[^ -~]")


def reply(status: int, reason: str, headers: Iterable[tuple[str, str]] = (), body: str = "") -> bytes:
    """A complete reply with Content-Length; without a reason the status' own.

    Bytes that a field or a reason must not hold become `?`. A field name that is none is a mistake of the caller.
    """
    content = body.encode()
    lines = [f"HTTP/1.1 {status} {_clean(reason or HTTPStatus(status).phrase)}"]
    for name, value in headers:
        assert _TOKEN.fullmatch(name), "a field name is one of this program's own"
        lines.append(f"{name}: {_clean(value)}")
    if content:
        lines.append("Content-Type: text/plain; charset=utf-8")
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + content


def without_body(message: bytes) -> bytes:
    """The reply as the answer to a HEAD request: Content-Length says how long the body would be."""
    return message[: message.index(b"\r\n\r\n") + 4]


def proxy_status(name: str, error: str, details: str = "", received_status: int = 0) -> tuple[str, str]:
    """The field of RFC 9209 that tells tools why: `name` is the proxy, `error` a type of section 2.3.

    `details` is for people; `received_status` is what an upstream proxy answered, 0 if none did.
    """
    assert _ERROR.fullmatch(error), "an error type is one of RFC 9209"
    value = f"{name if re.fullmatch('[A-Za-z][A-Za-z0-9._-]*', name) else _string(name)}; error={error}"
    if received_status:
        value += f"; received-status={received_status}"
    if details:
        value += f"; details={_string(details)}"
    return "Proxy-Status", value


def _clean(text: str) -> str:
    return _NOT_IN_VALUE.sub("?", text)


def _string(text: str) -> str:
    """A string of RFC 8941 section 3.3.3."""
    escaped = _NOT_IN_STRING.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
