"""Values of ACLs, type by type."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, parsed

AUTH = "auth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/users\n"


def native(line: str) -> Any:
    """The native test of an ACL `a`, in which nothing is found wrong but for what it stands for."""
    data, found = parsed(f"{AUTH}http_port 3128\n{line}\nhttp_access deny a\n{OPEN}")
    assert found == []
    return data["listeners"]["3128"]["tests"]["a"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("acl a src 10.0.0.1", {"client_address": {"cidr": ["10.0.0.1/32"]}}),
        ("acl a src 10.0.0.0/8 fd00::/8", {"client_address": {"cidr": ["10.0.0.0/8", "fd00::/8"]}}),
        ("acl a src 10.0.0.0/255.0.0.0", {"client_address": {"cidr": ["10.0.0.0/8"]}}),
        ("acl a src 10.0.0.1-10.0.0.3", {"client_address": {"cidr": ["10.0.0.1/32", "10.0.0.2/31"]}}),
        ("acl a src 10.0.0.0-10.1.0.0/16", {"client_address": {"cidr": ["10.0.0.0/15"]}}),
        ("acl a src ipv4", {"client_address": {"cidr": ["0.0.0.0/0"]}}),
        ("acl a src ipv6", {"not": {"client_address": {"cidr": ["0.0.0.0/0"]}}}),
        ("acl a dst 192.0.2.0/24", {"target_address": {"cidr": ["192.0.2.0/24"]}}),
        ("acl a dst -n 192.0.2.0/24", {"target_host": {"cidr": ["192.0.2.0/24"]}}),
        ("acl a localip 127.0.0.1", {"local_address": {"cidr": ["127.0.0.1/32"]}}),
        ("acl a dstdomain .example.org", {"target_host": {"name": ["example.org", "*.example.org"]}}),
        ("acl a dstdomain www.example.org", {"target_host": {"name": ["www.example.org"]}}),
        ("acl a dstdomain 192.0.2.1", {"target_host": {"name": ["192.0.2.1"]}}),
        ("acl a dstdomain [2001:DB8::1]", {"target_host": {"is": ["2001:db8::1"]}}),
        ("acl a dstdom_regex -i A +i b", {"any": [{"target_host": {"regex": ["A"], "ignore_case": True}},
                                                  {"target_host": {"regex": ["b"]}}]}),
        ("acl a dstdom_regex ^[^[:space:]]+$", {"target_host": {"regex": [r"^[^\s]+$"]}}),
        ("acl a port 443 80-90", {"target_port": {"integer": ["443", "80-90"]}}),
        ("acl a localport 3128", {"local_port": {"integer": ["3128"]}}),
        ("acl a myportname 3128", {"listener": {"is": ["3128"]}}),
        ("acl a method get POST", {"method": {"is": ["GET", "POST"], "ignore_case": True}}),
            ("acl a method Frob", {"method": {"is": ["Frob"]}}),
        ("acl a proto HTTP", {"protocol": {"is": ["http"]}}),
        ("acl a proto FTP", {"always_false": {"boolean": True}}),
        ("acl a proxy_auth REQUIRED", {"user": {"found": True}}),
        ("acl a proxy_auth alice bob", {"user": {"is": ["alice", "bob"]}}),
        ("acl a proxy_auth -i Alice", {"user": {"is": ["Alice"], "ignore_case": True}}),
        ("acl a proxy_auth_regex ^a", {"user": {"regex": ["^a"]}}),
        ("acl a ssl::server_name .example.org", {"server_name": {"name": ["example.org", "*.example.org"]}}),
        ("acl a ssl::server_name --client-requested a.example.org", {"sni": {"name": ["a.example.org"]}}),
        ("acl a ssl::server_name_regex x", {"server_name": {"regex": ["x"]}}),
        ("acl a at_step SslBump1 SslBump3", {"step": {"integer": ["1", "3"]}}),
        ("acl a time MF 9:00-17:30", {"time": {"schedule": ["Mon,Fri 09:00-17:31"]}}),
        ("acl a time D", {"time": {"schedule": ["Mon,Tue,Wed,Thu,Fri"]}}),
        ("acl a time 20:00-24:00 A 1:00-2:00", {"time": {"schedule": ["20:00-24:00", "Sat 01:00-02:01"]}}),
    ],
)  # fmt: skip
def test_native(line: str, expected: object) -> None:
    assert native(line) == expected


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("acl a src 10.0.0.1/8", "warning: the mask hides a part of the address 10.0.0.1/8; write 10.0.0.0/8"),
        ("acl a src host.example", "error: names in place of addresses, such as 'host.example', are Squid's, not supp"),
        ("acl a src 1.2.3", "error: '1.2.3' is no address"),
        ("acl a src fe80::1%0", "error: 'fe80::1%0' names an interface"),
        ("acl a src 10.0.0.2-10.0.0.1", "error: the range 10.0.0.2-10.0.0.1 ends before it begins"),
        ("acl a src 10.0.0.1-::1", "error: the range 10.0.0.1-::1 is from IPv4 to IPv6"),
        ("acl a src ::1/200", "error: '200' is no mask; it is 0 to 128"),
        ("acl a src 10.0.0.0/255.0.255.0", "error: '255.0.255.0' is no mask"),
        ("acl a src //", "error: '//' is no address"),
        ("acl a dstdomain a_b..c", "warning: 'a_b..c' is no name that a host can have: it never holds"),
        ("acl a port 0x1", "error: '0x1' is not a number"),
        ("acl a proxy_auth REQUIRED bob", "warning: 'bob' counts for nothing beside REQUIRED"),
        ("acl a ssl::server_name none", "error: 'none', the absence of a name, is Squid's, not supported by ferryman"),
        ("acl a at_step SslBump", "error: there is no step 'SslBump'; did you mean"),
        ("acl a time Q", "error: 'Q' is no day"),
        ("acl a time 8-9", "error: '8-9' is no time of day"),
        ("acl a time 08:00-25:00", "error: '08:00-25:00' is no time of day"),
        ("acl a time 24:00-24:00", "error: '24:00-24:00' is no time of day"),
        ("acl a time 18:00-08:00", "error: the time 18:00-08:00 ends before it begins"),
    ],
)
def test_findings(line: str, finding: str) -> None:
    _, found = parsed(f"{AUTH}http_port 3128\n{line}\n{OPEN}")
    assert len(found) == 1
    assert found[0].partition(" ")[2].startswith(finding)
