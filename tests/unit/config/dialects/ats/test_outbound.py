"""TLS with the servers of a partial_blind_route."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.ats.reading import CERTS, parsed

ENFORCED = "CONFIG proxy.config.ssl.client.verify.server.policy STRING ENFORCED\n"


def tls(text: str, records: str = "", more: str = "") -> tuple[Any, list[str]]:
    """Of an entry whose route leads to b.example."""
    sni = f"sni:\n- fqdn: a.example\n  partial_blind_route: b.example:443\n{text}{more}"
    data, said = parsed(sni, records, CERTS)
    return data["backends"].get("a.example", {}).get("tls"), said


def policy(value: str) -> str:
    return f"  client_sni_policy: '{value}'\n"


@pytest.mark.parametrize(
    ("text", "asked", "checked"),
    [
        ("", "b.example", None),
        (policy("host"), "b.example", None),
        (policy("remap"), "b.example", None),
        (policy("server_name"), "received", None),
        (policy("@c.example"), "c.example", None),
        (policy("verify_with_name_source"), "b.example", None),
    ],
)
def test_what_it_is_asked_for(text: str, asked: str, checked: str | None) -> None:
    found, said = tls(text, ENFORCED)
    assert said == []
    assert (found["verify"], found["server_name"], found.get("verify_name")) == (True, asked, checked)


def test_an_address_is_asked_for_nothing() -> None:
    sni = "sni: [{fqdn: a, partial_blind_route: '192.0.2.1:443'}]"
    data, said = parsed(sni, ENFORCED, CERTS)
    assert said == []
    found = data["backends"]["a"]["tls"]
    assert (found["server_name"], found["verify_name"]) == ("none", "192.0.2.1")


def test_the_entry_for_the_server_says_how_it_is_trusted() -> None:
    more = "- fqdn: '*.example'\n  verify_server_policy: ENFORCED\n  verify_server_properties: SIGNATURE\n"
    found, said = tls("", "", more + "  client_cert: c.pem\n  client_key: /k/c.key\n")
    assert said == []
    assert (found["verify"], found["verify_name"]) == (True, "*")
    assert found["certificate"] == {"file": "c.pem", "key": "/k/c.key"}


def test_what_stands_in_the_entry_for_clients_does_not_count() -> None:
    found, said = tls("  verify_server_policy: ENFORCED\n")
    assert found["verify"] is False
    assert said == [
        "sni.yaml:4:25: warning: verify_server_policy does not count for this route: its server is asked for "
        "b.example, as in Traffic Server; write it into the entry for b.example"
    ]


def test_it_does_where_the_server_is_asked_for_the_same() -> None:
    found, said = tls(f"{policy('server_name')}  verify_server_policy: ENFORCED\n")
    assert said == []
    assert found["verify"] is True


def test_records() -> None:
    records = (
        ENFORCED + "CONFIG proxy.config.ssl.client.CA.cert.filename STRING ca.pem\n"
        "CONFIG proxy.config.ssl.client.CA.cert.path STRING /ca\n"
        "CONFIG proxy.config.ssl.client.cert.filename STRING c.pem\n"
        "CONFIG proxy.config.ssl.client.cert.path STRING /c\n"
    )
    found, said = tls("", records)
    assert said == []
    assert (found["ca"], found["certificate"]) == ("/ca/ca.pem", {"file": "/c/c.pem"})


@pytest.mark.parametrize(
    ("text", "records", "finding"),
    [
        (policy("hsot"), "", "there is no policy 'hsot'; did you mean 'host'?"),
        ("", ENFORCED + "CONFIG proxy.config.ssl.client.CA.cert.path STRING /ca\n", "a folder of CAs"),
        ("", ENFORCED + "CONFIG proxy.config.ssl.client.verify.server.properties STRING NAME\n", "proves nothing"),
        ("", "CONFIG proxy.config.ssl.client.verify.server.policy STRING X\n", "'X' is none of the values"),
    ],
)
def test_mistakes(text: str, records: str, finding: str) -> None:
    said = tls(text, records)[1]
    assert len(said) == 1
    assert finding in said[0]


def test_a_computed_name_cannot_be_asked_for() -> None:
    sni = "sni: [{fqdn: '*.a', partial_blind_route: '$1.b:443'}]"
    assert "client_sni_policy: server_name" in parsed(sni, "", CERTS)[1][0]


def test_traffic_server_10_verifies_unless_told_not_to() -> None:
    from ferryman.config.dialects import ats
    from ferryman.config.source import Diagnostics, Source

    texts = {
        "sni.yaml": "sni: [{fqdn: a, partial_blind_route: 'b.example:443'}]",
        "records.yaml": "records: {http: {server_ports: 443:ssl}}",
        "ssl_multicert.config": CERTS,
    }
    document = ats.parse([Source(name, text) for name, text in texts.items()], Diagnostics(), {})
    backends: Any = document.data["backends"]
    assert backends["a"]["tls"]["verify"] is True


READY = "  tunnel_prewarm: true\n"


@pytest.mark.parametrize(
    ("more", "records", "prewarm"),
    [
        ("", "", None),
        (READY, "", {"min": 0, "max": 10000, "idle": 0}),
        ("", "CONFIG proxy.config.tunnel.prewarm INT 1\n", {"min": 0, "max": 10000, "idle": 0}),
        ("  tunnel_prewarm: false\n", "CONFIG proxy.config.tunnel.prewarm INT 1\n", None),
        (
            f"{READY}  tunnel_prewarm_min: 5\n  tunnel_prewarm_max: 50\n  tunnel_prewarm_rate: 1.5\n"
            "  tunnel_prewarm_inactive_timeout: 7\n",
            "",
            {"min": 5, "max": 50, "rate": 1.5, "idle": 7},
        ),
    ],
)
def test_connections_are_held_ready(more: str, records: str, prewarm: object) -> None:
    data, said = parsed(f"sni:\n- fqdn: a.example\n  tunnel_route: b.example:443\n{more}", records)
    assert said == []
    assert data["backends"]["a.example"].get("prewarm") == prewarm


@pytest.mark.parametrize(
    ("fqdn", "route", "records", "reason"),
    [
        ("'*.example'", "'$1.within:443'", "", "its destination depends on the client"),
        ("a.example", "b:443", "CONFIG proxy.config.http.proxy_protocol_out INT 2\n", "servers are told first who"),
        ("a.example", "b:443", "CONFIG proxy.config.http.server_ports STRING 443:ssl:tr-full\n", "servers see the"),
        (
            "a.example",
            "'b:{inbound_local_port}'",
            "CONFIG proxy.config.http.server_ports STRING 443:ssl:tr-in\n",
            "the port is that of the client",
        ),
    ],
)
def test_connections_that_depend_on_the_client_are_not(fqdn: str, route: str, records: str, reason: str) -> None:
    data, said = parsed(f"sni:\n- fqdn: {fqdn}\n  tunnel_route: {route}\n{READY}", records)
    assert all("prewarm" not in backend for backend in data["backends"].values())
    assert [text for text in said if "no connection is held ready" in text and reason in text]


def test_a_number_that_is_none() -> None:
    _, said = parsed(f"sni:\n- fqdn: a\n  tunnel_route: b:1\n{READY}  tunnel_prewarm_rate: fast\n")
    assert "sni.yaml:5:24: error: 'fast' is not a number" in said[0]
