"""What a proxy or a server answered: heads of HTTP as they come, and what came instead.

Unlike wire.http1 this reader takes what is wrong, since it is to be shown and named: lone LF, HTTP/2 in a status line,
any field. Bytes in, values out; it never raises.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

MAX_HEAD: Final = 65536
"""The longest head read, in bytes."""

_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(r"HTTP/(\d{1,2}(?:\.\d{1,2})?) +(\d{3})(?: (.*))?")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"?')
_SHOWN: Final = 200
"""The most characters shown of what a peer said."""


class Foreign(enum.Enum):
    """What came where a status line of HTTP was to come; compare with `is`."""

    TLS = "TLS"
    HTTP2 = "HTTP/2"
    OTHER = "something that is not HTTP"


class Head(NamedTuple):
    """A head. `version` is "1.1", "2" and the like; `length` its bytes in the stream."""

    line: str
    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    length: int

    def get(self, name: str) -> str:
        """The first value of a field, `name` in lower case; "" when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def get_all(self, name: str) -> list[str]:
        """All values of a field, `name` in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


def parse_head(data: bytes) -> Head | Foreign | None:
    """What a stream begins with; None: more is needed. What is said of a prefix holds for the whole."""
    if not (data.startswith(b"HTTP/") or b"HTTP/".startswith(data)):
        return _foreign(data)
    end = _END.search(data, 0, MAX_HEAD)
    if end is None:
        return Foreign.OTHER if len(data) >= MAX_HEAD else None
    first, *lines = data[: end.start()].decode("latin-1").replace("\r\n", "\n").split("\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        return Foreign.OTHER
    fields = [line.partition(":") for line in lines]
    headers = tuple((name.strip(), value.strip()) for name, colon, value in fields if colon)
    return Head(shown(first), status[1], int(status[2]), headers, end.end())


def _foreign(data: bytes) -> Foreign | None:
    if data[:1] in (b"\x15", b"\x16") and data[1:2] == b"\x03":
        return Foreign.TLS
    if len(data) < 9:
        return None
    # a SETTINGS frame on stream 0, with which every HTTP/2 server begins (RFC 9113 section 3.4)
    return Foreign.HTTP2 if data[3] == 4 and data[5:9] == bytes(4) else Foreign.OTHER


def body_length(head: Head) -> int | None:
    """Bytes that are said to follow; None: it is not said, or no number that a body can have."""
    said = head.get("content-length")
    return int(said) if re.fullmatch("[0-9]{1,15}", said) else None


def schemes(head: Head, field: str = "proxy-authenticate") -> list[str]:
    """The authentication schemes offered (RFC 9110 section 11.6.1): several fields, or several in one."""
    found: dict[str, None] = {}
    for value in head.get_all(field):
        for part in _QUOTED.sub("", value).split(","):
            first = part.split(maxsplit=1)[0] if part.split() else ""
            if first and "=" not in first:
                found.setdefault(shown(first))
    return list(found)


def shown(text: str | bytes, most: int = _SHOWN) -> str:
    """What a peer said, fit for one line of a terminal."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"
