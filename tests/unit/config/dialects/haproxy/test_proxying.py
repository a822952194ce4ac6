"""accept-proxy, expect-proxy and send-proxy with all that belongs to them."""

from __future__ import annotations

import pytest
from tests.unit.config.dialects.haproxy.reading import TIMEOUTS, backend, findings, frontend, parsed


def listener(bind: str, *lines: str) -> dict[str, object]:
    data, found = parsed(TIMEOUTS + f"frontend f\n {bind}\n" + "".join(f" {line}\n" for line in lines))
    assert found == []
    made: dict[str, object] = data["listeners"]["f"]
    return made


@pytest.mark.parametrize("bind", ["bind :1 accept-proxy", "bind :1,:2 accept-proxy", "bind :1 accept-proxy name x"])
def test_accept_proxy(bind: str) -> None:
    assert listener(bind)["proxy_protocol"] is True


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["layer4"], True),
        (["layer4 if { src 10.0.0.0/8 192.0.2.1 }"], {"from": ["10.0.0.0/8", "192.0.2.1"]}),
        (["layer4 if lb"], {"from": ["192.0.2.7", "2001:db8::/32"]}),
        (["layer4 if lb or { src 10.0.0.1 }"], {"from": ["192.0.2.7", "2001:db8::/32", "10.0.0.1"]}),
        (["layer4 if { src 10.0.0.1 }", "layer4 if { src 10.0.0.2 }"], {"from": ["10.0.0.1", "10.0.0.2"]}),
        (["layer4 if { src 10.0.0.1 }", "layer4"], True),
        (["layer4", "layer4 if { src 10.0.0.1 }"], True),
        (["layer4 if LOCALHOST"], {"from": ["127.0.0.0/8", "::1"]}),
    ],
)
def test_expect_proxy(lines: list[str], expected: object) -> None:
    acls = ["acl lb src 192.0.2.7", "acl lb src 2001:db8::/32"]
    assert (
        frontend(*acls, *(f"tcp-request connection expect-proxy {line}" for line in lines))["proxy_protocol"]
        == expected
    )


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (["tcp-request connection expect-proxy"], "'expect-proxy' needs layer4"),
        (["tcp-request connection expect-proxy layer7"], "'expect-proxy' needs layer4"),
        (["tcp-request content expect-proxy layer4"], "cannot stand in 'tcp-request content'"),
        (
            ["tcp-request connection expect-proxy layer4 if { dst_port 1 }"],
            "'expect-proxy' on more than networks is HAProxy's, not supported by ferryman yet; write if { src NETWORK",
        ),
        (["tcp-request connection expect-proxy layer4 if { src 10.0.0.1 } { dst_port 1 }"], "more than networks"),
        (["tcp-request connection expect-proxy layer4 unless { src 10.0.0.1 }"], "more than networks"),
        (
            ["tcp-request connection accept", "tcp-request connection expect-proxy layer4"],
            "'expect-proxy' behind 'tcp-request connection accept' is HAProxy's, not supported by ferryman yet",
        ),
        (["bind :2 accept-proxy"], "'accept-proxy' on some of several addresses is HAProxy's, not supported"),
        (
            ["tcp-request connection expect-proxy layer4", "tcp-request connection reject if { dst 10.0.0.1 }"],
            "'dst' in 'tcp-request connection' beside PROXY headers is HAProxy's, not supported",
        ),
    ],
)
def test_what_is_refused_of_a_frontend(lines: list[str], finding: str) -> None:
    assert any(finding in each for each in findings(*lines)), findings(*lines)


def test_connection_rules_see_who_connected_and_session_rules_the_client() -> None:
    made = listener(
        "bind :1 accept-proxy",
        "acl inner src 10.0.0.0/8",
        "acl late always_false",
        "tcp-request connection reject unless inner",
        "tcp-request connection reject if late or { src_port lt 1024 }",
        "tcp-request session reject if inner",
    )
    assert made["connection"] == [
        {"action": "reject", "when": {"not": {"peer_address": {"cidr": ["10.0.0.0/8"]}}}},
        {"action": "reject", "when": {"any": ["late", {"peer_port": {"integer": ["lt 1024"]}}]}},
        {"action": "reject", "when": "inner"},
    ]


@pytest.mark.parametrize(
    ("fact", "native"),
    [
        ("fc_rcvd_proxy", {"proxied": {"boolean": True}}),
        ("fc_pp_authority a.example", {"proxy_authority": {"is": ["a.example"]}}),
        ("fc_pp_unique_id -m found", {"proxy_unique_id": {"found": True}}),
        ("fc_pp_tlv(0xEA) x", {"proxy_tlv(234)": {"is": ["x"]}}),
    ],
)
def test_what_a_header_says_is_known(fact: str, native: object) -> None:
    assert frontend(f"tcp-request content accept if {{ {fact} }}")["inspect"] == [{"action": "accept", "when": native}]


@pytest.mark.parametrize(
    ("words", "native"),
    [
        ("", None),
        ("send-proxy", "v1"),
        ("send-proxy-v2", "v2"),
        ("send-proxy send-proxy-v2", "v2"),
        ("send-proxy no-send-proxy", None),
        ("send-proxy-v2 no-send-proxy-v2", None),
        ("send-proxy send-proxy-v2 no-send-proxy-v2", "v1"),
        ("send-proxy-v2-ssl", {"version": "v2", "tlvs": ["ssl"]}),
        ("send-proxy-v2-ssl-cn", {"version": "v2", "tlvs": ["ssl", "cert-cn"]}),
        ("send-proxy-v2-ssl-cn no-send-proxy-v2-ssl-cn", None),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", {"version": "v2", "tlvs": ["crc32c", "unique-id"]}),
        (
            "proxy-v2-options ssl,cert-cn,ssl-cipher,authority send-proxy-v2",
            {"version": "v2", "tlvs": ["ssl", "cert-cn", "ssl-cipher", "authority"]},
        ),
    ],
)
def test_send_proxy(words: str, native: object) -> None:
    assert backend(f"server a 192.0.2.1:1 {words}")["servers"][0].get("send_proxy") == native


def test_defaults_of_servers_and_their_exceptions() -> None:
    made = backend(
        "default-server send-proxy-v2 proxy-v2-options crc32c",
        "server a 192.0.2.1:1",
        "server b 192.0.2.1:1 proxy-v2-options unique-id",
        "server c 192.0.2.1:1 no-send-proxy-v2 proxy-v2-options unique-id send-proxy-v2",
    )
    assert [server["send_proxy"]["tlvs"] for server in made["servers"]] == [
        ["crc32c"], ["crc32c", "unique-id"], ["crc32c", "unique-id"]
    ]  # fmt: skip


def test_options_alone_beget_a_header_of_version_1() -> None:
    data, found = parsed(TIMEOUTS + "backend b\n server a 192.0.2.1:1 proxy-v2-options ssl\n")
    assert data["backends"]["b"]["servers"][0]["send_proxy"] == "v1"
    assert ["do nothing without 'send-proxy-v2'" in each for each in found] == [True]


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("send-proxy check", {"timeout": 2.0}),
        ("check check-send-proxy", {"timeout": 2.0, "send_proxy": True}),
        ("check check-send-proxy no-check-send-proxy", {"timeout": 2.0}),
        (
            "send-proxy check port 9 check-send-proxy",
            {"timeout": 2.0, "send_proxy": True, "address": "192.0.2.1:9"},
        ),
    ],
)
def test_headers_of_checks(words: str, check: object) -> None:
    assert backend(f"server a 192.0.2.1:1 {words}")["servers"][0]["check"] == check


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("send-proxy-v2 proxy-v2-options cert-sig", "'proxy-v2-options cert-sig' is HAProxy's, not supported"),
        ("send-proxy-v2 proxy-v2-options ssl,cert-kee", "unknown option 'cert-kee' of proxy-v2-options"),
        ("send-proxy-v2 set-proxy-v2-tlv-fmt 0xE0 x", "'set-proxy-v2-tlv-fmt' is HAProxy's, not supported"),
        ("send-proxy-v2 proxy-v2-options", "needs a value for 'proxy-v2-options'"),
    ],
)
def test_what_is_refused_of_a_server(words: str, finding: str) -> None:
    found = findings(f"server a 192.0.2.1:1 {words}", section="backend b")
    assert any(finding in each for each in found), found
