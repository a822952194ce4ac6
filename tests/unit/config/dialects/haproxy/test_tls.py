"""TLS in a haproxy.cfg: what it becomes, and that HAProxy takes what is taken here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, backend, findings, frontend, parsed
from tests.unit.config.findings import said
from tests.unit.config.leaves import ca, issue, write

from ferryman.config.load import Loaded, load
from ferryman.config.source import Source

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def bind(text: str, head: str = "") -> Any:
    """The native `tls` of a frontend with this bind line, in which nothing is found wrong."""
    data, found = parsed(f"{head}{TIMEOUTS}frontend f\n bind {text}\n")
    assert found == []
    return data["listeners"]["f"].get("tls")


def server(text: str, head: str = "") -> Any:
    data, found = parsed(f"{head}{TIMEOUTS}backend b\n server s 192.0.2.1:1 {text}\n")
    assert found == []
    return data["backends"]["b"]["servers"][0].get("tls")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssl crt a.pem", {}),
        ("ssl crt a.pem alpn h2,http/1.1", {"alpn": ["h2", "http/1.1"]}),
        ("ssl crt a.pem alpn h2 no-alpn", {}),
        ("ssl crt a.pem strict-sni no-tls-tickets", {"strict": True, "tickets": False}),
        ("ssl crt a.pem ssl-min-ver TLSv1.3", {"min_version": "1.3"}),
        ("ssl crt a.pem ssl-max-ver TLSv1.2 no-tlsv10", {"max_version": "1.2"}),
        ("ssl crt a.pem force-tlsv12", {"min_version": "1.2", "max_version": "1.2"}),
        ("ssl crt a.pem no-tlsv12", {"min_version": "1.3"}),
        ("ssl crt a.pem ciphers HIGH ciphersuites X", {"ciphers": "HIGH", "ciphersuites": "X"}),
        ("ssl crt a.pem ciphers PROFILE=SYSTEM", {}),
        ("ssl crt a.pem curves X25519:P-256", {"groups": "X25519:P-256"}),
        ("ssl crt a.pem ecdhe P-256", {"groups": "P-256"}),
        ("ssl crt a.pem verify none ca-file x", {}),
        ("ssl crt a.pem verify required ca-file x", {"clients": {"certificate": "required", "ca": "x"}}),
        (
            "ssl crt a.pem verify optional ca-file x crl-file y",
            {"clients": {"certificate": "optional", "ca": "x", "crl": "y"}},
        ),
    ],
)
def test_binds(text: str, expected: dict[str, object]) -> None:
    assert bind(f":443 {text}") == {"certificates": ["a.pem"], **expected}


def test_certificates() -> None:
    text = ":443 ssl crt a.pem crt /b/ default-crt c.pem"
    assert bind(text)["certificates"] == ["c.pem", "a.pem", "/b/"]
    head = "global\n crt-base /certs\n ca-base /cas\n"
    assert bind(f"{text} verify optional ca-file x", head) == {
        "certificates": ["/certs/c.pem", "/certs/a.pem", "/b/"],
        "clients": {"certificate": "optional", "ca": "/cas/x"},
    }


def test_lists_of_certificates(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# ours\na.pem\n\n b.pem  x.example *.y.example\n")
    assert bind(f":443 ssl crt-list {tmp_path}/list")["certificates"] == [
        {"file": "a.pem"}, {"file": "b.pem", "names": ["x.example", "*.y.example"]},
    ]  # fmt: skip
    (tmp_path / "list").write_text("a.pem [alpn h2]\nb.pem * !c.example\nc.pem !c.example\n")
    assert findings(f"bind :2 ssl crt-list {tmp_path}/list", section="frontend f")[:3] == [
        f"{tmp_path}/list:1:1: error: options of one certificate in a crt-list: HAProxy's, not supported by ferryman "
        "yet",
        f"{tmp_path}/list:2:1: error: the filter '*' in a crt-list: HAProxy's, not supported by ferryman yet",
        f"{tmp_path}/list:3:1: error: the filter '!c.example' in a crt-list: HAProxy's, not supported by ferryman yet",
    ]
    assert "cannot read the list" in findings("bind :2 ssl crt-list /nowhere", section="frontend f")[0]


def test_defaults() -> None:
    head = (
        "global\n ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets no-sslv3\n"
        " ssl-default-bind-curves X25519\n ssl-default-server-options no-tlsv13\n ssl-server-verify none\n"
    )
    assert bind(":443 ssl crt a.pem tls-tickets", head) == {
        "certificates": ["a.pem"], "min_version": "1.3", "tickets": True, "groups": "X25519",
    }  # fmt: skip
    assert server("ssl", head) == {"verify": False, "server_name": "none", "alpn": "none", "max_version": "1.2"}
    assert bind(":443", head) is None


def test_addresses_that_differ() -> None:
    lines = ["bind :80", "bind :443,:444 ssl crt a.pem", "bind :8000-8010 ssl crt b.pem"]
    assert frontend(*lines)["tls"] == [
        {"when": {"local_port": {"integer": ["443", "444"]}}, "certificates": ["a.pem"]},
        {"when": {"local_port": {"integer": ["8000:8010"]}}, "certificates": ["b.pem"]},
    ]
    (said,) = findings("bind 127.0.0.1:1 ssl crt a.pem")
    assert "addresses that differ in 'ssl' but not in their port are HAProxy's, not supported yet" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssl verify none", {"verify": False, "server_name": "none"}),
        ("ssl ca-file x", {"ca": "x", "server_name": "none", "verify_name": "*"}),
        ("ssl ca-file @system-ca verifyhost a", {"server_name": "none", "verify_name": "a"}),
        ("ssl ca-file x sni str(a.example)", {"ca": "x", "server_name": "a.example"}),
        ("ssl ca-file x sni str(a.example) verifyhost b", {"ca": "x", "server_name": "a.example"}),
        ("ssl ca-file x sni ssl_fc_sni", {"ca": "x", "server_name": "received"}),
        ("ssl verify none sni req.ssl_sni alpn h2", {"verify": False, "server_name": "received", "alpn": ["h2"]}),
        ("ssl verify none crt c.pem", {"verify": False, "server_name": "none", "certificate": "c.pem"}),
        ("ssl verify none no-ssl-reuse", {"verify": False, "server_name": "none", "resume": False}),
    ],
)
def test_servers(text: str, expected: dict[str, object]) -> None:
    assert server(text) == {"alpn": "none", **expected}


def test_servers_without() -> None:
    assert server("") is None
    assert server("ssl verify none no-ssl") is None
    lines = ("default-server ssl verify none", "server s a:1", "server t a:2 no-ssl")
    assert ["tls" in each for each in backend(*lines)["servers"]] == [True, False]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bind :2 ssl crt a ssl-max-ver TLSv1.1", "TLSv1.1 is HAProxy's, not supported by ferryman"),
        ("bind :2 ssl crt a ssl-min-ver TLSv1.0", "warning: TLSv1.0 is not spoken; TLS 1.2 is the oldest there is"),
        ("bind :2 ssl crt a ssl-min-ver 1.2", "1.2"),
        ("bind :2 crt a", "warning: a certificate without 'ssl' is not used; write `ssl` before it"),
        ("bind :2 ssl crt a allow-0rtt", "'allow-0rtt' is HAProxy's, not supported by ferryman yet"),
        ("bind :2 ssl crt a prefer-client-ciphers", "warning: 'prefer-client-ciphers' has no effect here"),
    ],
)
def test_what_is_said_of_binds(line: str, expected: str) -> None:
    assert expected in findings(line, section="frontend f")[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("server s a:1 ssl", "no 'ca-file' says by which CAs"),
        ("server s a:1 ssl verify optional ca-file x", "'verify' of a server is none or required"),
        ("server s a:1 ssl verify none sni src", "'sni src' is HAProxy's, not supported by ferryman yet"),
        ("server s a:1 ssl ca-file x crl-file y", "'crl-file' is HAProxy's, not supported by ferryman yet"),
        ("server s a:1 sni req.ssl_sni", "'sni' does nothing without 'ssl'"),
    ],
)
def test_what_is_said_of_servers(line: str, expected: str) -> None:
    assert expected in findings(line, section="backend b")[0]


def test_options_of_all_binds() -> None:
    for words, expected in (("foo", "the option 'foo' is HAProxy's"), ("ssl-min-ver", "a version is missing")):
        assert expected in findings(f"ssl-default-bind-options {words}", section="global")[0]


def loaded_with(folder: Path) -> tuple[Loaded, Path]:
    """A file with a bit of everything, and what becomes of it."""
    root = ca(folder)
    for name in ("a", "b"):
        write(folder / "certs" / f"{name}.pem", *issue(root, [f"{name}.example"]))
    (folder / "list").write_text(f"{folder}/certs/a.pem a.example\n{folder}/certs/b.pem\n")
    text = f"""global
 ca-base {root.folder}
 ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
{TIMEOUTS} mode tcp
frontend f
 bind 127.0.0.1:5443 ssl crt {folder}/certs alpn h2,http/1.1 strict-sni verify optional ca-file ca.pem
 bind 127.0.0.1:5444 ssl crt-list {folder}/list curves X25519:P-256
 tcp-request content reject if {{ ssl_fc_sni x.example }}
 tcp-request content reject if {{ ssl_c_used }} !{{ ssl_c_s_dn(CN) alice }}
 default_backend b
backend b
 server s 127.0.0.1:5445 ssl ca-file ca.pem sni ssl_fc_sni crt {folder}/certs/b.pem
"""
    file = folder / "haproxy.cfg"
    file.write_text(text)
    return load([Source(str(file), text)], "haproxy", environment={}), file


def test_a_plan_comes_of_it(tmp_path: Path) -> None:
    found, _ = loaded_with(tmp_path)
    assert said(found) == []
    assert found.plan is not None
    first, second = found.plan.listeners[0].tls
    assert first.accept is not None
    assert [one.names for one in first.accept.certificates] == [("a.example",), ("b.example",)]
    assert (first.accept.strict, first.accept.verify, first.accept.tickets) == (True, "optional", False)
    assert second.accept is not None
    assert second.accept.limits.groups == "X25519:P-256"
    tls = found.plan.servers[0].tls
    assert tls is not None
    assert (tls.server_name, tls.verify_name, tls.alpn) == (None, "", ())
    assert tls.certificate is not None


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_haproxy_takes_it_as_well(tmp_path: Path) -> None:
    _, file = loaded_with(tmp_path)
    done = subprocess.run([str(HAPROXY), "-c", "-f", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
