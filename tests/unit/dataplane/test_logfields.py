"""Each alias under each flag, and that a client cannot write outside of its field."""

from __future__ import annotations

import os

import pytest
from records import COUNTS, record

from ferryman.dataplane.accesslog import compile_format
from ferryman.dataplane.logfields import ALIASES, encode
from ferryman.plan import Address, Server


def line(template: str, **fields: object) -> str:
    return compile_format(template)(record(**fields), COUNTS)


HOSTILE = 'a"b\\c]d{|}#e\x01\x1b\x7f\xe9 f\nX'


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("%[sni]", "a#22b\\c]d{|}#23e#01#1B#7F#E9 f#0AX"),
        ("%{+Q}[sni]", '"a#22b\\c]d{|}#23e#01#1B#7F#E9 f#0AX"'),
        ("%{+E}[sni]", 'a\\"b\\\\c\\]d{|}#23e#01#1B#7F#E9 f#0AX'),
        ("%{+Q,+E}[sni]", '"a\\"b\\\\c\\]d{|}#23e#01#1B#7F#E9 f#0AX"'),
        ("%ID", "a#22b\\c]d{|}#23e#01#1B#7F#E9 f#0AX"),
        ("%hr", "{a#22b\\c]d#7B#7C#7D#23e#01#1B#7F#E9 f#0AX}"),
        ("%hrl", "a#22b\\c]d#7B#7C#7D#23e#01#1B#7F#E9 f#0AX"),
        ("%{+Q}hr", '"{a#22b\\c]d#7B#7C#7D#23e#01#1B#7F#E9 f#0AX}"'),
        ("%[capture.req.hdr(0),hex]", "6122625C635D647B7C7D2365011B7FE920660A58"),
    ],
)
def test_what_a_client_sends_stays_in_its_field(template: str, expected: str) -> None:
    assert line(template, sni=HOSTILE, unique_id=HOSTILE, captures=[HOSTILE]) == expected


def test_characters_beyond_latin_1_are_encoded_as_utf_8() -> None:
    assert encode("\u2028€") == "#E2#80#A8#E2#82#AC"
    assert encode("\udc80") == "#3F"


def test_captures_stand_in_order() -> None:
    captures = ["he", None, "hel"]
    assert line("%hr|%hrl|%{+Q}hr|%{+Q}hrl", captures=captures) == '{he||hel}|he - hel|"{he||hel}"|"he" "" "hel"'
    assert line("%hr", captures=None) == "{}"


def test_hexadecimal() -> None:
    assert line("%{+X}o %ci %cp %fi %fp %si %sp %Ts %ms %rt %lc") == (
        "C0000207 C822 C6336401 192B C0000214 20FB 6B016841 1F6 0007 0000"
    )
    assert line("%{+X}ci", client_host="2001:db8::7") == "20010DB8000000000000000000000007"
    assert line("%{+X}ci", client_host="unix") == "unix"
    assert line("%{+X}sp %{+X}fp", server=None, local_host="") == "- -"
    assert line("%{+X}pid|%pid") == f"{os.getpid():04X}|{os.getpid()}"


def test_the_servers_port_may_depend_on_the_clients() -> None:
    mapped = Server(0, "s", "app", Address("inet", "192.0.2.9", 100, from_client=True))
    assert line("%si:%sp", server=mapped) == "192.0.2.9:6543"


def test_lines_are_counted_per_format() -> None:
    form = compile_format("%lc")
    assert [form(record()), form(record()), compile_format("%lc")(record())] == ["0", "1", "0"]


def test_redispatch_and_retries() -> None:
    assert line("%rc", retries=2) == "2"
    assert line("%rc", retries=2, redispatched=True) == "+2"


def test_times_of_phases_that_were_not_reached() -> None:
    assert line("%Tw/%Tc/%Td/%Tt/%Th", server=None, connect_ms=-1, total_ms=12) == "-1/-1/-1/12/0"
    assert line("%Tw/%Tc/%Td/%Tt/%Tu", connect_ms=3, total_ms=12) == "0/3/9/12/12"


@pytest.mark.parametrize("flags", ["", "{+Q}", "{+X}", "{+E}", "{+Q,+X,+E}"])
@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_every_alias_makes_a_line_of_the_barest_record(alias: str, flags: str) -> None:
    bare = dict.fromkeys(("sni", "alpn", "captures", "backend", "server"))
    text = line(f"<%{flags}{alias}>", **bare, local_host="", total_ms=-1, client_host="unix", client_port=0)
    assert text.startswith("<")
    assert text.endswith(">")
    assert text.isprintable()
