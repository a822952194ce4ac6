"""Services as listeners and backends: where they lead, in which order, and how long anything may take."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.stunnel.reading import CLIENT, SERVER, fine, loaded, mistake, parsed


def backend(text: str) -> Any:
    return fine(text)["backends"]["s"]


@pytest.mark.parametrize(
    ("accept", "bind"),
    [
        ("443", "*:443"),
        ("https", "*:443"),
        ("0.0.0.0:1", "*:1"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("localhost:1", "127.0.0.1:1"),
        ("::1:1", "[::1]:1"),
        (":::1", "[::]:1"),
        ("/run/x.sock", "unix@/run/x.sock"),
    ],
)
def test_accept(accept: str, bind: str) -> None:
    data = fine(SERVER.replace("accept = 1", f"accept = {accept}"))
    assert data["listeners"]["s"]["bind"] == [bind]


@pytest.mark.parametrize(
    ("connect", "address"),
    [
        ("2222", "localhost:2222"),
        ("rsync", "localhost:873"),
        ("host.example:443", "host.example:443"),
        ("2001:db8::1:443", "[2001:db8::1]:443"),
        ("/run/x.sock", "unix@/run/x.sock"),
    ],
)
def test_connect(connect: str, address: str) -> None:
    assert backend(SERVER.replace("connect = 2", f"connect = {connect}"))["servers"] == [{"address": address}]


@pytest.mark.parametrize(
    ("connect", "message"),
    [
        ("proxy", "'proxy' is no host: a word without a port is the port"),
        ("[::1]:443", "takes brackets for a part of the name, and finds no such host; write ::1:443"),
        ("192.0.2.1", "192.0.2.1 says no port; write 192.0.2.1:PORT"),
        ("host.example:nothing", "'nothing' is neither a port nor the name of a service"),
        ("70000", "port 70000 does not exist"),
    ],
)
def test_connect_to_nothing(connect: str, message: str) -> None:
    assert message in mistake(SERVER.replace("connect = 2", f"connect = {connect}"))


def test_times_are_stunnels_own() -> None:
    data = fine(CLIENT)
    assert data["listeners"]["s"]["client_fin_timeout"] == 60
    found = {key: value for key, value in data["backends"]["s"].items() if "timeout" in key}
    assert found == {
        "connect_timeout": 10,
        "negotiation_timeout": 300,
        "tunnel_timeout": 43200,
        "server_fin_timeout": 60,
    }
    said = "TIMEOUTbusy = 1\nTIMEOUTconnect = 2\nTIMEOUTidle = 3\nTIMEOUTclose = 4\n"
    data = fine(SERVER + said)
    listener = data["listeners"]["s"]
    assert (listener["inspect_timeout"], listener["tls"][0]["handshake_timeout"]) == (1, 1)
    assert [data["backends"]["s"][f"{name}_timeout"] for name in ("connect", "tunnel", "server_fin")] == [2, 3, 4]


def test_each_server_is_tried_once() -> None:
    assert backend(CLIENT)["retries"] == 0
    several = backend(f"{CLIENT}connect = other.example:2\n")
    assert (several["balance"], several["retries"], several["redispatch"]) == ("first", 1, 1)
    assert backend(f"{CLIENT}connect = other.example:2\nfailover = rr\n")["balance"] == "roundrobin"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("", "host.example"),
        ("sni = other.example", "other.example"),
        ("sni =", "none"),
        ("protocol = connect\nprotocolHost = far.example:443", "far.example"),
        ("protocol = connect\nprotocolHost = 192.0.2.1:443", "none"),
    ],
)
def test_the_name_that_is_asked_for(said: str, name: str) -> None:
    assert backend(f"{CLIENT}{said}\n")["tls"]["server_name"] == name


def test_what_stands_before_the_services_counts_for_all() -> None:
    data = fine(f"client = yes\nTIMEOUTidle = 5\n{CLIENT}TIMEOUTidle = 6\n{CLIENT.replace('[s]', '[t]')}")
    assert [data["backends"][name]["tunnel_timeout"] for name in ("s", "t")] == [6, 5]


def test_where_clients_wanted_to_go() -> None:
    result, found = loaded("[s]\nclient = yes\naccept = 1\ntransparent = destination\n")
    assert [each for each in found if "error" in each] == []
    assert result.plan is not None
    assert result.plan.listeners[0].transparent == "redirect"
    assert backend(f"{CLIENT}transparent = source\n")["source"] == {"client": "address"}


def test_a_client_on_all_addresses_is_a_door_for_everybody() -> None:
    _, found = parsed(CLIENT.replace("127.0.0.1:1", "6443"))
    assert len(found) == 1
    assert "3:10: warning: whoever reaches port 6443 of this machine" in found[0]


def test_sockets() -> None:
    data = fine(f"{CLIENT}socket = l:SO_KEEPALIVE=1\nsocket = r:SO_KEEPALIVE=yes\nsocket = r:SO_BINDTODEVICE=eth0\n")
    assert data["listeners"]["s"]["keepalive"]
    assert data["backends"]["s"]["keepalive"]
    assert data["backends"]["s"]["source"] == {"interface": "eth0"}
    assert "a device to listen on" in mistake(f"{CLIENT}socket = a:SO_BINDTODEVICE=eth0\n")


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("sslVersion = TLSv1.2", {"min_version": "1.2", "max_version": "1.2"}),
        ("sslVersionMin = TLSv1.3", {"min_version": "1.3"}),
        ("sslVersionMax = tlsv1.2", {"max_version": "1.2"}),
        ("sslVersion = all", {}),
        ("options = NO_TLSv1_3", {"max_version": "1.2"}),
        ("options = NO_TLSv1_2", {"min_version": "1.3"}),
        ("ciphers = ECDHE\nciphersuites = TLS_AES_128_GCM_SHA256\ncurve = P-256",
         {"ciphers": "ECDHE", "ciphersuites": "TLS_AES_128_GCM_SHA256", "groups": "P-256"}),
        ("securityLevel = 3", {"ciphers": "HIGH:!aNULL:@SECLEVEL=3"}),
    ],
)  # fmt: skip
def test_versions_and_ciphers(said: str, limits: dict[str, str]) -> None:
    tls = backend(f"{CLIENT}{said}\n")["tls"]
    assert {key: value for key, value in tls.items() if key not in ("server_name", "alpn", "verify")} == limits


def test_the_log() -> None:
    assert fine(f"foreground = yes\nsyslog = no\n{CLIENT}")["global"]["log"] == [{"target": "stderr", "tag": "stunnel"}]
    data = fine(f"foreground = quiet\nsyslog = no\noutput = /var/log/x\ndebug = 4\n{CLIENT}debug = 7\n")
    assert data["global"]["log"] == [{"target": "file:/var/log/x", "tag": "stunnel", "max_level": "warning"}]
    assert data["listeners"]["s"]["log"] == [{"target": "file:/var/log/x", "tag": "stunnel"}]
