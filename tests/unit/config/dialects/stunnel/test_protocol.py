"""Through a proxy: credentials are sent as stunnel sends them, and shown by nothing."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.stunnel.reading import CLIENT, fine, loaded, mistake, parsed

from ferryman.config.render import render

PROXY = f"{CLIENT}protocol = connect\nprotocolHost = far.example:443\n"
URL = {"url": "http://host.example:2"}
BOTH = "protocolUsername = u\nprotocolPassword = pa ss:w@rd\n"


def test_the_way() -> None:
    backend = fine(PROXY + BOTH)["backends"]["s"]
    assert backend["servers"] == [{"address": "far.example:443"}]
    assert backend["via"] == [{**URL, "user": "u", "password": "pa ss:w@rd"}]


def test_several_proxies_are_tried_in_order() -> None:
    assert fine(f"{PROXY}connect = other.example:3\n")["backends"]["s"]["via"] == [
        URL,
        {"url": "http://other.example:3"},
    ]


@pytest.mark.parametrize(
    ("said", "missing"), [("protocolUsername = u\n", "Password"), ("protocolPassword = p\n", "Username")]
)
def test_half_of_the_credentials_is_none(said: str, missing: str) -> None:
    data, found = parsed(PROXY + said)
    assert data["backends"]["s"]["via"] == [URL]
    assert len(found) == 1
    assert f"warning: without protocol{missing} no credentials are sent, and the proxy may answer 407" in found[0]


def test_credentials_as_a_header() -> None:
    header = "protocolHeader = Proxy-Authorization: Basic dXNlcjpzZXNhbWU=\n"
    assert fine(PROXY + header)["backends"]["s"]["via"] == [{**URL, "user": "user", "password": "sesame"}]
    assert "credentials stand here and in protocolUsername" in mistake(PROXY + BOTH + header)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (f"{BOTH}protocolAuthentication = NTLM\n", "NTLM is stunnel's, not supported by ferryman yet"),
        ("protocolHeader = X-A: b\n", "a header of one's own is stunnel's, not supported by ferryman yet"),
        ("protocolUsername = u\nprotocolPassword =\n", "protocolPassword is empty"),
        ("local = 192.0.2.1\n", "where connections to a proxy come from is stunnel's to say, not supported"),
        ("protocolHost = far.example\n", "far.example says no port"),
        ("protocolHost = far.example:0\n", "port 0 does not exist"),
        ("protocol = socks\n", "the protocol socks is stunnel's, not supported by ferryman yet"),
        ("protocol = proxy\n", "the protocol proxy is one of a server"),
    ],
)
def test_what_is_refused(said: str, message: str) -> None:
    assert message in mistake(PROXY + said)


@pytest.mark.parametrize(
    "said",
    [
        "protocolUsername =\nprotocolPassword = sesame\n",
        "protocolPassword = sesame\n",
        "protocolUsername = u\nprotocolPassword = sesame\nprotocolAuthentication = ntlm\n",
        "protocolHeader = Proxy-Authorization: Bearer sesame\n",
        "protocolPasword = sesame\n",
    ],
)
def test_no_password_is_shown(said: str) -> None:
    result, found = loaded(PROXY + said)
    assert found
    shown = "\n".join(render(finding, result.sources) for finding in result.diagnostics.found)
    assert "sesame" not in shown
