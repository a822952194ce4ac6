"""server_ports."""

from __future__ import annotations

from ferryman.config.dialects.ats import ports
from ferryman.config.dialects.ats.ports import Port
from ferryman.config.dialects.ats.records import Records
from ferryman.config.source import Diagnostics, Mark, Source

PLACE = Mark("sni.yaml", 1, 1)


def read(value: str, *more: str) -> tuple[list[Port], list[str]]:
    diagnostics = Diagnostics()
    records = Records(diagnostics)
    text = "\n".join([f"CONFIG proxy.config.http.server_ports STRING {value}", *more])
    records.read_lines(Source("r", text))
    found = ports.read(records, PLACE, diagnostics)
    return found, [str(finding) for finding in diagnostics.found]


def binds(value: str, *more: str) -> list[object]:
    found, said = read(value, *more)
    assert said == []
    return [port.bind.value for port in found]


def test_where_they_listen() -> None:
    assert binds("443:ssl") == ["*:443"]
    assert binds("443:SSL:ipv6") == [{"address": "[::]:443", "v6only": True}]
    assert binds("ssl:443:ip-in=192.0.2.1, ip-in=[2001:db8::1]:ssl:8443") == ["192.0.2.1:443", "[2001:db8::1]:8443"]
    assert binds("/run/ts.sock:ssl") == ["unix@/run/ts.sock"]
    assert binds("443:ssl:ip-in192.0.2.1") == ["192.0.2.1:443"]


def test_an_address_for_all_of_them() -> None:
    line = "LOCAL proxy.local.incoming_ip_to_bind STRING 192.0.2.1 [2001:db8::1]"
    assert binds("443:ssl 443:ssl:ipv6 8443:ssl:tr-in", line) == ["192.0.2.1:443", "[2001:db8::1]:443", "*:8443"]
    line = "LOCAL proxy.local.outgoing_ip_to_bind STRING 192.0.2.9"
    assert [port.outside for port in read("443:ssl 1:ssl:ip-out=192.0.2.3", line)[0]] == [["192.0.2.9"], ["192.0.2.3"]]


def test_options() -> None:
    (port,), said = read("443:ssl:pp:tr-full:proto=http")
    assert said == []
    assert (port.proxied, port.transparent, port.client_source) == (True, True, True)
    assert (port.http1, port.http2) == (True, False)
    (port,), _ = read("443:ssl:tr-out")
    assert (port.transparent, port.client_source) == (False, True)


def test_what_speaks_http_is_left_out() -> None:
    found, said = read("8080 443:ssl 8080:ipv6")
    assert [port.number for port in found] == [443]
    assert said == [
        "r:1:46: warning: what speaks HTTP is left out: 8080, 8080:ipv6; only TLS ports have a part in sni.yaml"
    ]


def test_mistakes() -> None:
    assert read("ssl")[1] == ["r:1:46: error: 'ssl' has no number; such as 443:ssl"]
    assert read("443:sssl")[1] == ["r:1:46: error: unknown option of a port 'sssl'; did you mean 'ssl'?"]
    assert read("443:quic")[1] == [
        "r:1:46: error: 'quic' is Traffic Server's, not supported by ferryman yet; there is no QUIC"
    ]
    assert "ip-in and tr-in exclude each other" in read("443:ssl:tr-in:ip-in=127.0.0.1")[1][0]
    assert "ip-out and tr-out exclude each other" in read("443:ssl:tr-out:ip-out=127.0.0.1")[1][0]
    assert "out of range" in read("70000:ssl")[1][0]
    assert "is no address" in read("443:ssl:ip-in=x")[1][0]
    assert "there is no protocol 'smtp'" in read("443:ssl:proto=smtp")[1][0]
    assert (
        read("8080")[1][-1] == "r:1:46: error: no port speaks TLS, and sni.yaml is about nothing else; such as 443:ssl"
    )
    assert "is no address" in read("443:ssl", "LOCAL proxy.local.incoming_ip_to_bind STRING x")[1][0]


def test_without_any() -> None:
    diagnostics = Diagnostics()
    records = Records(diagnostics)
    assert [port.bind.value for port in ports.read(records, PLACE, diagnostics)] == [
        "*:443",
        {"address": "[::]:443", "v6only": True},
    ]
    assert diagnostics.warnings == 1
    records.read_lines(Source("r", "CONFIG proxy.config.http.connect_ports STRING *\n"))
    assert ports.read(records, PLACE, diagnostics) == []
    assert str(diagnostics.found[-1]).startswith("r:1:1: error: no port of Traffic Server's speaks TLS by default")
