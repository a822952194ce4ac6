"""Sample expressions into native ones."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.haproxy.expressions import known, sample
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Mark

HERE = Mark("h.cfg", 1, 1)


@pytest.mark.parametrize(
    ("text", "native", "method"),
    [
        ("src", "client_address", "cidr"),
        ("dst_port", "local_port", "integer"),
        ("req.ssl_sni", "sni", "is"),
        ("req_ssl_sni", "sni", "is"),
        ("req.ssl_sni()", "sni", "is"),
        ("req.ssl_ver", "tls_version", "version"),
        ("req.ssl_hello_type", "hello_type", "integer"),
        ("req.ssl_sni,lower,length", "sni|lower|length", "integer"),
        ("req.ssl_sni,field(1,'.')", "sni|field(1,.)", "is"),
        ('req.ssl_sni,field(1,",")', 'sni|field(1,",")', "is"),
        ("req.payload(0,4)", "payload(0,4)", ""),
        ("payload(0,4)", "payload(0,4)", "binary"),
        ("req.payload(0,4),hex", "payload(0,4)|hex", "is"),
        ("req.payload_lv(0,2,+1)", "payload_lv(0,2,+1)", ""),
        ("always_true", "always_true", "boolean"),
        ("bool(true)", "boolean(1)", "boolean"),
        ("int(-4)", "integer(-4)", "integer"),
        ("str(a b)", 'text("a b")', "is"),
        ("nbsrv(be)", "usable_servers(be)", "integer"),
        ("nbsrv", "usable_servers(own)", "integer"),
        ("capture.req.hdr(0)", "capture(0)", "is"),
    ],
)
def test_native(text: str, native: str, method: str) -> None:
    found = sample(Word(text, HERE), "own")
    assert (found.text, found.method) == (native, method)


def test_needs_and_backend() -> None:
    assert sample(Word("req.ssl_sni,lower", HERE)).needs == "bytes"
    assert sample(Word("src", HERE)).needs == "address"
    assert sample(Word("nbsrv(be)", HERE)).backend == "be"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a fact is missing"),
        ("req.ssl_snip", "unknown fact 'req.ssl_snip'"),
        ("hdr(host)", "the fact 'hdr' is HAProxy's, not supported"),
        ("sc0_conn_cur", "not supported"),
        ("ssl_bc_sni", "not supported"),
        ("path_beg", "not supported"),
        ("req.ssl_sni,nope", "unknown converter 'nope'"),
        ("req.ssl_sni,map(f)", "the converter 'map' is HAProxy's, not supported"),
        ("req.ssl_sni lower", "unexpected"),
        ("req.ssl_sni,", "a converter is missing"),
        ("req.payload(0)", "needs 2 arguments"),
        ("req.payload(a,b)", "no number"),
        ("src(5)", "too many arguments"),
        ("str(foo", r"a \) is missing"),
        ("bool(maybe)", "neither true nor false"),
        ("date(1)", "not supported"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        sample(Word(text, HERE))


def test_a_fact_may_be_one_that_only_haproxy_has() -> None:
    known(Word("ssl_bc_sni", HERE))
    with pytest.raises(Mistake, match="unknown fact"):
        known(Word("ssl-fc-sni", HERE))
