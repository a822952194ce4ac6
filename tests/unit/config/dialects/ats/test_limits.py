"""Versions, ciphers, groups."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.config.dialects.ats.reading import CERTS, entry, parsed

BLIND = "partial_blind_route: b.example:443\n  client_sni_policy: server_name\n  verify_server_policy: ENFORCED"


def case(text: str = "", records: str = "") -> tuple[Any, list[str]]:
    data, said = parsed(entry(f"forward_route: 192.0.2.1:80\n  {text}"), records, CERTS)
    routes = data["listeners"]["443"].get("tls", [{}])
    return {key: routes[0][key] for key in ("min_version", "max_version", "ciphers", "ciphersuites", "groups") if (
        key in routes[0]
    )}, said  # fmt: skip


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", {}),
        ("valid_tls_versions_in: [TLSv1_2]", {"max_version": "1.2"}),
        ("valid_tls_versions_in: [TLSv1_3]", {"min_version": "1.3"}),
        ("valid_tls_versions_in: [TLSv1_3, TLSv1_2]", {}),
        ("valid_tls_version_min_in: TLSv1_3", {"min_version": "1.3"}),
        ("valid_tls_version_max_in: TLSv1_2", {"max_version": "1.2"}),
        ("server_cipher_suite: ECDHE+AESGCM", {"ciphers": "ECDHE+AESGCM"}),
        ("server_TLSv1_3_cipher_suites: TLS_AES_128_GCM_SHA256", {"ciphersuites": "TLS_AES_128_GCM_SHA256"}),
        ("server_groups_list: P-256", {"groups": "P-256"}),
    ],
)
def test_of_an_entry(text: str, limits: dict[str, str]) -> None:
    assert case(text) == (limits, [])


@pytest.mark.parametrize(
    ("records", "limits"),
    [
        ("CONFIG proxy.config.ssl.TLSv1_3 INT 0\n", {"max_version": "1.2"}),
        ("CONFIG proxy.config.ssl.TLSv1_2 INT 0\n", {"min_version": "1.3"}),
        ("CONFIG proxy.config.ssl.server.version.min INT 3\n", {"min_version": "1.3"}),
        ("CONFIG proxy.config.ssl.server.version.max INT 2\n", {"max_version": "1.2"}),
        ("CONFIG proxy.config.ssl.server.cipher_suite STRING HIGH\n", {"ciphers": "HIGH"}),
    ],
)
def test_of_the_records(records: str, limits: dict[str, str]) -> None:
    assert case(records=records) == (limits, [])


def test_an_entry_comes_before_the_records() -> None:
    records = "CONFIG proxy.config.ssl.TLSv1_3 INT 0\n"
    assert case("valid_tls_versions_in: [TLSv1_3]", records)[0] == {"min_version": "1.3"}


@pytest.mark.parametrize(
    "text",
    ["valid_tls_versions_in: [TLSv0_2, TLSv1_3]", "valid_tls_version_min_in: SSLv3", "valid_tls_version_max_in: 1.3"],
)
def test_versions_that_are_none(text: str) -> None:
    assert "error: " in case(text)[1][0]


def test_old_versions() -> None:
    old = "warning: TLS 1.0 and 1.1 are not spoken; clients and servers need TLS 1.2"
    assert old in case("valid_tls_versions_in: [TLSv1, TLSv1_2]")[1][0]
    assert old in case(records="CONFIG proxy.config.ssl.TLSv1_1 INT 1\n")[1][0]
    message = "error: TLS 1.0 and 1.1 are not supported by ferryman; allow TLSv1_2 or TLSv1_3 as well"
    assert message in case("valid_tls_versions_in: [TLSv1]")[1][0]
    both = "CONFIG proxy.config.ssl.TLSv1_2 INT 0\nCONFIG proxy.config.ssl.TLSv1_3 INT 0\n"
    assert message in case(records=both)[1][0]


def test_of_servers() -> None:
    records = "CONFIG proxy.config.ssl.client.TLSv1_3 INT 0\nCONFIG proxy.config.ssl.client.cipher_suite STRING HIGH\n"
    data, said = parsed(entry(BLIND), records, CERTS)
    assert said == []
    tls = data["backends"]["a.example"]["tls"]
    assert (tls["max_version"], tls["ciphers"]) == ("1.2", "HIGH")
