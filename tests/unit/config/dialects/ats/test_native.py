"""Files into native data."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.dialects.ats.reading import CERTS, RECORDS, certificates, entry, listener, loaded, native, parsed

TUNNEL = "tunnel_route: b.example:443"
FORWARD = "forward_route: b.example:80"
WHEN = {"sni": {"name": ["a.example"]}}


def test_a_tunnel() -> None:
    data = native(entry(TUNNEL))
    assert data["listeners"] == {
        "443": {
            "bind": ["*:443"],
            "mode": "tcp",
            "routes": [{"to": "a.example", "when": WHEN}],
            "inspect_timeout": 30,
        }
    }
    assert data["backends"] == {
        "a.example": {"servers": [{"address": "b.example:443"}], "connect_timeout": 30, "tunnel_timeout": 30}
    }


def test_the_examples_of_the_manual_load(tmp_path: Path) -> None:
    text = """
sni:
- tunnel_route: app-server-29:443
  fqdn: service-1.example.com

- tunnel_route: app-server-56:4443
  fqdn: service-2.example.com
"""
    result, said = loaded(tmp_path, sni=text)
    assert result.plan is not None
    assert len(said) == 1
    assert "443 is listened on" in said[0]
    assert [route.backend for route in result.plan.listeners[0].routes] == [
        "service-1.example.com",
        "service-2.example.com",
    ]


def test_the_end_of_tls() -> None:
    assert listener(entry(FORWARD), "", CERTS)["tls"] == [
        {
            "when": WHEN,
            "certificates": [{"file": "/default.pem"}],
            "alpn": ["h2", "http/1.1", "http/1.0"],
            "handshake_timeout": 30,
        }
    ]
    assert listener(entry(f"{FORWARD}\n  http2: off"), "", CERTS)["tls"][0]["alpn"] == ["http/1.1", "http/1.0"]


def test_no_certificate() -> None:
    said = parsed(entry(FORWARD))[1]
    assert "to terminate the TLS of a.example a certificate is needed, and there is none" in said[0]


def test_who_may_ask_for_a_name() -> None:
    rules = listener(f"{entry(TUNNEL)}- {{fqdn: c.example, {TUNNEL}, ip_allow: 10.0.0.0/8}}\n- {{fqdn: d, {TUNNEL}}}")
    condition = {"sni": {"name": ["c.example"]}}
    assert rules["inspect"] == [
        {"action": "accept", "when": WHEN},
        {"action": "reject", "when": {"all": [condition, {"not": {"client_address": {"cidr": ["10.0.0.0/8"]}}}]}},
    ]


def test_what_leads_nowhere_is_refused() -> None:
    data, said = parsed(f"sni:\n- {{fqdn: c.example, http2: off}}\n- {{fqdn: '*.example', {TUNNEL}}}\n")
    assert said == [
        "sni.yaml:2:10: warning: c.example leads nowhere: what follows would be HTTP, and clients are refused; "
        "add tunnel_route, forward_route or partial_blind_route"
    ]
    assert data["listeners"]["443"]["inspect"] == [{"action": "reject", "when": {"sni": {"name": ["c.example"]}}}]
    assert "error: a.example leads nowhere" in parsed(entry("http2: off"))[1][0]


def test_an_entry_about_a_server_leads_nowhere_on_purpose() -> None:
    text = "sni:\n- {fqdn: a, partial_blind_route: 'b.example:443'}\n- {fqdn: b.example, client_cert: c.pem}\n"
    records = "CONFIG proxy.config.ssl.client.verify.server.policy STRING ENFORCED\n"
    assert native(text, records, CERTS)["listeners"]["443"]["inspect"][-1]["action"] == "reject"


@pytest.mark.parametrize(
    ("fqdn", "when"),
    [
        ("*.a.example", {"sni": {"name": ["*.a.example"]}}),
        ("*", {"hello_type": {"integer": ["1"]}}),
        ("192.0.2.1", {"sni": {"is": ["192.0.2.1"]}}),
    ],
)
def test_names(fqdn: str, when: object) -> None:
    assert listener(f"sni: [{{fqdn: '{fqdn}', {TUNNEL}}}]")["routes"][0]["when"] == when


@pytest.mark.parametrize(
    ("fqdn", "route", "to"),
    [
        ("*.a.example", "$1.b.example:443", "{sni-2}.b.example:443"),
        ("*", "$1:443", "{sni}:443"),
        ("*.a", "$1.b", "{sni-1}.b:443"),
    ],
)
def test_computed_destinations(fqdn: str, route: str, to: str) -> None:
    data = native(f"sni: [{{fqdn: '{fqdn}', tunnel_route: '{route}'}}]")
    (backend,) = data["backends"].values()
    assert backend["destination"] == {"to": to}


def test_what_a_computed_destination_may_be() -> None:
    allow = "ip_allow:\n- {apply: in, ip_addrs: 0/0, action: allow}\n- {apply: in, ip_addrs: '::/0', action: allow}\n"
    allow += "- {apply: out, ip_addrs: 10.0.0.0/8, action: allow}\n"
    sni = "sni: [{fqdn: '*.a', tunnel_route: '$1.b:443'}]"
    assert native(sni, allow=allow)["backends"]["any.a"]["destination"]["egress_allow"] == ["10.0.0.0/8"]
    allow += "- {apply: out, ip_addrs: 192.168.0.0/16, action: deny}\n"
    assert "is not held against the rule at ip_allow.yaml:5:3" in parsed(sni, allow=allow)[1][0]


def test_the_port_of_the_client() -> None:
    records = "CONFIG proxy.config.http.server_ports STRING 443:ssl 8443:ssl 9443:ssl:tr-in\n"
    backends = native(entry("tunnel_route: b.example"), records)["backends"]
    assert [each["servers"][0]["address"] for each in backends.values()] == [
        "b.example:443",
        "b.example:8443",
        "b.example",
    ]


def test_the_port_in_a_proxy_header() -> None:
    text = entry("tunnel_route: 'b.example:{proxy_protocol_port}'")
    records = "CONFIG proxy.config.http.server_ports STRING 443:ssl:pp\n"
    records += "CONFIG proxy.config.http.connect_ports STRING 443 1-9\n"
    data = native(text, records)
    assert data["listeners"]["443"]["proxy_protocol"] is True
    assert data["listeners"]["443"]["inspect"] == [
        {"action": "reject", "when": {"all": [WHEN, {"not": {"local_port": {"integer": ["443", "1-9"]}}}]}}
    ]
    assert data["backends"]["a.example"]["servers"] == [{"address": "b.example"}]
    assert "no PROXY header comes to any port" in parsed(text)[1][0]


def test_ports_that_may_not_be_connected_to() -> None:
    data, said = parsed(entry("tunnel_route: b.example"), "CONFIG proxy.config.http.connect_ports STRING 8443\n")
    assert "connect_ports has no 443: clients of that port are refused" in said[0]
    assert data["listeners"]["443"]["routes"] == []


def test_senders_of_proxy_headers() -> None:
    records = (
        "CONFIG proxy.config.http.server_ports STRING 443:ssl:pp\n"
        "CONFIG proxy.config.http.proxy_protocol_allowlist STRING 10.0.0.1\n"
    )
    allow = "ip_allow: {apply: in, ip_addrs: 10.0.0.0/8, action: allow}"
    found = listener(entry(TUNNEL), records, allow=allow)
    assert found["proxy_protocol"] == {"from": ["10.0.0.1/32"]}
    assert found["connection"] == [
        {"action": "reject", "when": {"not": {"peer_address": {"cidr": ["10.0.0.1/32"]}}}},
        {"action": "accept", "when": {"peer_address": {"cidr": ["10.0.0.0/8"]}}},
        {"action": "reject"},
    ]


def test_denied_destinations() -> None:
    allow = "ip_allow: {apply: out, ip_addrs: 192.0.2.0/24, action: deny, methods: CONNECT}"
    data, said = parsed(entry("tunnel_route: 192.0.2.1:443"), allow=allow)
    assert "ip_allow.yaml denies connections to 192.0.2.1, at ip_allow.yaml:1:11: clients are refused" in said[0]
    assert data["listeners"]["443"]["inspect"] == [{"action": "reject", "when": WHEN}]


def test_ports_of_an_entry() -> None:
    records = "CONFIG proxy.config.http.server_ports STRING 443:ssl 8443:ssl 9443:ssl:tr-in\n"
    data = native(entry(f"{TUNNEL}\n  inbound_port_ranges: [443, 9000-9999]"), records)
    assert data["listeners"]["443"]["routes"] == [{"to": "a.example", "when": WHEN}]
    assert data["listeners"]["8443"]["routes"] == []
    moving = {**WHEN, "local_port": {"integer": ["443", "9000-9999"]}}
    assert data["listeners"]["9443"]["routes"] == [{"to": "a.example", "when": moving}]


def test_transparency() -> None:
    data = native(entry(TUNNEL), "CONFIG proxy.config.http.server_ports STRING 443:ssl:tr-full 443:ssl:ipv6:tr-full\n")
    assert list(data["listeners"]) == ["443"]
    assert data["listeners"]["443"]["transparent"] == "tproxy"
    assert data["listeners"]["443"]["bind"] == ["*:443", {"address": "[::]:443", "v6only": True}]
    assert data["backends"]["a.example"]["source"] == "client"


def test_addresses_that_connections_come_from() -> None:
    records = "CONFIG proxy.config.http.server_ports STRING 443:ssl:ip-out=192.0.2.9:ip-out=[2001:db8::9]\n"
    assert native(entry(TUNNEL), records)["backends"]["a.example"]["source"] == "192.0.2.9"
    route = "tunnel_route: '[2001:db8::1]:443'"
    assert native(entry(route), records)["backends"]["a.example"]["source"] == "2001:db8::9"


def test_certificates_of_clients() -> None:
    text = entry(f"{FORWARD}\n  verify_client: MODERATE\n  verify_client_ca_certs: ca.pem")
    assert listener(text, "", CERTS)["tls"][0]["clients"] == {"certificate": "optional", "ca": "ca.pem"}
    records = (
        "CONFIG proxy.config.ssl.client.certification_level INT 2\n"
        "CONFIG proxy.config.ssl.CA.cert.filename STRING ca.pem\nCONFIG proxy.config.ssl.CA.cert.path STRING /ca\n"
    )
    assert listener(entry(FORWARD), records, CERTS)["tls"][0]["clients"] == {
        "certificate": "required",
        "ca": "/ca/ca.pem",
    }
    assert "clients" not in listener(entry(f"{FORWARD}\n  verify_client: NONE"), records, CERTS)["tls"][0]
    said = parsed(entry(f"{FORWARD}\n  verify_client: STRICT"), "", CERTS)[1]
    assert "who may have signed the certificates of clients?" in said[0]


def test_tickets() -> None:
    assert listener(entry(f"{FORWARD}\n  ssl_ticket_enabled: 0"), "", CERTS)["tls"][0]["tickets"] is False
    records = "CONFIG proxy.config.ssl.server.session_ticket.enable INT 0\n"
    assert listener(entry(FORWARD), records, CERTS)["tls"][0]["tickets"] is False
    assert "tickets" not in listener(entry(f"{FORWARD}\n  ssl_ticket_enabled: 1"), records, CERTS)["tls"][0]


def test_protocols_of_both_sides() -> None:
    records = "CONFIG proxy.config.ssl.client.verify.server.policy STRING ENFORCED\n"
    route = "partial_blind_route: b.example:443"
    data = native(entry(route), records, CERTS)
    assert "alpn" not in data["listeners"]["443"]["tls"][0]
    assert "alpn" not in data["backends"]["a.example"]["tls"]
    data = native(entry(f"{route}\n  http2: off"), records, CERTS)
    assert data["listeners"]["443"]["tls"][0]["alpn"] == data["backends"]["a.example"]["tls"]["alpn"] == ["http/1.1"]
    data = native(entry(f"{route}\n  http2: off\n  tunnel_alpn: [h2]"), records, CERTS)
    assert "alpn" not in data["listeners"]["443"]["tls"][0]


def test_the_process() -> None:
    records = """CONFIG proxy.config.admin.user_id STRING ts
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 3
CONFIG proxy.config.net.max_connections_in INT 1000
CONFIG proxy.config.net.listen_backlog INT 100
"""
    data = native(entry(TUNNEL), records)
    assert data["global"] == {"user": "ts", "workers": 3, "max_connections": 1000}
    assert data["listeners"]["443"]["backlog"] == 100


def test_times_and_headers_for_servers() -> None:
    records = """CONFIG proxy.config.http.connect_attempts_timeout INT 5
CONFIG proxy.config.http.connect_attempts_max_retries INT 1
CONFIG proxy.config.http.transaction_no_activity_timeout_in INT 60
CONFIG proxy.config.http.transaction_no_activity_timeout_out INT 90
CONFIG proxy.config.http.proxy_protocol_out INT 2
"""
    backend = native(entry(TUNNEL), records)["backends"]["a.example"]
    assert (backend["connect_timeout"], backend["tunnel_timeout"], backend["retries"]) == (5, 60, 1)
    assert backend["send_proxy"] == "v2"
    assert "proxy_protocol_out 0" in parsed(entry(TUNNEL), "CONFIG proxy.config.http.proxy_protocol_out INT 0\n")[1][0]


def test_it_all_loads(tmp_path: Path) -> None:
    certificates(tmp_path)
    text = f"""sni:
- {{fqdn: a.example, {TUNNEL}}}
- {{fqdn: '*.tun.example', tunnel_route: '$1.b.example'}}
- fqdn: fwd.example
  {FORWARD}
  verify_client: STRICT
  verify_client_ca_certs: ca.pem
  valid_tls_versions_in: [TLSv1_3]
- fqdn: blind.example
  partial_blind_route: b.example:443
  client_sni_policy: server_name
  verify_server_policy: ENFORCED
  client_cert: client.pem
- {{fqdn: '*', tunnel_route: '192.0.2.1:443', ip_allow: 10.0.0.0/8}}
"""
    records = RECORDS + "CONFIG proxy.config.ssl.client.CA.cert.filename STRING ca.pem\n"
    result, said = loaded(tmp_path, sni=text, records=records, certs="dest_ip=* ssl_cert_name=default.pem\n")
    assert said == []
    assert result.plan is not None
    (one,) = result.plan.listeners
    assert [case.accept is not None for case in one.tls] == [False, False, True, True, False]
    assert len(result.plan.backends) == 5
