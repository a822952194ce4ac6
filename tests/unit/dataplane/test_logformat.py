"""Templates: what is read from them, what is wrong with them; and the same lines as HAProxy, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from haproxy_logs import logged, udp
from records import COUNTS, record

from ferryman.dataplane.accesslog import check, compile_format
from ferryman.dataplane.logfields import Counts
from ferryman.dataplane.logformat import TCP
from ferryman.dataplane.record import Record
from ferryman.plan import AccessLog, Address, Backend, Listener, Server


def line(template: str, **fields: object) -> str:
    assert check(template) == []
    return compile_format(template)(record(**fields), COUNTS)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("  blanks   only    separate  ", "blanks only separate "),
        ("100%% of %%d and %%s", "100% of %d and %s"),
        ("%ci%cp", "192.0.2.751234"),
        ("%b/%s.", "app/web1."),
        ("%{+Q}b %b", '"app" app'),
        ("%{+Q}o %b %{-Q}s %f", '"app" web1 "front"'),
        ("%{+Q,+X}o %ci %cp", "C0000207 C822"),
        ("%{ +Q , -X }b", '"app"'),
        ("ünïcode %b", "ünïcode app"),
        ("two\nlines\u2028three\x7f%b", "two lines three app"),
    ],
)
def test_text_aliases_and_flags(template: str, expected: str) -> None:
    assert line(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("%[src]:%[src_port]", "192.0.2.7:51234"),
        ("%[dst]:%[dst_port]", "198.51.100.1:6443"),
        ("%[fe_name]/%[be_name]/%[srv_name]", "front/app/web1"),
        ("%[listener]/%[backend]/%[server]", "front/app/web1"),
        ("%[capture.req.hdr(0)]", "www.example.org"),
        ("%[capture.req.hdr(1)]", "-"),
        ("%{+Q}[capture.req.hdr(1)]", '""'),
        ("%[capture(0)|upper]", "WWW.EXAMPLE.ORG"),
        ("%[capture.req.hdr(0),upper,length]", "15"),
        ('%[sni|field(2,".")]', "example"),
        ("%[req.ssl_sni,field(2,.)]", "example"),
        ("%[sni,field(9,.)]", "-"),
        ("%{+Q}[src_port]", '"51234"'),
        ("%[str(a, b])]x", "a, b]x"),
        ("%[ssl_fc_sni]", "-"),
        ("%[ rule ]|%[how]|%[code]|%[id]|%[ended_by]", "haproxy.cfg:44|fin|--|7|-"),
    ],
)
def test_expressions(template: str, expected: str) -> None:
    assert line(template) == expected


def test_absent_values() -> None:
    nothing = dict.fromkeys(("sni", "alpn", "captures", "backend", "server"))
    template = "%[sni] %[sni,upper] %[alpn] %[be_name] %[srv_name] %b/%s %si:%sp %{+Q}si %hr %hrl %[dst]"
    assert line(template, **nothing, local_host="") == '- - - - - front/<NOSRV> -:- "" {} - -'


@pytest.mark.parametrize(
    ("template", "offset", "message"),
    [
        ("a %nope", 2, "there is no %nope"),
        ("%ciX", 0, 'there is no %ciX; did you mean "ci"?'),
        ("100%", 3, "a name, { or [ must follow the %"),
        ("% ci", 0, "a name, { or [ must follow the %"),
        ("x%{+Q", 1, "a name, { or [ must follow the %"),
        ("x%{+Q}", 1, "a name, { or [ must follow the %"),
        ("%{+Z}ci", 0, '"+Z" is no flag'),
        ("%{Q}ci", 0, '"Q" is no flag'),
        ("a %[src", 2, "a ] is missing"),
        ("%[bogus]", 2, '"bogus" cannot be logged'),
        ("%[srcc]", 2, '"srcc" cannot be logged; did you mean "src"?'),
        ("%[req.len]", 2, '"req.len" is not known any more'),
        ("%[tls_version]", 2, '"tls_version" is not known any more'),
        ("%[src,bogus]", 2, 'there is no converter "bogus"'),
        ("%[src,field(1)]", 2, "field needs 2 arguments"),
        ("%[]", 2, '"" cannot be logged'),
        ("%Tq", 0, "%Tq is about HTTP"),
        ("%r", 0, "%r is about HTTP"),
    ],
)
def test_mistakes_have_a_place_and_a_reason(template: str, offset: int, message: str) -> None:
    mistakes = check(template)
    assert len(mistakes) == 1, mistakes
    assert mistakes[0][0] == offset
    assert message in mistakes[0][1]


def test_every_mistake_is_told() -> None:
    assert [offset for offset, _ in check("%x %ci %[y] %{+Z}b %%")] == [0, 9, 12]


def test_what_looks_like_python_is_text() -> None:
    assert line("{r.listener} {0} %%(x)s {{") == "{r.listener} {0} %(x)s {{"


SAME_AS_HAPROXY = (
    TCP,
    "%{+Q}o " + TCP,
    *(
        flags
        + "%B %H %ID %ST %T %Tc %Tl %Th %Ts %Tt %Tu %Tw %U %ac %b %bc %bq %ci %cp %f %fc %fi %fp %ft %hs %hsl %ms "
        "%rc %s %sc %si %sp %sq %t %ts %tsc %sslc %sslv"
        for flags in ("", "%{+Q}o", "%{+X}o", "%{+E}o ", "%{+Q,+X,+E}o")
    ),
    "%{+Q}ci%{-Q}ci%{+Q}b %{+X}sp %{-X}sp",
    "  two   %ci   blanks  ",
    "100%% %b%%",
    "%{+Q,+E}o [id@1 fe=%f be=%{-Q}b name=%[fe_name]]",
    "%hr %hrl %{+Q}hr %{+Q}hrl",
    "%[src] %[src_port] %[dst] %[dst_port] %[fe_name] %[be_name] %[srv_name] %[src,upper] %[capture.req.hdr(0),length]",
    "%{+Q}[src_port] %{+Q}[capture.req.hdr(1)] %[capture.req.hdr(1)] %[capture.req.hdr(0),hex]",
    "%{+X}[src] %{+X}[src_port] %{+E}[fe_name] %[str(a)],%[int(5)]",
    "%{+Q}[src,field(2,.)]%[src,field(9,.)]%[capture.req.hdr(0),lower,field(2,-),length]",
)
PROBE = "%ci %cp %fi %fp %sp %Ts %ms %Tw %Tc %Tt %B %U %ts %ac %fc %bc %sc %sq %bq"
HOSTILE = b'A"b\\c]d-{|}#e\x01\x1b\x7f\xc3\xa9 f\nX'


def as_recorded(probe: list[str], number: int) -> tuple[Record, Counts]:
    """The record that a connection with these values would have left."""
    server = Server(0, "srv", "be", Address("inet", "127.0.0.1", int(probe[4])))
    listener = Listener(0, f"fe{number}", "tcp", (), AccessLog((), "json"), capture_slots=1)
    made = Record(listener, probe[0], int(probe[1]), int(probe[5]) + int(probe[6]) / 1000 + 0.0002, 0.0)
    made.local_host, made.local_port = probe[2], int(probe[3])
    made.backend, made.server = Backend(0, "be", (server,)), server
    made.queue_ms, made.connect_ms, made.total_ms, made.bytes_out, made.bytes_in = map(int, probe[7:12])
    made.code, made.captures = probe[12], [HOSTILE.decode("latin-1")]
    actconn, feconn, beconn, srvconn, made.server_queue, made.backend_queue = map(int, probe[13:19])
    return made, Counts(actconn - 1, feconn - 1, beconn, srvconn)


def test_lines_are_haproxys_own(tmp_path: Path) -> None:
    with udp() as sink:
        target = f"log 127.0.0.1:{sink.getsockname()[1]} len 8192 format raw local0\n  "
        frontends = [
            f'{target}log-format "{PROBE} @@ {quoted}"'
            for quoted in (template.replace('"', '\\"') for template in SAME_AS_HAPROXY)
        ]
        lines = logged(tmp_path, frontends, [sink] * len(frontends), HOSTILE)
    for number, (template, line) in enumerate(zip(SAME_AS_HAPROXY, lines, strict=True)):
        probe, _, expected = line.decode("latin-1").removesuffix("\n").partition(" @@ ")
        made, counts = as_recorded(probe.split(" "), number)
        # HAProxy merges the blanks of its whole template: what we compare was not at its beginning
        ours = compile_format(f"@@ {template}")(made, counts).removeprefix("@@ ")
        assert ours == expected, template
