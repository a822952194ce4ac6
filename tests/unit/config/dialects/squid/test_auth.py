"""auth_param."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, connect, parsed

PROGRAM = "auth_param basic program /usr/lib64/squid/basic_ncsa_auth /etc/squid/users\n"


def test_what_squid_does_unless_it_is_told() -> None:
    found = connect(PROGRAM + OPEN)
    assert [found[key] for key in ("users", "realm", "credentials_ttl", "users_ignore_case")] == [
        "/etc/squid/users", "Squid proxy-caching web server", 7200.0, True,
    ]  # fmt: skip


def test_what_it_is_told() -> None:
    lines = (
        'auth_param basic realm "My own  realm"\nauth_param basic credentialsttl 1 hour\n'
        "auth_param basic casesensitive on\nauth_param basic children 20 startup=0 idle=1\nauth_param basic utf8 on\n"
    )
    found = connect(PROGRAM + lines + OPEN)
    assert [found[key] for key in ("realm", "credentials_ttl", "users_ignore_case")] == ["My own realm", 3600.0, False]


def test_without_a_program_nobody_is_asked() -> None:
    assert "users" not in connect("auth_param basic realm x\n" + OPEN)


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("auth_param", "2:1: error: 'auth_param' needs a scheme, such as basic"),
        ("auth_param basc program x", "2:12: error: there is no authentication scheme 'basc'; did you mean 'basic'?"),
        ("auth_param digest program x", "2:12: error: the scheme 'digest' is Squid's, not supported by ferryman yet"),
        ("auth_param basic", "2:1: error: 'auth_param' needs a parameter, such as program"),
        ("auth_param basic chldren 5", "2:18: error: unknown auth_param basic parameter 'chldren'; did you mean"),
        ("auth_param basic program", "2:1: error: 'auth_param' needs a program"),
        (
            "auth_param basic program /x/basic_pam_auth",
            "2:26: error: the program 'basic_pam_auth' is Squid's, not supp",
        ),
        (
            "auth_param basic program /x/basic_ncsa_auth",
            "2:1: error: 'auth_param' needs the file after basic_ncsa_auth",
        ),
        ("auth_param basic program /x/basic_ncsa_auth a b", "2:47: error: unexpected 'b'"),
        ("auth_param basic realm", "2:18: error: the realm has no text"),
        ("auth_param basic credentialsttl 2", "2:33: error: the time 2 has no unit"),
        ("auth_param basic casesensitive yes", "2:32: error: 'yes' is neither on nor off"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    _, found = parsed(f"http_port 3128\n{line}\nacl u proxy_auth REQUIRED\n{OPEN}")
    assert found[0].startswith(finding)
    assert len(found) == 1, "that nobody can log in is no news"
