"""Lines of ssl_multicert.config."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.ats import multicert
from ferryman.config.dialects.ats.multicert import Choice, Line
from ferryman.config.dialects.ats.records import Records
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Source


def read(text: str, records: str = "") -> tuple[list[Line], list[str]]:
    diagnostics = Diagnostics()
    settings = Records(diagnostics)
    settings.read_lines(Source("records.config", records))
    found = multicert.read(Source("/etc/ts/m", text), settings, diagnostics)
    return found, [str(finding).removeprefix("/etc/ts/m:") for finding in diagnostics.found]


def entries(line: Line | Choice) -> object:
    return split(list(line.entries), {})


def test_files_are_in_the_folders_that_records_name() -> None:
    (line,), said = read("# x\nssl_cert_name=a.pem ssl_key_name=a.key ssl_ocsp_name=/o/a.der\n")
    assert said == []
    assert entries(line) == [{"file": "/etc/ts/a.pem", "key": "/etc/ts/a.key", "ocsp": "/o/a.der"}]
    (line,), _ = read(
        "ssl_cert_name=a.pem ssl_key_name=a.key\n",
        "CONFIG proxy.config.ssl.server.cert.path STRING /c\n"
        "CONFIG proxy.config.ssl.server.private_key.path STRING /k\n",
    )
    assert entries(line) == [{"file": "/c/a.pem", "key": "/k/a.key"}]


def test_two_kinds_of_key() -> None:
    (line,), _ = read('ssl_cert_name="e.pem,r.pem" ssl_key_name=e.key,r.key ssl_ticket_enabled=0\n')
    assert entries(line) == [
        {"file": "/etc/ts/e.pem", "key": "/etc/ts/e.key"},
        {"file": "/etc/ts/r.pem", "key": "/etc/ts/r.key"},
    ]
    assert not line.tickets


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("*", "*", 0),
        ("192.0.2.1", "192.0.2.1", 0),
        ("192.0.2.1:99", "192.0.2.1", 99),
        ("[::1]:80", "::1", 80),
        ("::1", "::1", 0),
    ],
)
def test_for_whom(text: str, host: str, port: int) -> None:
    (line,), _ = read(f"dest_ip={text} ssl_cert_name=a.pem\n")
    assert (line.host, line.port) == (host, port)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("dest_ip=*", "1:1: error: which certificate?; add ssl_cert_name=FILE"),
        ("ssl_cert_name=a.pem x", "1:21: error: 'x' has no ="),
        ("ssl_crt_name=a.pem", "1:1: error: unknown key of ssl_multicert.config 'ssl_crt_name'; did you mean"),
        ("ssl_cert_name=a ssl_key_dialog=builtin", "1:17: error: 'ssl_key_dialog' is Traffic Server's, not supported"),
        ("ssl_cert_name=a action=tunnel", "write an entry with tunnel_route in sni.yaml"),
        ("ssl_cert_name=a ssl_ca_name=b", "append it to the certificate's file"),
        ("ssl_cert_name=a dest_ip=x", "'x' is no address"),
        ("ssl_cert_name=a,b ssl_key_name=c", "2 certificates and 1 keys"),
        ("ssl_cert_name=,", "no file is named"),
        ("ssl_cert_name=a ssl_ticket_enabled=x", "'x' is neither on nor off"),
    ],
)
def test_mistakes(text: str, finding: str) -> None:
    assert finding in read(text)[1][0]


def files(choice: Choice) -> list[str]:
    found = entries(choice)
    assert isinstance(found, list)
    return [entry["file"].rpartition("/")[2] for entry in found]


def test_choices() -> None:
    lines, _ = read("ssl_cert_name=a\ndest_ip=192.0.2.1 ssl_cert_name=b\ndest_ip=* ssl_cert_name=c\n")
    special, usual = multicert.choices(lines, "", 443)
    assert (special.host, files(special), special.strict) == ("192.0.2.1", ["b", "a", "c"], False)
    assert (usual.host, files(usual), usual.strict) == ("", ["c", "a", "b"], False)
    (only,) = multicert.choices(lines, "192.0.2.1", 443)
    assert (only.host, files(only)) == ("", ["b", "a", "c"])


def test_an_address_with_another_port_is_none() -> None:
    lines, _ = read("dest_ip=192.0.2.1 ssl_cert_name=a\ndest_ip=192.0.2.1:443 ssl_cert_name=b\n")
    assert files(multicert.choices(lines, "", 443)[0]) == ["b", "a"]
    assert files(multicert.choices(lines, "", 8443)[0]) == ["a", "b"]


def test_none_for_all_others() -> None:
    lines, _ = read("ssl_cert_name=a\n")
    (choice,) = multicert.choices(lines, "", 443)
    assert choice.strict
