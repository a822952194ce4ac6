"""Whatever the template and whatever the client sent: one line, every value in its own field.

That is: `check` finds a mistake exactly where compiling refuses, a line has no control characters, a client cannot end
a quoted field or add one, JSON gives back what went in, and a frame ends with its only newline, in time.
"""

from __future__ import annotations

import json
import os
import re

import driver

from ferryman.dataplane.accesslog import check, compile_format
from ferryman.dataplane.logfields import ALIASES, Counts
from ferryman.dataplane.logformat import TCP
from ferryman.dataplane.record import Record
from ferryman.dataplane.syslog import Sink
from ferryman.plan import AccessLog, Address, Backend, Listener, LogTarget, Server

SERVER = Server(0, "web1", "app", Address("inet6", "2001:db8::20", 8443))
BACKEND = Backend(0, "app", (SERVER,))
LISTENER = Listener(0, "front", "tcp", (), AccessLog((), "json"), capture_slots=2)
COUNTS = Counts(1, 1, 1, 1)

QUOTED = compile_format('%{+Q}[sni] "%[capture.req.hdr(0)]" %{+Q,+E}[sni,lower] %{+Q}hrl')
FIELDS = re.compile(r'"[ -!#-~]*" "[ -!#-~]*" "(?:[ -!#-[^-~]|\\["\\\]])*" "[ -!#-~]*" "[ -!#-~]*"')
JSON = compile_format("json", "node")
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
SINKS = [
    Sink(LogTarget(0, "file", "", format=form, length=length), os.open(os.devnull, os.O_WRONLY), 1)
    for form, length in (("raw", 65535), ("rfc5424", 100))
]


def record(text: str) -> Record:
    made = Record(LISTENER, "192.0.2.7", 51234, 1_795_254_337.5, 0.0)
    made.sni, made.reason, made.captures = text, text, [text, text[:3]]
    made.backend, made.server, made.total_ms = BACKEND, SERVER, 12
    return made


def one(data: bytes) -> None:
    template, _, value = data.decode("latin-1").partition("\0")
    made = record(value)
    mistakes = check(template)
    assert all(0 <= offset <= len(template) for offset, _ in mistakes)
    refusal = ""
    line = ""
    try:
        line = compile_format(template)(made, COUNTS)
    except ValueError as error:
        refusal = str(error)
    assert refusal == (mistakes[0][1] if mistakes else "")
    assert not CONTROL.search(line), line
    line = QUOTED(made, COUNTS)
    assert line.isascii()
    assert FIELDS.fullmatch(line), line
    line = JSON(made)
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert (told["sni"] or "", told["captures"]) == (value, made.captures)
    for sink in SINKS:
        sink.emit("info", value)
        (framed,) = sink.pending
        sink.flush()
        assert framed.endswith(b"\n")
        assert len(framed) <= sink.target.length
        assert not re.search(rb"[\x00-\x1f\x7f]", framed[:-1])


TEMPLATES = [
    TCP,
    *(f"%{{+Q,+X,+E}}o %{alias}" for alias in sorted(ALIASES)),
    "%{+Q}[sni] %{-Q}[capture.req.hdr(0),lower,field(2,.)]",
    '%[sni|word(1,".")|upper|length] 100%% %[str(x)] %o %hs',
    "json",
]
SEEDS = [template.encode() + b"\0www.example.org" for template in TEMPLATES] + [
    b'%[sni]\0a"b\\c]d{|}#e\x01\x1b\x7f\xe9 f\nX',
    b"%nope %[bogus] %{+Z}ci %\0",
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
