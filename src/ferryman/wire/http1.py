"""Heads of HTTP/1 messages (RFC 9112): what a client asks a proxy for, and what a server or another proxy answers.

`parse_request` and `parse_response` are called by the data plane with what has come so far. They read no body (see
wire.http1body), write nothing (wire.http1forward, wire.httpreply) and know nothing of rules.

A head is answered once all of it is there. Before that None, or a fault that no further byte can mend: a first line
that is none, a line end that is not CRLF, a length above the limit. When a head has several faults, the first line's
come first, then those of line ends, then those of the fields, so that the fault does not depend on how much had come.

The reader is strict where two readers could disagree about where a message ends or whom it is for: CRLF is the only
line end (a lone LF is refused), folded lines, space before a colon, control bytes, repeated or listed Content-Length,
Content-Length beside Transfer-Encoding, codings other than chunked and a second Host are faults. One empty line before
a request is skipped (RFC 9112 section 2.2).
"""

from __future__ import annotations

import enum
import re
from typing import Final, Literal, NamedTuple

from ferryman.wire.authority import parse_authority

MAX_LINE: Final = 8192
"""The longest request or status line taken, in bytes without its CRLF."""

MAX_INTERIM: Final = 16
"""Answers with a status of 1xx that are taken before the final one."""

MAX_HEAD: Final = 65536
"""The longest head taken unless the caller says otherwise, in bytes with the empty line at its end."""


class BadHead(Exception):  # noqa: N818  it says what is bad, and that is all it is
    """A head, or the framing of a body, that is refused. The reason is fixed text and never quotes the peer.

    `status` is what to answer: 400, 414, 431, 501, 505 to a client; 502 when it was the server's.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class Framing(enum.Enum):
    """How a body ends, when not after a known number of bytes; compare with `is`."""

    CHUNKED = "with a last chunk"
    UNTIL_CLOSE = "with the connection"


Headers = tuple[tuple[str, str], ...]
"""Names and values as sent, in order, without the white space around values; bytes above 127 as Latin-1."""

Version = tuple[int, int]


class Request(NamedTuple):
    """A request head. Its repr leaves the fields out, since they hold credentials."""

    method: str
    target: str  # as sent
    version: Version  # (1, 0) or (1, 1)
    headers: Headers
    names: tuple[str, ...]  # of `headers`, in lower case
    form: Literal["authority", "absolute", "origin", "asterisk"]  # of the target, RFC 9112 section 3.2
    host: str  # whom it is for, as wire.authority.parse_host gives it; "" in origin and asterisk form
    port: int  # 0 in these
    path: str  # the target in origin form, for the server itself; "" for CONNECT
    body: int | Framing  # bytes; 0: there is none

    def get(self, name: str) -> str | None:
        """The first value of a field; `name` in lower case."""
        return self.headers[self.names.index(name)][1] if name in self.names else None

    def get_all(self, name: str) -> list[str]:
        """All values of a field; `name` in lower case."""
        return [value for key, (_, value) in zip(self.names, self.headers, strict=True) if key == name]

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target})"


class Response(NamedTuple):
    """A response head."""

    status: int
    reason: str  # may be empty
    version: Version
    headers: Headers
    names: tuple[str, ...]  # of `headers`, in lower case
    body: int | Framing  # of the answer to the request's method; 0 also where a tunnel begins

    def get(self, name: str) -> str | None:
        """The first value of a field; `name` in lower case."""
        return self.headers[self.names.index(name)][1] if name in self.names else None

    def get_all(self, name: str) -> list[str]:
        """All values of a field; `name` in lower case."""
        return [value for key, (_, value) in zip(self.names, self.headers, strict=True) if key == name]

    def __repr__(self) -> str:
        return f"Response({self.status} {self.reason})"


class _FirstLine(NamedTuple):
    """What sets the heads of requests and responses apart."""

    whole: re.Pattern[str]
    partial: re.Pattern[str]  # matches as much as may be the beginning of one; its groups are the parts begun
    faults: tuple[str, ...]  # by number of parts begun
    too_long: int
    too_large: int
    bad: int


# Possessive quantifiers stand for single classes only: on groups they match wrongly before Python 3.11.5.
_TOKEN: Final = "[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE: Final = _FirstLine(
    re.compile(rf"({_TOKEN}++) ([!-~]++) HTTP/([0-9]\.[0-9])\r\n"),
    re.compile(rf"(?:({_TOKEN}++)(?: (?:([!-~]++)(?: ([!-~]*+))?)?)?)?"),
    (
        "no method",
        "a method with a byte that none has, or no target",
        "a target with a byte that no URI has, or no HTTP version",
        "no HTTP version after the target",
    ),
    414,
    431,
    400,
)
_STATUS_LINE: Final = _FirstLine(
    re.compile(r"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*+))?\r\n"),
    re.compile(r"([HTP]*+)(?:/([0-9.]*+)(?: ([0-9]*+)(?: ([\t -~\x80-\xff]*+))?)?)?"),
    ("no status line of HTTP/1",) * 5,
    502,
    502,
    502,
)
_FIELD: Final = re.compile(rf"^({_TOKEN}++):[ \t]*+([\t -~\x80-\xff]*+)\r\n", re.MULTILINE)
_HOST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*+")
_VERSIONS: Final[dict[str, Version]] = {"1.1": (1, 1), "1.0": (1, 0)}
_DIGITS: Final = re.compile("[0-9]{1,18}")
_TARGET: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+)://([^/?#]*+)([^#]*+)(#?)")

_OTHER: Final = {
    "\x16": "TLS where plain HTTP was expected",
    "\x80": "TLS where plain HTTP was expected",  # a hello of SSL 2
    "\x04": "SOCKS4, which is not spoken: HTTP was expected, or SOCKS5 where that is taken",
    "\x05": "SOCKS5 where only HTTP is taken",
    "PRI": "HTTP/2 where HTTP/1.1 was expected",
}
"""What else a stream begins with, by its first byte or method."""

_LINE_END: Final = "a line that does not end in CR LF"


def parse_request(data: bytes | bytearray | memoryview, limit: int = MAX_HEAD) -> tuple[Request, int] | None:
    """The request at the start of a stream and the bytes that its head takes; None: more is needed. Raises BadHead.

    `data` is the stream as far as it is known, `limit` the longest head in bytes.
    """
    head = _head(data, limit, _REQUEST_LINE, 2 if data[:2] == b"\r\n" else 0)
    if head is None:
        return None
    line, fields, length = head
    method, target, number = line.groups()
    version = _VERSIONS.get(number)
    if version is None:
        raise BadHead(400, _OTHER["PRI"]) if method == "PRI" else BadHead(505, "an HTTP version other than 1.0 and 1.1")
    names = tuple([name.lower() for name, _ in fields])
    headers = tuple([(name, value.rstrip(" \t")) for name, value in fields])
    form, host, port, path = _target(method, target)
    _check_host(form, version, names, headers)
    body = _body(version, names, headers, 400) or 0
    if method == "CONNECT" and body:
        raise BadHead(400, "CONNECT with a body")
    if names.count("proxy-authorization") > 1:
        raise BadHead(400, "Proxy-Authorization twice")
    return Request(method, target, version, headers, names, form, host, port, path, body), length


def parse_response(
    data: bytes | bytearray | memoryview, request_method: str, limit: int = MAX_HEAD
) -> tuple[Response, int] | None:
    """The response at the start of a stream and the bytes that its head takes; None: more is needed.

    Raises BadHead, always with status 502. An interim response (1xx) is one of its own; another follows but for 101.
    """
    head = _head(data, limit, _STATUS_LINE, 0)
    if head is None:
        return None
    line, fields, length = head
    status, version = int(line[2]), _VERSIONS[line[1]]
    names = tuple([name.lower() for name, _ in fields])
    headers = tuple([(name, value.rstrip(" \t")) for name, value in fields])
    body: int | Framing = 0
    tunnel = request_method == "CONNECT" and 200 <= status < 300
    if not tunnel and status >= 200 and status != 204:  # RFC 9112 section 6.3: there, framing fields mean nothing
        stated = _body(version, names, headers, 502)
        if request_method != "HEAD" and status != 304:
            body = Framing.UNTIL_CLOSE if stated is None else stated
    return Response(status, line[3] or "", version, headers, names, body), length


_Head = tuple[re.Match[str], list[tuple[str, str]], int]


def _head(data: bytes | bytearray | memoryview, limit: int, first: _FirstLine, start: int) -> _Head | None:
    """The first line, the fields and the length in bytes of a head that begins at `start`."""
    raw = data if isinstance(data, bytes) else bytes(data[: limit + 1])
    end = raw.find(b"\r\n\r\n", start, limit)
    text = str(raw[start : end + 2] if end >= 0 else raw[start:limit], "latin-1")
    line_limit = min(MAX_LINE, limit - 4)
    line = first.whole.match(text)
    if line is None or line.end() > line_limit + 2:
        _check_first_line(text, first, line_limit)
    if end < 0:
        if _has_odd_line_end(text):
            raise BadHead(first.bad, _LINE_END)
        if len(raw) > limit:
            raise BadHead(first.too_large, "a head longer than is taken")
        return None
    assert line is not None, "a first line that is complete and neither right nor wrong"
    fields = _FIELD.findall(text, line.end())
    if len(fields) != text.count("\n") - 1:  # each match is one whole line
        raise BadHead(first.bad, _field_fault(text[line.end() :]))
    return line, fields, end + 4


def _check_first_line(text: str, first: _FirstLine, limit: int) -> None:
    """Raise BadHead unless the line may still become right."""
    line, line_end, _ = text.partition("\r\n")
    match = first.partial.match(line[:limit])
    assert match is not None, "the pattern matches nothing as well"
    at = match.end()
    if at < len(line[:limit]):
        if line[at] == "\r" and at + 1 == len(line) and not line_end:
            return  # its LF may follow
        if line[at] in "\r\n":
            raise BadHead(first.bad, _LINE_END)
        if text[0] in _OTHER:
            raise BadHead(first.bad, _OTHER[text[0]])
        raise BadHead(first.bad, first.faults[match.lastindex or 0])
    if len(line) > limit and (line_end or len(text) >= limit + 2):
        raise BadHead(first.too_long, "a first line longer than is taken")
    if line_end:
        raise BadHead(first.bad, first.faults[match.lastindex or 0])


def _has_odd_line_end(text: str) -> bool:
    """Is there a CR or LF that is not half of a CRLF? A CR at the end may be. Counting takes a tenth of a search."""
    pairs = text.count("\r\n")
    return text.count("\n") != pairs or text.count("\r") - text.endswith("\r") != pairs


def _field_fault(block: str) -> str:
    """What is wrong with the first of these lines that is no field."""
    if _has_odd_line_end(block):
        return _LINE_END
    for line in block.split("\r\n"):
        if _FIELD.match(f"{line}\r\n"):
            continue
        name, colon, _ = line.partition(":")
        if line[:1] in (" ", "\t"):
            return "a header line that begins with white space"  # obs-fold, RFC 9112 section 5.2
        if not colon:
            return "a header line without a colon"
        if name[-1:] in (" ", "\t"):
            return "white space before the colon of a header"
        if not re.fullmatch(f"{_TOKEN}+", name):
            return "a header name with a byte that no name has, or none at all"
        return "a control byte in a header"
    raise AssertionError("every line is a field")


def _target(method: str, target: str) -> tuple[Literal["authority", "absolute", "origin", "asterisk"], str, int, str]:
    """The form of a target (RFC 9112 section 3.2), host, port, and what to ask the server itself for."""
    try:
        if method == "CONNECT":
            return "authority", *parse_authority(target), ""
        if target[0] == "/":
            return "origin", "", 0, target
        if target == "*" and method == "OPTIONS":
            return "asterisk", "", 0, target
        match = _TARGET.fullmatch(target)
        if match is None or match[4]:
            raise BadHead(400, "a target that is neither a URI nor a path")
        if match[1].lower() != "http":
            raise BadHead(501, "a scheme other than http: others go through CONNECT")
        host, port = parse_authority(match[2], 80)
    except ValueError as error:
        raise BadHead(400, str(error)) from None
    path = match[3]
    if not path and method == "OPTIONS":
        path = "*"  # RFC 9112 section 3.2.4
    return "absolute", host, port, path if path[:1] in ("/", "*") else f"/{path}"


def _check_host(form: str, version: Version, names: tuple[str, ...], headers: Headers) -> None:
    """RFC 9112 section 3.2. CONNECT may come without: what is asked for is in its target, and nothing is passed on."""
    if "host" in names:
        if names.count("host") > 1:
            raise BadHead(400, "Host twice")
        if not _HOST.fullmatch(headers[names.index("host")][1]):
            raise BadHead(400, "a Host that is none")
    elif version == (1, 1) and form != "authority":
        raise BadHead(400, "no Host")


def _body(version: Version, names: tuple[str, ...], headers: Headers, bad: int) -> int | Framing | None:
    """How the body ends by Transfer-Encoding and Content-Length (RFC 9112 section 6); None: neither is there."""
    if "transfer-encoding" in names:
        values = [value for name, value in zip(names, headers, strict=True) if name == "transfer-encoding"]
        codings = [coding.strip(" \t").lower() for _, value in values for coding in value.split(",")]
        if "content-length" in names:
            raise BadHead(bad, "both Transfer-Encoding and Content-Length")
        if version == (1, 0):
            raise BadHead(bad, "Transfer-Encoding in HTTP/1.0")
        if codings == ["chunked"]:
            return Framing.CHUNKED
        if codings[-1] == "chunked" and "chunked" not in codings[:-1]:
            raise BadHead(501 if bad == 400 else bad, "a transfer coding other than chunked")
        raise BadHead(bad, "a Transfer-Encoding that does not end with one chunked")
    if "content-length" not in names:
        return None
    value = headers[names.index("content-length")][1]
    if names.count("content-length") > 1 or not _DIGITS.fullmatch(value):
        raise BadHead(bad, "a Content-Length that is not one number")
    return int(value)
