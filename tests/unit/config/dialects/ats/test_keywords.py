"""The tables."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.ats.keywords import MULTICERT, RECORDS, SNI, family
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics, Mark

WORD = Word("x", Mark("f", 1, 1, 1))


def test_wanted() -> None:
    diagnostics = Diagnostics()
    assert SNI.wanted(WORD, "fqdn", diagnostics)
    assert not RECORDS.wanted(WORD, "proxy.config.ssl.session_cache", diagnostics)
    assert diagnostics.found == []


def test_what_has_no_effect_is_said_once() -> None:
    diagnostics = Diagnostics()
    for name in ("http2_initial_window_size_in", "http2_buffer_water_mark", "quic"):
        assert not SNI.wanted(WORD, name, diagnostics)
    assert [finding.message for finding in diagnostics.found] == [
        "'http2_initial_window_size_in' has no effect here",
        "'quic' has no effect here",
    ]


def test_refusals() -> None:
    with pytest.raises(Mistake, match="not supported by ferryman yet"):
        MULTICERT.wanted(WORD, "ssl_key_dialog", Diagnostics())
    with pytest.raises(Mistake, match=r"unknown key of sni\.yaml 'tunel_route'") as failure:
        SNI.wanted(WORD, "tunel_route", Diagnostics())
    assert failure.value.hint == "did you mean 'tunnel_route'?"


def test_families() -> None:
    assert family("proxy.config.http.cache.http") == "http"
    assert family("proxy.config.nonsense.x") is None
    assert family("http.cache") is None
