"""Traps."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, loaded, parsed

STOCK = """http_port 3128 ssl-bump
acl SSL_ports port 443
acl localnet src 10.0.0.0/8
http_access deny to_localhost
http_access deny to_linklocal
http_access deny CONNECT !SSL_ports
http_access allow localnet
http_access deny all
"""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("acl r dstdomain .apps.example.org\nssl_bump splice r\n", []),
        (
            "acl r dstdomain dvm-a.apps.example.org\nssl_bump splice r\n",
            ["9:17: warning: 'dvm-a.apps.example.org' is this one name, and none below it; "
             "write .apps.example.org for all names in apps.example.org"],
        ),
        ("acl r ssl::server_name example.org\nssl_bump splice r\n", ["9:24: warning: 'example.org' is this one name,"]),
        ("acl r dstdomain www.example.org\nhttp_access allow r\n", []),
        ("acl r dstdomain example.org\nhttp_access allow r\n", ["9:17: warning: 'example.org' is this one name, and "]),
        ("acl r dstdomain 192.0.2.1\nssl_bump splice r\n", []),
        (
            "acl p port 6443\nssl_bump splice p\n",
            ["9:12: warning: http_access lets nobody CONNECT to port 6443: it is refused at s.conf:6; "
             "add `acl SSL_ports port 6443`"],
        ),
        ("acl p port 30000-32767\nacl g all-of p localnet\nssl_bump splice g\n", ["9:12: warning: http_access lets n"]),
        ("acl p port 6443\nhttp_access allow p\n", ["9:12: warning: http_access lets nobody CONNECT to port 6443: it"]),
        ("acl dvm port 7000\nhttp_access allow dvm\n", ["9:14: warning: http_access lets nobody CONNECT to port 7000"]),
        ("acl p port 8080\nhttp_access allow p\n", []),  # a port of plain HTTP is allowed
        ("acl p port 6443\nhttp_access deny p\n", []),
        ("acl r dstdomain .api.example.org\nssl_bump splice r\n", []),
        (
            "acl r dstdomain api.example.org\nssl_bump splice r\n",
            ["9:17: warning: 'api.example.org' is this one name",
             "9:17: warning: http_access lets nobody CONNECT to api.example.org, port 6443: it is refused at s.conf:6"],
        ),
        ("acl p myportname 3128 3129\nhttp_access deny p\n", ["9:23: warning: there is no http_port '3129': this nev"]),
        ("read_timeout 10 minutes\n", ["9:14: warning: a tunnel that is silent this long is closed, and so is a tran"]),
        ("read_timeout 1 hour\n", []),
    ],
)  # fmt: skip
def test_traps(lines: str, expected: list[str]) -> None:
    _, found = parsed(STOCK + lines + ("" if "ssl_bump" in lines else "ssl_bump splice localhost\n"))
    assert len(found) == len(expected)
    for finding, beginning in zip(found, expected, strict=True):
        assert finding.startswith(beginning)


def test_a_host_that_is_refused() -> None:
    text = (
        "http_port 3128 ssl-bump\nacl dvm dstdomain .apps.example.org\nacl elsewhere dstdomain .example.org\n"
        f"http_access deny elsewhere\nssl_bump splice dvm\n{OPEN}"
    )
    _, found = parsed(text)
    assert found == [
        "2:19: warning: http_access lets nobody CONNECT to .apps.example.org, port 443: it is refused at s.conf:4; "
        "allow it above that line"
    ]


def test_a_rule_after_the_one_for_all() -> None:
    _, found = loaded(STOCK + "acl dvm dstdomain .apps.example.org\nssl_bump terminate all\nssl_bump splice dvm\n")
    assert found == ["11:1: warning: this is never reached: s.conf:10 always decides before it; move it up"]


def test_addresses_inside() -> None:
    _, found = loaded(STOCK.replace("http_access deny to_localhost\n", "") + "ssl_bump splice all\n")
    assert [finding.partition(" can reach")[0] for finding in found] == ["6:1: warning: clients let in here"]
    assert "127.0.0.1, ::1 as this machine does" in found[0]
