"""http_port and https_port."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, parsed


def test_addresses_and_names() -> None:
    data, found = parsed(
        "http_port 3128\nhttp_port 127.0.0.1:3129\nhttp_port [::1]:3130 name=six\nhttp_port localhost:3131 name=six\n"
        f"http_port 3132 name=a/b\nhttp_port 3133 name=äö tcpkeepalive=1,2,3\n{OPEN}"
    )
    assert found == []
    assert {name: listener["bind"][0] for name, listener in data["listeners"].items()} == {
        "3128": "[::]:3128", "127.0.0.1:3129": "127.0.0.1:3129", "six": "[::1]:3130", "six-2": "127.0.0.1:3131",
        "ab": "[::]:3132", "http_port": "[::]:3133",
    }  # fmt: skip
    assert [listener.get("keepalive") for listener in data["listeners"].values()] == [None] * 5 + [True]


def test_a_name_that_two_ports_have() -> None:
    data, _ = parsed(f"http_port 1 name=x\nhttp_port 2 name=x\nacl a myportname x\nhttp_access deny a\n{OPEN}")
    assert data["listeners"]["x"]["tests"]["a"] == {"listener": {"is": ["x", "x-2"]}}


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("http_port", "1:1: error: 'http_port' needs a port, or an address and a port"),
        ("http_port x", "1:11: error: 'x' is not a number"),
        ("http_port 70000", "1:11: error: 70000 is out of range"),
        ("http_port 127.0.0.1:", "1:11: error: '127.0.0.1:' is not a number"),
        ("http_port 1 ssl-bumb", "1:13: error: unknown http_port option 'ssl-bumb'; did you mean 'ssl-bump'?"),
        ("http_port 1 tproxy", "1:13: error: 'tproxy' is Squid's, not supported by ferryman yet; clients have to be"),
        ("http_port 1 ssl-bump cert=", "1:22: error: 'cert=' names no file"),
        ("http_port 1 generate-host-certificates=x", "1:13: error: 'generate-host-certificates' is on or off"),
        ("http_port 1 dynamic_cert_mem_cache_size=x", "1:13: error: 'x' is not a size"),
        ("http_port 1 protocol=HTTPS", "1:13: error: 'protocol' is Squid's, not supported by ferryman yet"),
        ("http_port 1 cipher=ALL", "1:13: warning: 'cipher' has no effect here; OpenSSL's defaults are used"),
        ("http_port 1 ssl-bump", "1:1: warning: ssl-bump has no effect without ssl_bump lines: all TLS is spliced"),
        ("# none", "1:1: warning: there is no http_port: the proxy listens on port 3128"),
    ],
)
def test_findings(line: str, finding: str) -> None:
    _, found = parsed(f"{line}\n{OPEN}")
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_clients_that_speak_tls_with_the_proxy() -> None:
    data, found = parsed(
        "https_port 1 name=a tls-cert=/c tls-key=/k tls-min-version=1.3 cipher=HIGH\n"
        "https_port 2 name=b cert=/c clientca=/ca\n"
        f"https_port 3 name=c cert=/c cafile=/ca sslflags=CONDITIONAL_AUTH\nhttp_port 4 name=d\n{OPEN}"
    )
    assert found == []
    assert {name: listener.get("tls") for name, listener in data["listeners"].items()} == {
        "a": [{"certificates": [{"file": "/c", "key": "/k"}], "min_version": "1.3", "ciphers": "HIGH"}],
        "b": [{"certificates": [{"file": "/c"}], "clients": {"certificate": "required", "ca": "/ca"}}],
        "c": [{"certificates": [{"file": "/c"}], "clients": {"certificate": "optional", "ca": "/ca"}}],
        "d": None,
    }


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("https_port 1", "1:12: error: clients speak TLS with an https_port, which needs a certificate; add tls-cert"),
        ("https_port 1 cert=/c ssl-bump", "1:22: error: 'ssl-bump' is Squid's, not supported by ferryman yet; of"),
        ("https_port 1 cert=/c sslflags=VERIFY_CRL", "1:22: error: 'VERIFY_CRL' is Squid's, not supported by"),
        ("https_port 1 cert=/c tls-min-version=2", "1:22: error: there is no TLS '2'; write 1.2 or 1.3"),
        ("https_port 1 cert=/c options=NO_TLSv1", "1:22: warning: 'options' has no effect here; OpenSSL's defaults"),
    ],
)
def test_findings_of_an_https_port(line: str, finding: str) -> None:
    _, found = parsed(f"{line}\n{OPEN}")
    assert any(one.startswith(finding) for one in map(str, found)), found
