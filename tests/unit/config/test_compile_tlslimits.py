"""What of TLS may be negotiated: what this machine's OpenSSL knows (what is wrong: see test_compile_tlsaccept)."""

from __future__ import annotations

import ssl

import pytest

from ferryman.config.compile_tlslimits import SUITES, compile_limits
from ferryman.config.model_tls import LimitSettings
from ferryman.config.source import Diagnostics, Document, Report
from ferryman.plan import TlsLimits


def compiled(settings: LimitSettings) -> tuple[TlsLimits, list[str]]:
    diagnostics = Diagnostics()
    limits = compile_limits(settings, (), Report(Document("ferryman", {}), diagnostics))
    return limits, [each.message for each in diagnostics.found]


def test_nothing_is_said_of_what_is_not() -> None:
    assert compiled(LimitSettings()) == (TlsLimits(), [])


def test_all_suites_and_groups_by_all_their_names() -> None:
    groups = "X25519:x448:P-256:prime256v1:secp384r1:ffdhe2048".replace("x448", "X448")
    settings = LimitSettings(ciphersuites=":".join(SUITES), groups=groups)
    assert compiled(settings) == (TlsLimits(ciphersuites=":".join(SUITES), groups=groups), [])


@pytest.mark.parametrize("ciphers", ["DEFAULT", "HIGH:!aNULL:!MD5", "ECDHE-RSA-AES128-GCM-SHA256", "DEFAULT:@STRENGTH"])
def test_openssl_s_language(ciphers: str) -> None:
    assert compiled(LimitSettings(ciphers=ciphers))[1] == []


def test_groups_of_a_newer_openssl() -> None:
    said = compiled(LimitSettings(groups="X25519MLKEM768"))[1]
    if ssl.OPENSSL_VERSION_INFO >= (3, 5):
        assert said == []
    else:
        assert said == [f"the group X25519MLKEM768 needs OpenSSL 3.5, this is {ssl.OPENSSL_VERSION}"]


def test_suites_of_a_version_that_is_not_spoken() -> None:
    settings = LimitSettings(max_version="1.2", ciphersuites=SUITES[0])
    assert compiled(settings)[1] == ["`ciphersuites` are of TLS 1.3, which is not spoken"]
