"""Does rsync speak within TLS? What is said there also tells who is at the other end, whatever the certificate says.

rsync's daemon greets first; where nobody does we greet, which makes those speak who take it for HTTP. What is sent then
is a whole head to them, and to a daemon that was only slow a greeting and an empty name, which asks for the list. Not a
byte more: a daemon that closes while something is unread resets the connection, and what it said is lost on its way.
Source: rsync(1) and rsyncd.conf(5); the lines are those of protocol 31.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal

from ferryman.doctor.answer import Head, parse_head, shown
from ferryman.doctor.tlsstream import TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut

FIRST: Final = 1.0
"""Seconds for the greeting of a daemon that is there."""
_MARK: Final = b"@RSYNCD: "
_OURS: Final = b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n"
_LIST: Final = "#list"


@dataclass(frozen=True, slots=True)
class Greeting:
    """`kind`: who speaks. `line` is the first thing said, `after` what came on asking for the module.

    `late`: a daemon greeted when it was not waited for any longer, and was not asked for the module.
    """

    kind: Literal["rsync", "error", "http", "other", "silent", "closed", "alert"]
    line: str = ""
    after: str = ""
    head: Head | None = None
    late: bool = False


def greet(stream: TlsStream, module: str, patience: float, listen: float = FIRST) -> Greeting:
    """Listen so long, speak, and ask for the module ("": the list of them)."""
    try:
        first = _receive(stream, min(listen, patience))
        if not first:
            stream.write(_OURS + b"\r\n", patience)
            first = _receive(stream, patience)
            return _judge(first, stream, patience) if first else Greeting("silent")
        if not first.startswith(_MARK):
            return _judge(first, stream, patience)
    except TlsFault as fault:
        return Greeting("alert", fault.text or fault.how)
    except Cut as cut:
        return Greeting("closed", cut.how)
    line, said = _lines(first)[0], [*_lines(first)[1:], *_asked(stream, module, patience)]
    if wrong := next((each for each in said if each.startswith("@ERROR")), ""):
        return Greeting("error", line, wrong)
    return Greeting("rsync", line, "; ".join(said[:3]))


def _asked(stream: TlsStream, module: str, patience: float) -> list[str]:
    """What a daemon that has greeted says to a module's name. However it ends, it was a daemon."""
    try:
        stream.write(_OURS + f"{module or _LIST}\n".encode(), patience)
        return _lines(_receive(stream, patience, lines=2))
    except TlsFault as fault:
        return [f"TLS ends: {fault}"]
    except Cut as cut:
        return [f"the connection is {cut.how}"]


def _judge(data: bytes, stream: TlsStream, patience: float) -> Greeting:
    line = _lines(data)[0]
    if data.startswith(_MARK):
        return Greeting("rsync", line, late=True)
    if data.startswith(b"@ERROR"):
        return Greeting("error", line, line)
    if data.startswith(b"HTTP/") or b"<html" in data.lower():
        while (head := parse_head(data)) is None:
            more = _rest(stream, patience)
            if not more:
                break
            data += more
        return Greeting("http", line, head=head if isinstance(head, Head) else None)
    return Greeting("other", line)


def _rest(stream: TlsStream, patience: float) -> bytes:
    """More of an answer; b"": it ends here, however."""
    try:
        return _receive(stream, patience)
    except (Cut, TlsFault):
        return b""


def _receive(stream: TlsStream, seconds: float, lines: int = 1) -> bytes:
    """Up to a number of lines, or what there is in the time. Raises Cut where the end comes before anything."""
    deadline, data = time.monotonic() + seconds, b""
    while data.count(b"\n") < lines and len(data) < 8192:
        try:
            more = stream.read(deadline - time.monotonic())
        except Cut as cut:
            if cut.how == "silent" or data:
                return data
            raise
        if not more:
            if data:
                return data
            raise Cut("closed")
        data += more
    return data


def _lines(data: bytes) -> list[str]:
    return [shown(line) for line in data.replace(b"\r", b"").split(b"\n") if line] or [""]
